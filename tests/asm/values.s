; Values that do not fit.
.program "values"
.machine vitcod
.set n 70000
.buffer left 64
.input x i8 [4] step=nan  ; error: expected a finite number
.const table
    .i8 1 128  ; error: expected an integer from -128 to 127
    .hex 012  ; error: expected an even number of hexadecimal digits
    .align 3  ; error: expected a power of two up to 64
.buffer left 64  ; error: `left` is already defined
.layer "a"
    lut src=left+64 table=left dst=left m=1 n=1 src_stride=1 dst_stride=1  ; error: `left` has only 64 bytes
    lut src=left table=sram:0x1000000 dst=table m=1 n=n src_stride=1 dst_stride=1  ; error: `table`: expected a place in the scratchpad, as `sram:0x40` or `buffer+16`, found `sram:0x1000000`; error: `dst`: expected a place in the scratchpad, as `sram:0x40` or `buffer+16`, found `table`; error: `n`: expected count, found `n`
    lut src=left src=left table=left dst=left m=1 n=1 src_stride=1 dst_stride=1  ; error: `src` is given twice
