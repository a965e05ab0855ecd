; Two groups of lines take a query each, of two entries and of one: two steps, and not three.
; in v: 0 10 9 -9 10 0
.program "list"
.machine vitcod
.input v i8 [3, 2] step=1
.output y i8 [2, 2] step=1
.const list
    .u16 1 2  0 1
    .u8 0 2  1
.align 4
.const probabilities
    .i8 64 127 127
.align 4
.const sums
    .u32 191 127
.buffer rows 8
.buffer keys 3
.buffer parts 3
.buffer sum 8
.buffer v_rows 6
.buffer out 4
.layer "product" macs=6
    load dst=rows src=list bytes=8 traffic=indices
    load dst=keys src=list+8 bytes=3 traffic=indices
    load dst=parts src=probabilities bytes=3 traffic=params
    load dst=sum src=sums bytes=8 traffic=params
    load dst=v_rows src=v bytes=6 traffic=inputs signal=sparser
    spmm_list engine=sparser list=true lines=0+2 rows=rows keys=keys p=parts sum=sum v=v_rows dst=out m=2 n=3 d=2 heads=1 v_stride=2 dst_stride=2 entries=3 steps=3 scale=1 wait=load signal=store  ; error: operand steps is 3, expected 2 (the busiest group)
    store src=out dst=y bytes=4 traffic=outputs wait=sparser
    halt
