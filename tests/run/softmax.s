; Probabilities of scores at the maximum, one octave below and two: 127, 63.5 and 31.75, rounded. The maximum is that of both engines.
; in scores: 512 256 0
; in maxima: 256 512
; out p: 127 64 32
; out sum: 223 0
.program "softmax"
.machine vitcod
.input scores i16 [1, 3] step=1
.input maxima i16 [2] step=1
.output p i8 [1, 3] step=1
.output sum i16 [2] step=1
.buffer cells 6
.buffer max 2
.buffer other 2
.buffer total 4
.buffer parts 3
.layer "softmax"
    load dst=cells src=scores bytes=6 traffic=inputs
    load dst=max src=maxima bytes=2 traffic=inputs
    load dst=other src=maxima+2 bytes=2 traffic=inputs signal=denser_softmax
    softmax engine=denser fresh=true both=true src=cells max=max other_max=other sum=total dst=parts m=1 n=3 src_stride=6 dst_stride=3 wait=load signal=store
    store src=parts dst=p bytes=3 traffic=outputs wait=denser_softmax
    store src=total dst=sum bytes=4 traffic=outputs
    halt
