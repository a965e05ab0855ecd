; A program ends once, and at its end. ; error: the last instruction is not halt
.program "structure"
.machine vitcod
.layer "a"
    halt  ; error: halt before the end
    sync unit=load
