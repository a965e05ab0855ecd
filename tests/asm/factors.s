; Factors of the channels of images.
.program "factors" dram=512
.machine vitcod
.input good i8 [1, 2, 2, 2] step=0.5 factors=[1, 0.25] at=dram:0x0 layout=pixels
.input rows i8 [2, 2, 2] step=0.5 factors=[1, 0.25] at=dram:0x40  ; error: factors or offsets of channels, expected an image with layout pixels, or [1, h, w, c]
.input few i8 [1, 2, 2, 2] step=0.5 factors=[1] at=dram:0x80 layout=pixels  ; error: 1 factors for 2 channels
.input zero i8 [1, 2, 2, 2] step=0.5 factors=[1, 0] at=dram:0xc0 layout=pixels  ; error: the factor 0 is not positive and finite
.input last i8 [1, 2, 2, 2] step=0.5 factors=[1, 0.25] offsets=[-1, 2.5] at=dram:0x140
.input many i8 [1, 2, 2, 2] step=0.5 offsets=[0, 1, 2] at=dram:0x180 layout=pixels  ; error: 3 offsets for 2 channels
.output y i8 [1, 2] step=1 factors=[1, 2] at=dram:0x100  ; error: an output has no factors and offsets of channels; error: factors or offsets of channels, expected an image with layout pixels, or [1, h, w, c]
.layer "a"
    halt
