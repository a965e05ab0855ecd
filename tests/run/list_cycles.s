; Two groups of lines take a query each, of two entries and of one. The instruction states other cycles, which only the
; machine finds out, because the tokens are an input.
; in steps: 2 0 1 0 0 0 1 1  3 0 2 0 2 0  0 0 1  0 2 1  0 1 4
; in v: 0 10 9 -9 10 0
.program "list"
.machine vitcod
.input steps i8 [1, 23] step=1
.input v i8 [3, 2] step=1
.output y i8 [2, 2] step=1
.const list
    .u16 1 2
    .u8 0 0
    .u16 0 1
    .u8 0 2
.align 4
.const probabilities
    .i8 64 127 127
.align 4
.const sums
    .u32 191 127
.buffer rows 12
.buffer tokens 23
.buffer parts 3
.buffer sum 8
.buffer v_rows 6
.buffer out 4
.layer "product" macs=6
    load dst=rows src=list bytes=12 traffic=indices
    load dst=tokens src=steps bytes=23 traffic=inputs
    load dst=parts src=probabilities bytes=3 traffic=params
    load dst=sum src=sums bytes=8 traffic=params
    load dst=v_rows src=v bytes=6 traffic=inputs signal=sparser
    spmm_list engine=sparser lines=0+2 rows=rows tokens=tokens p=parts sum=sum v=v_rows dst=out m=2 n=3 d=2 heads=1 v_stride=2 dst_stride=2 queries=2 token_bytes=23 entries=3 cycles=1 scale=1 wait=load signal=store  ; error: operand cycles is 1, expected 100
    store src=out dst=y bytes=4 traffic=outputs wait=sparser
    halt
