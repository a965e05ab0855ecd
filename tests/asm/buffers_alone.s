; What is wrong with buffers themselves.
.program "buffers"
.machine vitcod
.layer "a"
    halt
.live sram:0x0 bytes=0 first=0 last=0  ; error: has no bytes
.live sram:0x4fff0 bytes=32 first=0 last=0  ; error: ends at 0x50010; the scratchpad has 0x50000 bytes
.live sram:0x0 bytes=64 first=1 last=0  ; error: lives from instruction 1 to 0
.live sram:0x0 bytes=64 first=0 last=1  ; error: lives to instruction 1 of 1
