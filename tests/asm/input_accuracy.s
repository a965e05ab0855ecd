; Only an output has an expected accuracy.
.program "input" dram=256
.machine vitcod
.input x i8 [64] step=1 at=dram:0x40 expected_sqnr_db=20  ; error: `.input` takes no `expected_sqnr_db=`
.layer "a"
    halt
