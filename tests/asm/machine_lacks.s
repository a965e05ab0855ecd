.program "machine"
.machine name="mine" clock_mhz=500 lines.count=64 lines.macs=8 lines.port_bytes=8 sram.bytes=327680  ; error: `.machine` lacks `lines.fill_cycles=`, `dram.bytes_per_cycle=`, `dram.latency_cycles=`, `dram.burst_bytes=`, `softmax.scores_per_cycle=`, `softmax.fill_cycles=`, `vector.elements_per_cycle=`, `vector.fill_cycles=`
.layer "a"
    halt
