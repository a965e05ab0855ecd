; What the program verifier finds, at the line of the instruction: `lut` reads what nobody has said is there.
.program "race"
.machine vitcod
.input x i8 [64] step=1
.output y i8 [64] step=1
.buffer rows 64
.buffer table 256
.layer "a"
    load dst=rows src=x bytes=64 traffic=inputs
    lut src=rows table=table dst=rows m=1 n=64 src_stride=64 dst_stride=64 signal=store  ; error: src reads 0x0..0x40 of the scratchpad, which dst of instruction 0 (load) writes; no token orders them; error: table reads 0x40..0x140 of the scratchpad, which was never written; error: dst writes 0x0..0x40 of the scratchpad, which dst of instruction 0 (load) writes; no token orders them
    store src=rows dst=y bytes=64 traffic=outputs wait=vector
    halt
