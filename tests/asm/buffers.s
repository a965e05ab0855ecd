; What a program says of the scratchpad holds: buffers that live together share no byte, every
; operand lies in a live one, and bytes of another life count as unwritten.
.program "buffers"
.machine vitcod
.input x i8 [64] step=1
.output y i8 [64] step=1
.layer "a"
    load dst=sram:0x0 src=x bytes=64 traffic=inputs signal=store  ; error: dst accesses 0x0..0x40 of the scratchpad, which is not in a live buffer
    store src=sram:0x0 dst=y bytes=64 traffic=outputs wait=load
    halt
.live sram:0x0 bytes=48 first=0 last=0
.live sram:0x0 bytes=64 first=1 last=1
