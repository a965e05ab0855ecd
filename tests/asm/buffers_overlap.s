; Buffers that live at the same time share no byte.
.program "buffers"
.machine vitcod
.layer "a"
    halt
.live sram:0x40 bytes=64 first=0 last=0
.live sram:0x60 bytes=64 first=0 last=0  ; error: shares bytes with buffer 0, which is live at the same time
