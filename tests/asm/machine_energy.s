; Energies may be left out as a whole, but not in part.
.program "machine"
.machine name="mine" clock_mhz=500 lines.count=64 lines.macs=8 lines.port_bytes=8 lines.fill_cycles=12 sram.bytes=327680 dram.bytes_per_cycle=153.6 dram.latency_cycles=50 dram.burst_bytes=64 softmax.scores_per_cycle=8 softmax.fill_cycles=8 softmax.minifloat=true vector.elements_per_cycle=16 vector.fill_cycles=8 energy.mac_pj=0.1 energy.element_pj=0 energy.dram_pj_per_byte=10 energy.static_pj_per_cycle=1  ; error: `.machine` lacks `energy.shift_pj=`, `energy.sram_read_pj_per_byte=`, `energy.sram_write_pj_per_byte=`
.layer "a"
    halt
