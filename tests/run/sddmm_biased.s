; A bias is added to rounded scores; no score becomes the smallest int16, which stands for what is pruned.
; in q: 1 2 3 -1
; in k: 1 0 0 1 2 2
; in b: 100 -5 0 0 -32768 7
; out scores: 101 -4 3 2 -32767 9
; out maxima: 101 9
.program "biased sddmm"
.machine vitcod
.input q i8 [2, 2] step=1
.input k i8 [3, 2] step=1
.input b i16 [2, 3] step=1
.output scores i16 [2, 3] step=1
.output maxima i16 [2] step=1
.buffer queries 4
.buffer keys 6
.buffer bias 12
.buffer cells 12
.buffer max 4
.layer "scores" macs=12
    load dst=queries src=q bytes=4 traffic=inputs
    load dst=keys src=k bytes=6 traffic=inputs
    load dst=bias src=b bytes=12 traffic=inputs signal=denser
    sddmm engine=denser fresh=true biased=true lines=0+4 q=queries k=keys max=max dst=cells m=2 n=3 d=2 scale=0.5 q_stride=2 k_stride=2 dst_stride=6 bias=bias wait=load signal=store
    store src=cells dst=scores bytes=12 traffic=outputs wait=denser
    store src=max dst=maxima bytes=4 traffic=outputs
    halt
