; Windows of two pixels by two, side by side on a map of three by three: 1 + 2 2 + 4 4 + 8 5, and one pixel further.
; in map: 1 2 3 4 5 6 7 8 9
; out y: 61 76
.program "window"
.machine vitcod
.input map i8 [3, 3] step=1
.output y i8 [2, 1] step=1
.const kernel
    .i8 1 2 4 8
.const channel
    .i32 0
    .scale 1
.buffer pixels 9
.buffer weights 4
.buffer params 12
.buffer result 2
.layer "windows" macs=8
    load dst=weights src=kernel bytes=4 traffic=weights
    load dst=params src=channel bytes=12 traffic=params
    load dst=pixels src=map bytes=9 traffic=inputs signal=denser
    matmul engine=denser out=i8 lines=0+2 a=pixels b=weights params=params dst=result m=2 n=1 k=2 a_stride=1 b_stride=4 dst_stride=1 more_runs=1 run_stride=3 wait=load signal=store
    store src=result dst=y bytes=2 traffic=outputs wait=denser
    halt
