; Misspelt mnemonics, operands, directives, units and names; one mistake hides no other.
.program "mistakes"
.machin vitcod  ; error: no directive `.machin`
.machine vitcodd  ; error: no machine `vitcodd`
.buffer left 64
.layer "a" operatoin="add"  ; error: `.layer` takes no `operatoin=`
    laod dst=left  ; error: no instruction `laod`
    load dst=lef src=dram:0x0 bytes=1 traffic=weigths signal=vectr  ; error: `dst`: expected a place in the scratchpad, as `sram:0x40` or `buffer+16`, found `lef`; error: `traffic`: expected one of weights, params, indices, inputs, outputs, activations, found `weigths`; error: `signal`: expected units, as `load|vector`: load, store, denser, sparser, encoder, decoder, denser_softmax, sparser_softmax, vector, found `vectr`
    load dst=left scr=dram:0x0 bytes=1 traffic=weights  ; error: `load` has no operand `scr`
    halt now  ; error: expected `operand=value`
