; One head of sparse attention, 8 tokens of 16 features, on both engines. README.md explains it line by line.
;
; Every query attends to token 0 (a dense block of one column) and to its neighbours and itself (a list of 20 entries).

.program "sparse attention head"
.machine vitcod

.set tokens 8
.set features 16
.set entries 20
.set to_log2 0.022542110013890054   ; (1/64)^2 / sqrt(16) * log2(e) * 256

.input q i8 [8, 16] step=0.015625
.input k i8 [8, 16] step=0.015625
.input v i8 [8, 16] step=0.015625
.output y i8 [8, 16] step=0.015625

; Constants: the list and the block's key.
.const list_rows                    ; query, entries
    .u16 0 1  1 2  2 3  3 3  4 3  5 3  6 3  7 2
.const list_keys
    .u8  1
    .u8  1 2
    .u8  1 2 3
    .u8  2 3 4
    .u8  3 4 5
    .u8  4 5 6
    .u8  5 6 7
    .u8  6 7
.const block                        ; columns of the head, then their keys
    .u16 1  0

; The scratchpad.
.buffer rows 32
.buffer keys 20
.buffer block_keys 4
.buffer q_rows 128
.buffer k_rows 128
.buffer v_rows 128
.buffer block_scores 16
.buffer block_max 16
.buffer block_p 8
.buffer block_sum 32
.buffer list_scores 40
.buffer list_max 16
.buffer list_p 20
.buffer list_sum 32
.buffer y_rows 128

.layer "load" operation="load"
    load dst=rows src=list_rows bytes=32 traffic=indices
    load dst=keys src=list_keys bytes=20 traffic=indices
    load dst=block_keys src=block bytes=4 traffic=indices
    load dst=q_rows src=q bytes=128 traffic=inputs
    load dst=k_rows src=k bytes=128 traffic=inputs signal=denser|sparser
    load dst=v_rows src=v bytes=128 traffic=inputs signal=sparser

.layer "scores" operation="sddmm" macs=448
    sddmm engine=denser fresh=true lines=0+16 q=q_rows k=k_rows max=block_max dst=block_scores m=tokens n=1 d=features scale=to_log2 q_stride=16 k_stride=16 dst_stride=2 wait=load signal=denser_softmax|sparser_softmax
    sddmm_list engine=sparser lines=16+48 rows=rows keys=keys q=q_rows k=k_rows max=list_max dst=list_scores m=tokens n=tokens d=features heads=1 q_stride=16 k_stride=16 entries=entries scale=to_log2 wait=load signal=denser_softmax|sparser_softmax

.layer "softmax" operation="softmax"
    softmax engine=denser fresh=true both=true src=block_scores max=block_max other_max=list_max sum=block_sum dst=block_p m=tokens n=1 src_stride=2 dst_stride=1 wait=denser|sparser signal=sparser
    softmax_list engine=sparser both=true rows=rows src=list_scores max=list_max other_max=block_max sum=list_sum dst=list_p count=tokens queries=tokens entries=entries wait=denser|sparser signal=sparser

.layer "product" operation="spmm" macs=448
    spmm_list engine=sparser list=true block=true lines=16+48 rows=rows keys=keys p=list_p sum=list_sum block_keys=block_keys block_p=block_p block_sum=block_sum v=v_rows dst=y_rows m=tokens n=tokens d=features heads=1 columns=1 v_stride=16 dst_stride=16 entries=entries steps=4 scale=1 wait=load|denser_softmax|sparser_softmax signal=store

.layer "store" operation="store"
    store src=y_rows dst=y bytes=128 traffic=outputs wait=sparser
    halt
