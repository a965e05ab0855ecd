; A list from scores to the product: query 1, which comes first, attends keys 0 and 2, query 0 key 1.
;
; Of two groups of lines, each takes a query. Scores are 256 q k: 768 and 1024 of query 1, an octave apart, and 512 of query 0. Sums are in the order of the list: 64 + 127, and 127.
; in q: 1 2 3 -1
; in k: 1 0 0 1 2 2
; in v: 0 10 9 -9 10 0
; out scores: 768 1024 512
; out maxima: 512 1024
; out p: 64 127 127
; out sums: 191 0 127 0
; out y: 9 -9 7 3
.program "list"
.machine vitcod
.input q i8 [2, 2] step=1
.input k i8 [3, 2] step=1
.input v i8 [3, 2] step=1
.output scores i16 [3] step=1
.output maxima i16 [2] step=1
.output p i8 [3] step=1
.output sums i16 [4] step=1
.output y i8 [2, 2] step=1
.const list
    .u16 1 2
    .u8 0 0
    .u16 0 1
    .u8 0 2
.const tokens
    .u16 2 1 0
    .u8 1 1
    .u16 3 2 2
    .u8 0 0 0x01
    .u8 0 2 0x01
    .u8 0 1 0x04
.buffer rows 12
.buffer steps 23
.buffer q_rows 4
.buffer k_rows 6
.buffer v_rows 6
.buffer cells 6
.buffer max 4
.buffer parts 3
.buffer sum 8
.buffer out 4
.layer "attention" macs=12
    load dst=rows src=list bytes=12 traffic=indices
    load dst=steps src=tokens bytes=23 traffic=indices
    load dst=q_rows src=q bytes=4 traffic=inputs
    load dst=k_rows src=k bytes=6 traffic=inputs
    load dst=v_rows src=v bytes=6 traffic=inputs signal=sparser
    sddmm_list engine=sparser lines=0+2 rows=rows tokens=steps q=q_rows k=k_rows max=max dst=cells m=2 n=3 d=2 heads=1 q_stride=2 k_stride=2 queries=2 token_bytes=23 entries=3 cycles=50 scale=256 wait=load signal=sparser_softmax
    softmax_list engine=sparser rows=rows src=cells max=max sum=sum dst=parts m=2 heads=1 queries=2 entries=3 cycles=150 wait=sparser signal=sparser
    spmm_list engine=sparser lines=0+2 rows=rows tokens=steps p=parts sum=sum v=v_rows dst=out m=2 n=3 d=2 heads=1 v_stride=2 dst_stride=2 queries=2 token_bytes=23 entries=3 cycles=100 scale=1 wait=sparser_softmax signal=store
    store src=cells dst=scores bytes=6 traffic=outputs wait=sparser
    store src=max dst=maxima bytes=4 traffic=outputs
    store src=parts dst=p bytes=3 traffic=outputs
    store src=sum dst=sums bytes=8 traffic=outputs
    store src=out dst=y bytes=4 traffic=outputs
    halt
