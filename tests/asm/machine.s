; A machine of one's own.
.program "machine"
.machine vitcod lines.count=300 lines.macz=4  ; error: unknown field `macz`, expected one of `count`, `macs`, `port_bytes`, `fill_cycles`
.layer "a"
    halt
