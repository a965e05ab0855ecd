; What a flag switches off may be left out, and nothing else.
.program "left out"
.machine vitcod
.layer "a"
    matmul engine=denser out=i8 lines=0+4 a=sram:0x0 b=sram:0x40 params=sram:0x80 dst=sram:0xc0 m=1 n=1 k=1 a_stride=1 b_stride=1 dst_stride=1
    matmul engine=denser out=i8 accumulate=true lines=0+4 a=sram:0x0 b=sram:0x40 params=sram:0x80 dst=sram:0xc0 m=1 n=1 k=1 a_stride=1 b_stride=1 dst_stride=1  ; error: `matmul` needs `acc` here
    matmul engine=denser  ; error: `matmul` lacks `out`, `lines`, `a`, `b`, `dst`, `m`, `n`, `k`, `a_stride`, `b_stride`, `dst_stride`
    halt
