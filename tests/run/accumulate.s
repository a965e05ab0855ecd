; A sum in two halves: 5 + 1 + 2 stays an int32, and with 3 + 4 added it becomes 15 / 2, halves rounded up.
; in a: 1 2 3 4
; out y: 8
.program "accumulate"
.machine vitcod
.input a i8 [1, 4] step=1
.output y i8 [1, 1] step=1
.const ones
    .i8 1 1 1 1
.const channel
    .i32 5
    .scale 0.5
.buffer row 4
.buffer weights 4
.buffer params 12
.buffer sum 4
.buffer result 1
.layer "halves" macs=4
    load dst=weights src=ones bytes=4 traffic=weights
    load dst=params src=channel bytes=12 traffic=params
    load dst=row src=a bytes=4 traffic=inputs signal=denser
    matmul engine=denser out=i32 lines=0+2 a=row b=weights params=params dst=sum m=1 n=1 k=2 a_stride=4 b_stride=4 dst_stride=4 wait=load signal=denser
    matmul engine=denser out=i8 accumulate=true lines=0+2 a=row+2 b=weights+2 params=params acc=sum dst=result m=1 n=1 k=2 a_stride=4 b_stride=4 acc_stride=4 dst_stride=1 wait=denser signal=store
    store src=result dst=y bytes=1 traffic=outputs wait=denser
    halt
