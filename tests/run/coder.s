; Two heads of two features become one, (1 h0 + 2 h1 + 1) / 2, and two again: 2 z, and 3 - z.
; in x: 1 2 3 4
; out z: 4 6
; out y: 8 12 -1 -3
.program "coder"
.machine vitcod
.input x i8 [1, 4] step=1
.output z i8 [1, 2] step=1
.output y i8 [1, 4] step=1
.const encoder                      ; weights, padded; bias and scale of each head that is written
    .i8 1 2 0 0
    .i32 1
    .scale 0.5
.const decoder
    .i8 2 -1 0 0
    .i32 0
    .scale 1
    .i32 3
    .scale 1
.buffer params 16
.buffer more_params 28
.buffer heads 4
.buffer compressed 2
.layer "encode" macs=4
    load dst=params src=encoder bytes=16 traffic=params
    load dst=heads src=x bytes=4 traffic=inputs signal=encoder
    load dst=more_params src=decoder bytes=28 traffic=params signal=decoder
    encode lines=0+1 src=heads params=params dst=compressed m=1 d=2 heads_in=2 heads_out=1 src_stride=4 dst_stride=2 wait=load signal=decoder|store
.layer "decode" macs=4
    decode lines=1+1 src=compressed params=more_params dst=heads m=1 d=2 heads_in=1 heads_out=2 src_stride=2 dst_stride=4 wait=load|encoder signal=store
    store src=compressed dst=z bytes=2 traffic=outputs wait=encoder
    store src=heads dst=y bytes=4 traffic=outputs wait=decoder
    halt
