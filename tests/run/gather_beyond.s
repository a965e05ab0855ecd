; An index of a row that the table does not have stops the machine.
; in table: 1 2 3 4 5 6
.program "gather"
.machine vitcod
.input table i8 [3, 2] step=1
.output y i8 [3, 2] step=1
.const order
    .u16 2 3 2
.buffer index 6
.buffer rows 6
.layer "gather"
    load dst=index src=order bytes=6 traffic=indices signal=load
    gather dst=rows src=table bytes=2 rows=3 limit=3 src_stride=2 dst_stride=2 index=index traffic=inputs wait=load signal=store  ; error: operand index has index 3 at position 1, expected less than 3
    store src=rows dst=y bytes=6 traffic=outputs wait=load
    halt
