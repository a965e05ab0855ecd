; A rescaled add of two tensors: y = (3 a + b) / 2, halves rounded up, saturated.
; in a: 1 2 -3 32767
; in b: 0 -1 4 5
; out y: 2 3 -2 32767
.program "add"
.machine vitcod
.input a i16 [4] step=1
.input b i16 [4] step=1
.output y i16 [4] step=1
.buffer left 8
.buffer right 8
.layer "add"
    load dst=left src=a bytes=8 traffic=inputs
    load dst=right src=b bytes=8 traffic=inputs signal=vector
    add a=left b=right dst=left m=1 n=4 a_scale=3 b_scale=1 shift=1 a_stride=8 b_stride=8 dst_stride=8 wait=load signal=store
    store src=left dst=y bytes=8 traffic=outputs wait=vector
    halt
