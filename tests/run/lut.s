; A table whose entry i is 255 - i: every x becomes -1 - x. An index is an unsigned byte, so -1 is entry 255.
; in x: 0 1 -1 -128 127
; out y: -1 -2 0 127 -128
.program "lut"
.machine vitcod
.input x i8 [1, 5] step=1
.output y i8 [1, 5] step=1
.const complement
    .hex fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0
    .hex dfdedddcdbdad9d8d7d6d5d4d3d2d1d0cfcecdcccbcac9c8c7c6c5c4c3c2c1c0
    .hex bfbebdbcbbbab9b8b7b6b5b4b3b2b1b0afaeadacabaaa9a8a7a6a5a4a3a2a1a0
    .hex 9f9e9d9c9b9a999897969594939291908f8e8d8c8b8a89888786858483828180
    .hex 7f7e7d7c7b7a797877767574737271706f6e6d6c6b6a69686766656463626160
    .hex 5f5e5d5c5b5a595857565554535251504f4e4d4c4b4a49484746454443424140
    .hex 3f3e3d3c3b3a393837363534333231302f2e2d2c2b2a29282726252423222120
    .hex 1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100
.buffer table 256
.buffer row 5
.layer "lut"
    load dst=table src=complement bytes=256 traffic=params
    load dst=row src=x bytes=5 traffic=inputs signal=vector
    lut src=row table=table dst=row m=1 n=5 src_stride=5 dst_stride=5 wait=load signal=store
    store src=row dst=y bytes=5 traffic=outputs wait=vector
    halt
