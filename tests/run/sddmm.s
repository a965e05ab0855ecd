; Scores of two queries and three keys, half of the products, halves rounded up; and the rows' maxima.
; in q: 1 2 3 -1
; in k: 1 0 0 1 2 2
; out scores: 1 1 3 2 0 2
; out maxima: 3 2
.program "sddmm"
.machine vitcod
.input q i8 [2, 2] step=1
.input k i8 [3, 2] step=1
.output scores i16 [2, 3] step=1
.output maxima i16 [2] step=1
.buffer queries 4
.buffer keys 6
.buffer cells 12
.buffer max 4
.layer "scores" macs=12
    load dst=queries src=q bytes=4 traffic=inputs
    load dst=keys src=k bytes=6 traffic=inputs signal=denser
    sddmm engine=denser fresh=true lines=0+4 q=queries k=keys max=max dst=cells m=2 n=3 d=2 scale=0.5 q_stride=2 k_stride=2 dst_stride=6 wait=load signal=store
    store src=cells dst=scores bytes=12 traffic=outputs wait=denser
    store src=max dst=maxima bytes=4 traffic=outputs
    halt
