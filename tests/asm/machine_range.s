.program "machine"
.machine vitcod lines.count=300  ; error: lines.count = 300: expected 1 to 256
.layer "a"
    halt
