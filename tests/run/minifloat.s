; Attention of one query over three keys with minifloats, in units of half an octave (2^7 of 1/256).
;
; The maximum, 3, is 1.5 octaves, below octave 2. Scores 2, 1 and 3 are 1, 1.5 and 0.5 octaves below that: 4096 / 2 = 2048 is 32 * 64,
; with exponent 7 and mantissa 0 (byte 224, or -32); 1448.2 is next to 45 * 32, byte 205 or -51; 2896.3 is next to 45 * 64, byte 237
; or -19. The result is (2048 * 10 - 1440 * 20 + 2880 * 30) / 6368 = 12.3.
; in scores: 2 1 3
; in v: 10 -20 30
; out p: -32 -51 -19
; out sum: 6368 0
; out y: 12
.program "minifloat"
.machine vitcod
.input scores i16 [1, 3] step=1
.input v i8 [3, 1] step=1
.output p i8 [1, 3] step=1
.output sum i16 [2] step=1
.output y i8 [1, 1] step=1
.const top
    .i16 3
.buffer cells 6
.buffer max 2
.buffer values 3
.buffer total 4
.buffer parts 3
.buffer result 1
.layer "attention" macs=3
    load dst=cells src=scores bytes=6 traffic=inputs
    load dst=max src=top bytes=2 traffic=params
    load dst=values src=v bytes=3 traffic=inputs signal=denser_softmax
    softmax engine=denser fresh=true minifloat=true shift=7 src=cells max=max sum=total dst=parts m=1 n=3 src_stride=6 dst_stride=3 wait=load signal=denser|store
    spmm engine=denser out=i8 minifloat=true lines=0+1 p=parts sum=total v=values dst=result m=1 n=3 d=1 scale=1 p_stride=3 v_stride=1 dst_stride=1 wait=denser_softmax signal=store
    store src=parts dst=p bytes=3 traffic=outputs wait=denser_softmax
    store src=total dst=sum bytes=4 traffic=outputs
    store src=result dst=y bytes=1 traffic=outputs wait=denser
    halt
