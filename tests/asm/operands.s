; Operands that are misaligned, overlap, or lie where nothing may be written.
.program "operands" dram=64
.machine vitcod
.const words
    .u32 0 0
.layer "a"
    add a=sram:0x1 b=sram:0x40 dst=sram:0x80 m=2 n=4 a_scale=1 b_scale=1 shift=0 a_stride=8 b_stride=9 dst_stride=8  ; error: a starts at 0x1, expected a multiple of 2; error: b has a stride of 9, expected a multiple of 2
    lut src=sram:0x0 table=sram:0x40 dst=sram:0x3f m=2 n=4 src_stride=4 dst_stride=3  ; error: dst has rows that overlap
    lut src=sram:0x0 table=sram:0x40 dst=sram:0x2 m=1 n=4 src_stride=4 dst_stride=4  ; error: src overlaps dst
    store src=sram:0x0 dst=words bytes=8 traffic=outputs  ; error: dst starts at 0x0, inside the image
    gather dst=sram:0x0 src=words bytes=4 rows=2 limit=0 src_stride=4 dst_stride=4 index=sram:0x40 traffic=params  ; error: src is empty: a count is 0
    halt
