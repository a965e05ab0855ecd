; Rows 2, 0 and 2 of a table of three.
; in table: 1 2 3 4 5 6
; out y: 5 6 1 2 5 6
.program "gather"
.machine vitcod
.input table i8 [3, 2] step=1
.output y i8 [3, 2] step=1
.const order
    .u16 2 0 2
.buffer index 6
.buffer rows 6
.layer "gather"
    load dst=index src=order bytes=6 traffic=indices signal=load
    gather dst=rows src=table bytes=2 rows=3 limit=3 src_stride=2 dst_stride=2 index=index traffic=inputs wait=load signal=store
    store src=rows dst=y bytes=6 traffic=outputs wait=load
    halt
