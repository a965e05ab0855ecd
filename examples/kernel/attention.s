; One head of sparse attention, 8 tokens of 16 features, on both engines. README.md explains it line by line.
;
; Every query attends to token 0 (a dense block of one column) and to its neighbours and itself (a list of 20 entries).

.program "sparse attention head"
.machine vitcod

.set count 8
.set features 16
.set entries 20
.set to_log2 0.022542110013890054   ; (1/64)^2 / sqrt(16) * log2(e) * 256

.input q i8 [8, 16] step=0.015625
.input k i8 [8, 16] step=0.015625
.input v i8 [8, 16] step=0.015625
.output y i8 [8, 16] step=0.015625

; Constants: the list.
.const list_rows                    ; query, entries; head, context
    .u16 0 1
    .u8 0 0
    .u16 1 2
    .u8 0 1
    .u16 2 3
    .u8 0 2
    .u16 3 3
    .u8 0 3
    .u16 4 3
    .u8 0 4
    .u16 5 3
    .u8 0 5
    .u16 6 3
    .u8 0 6
    .u16 7 2
    .u8 0 7
.const list_tokens
    .u16 8 6 0                      ; segment 0: tokens, cycles of scores and of products
    .u8  1 1 1 1 1 1 1 1            ; each query takes its context
    .u16 7 5 5                      ; segment 1
    .u8  0 1 0x07                   ; the row of key 1, for queries 0 to 2
    .u8  0 2 0x0e
    .u8  0 3 0x1c
    .u8  0 4 0x38
    .u8  0 5 0x70
    .u8  0 6 0xe0
    .u8  0 7 0xc0

; The scratchpad.
.buffer rows 48
.buffer tokens 41
.buffer q_rows 128
.buffer k_rows 128
.buffer v_rows 128
.buffer block_scores 16
.buffer block_max 16
.buffer block_p 8
.buffer block_sum 32
.buffer block_acc 512
.buffer list_scores 40
.buffer list_max 16
.buffer list_p 20
.buffer list_sum 32
.buffer y_rows 128

.layer "load" operation="load"
    load dst=rows src=list_rows bytes=48 traffic=indices
    load dst=tokens src=list_tokens bytes=41 traffic=indices
    load dst=q_rows src=q bytes=128 traffic=inputs
    load dst=k_rows src=k bytes=128 traffic=inputs signal=denser|sparser
    load dst=v_rows src=v bytes=128 traffic=inputs signal=denser|sparser

.layer "scores" operation="sddmm" macs=448
    sddmm engine=denser fresh=true lines=0+16 q=q_rows k=k_rows max=block_max dst=block_scores m=count n=1 d=features scale=to_log2 q_stride=16 k_stride=16 dst_stride=2 wait=load signal=denser_softmax|sparser_softmax
    sddmm_list engine=sparser lines=16+8 rows=rows tokens=tokens q=q_rows k=k_rows max=list_max dst=list_scores m=count n=count d=features heads=1 q_stride=16 k_stride=16 queries=count token_bytes=41 entries=entries cycles=50 scale=to_log2 wait=load signal=denser_softmax|sparser_softmax

.layer "softmax" operation="softmax"
    softmax engine=denser fresh=true both=true src=block_scores max=block_max other_max=list_max sum=block_sum dst=block_p m=count n=1 src_stride=2 dst_stride=1 wait=denser|sparser signal=denser|sparser
    softmax_list engine=sparser both=true rows=rows src=list_scores max=list_max other_max=block_max sum=list_sum dst=list_p m=count heads=1 queries=count entries=entries cycles=200 wait=denser|sparser signal=sparser

.layer "product" operation="spmm" macs=448
    spmm engine=denser out=i32 lines=0+16 p=block_p v=v_rows dst=block_acc m=count n=1 d=features scale=1 p_stride=1 v_stride=16 dst_stride=64 wait=load|denser_softmax signal=sparser
    spmm_list engine=sparser accumulate=true lines=16+8 rows=rows tokens=tokens p=list_p sum=list_sum block_sum=block_sum acc=block_acc v=v_rows dst=y_rows m=count n=count d=features heads=1 v_stride=16 dst_stride=16 acc_stride=64 queries=count token_bytes=41 entries=entries cycles=150 scale=1 wait=load|denser|denser_softmax|sparser_softmax signal=store

.layer "store" operation="store"
    store src=y_rows dst=y bytes=128 traffic=outputs wait=sparser
    halt
