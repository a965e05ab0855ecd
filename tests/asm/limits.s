; What a machine has not: lines, and room in its sums.
.program "limits"
.machine vitcod sram.bytes=1048576
.layer "a"
    matmul engine=denser out=i8 lines=60+5 a=sram:0x0 b=sram:0x40 params=sram:0x80 dst=sram:0xc0 m=1 n=1 k=1 a_stride=1 b_stride=1 dst_stride=1  ; error: lines 60+5 on a machine of 64
    matmul engine=denser out=i8 lines=0+4 a=sram:0x0 b=sram:0x0 params=sram:0x40000 dst=sram:0x40010 m=1 n=1 k=65535 a_stride=1 b_stride=1 dst_stride=1 more_runs=2 run_stride=65535  ; error: sums of 196605 products, expected at most
    layernorm src=sram:0x0 params=sram:0x10000 dst=sram:0x30000 m=1 n=8193 src_stride=16386 dst_stride=8193  ; error: rows of 8193 elements, expected at most 8192
    spmm_list engine=sparser lines=0+2 rows=sram:0x0 tokens=sram:0x80 p=sram:0x100 sum=sram:0x180 v=sram:0x200 dst=sram:0x800 m=2 n=3 d=1 heads=257 v_stride=257 dst_stride=257 queries=2 token_bytes=9 entries=1 cycles=2 scale=1  ; error: a list of 257 heads, expected at most 256
    halt
