; DRAM in detail is stated as a whole, and agrees with the channel.
.program "machine"
.machine "vitcod" dram.bytes_per_cycle=76.8 dram.ddr4.clock_mhz=1200 dram.ddr4.channels=4 dram.ddr4.bus_bits=64 dram.ddr4.groups=4 dram.ddr4.banks=4 dram.ddr4.rows=65536 dram.ddr4.row_bytes=8192 dram.ddr4.mapping="row:bank:column:group:channel" dram.ddr4.queue=16 dram.ddr4.t_rcd=17 dram.ddr4.t_rp=17 dram.ddr4.t_ras=39 dram.ddr4.t_cl=17 dram.ddr4.t_cwl=12 dram.ddr4.t_ccd_s=4 dram.ddr4.t_ccd_l=6 dram.ddr4.t_rrd_s=4 dram.ddr4.t_rrd_l=6 dram.ddr4.t_faw=26 dram.ddr4.t_wtr_s=3 dram.ddr4.t_wtr_l=9 dram.ddr4.t_wr=18 dram.ddr4.t_rtp=9 dram.ddr4.t_rfc=420 dram.ddr4.t_refi=9360  ; error: dram.bytes_per_cycle = 76.8: the peak of [dram.ddr4] is 153.6
.layer "a"
    halt
