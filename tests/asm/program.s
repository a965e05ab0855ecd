; Everything that a program can hold; what is left out has its value in the listing.
.program "all"
.machine vitcod lines.count=32 name="half"
.input "x 1" i8 [1, 3] step=0.125
.output y i16 [2] step=1e-3
.set one 1
.const table
    .i8 -1 2
    .align 4
    .scale 0.5
.ir
    .hex 7b7d
.decision layer=a subject="global tokens" chosen="0" reason="\"quoted\"\n"
.layer a operation=lut macs=3 bytes=4 nodes=["/a", b]
    load dst=sram:0x40 src=table+1 bytes=one traffic=params signal=store
.layer b
    store src=sram:0x40 dst=y+3 bytes=1 traffic=outputs wait=load
    store src=sram:0x40 dst=y bytes=1 inner=3 dst_inner_stride=1 traffic=outputs
.in 0
    barrier # both signs start a comment
    halt
.layer c
