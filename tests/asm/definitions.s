; Definitions with mistakes. What they would have defined is not missed where it is used, and what is misspelt not where it should be.
.program "definitions" darm=64  ; error: `.program` takes no `darm=`
.machine vitcod
.input x i9 [8] stpe=1  ; error: expected `i8`, `i16`, `row` or `bits`; error: `.input` takes no `stpe=`
.output y i8 [8] stpe=1  ; error: `.output` takes no `stpe=`
.bufer rows 8  ; error: no directive `.bufer`
.set count eight
.layer "a" operatoin="add" nods=[a]  ; error: `.layer` takes no `operatoin=`; error: `.layer` takes no `nods=`
    load dst=rows src=x bytes=8 trafic=inputs  ; error: `load` has no operand `trafic`
    store src=rows dst=y bytes=8 traffic=outputs lines=0+4  ; error: `store` has no operand `lines`
    load dst=rows src=x bytes=count traffic=inputs  ; error: `bytes`: expected number of bytes, found `count`
    encode src=rows params=rows dst=rows m=1 d=1 heads_in=1 heads_out=1 src_stride=1 dst_stride=1 lines=0-4  ; error: `lines`: expected MAC lines, as `16+48`: the first and how many, none beyond line 255, found `0-4`
    halt
