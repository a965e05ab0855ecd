; The mean of two values, with the weights that probabilities are of their sum.
; in p: 100 100
; in total: 200 0
; in v: 10 -3 4 5
; out y: 7 1
.program "spmm"
.machine vitcod
.input p i8 [1, 2] step=1
.input total i16 [2] step=1
.input v i8 [2, 2] step=1
.output y i8 [1, 2] step=1
.buffer parts 2
.buffer sum 4
.buffer values 4
.buffer row 2
.layer "product" macs=4
    load dst=parts src=p bytes=2 traffic=inputs
    load dst=sum src=total bytes=4 traffic=inputs
    load dst=values src=v bytes=4 traffic=inputs signal=denser
    spmm engine=denser out=i8 lines=0+4 p=parts sum=sum v=values dst=row m=1 n=2 d=2 scale=1 p_stride=2 v_stride=2 dst_stride=2 wait=load signal=store
    store src=row dst=y bytes=2 traffic=outputs wait=denser
    halt
