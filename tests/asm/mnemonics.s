; Misspelt mnemonics, operands, directives, units and names; one mistake hides no other.
.program "mistakes"
.machin vitcod  ; error: no directive `.machin`
.machine vitcodd  ; error: no machine `vitcodd`
.buffer left 64
.layer "a" operatoin="add"  ; error: `.layer` takes no `operatoin=`
    laod dst=left  ; error: no instruction `laod`
    load dst=lef src=dram:0x0 bytes=1 traffic=weigths signal=vectr  ; error: `dst`: expected scratchpad byte address, found `lef`; error: `traffic`: expected choice, from 0: weights params indices inputs outputs activations, found `weigths`; error: `signal`: expected set of units, found `vectr`
    load dst=left scr=dram:0x0 bytes=1 traffic=weights  ; error: `load` lacks `src`; error: `load` has no operand `scr`
    halt now  ; error: expected `operand=value`
