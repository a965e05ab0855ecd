; Inputs and outputs that share a name or bytes, or stand for nothing.
.program "bindings" dram=512
.machine vitcod
.input x i8 [64] step=1 at=dram:0x40
.input x i8 [64] step=-1 at=dram:0x80  ; error: the name is used twice; error: the step -1 is not positive and finite; error: overlaps binding "y"
.output y i8 [64] step=1 at=dram:0x60  ; error: overlaps binding "x"
.output z i8 [8, 8] step=1 at=dram:0xc0 layout=pixels  ; error: layout pixels with shape [8, 8], expected an image [1, c, h, w] or [1, c, n]
.output w i8 [64] step=1 at=dram:0x100 expected_sqnr_db=201  ; error: an expected accuracy of 2.01e2 dB, expected -200 to 200
.layer "a"
    halt
