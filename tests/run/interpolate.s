; A table that is 0 below 0 and x / 256 from there on, with 8 fraction bits. Between -256 and 0 it is a line of zeros; 128 is halfway
; between the values 0 and 1, and a half is rounded up. Results saturate at 127.
; in x: -32768 -1 0 127 128 384 32767
; out y: 0 0 0 0 1 2 127
.program "interpolate"
.machine vitcod
.input x i16 [1, 7] step=1
.output y i8 [1, 7] step=1
.const ramp
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    .i16 0 256 512 768 1024 1280 1536 1792 2048 2304 2560 2816 3072 3328 3584 3840
    .i16 4096 4352 4608 4864 5120 5376 5632 5888 6144 6400 6656 6912 7168 7424 7680 7936
    .i16 8192 8448 8704 8960 9216 9472 9728 9984 10240 10496 10752 11008 11264 11520 11776 12032
    .i16 12288 12544 12800 13056 13312 13568 13824 14080 14336 14592 14848 15104 15360 15616 15872 16128
    .i16 16384 16640 16896 17152 17408 17664 17920 18176 18432 18688 18944 19200 19456 19712 19968 20224
    .i16 20480 20736 20992 21248 21504 21760 22016 22272 22528 22784 23040 23296 23552 23808 24064 24320
    .i16 24576 24832 25088 25344 25600 25856 26112 26368 26624 26880 27136 27392 27648 27904 28160 28416
    .i16 28672 28928 29184 29440 29696 29952 30208 30464 30720 30976 31232 31488 31744 32000 32256 32512
    .i16 32767
.buffer table 514
.buffer row 14
.buffer results 7
.layer "interpolate"
    load dst=table src=ramp bytes=514 traffic=params
    load dst=row src=x bytes=14 traffic=inputs signal=vector
    interpolate src=row table=table dst=results m=1 n=7 src_stride=14 dst_stride=7 wait=load signal=store
    store src=results dst=y bytes=7 traffic=outputs wait=vector
    halt
