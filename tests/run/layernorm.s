; Of 1 and 3, the mean is 2 and the deviation 1: -1 and 1, times 10 plus 1, and times 20 minus 2.
; in x: 1 3
; out y: -9 18
.program "layernorm"
.machine vitcod
.input x i16 [1, 2] step=1
.output y i8 [1, 2] step=1
.const norm                         ; epsilon, shift, then gamma and beta of each channel
    .u32 0 0
    .u8 0 0 0 0 0 0 0 0
    .i32 10 1 20 -2
.buffer params 32
.buffer row 4
.buffer normed 2
.layer "norm"
    load dst=params src=norm bytes=32 traffic=params
    load dst=row src=x bytes=4 traffic=inputs signal=vector
    layernorm src=row params=params dst=normed m=1 n=2 src_stride=4 dst_stride=2 wait=load signal=store
    store src=normed dst=y bytes=2 traffic=outputs wait=vector
    halt
