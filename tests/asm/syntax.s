; Lines that are no lines.
.program "unclosed  ; error: this quote is not closed on its line
.machine = vitcod  ; error: expected a word, a quoted text or `[`, found `=`
.input x i8 [1, step=1  ; error: expected `]` or `,`, found `=`
.layer "a" nodes=[a b]  ; error: expected `]` or `,`, found a word
.layer "b\q"  ; error: an invalid escape
"load" dst=left  ; error: expected a word, found a quoted text
    load dst=  ; error: expected a word, a quoted text or `[`, found the end of the line
    load dst@left  ; error: unexpected "@"
