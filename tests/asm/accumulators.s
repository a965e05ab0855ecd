; Sums of 40000 products and of 25535 more: they fit, and not one more.
.program "accumulators"
.machine vitcod
.input x i8 [40000] step=1
.output y i8 [1] step=1
.const channel
    .i32 0
    .scale 1
.buffer row 40000
.buffer params 12
.buffer sum 4
.buffer result 1
.layer "a"
    load dst=params src=channel bytes=12 traffic=params
    load dst=row src=x bytes=40000 traffic=inputs signal=denser
    matmul engine=denser out=i32 lines=0+4 a=row b=row params=params dst=sum m=1 n=1 k=40000 a_stride=1 b_stride=1 dst_stride=4 wait=load signal=denser
    matmul engine=denser out=i32 accumulate=true lines=0+4 a=row b=row acc=sum dst=sum m=1 n=1 k=25535 a_stride=1 b_stride=1 acc_stride=4 dst_stride=4 wait=denser signal=denser
    matmul engine=denser out=i8 accumulate=true lines=0+4 a=row b=row params=params acc=sum dst=result m=1 n=1 k=1 a_stride=1 b_stride=1 acc_stride=4 dst_stride=1 wait=denser signal=store  ; error: sums of 131072 products, expected at most 131071 (a bias counts as 65536, a product with a minifloat as 32)
    store src=result dst=y bytes=1 traffic=outputs wait=denser
    halt
