; What the checks before a run find, at its line.
.program "checks" dram=64
.machine vitcod
.output y i8 [128] step=1 at=dram:0x0  ; error: shape [128] exceeds the 64 bytes of DRAM
.layer "a"
    load dst=sram:0x50000 src=dram:0x0 bytes=1 traffic=weights  ; error: dst ends at 0x50001; the scratchpad has 0x50000 bytes
    lut src=sram:0x0 table=sram:0x100 dst=sram:0x0 m=0 n=1 src_stride=1 dst_stride=1  ; error: src is empty: a count is 0; error: dst is empty: a count is 0
    halt
