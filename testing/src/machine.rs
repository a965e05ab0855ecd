//! Machines.

use vitcod_isa::dram::Ddr4;
use vitcod_isa::machine::{Banks, Datapath, Machine, Slots};
use vitcod_support::random::SplitMix64;

/// A preset by name.
pub fn preset(name: &str) -> Machine {
    Machine::preset(name).unwrap_or_else(|| panic!("there is no preset {name}"))
}

/// The preset `vitcod` with a scratchpad of `bytes` bytes.
pub fn with_scratchpad(bytes: u32) -> Machine {
    let mut machine = preset("vitcod");
    machine.sram.bytes = bytes;
    machine
}

/// A machine with random parameters.
pub fn random(random: &mut SplitMix64) -> Machine {
    let mut pick = |choices: &[u32]| choices[random.bits() as usize % choices.len()];
    let mut machine = preset("vitcod");
    machine.name = "random".to_owned();
    machine.lines.count = pick(&[1, 3, 8, 64, 256]);
    machine.lines.macs = pick(&[1, 4, 8, 16, 64]);
    machine.lines.port_bytes = pick(&[1, 8, 64]);
    machine.lines.fill_cycles = pick(&[0, 12, 100]);
    machine.sram.bytes = pick(&[6, 8, 12, 16, 24, 32, 64, 320, 4096]) * 1024;
    machine.dram.bytes_per_cycle = [1.0, 12.8, 153.6, 1000.0][pick(&[0, 1, 2, 3]) as usize];
    machine.dram.latency_cycles = pick(&[0, 50, 1000]);
    machine.dram.burst_bytes = pick(&[1, 32, 64, 256]);
    machine.softmax.scores_per_cycle = pick(&[1, 8, 64]);
    machine.vector.elements_per_cycle = pick(&[1, 16, 100]);
    (machine.banks, machine.slots, machine.datapath) = (None, None, None);
    if pick(&[0, 1]) == 1 {
        organise(&mut machine, random);
    }
    let mut pick = |choices: &[u32]| choices[random.bits() as usize % choices.len()];
    if pick(&[0, 0, 0, 1]) == 1 {
        (machine.dram.bytes_per_cycle, machine.dram.burst_bytes) = (153.6, 64);
        machine.dram.ddr4 = Some(Ddr4 { queue: pick(&[1, 4, 16]), ..Ddr4::ddr4_2400() });
    }
    machine
}

/// Gives a machine random banks, slots and datapath.
pub fn organise(machine: &mut Machine, random: &mut SplitMix64) {
    let mut pick = |choices: &[u32]| choices[random.bits() as usize % choices.len()];
    machine.banks = Some(Banks {
        count: pick(&[1, 2, 7, 8, 16, 32, 64]),
        word_bytes: pick(&[8, 16, 64, 256]),
        accesses_per_cycle: pick(&[1, 2]),
        row_ports: pick(&[1, 2, 4, 8, 16]),
    });
    let mut slots = || pick(&[1, 2, 5]);
    machine.slots = Some(Slots {
        denser_read: slots(),
        denser_write: slots(),
        sparser_read: slots(),
        sparser_write: slots(),
        encoder: slots(),
        decoder: slots(),
        softmax: slots(),
        vector_read: slots(),
        vector_write: slots(),
        load_read: slots(),
        load_write: slots(),
        store: slots(),
    });
    machine.datapath = Some(Datapath {
        operand_bytes: pick(&[16, 50, 64, 128]),
        accumulators: pick(&[2, 16, 32]),
        queued_rows: pick(&[1, 4]),
        requantisers: pick(&[1, 4]),
        mode_switch_cycles: pick(&[0, 12]),
        dividers: pick(&[1, 24]),
        divider_cycles: pick(&[1, 32]),
        roots: pick(&[1, 8]),
        root_cycles: pick(&[1, 95]),
        token_cycles: pick(&[0, 2]),
    });
}
