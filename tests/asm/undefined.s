; Bytes that nothing has written are not read, and those of an output are written.
.program "undefined"
.machine vitcod
.input x i8 [64] step=1
.output y i8 [64] step=1  ; error: 0x7f..0x80 of DRAM, which was never written
.buffer row 64
.layer "a"
    load dst=row src=x bytes=63 traffic=inputs signal=store
    store src=row+1 dst=y bytes=63 traffic=outputs wait=load  ; error: src reads 0x3f..0x40 of the scratchpad, which was never written
    halt
