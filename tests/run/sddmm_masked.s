; Keys 2 and 0 in that order; query 0 keeps the first of them, query 1 the second. What is pruned is the smallest int16 and raises no maximum.
; in q: 1 2 3 -1
; in k: 1 0 0 1 2 2
; out scores: 3 -32768 -32768 2
; out maxima: 3 2
.program "masked sddmm"
.machine vitcod
.input q i8 [2, 2] step=1
.input k i8 [3, 2] step=1
.output scores i16 [2, 2] step=1
.output maxima i16 [2] step=1
.const keys_of_block
    .u16 2 0
.const kept
    .u8 1 2
.buffer queries 4
.buffer keys 6
.buffer index 4
.buffer mask 2
.buffer cells 8
.buffer max 4
.layer "scores" macs=8
    load dst=queries src=q bytes=4 traffic=inputs
    load dst=keys src=k bytes=6 traffic=inputs
    load dst=index src=keys_of_block bytes=4 traffic=indices
    load dst=mask src=kept bytes=2 traffic=indices signal=denser
    sddmm engine=denser fresh=true indexed=true masked=true lines=0+4 q=queries k=keys max=max dst=cells m=2 n=2 d=2 scale=0.5 q_stride=2 k_stride=2 dst_stride=4 index=index mask=mask limit=3 wait=load signal=store
    store src=cells dst=scores bytes=8 traffic=outputs wait=denser
    store src=max dst=maxima bytes=4 traffic=outputs
    halt
