; A unit that computes nothing passes a token on, and after a barrier nobody needs one.
; in x: 1 2 3 4
; out y: 1 2 3 4
; out z: 3 4 1 2
.program "order"
.machine vitcod
.input x i8 [4] step=1
.output y i8 [4] step=1
.output z i8 [4] step=1
.buffer row 4
.layer "order"
    load dst=row src=x bytes=4 traffic=inputs signal=vector
    sync unit=vector wait=load signal=store
    store src=row dst=y bytes=4 traffic=outputs wait=vector
    barrier
    load dst=row+2 src=y bytes=2 traffic=inputs
    load dst=row src=y+2 bytes=2 traffic=inputs
    barrier
    store src=row dst=z bytes=4 traffic=outputs
    halt
