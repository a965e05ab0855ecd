; A product with constants: y = a w^T / 2 + bias / 2.
; in a: 1 2 3 4
; out y: 3 -4 5 -8
.program "matmul"
.machine vitcod lines.count=2
.input a i8 [2, 2] step=1
.output y i8 [2, 2] step=1
.const w
    .i8 1 1
    .i8 -2 -2
.const channels
    .i32 3
    .scale 0.5
    .i32 -2
    .scale 0.5
.buffer a_rows 4
.buffer w_rows 4
.buffer params 24
.buffer y_rows 4
.layer "matmul" macs=8
    load dst=w_rows src=w bytes=4 traffic=weights
    load dst=params src=channels bytes=24 traffic=params
    load dst=a_rows src=a bytes=4 traffic=inputs signal=denser
    matmul engine=denser out=i8 lines=0+2 a=a_rows b=w_rows params=params dst=y_rows m=2 n=2 k=2 a_stride=2 b_stride=2 dst_stride=2 wait=load signal=store
    store src=y_rows dst=y bytes=4 traffic=outputs wait=denser
    halt
