; A machine of one's own.
.program "machine"
.machine vitcod lines.count=300 lines.macz=4  name=half  ; error: lines.count = 300: expected an integer from 1 to 256 ; error: a machine has no `lines.macz` ; error: expected a number, true, false or a quoted text
.layer "a"
    halt
