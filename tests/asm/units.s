; A machine need not have every unit.
.program "units"
.machine vitcod softmax.minifloat=false vector.interpolation=false
.buffer scores 2
.buffer max 2
.buffer sum 4
.buffer p 1
.buffer table 514
.layer "a"
    softmax engine=denser fresh=true minifloat=true src=scores max=max sum=sum dst=p m=1 n=1 src_stride=2 dst_stride=1  ; error: the machine has no minifloats (softmax.minifloat)
    spmm engine=denser out=i8 minifloat=true lines=0+1 p=p sum=sum v=p dst=max m=1 n=1 d=1 scale=1 p_stride=1 v_stride=1 dst_stride=1  ; error: the machine has no minifloats (softmax.minifloat)
    interpolate src=scores table=table dst=p m=1 n=1 src_stride=2 dst_stride=1  ; error: the machine has no interpolation (vector.interpolation)
    halt
