; Bytes that were written in the life of another buffer are unwritten.
.program "buffers"
.machine vitcod
.input x i8 [64] step=1
.output y i8 [64] step=1
.layer "a"
    load dst=sram:0x0 src=x bytes=64 traffic=inputs signal=store
    store src=sram:0x0 dst=y bytes=64 traffic=outputs wait=load  ; error: src reads 0x0..0x40 of the scratchpad, which was never written in the live range of its buffer
    halt
.live sram:0x0 bytes=64 first=0 last=0
.live sram:0x0 bytes=64 first=1 last=1
