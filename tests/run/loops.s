; The loops of a transfer: of two matrices of two rows of three, the middle column, turned.
; in x: 1 2 3 4 5 6 7 8 9 10 11 12
; out y: 2 8 5 11
.program "loops"
.machine vitcod
.input x i8 [2, 2, 3] step=1
.output y i8 [2, 2] step=1
.buffer picked 4
.layer "pick"
    load dst=picked src=x+1 bytes=1 inner=2 outer=2 src_inner_stride=3 src_outer_stride=6 dst_inner_stride=2 dst_outer_stride=1 traffic=inputs signal=store
    store src=picked dst=y bytes=4 traffic=outputs wait=load
    halt
