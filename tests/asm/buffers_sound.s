; A program that states its buffers, and the constants that its graph alone needs.
.program "buffers"
.machine vitcod
.input x i8 [64] step=1
.output y i8 [64] step=1
.ir
    .hex 7b7d
.ir_constants
    .i8 1 2 3
.layer "a"
    load dst=sram:0x0 src=x bytes=64 traffic=inputs signal=store
    store src=sram:0x0 dst=y bytes=64 traffic=outputs wait=load
    halt
.live sram:0x0 bytes=64 first=0 last=1
