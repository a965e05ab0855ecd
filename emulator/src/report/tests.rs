//! The report of a small program, number by number.

use std::sync::Arc;

use vitcod_isa::instr::{Engine, Instr, Op, Sram, table};
use vitcod_isa::machine::Fetch;
use vitcod_isa::program::Program;

use super::*;
use crate::Emulator;
use vitcod_isa::testing::{program, two_engines, two_layers};

fn report(program: Program) -> Report {
    Emulator::new(Arc::new(program)).unwrap().report()
}

#[test]
fn numbers_of_a_small_program() {
    let report = report(two_layers());
    // Load 0..10, there at 60; product 60..160, done at 172; store 172..174, done at 223; halt.
    assert_eq!(report.cycles.total, 224);
    assert_eq!(report.time_ms, 224.0 / 500_000.0);
    let denser = &report.cycles.by_unit["denser"];
    assert_eq!(
        (denser.busy, denser.stalls.waits.token["load"], denser.stalls.drained),
        (100, 60, 64)
    );
    assert_eq!(report.instructions.total, 4);
    assert_eq!(report.instructions.by_mnemonic["halt"], 1);
    assert_eq!((report.macs.executed, report.macs.needed), (51_200, 51_200));
    assert_eq!(report.macs.utilisation, 100.0 / 224.0);
    assert_eq!(
        (report.macs.slots, report.macs.wasted_slots, report.macs.idle_slots),
        (224 * 512, 0, 124 * 512)
    );
    assert_eq!((report.bound.of.compute_cycles, report.bound.of.dram_cycles), (100.0, 10.0));
    assert_eq!(report.bound.ratio, Some(2.24));
    assert_eq!((report.dram.read_bytes, report.dram.burst_read_bytes), (1500, 1536));
    assert_eq!((report.dram.write_bytes, report.dram.burst_write_bytes), (100, 128));
    assert_eq!(
        report.dram.by_kind,
        BTreeMap::from([("outputs".to_owned(), 100), ("weights".to_owned(), 1500)])
    );
    // The channel parameters are the highest operand: 100 of 12 bytes at 32,768.
    assert_eq!(report.sram.peak_bytes, 32_768 + 1200);
    let cycles: Vec<u64> = report.layers.iter().map(|layer| layer.cycles).collect();
    assert_eq!(cycles, [172, 224 - 172]);
    assert_eq!((report.layers[0].dram_read_bytes, report.layers[1].dram_write_bytes), (1500, 100));
    assert_eq!(
        report.layers[0].busy,
        BTreeMap::from([("denser".to_owned(), 100), ("load".to_owned(), 10)])
    );
}

#[test]
fn a_cycle_belongs_to_the_layer_of_the_instruction_that_completes_next() {
    let mut program = two_layers();
    program.layer_of = vec![1, 0, 0, 0];
    let report = report(program);
    let cycles: Vec<u64> = report.layers.iter().map(|layer| layer.cycles).collect();
    // The load, which everything waits for, completes after 60 cycles.
    assert_eq!(cycles, [224 - 60, 60]);
}

/// What a layer needs is bounded by the resource that it takes longest, and its energy is that of
/// its events.
#[test]
fn bounds_and_energy_of_layers() {
    let report = report(two_layers());
    let bound = |layer: usize| {
        let Bound { combined_cycles, binding, .. } = report.layers[layer].bound;
        (combined_cycles, binding)
    };
    assert_eq!(bound(0), (100.0, Some(Resource::Compute)));
    assert_eq!(bound(1), (36.0 / 153.6, Some(Resource::Dram)));
    assert_eq!((report.bound.of.combined_cycles, report.bound.of.binding), bound(0));

    let energy = report.layers.iter().map(|layer| layer.energy.unwrap()).collect::<Vec<_>>();
    assert_eq!((energy[0].dram_pj, energy[1].dram_pj), (1536.0 * 108.0, 128.0 * 108.0));
    assert_eq!((energy[0].mac_pj, energy[0].static_pj), (51_200.0 * 0.152, 172.0 * 240.0));
    let total = report.energy.unwrap();
    assert!((total.of.total_pj - energy[0].total_pj - energy[1].total_pj).abs() < 1e-3);
    assert_eq!(total.chip_pj, total.of.chip_pj());
    // 224 cycles of 2 ns.
    assert!((total.average_chip_power_mw - total.chip_pj / 448.0).abs() < 1e-9);
}

#[test]
fn softmax_and_vector_units_bound_a_layer_by_what_they_take_per_cycle() {
    let softmax = table::Softmax {
        engine: Engine::Denser,
        fresh: true,
        max: Sram(4096),
        sum: Sram(8192),
        dst: Sram(16384),
        m: 10,
        n: 36,
        src_stride: 72,
        dst_stride: 36,
        ..table::Softmax::ZERO
    };
    let lut = table::Lut {
        src: Sram(0),
        table: Sram(4096),
        dst: Sram(8192),
        m: 10,
        n: 36,
        src_stride: 36,
        dst_stride: 36,
    };
    let bound = |ops: &[Op]| {
        report(program(ops.iter().map(|op| Instr::new(*op)), &[])).layers[0].bound.clone()
    };
    // 360 scores, 8 per cycle in each of two units; 360 elements, 16 per cycle.
    let scores = bound(&[softmax.into()]);
    assert_eq!((scores.softmax_cycles, scores.vector_cycles), (22.5, 0.0));
    assert_eq!(scores.binding, Some(Resource::Softmax));
    let both = bound(&[softmax.into(), lut.into(), lut.into()]);
    assert_eq!((both.softmax_cycles, both.vector_cycles, both.combined_cycles), (22.5, 45.0, 45.0));
    assert_eq!(both.binding, Some(Resource::Vector));
}

#[test]
fn a_machine_that_says_nothing_of_energy_has_none() {
    let mut program = two_layers();
    program.machine.energy = None;
    let report = report(program);
    assert_eq!((report.energy.clone(), report.layers[0].energy), (None, None));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert!(json["energy"].is_null() && json["layers"][0]["energy"].is_null());
}

#[test]
fn words_of_instructions_are_traffic_of_their_own() {
    let mut program = two_layers();
    program.machine.fetch = Some(Fetch { buffer_bytes: 1024, queue_depth: 8 });
    let words: Vec<u64> =
        program.code.iter().map(|instr| instr.encode().unwrap().len() as u64).collect();
    let free = report(two_layers());
    let fetched = report(program);
    let fetch = fetched.instructions.fetch.unwrap();
    assert_eq!((fetch.bytes, fetch.bursts), (words.iter().sum(), 2));
    assert_eq!((fetch.burst_bytes, fetch.word_cycles, fetch.queue_cycles), (128, 51, 0));
    // The first burst arrives in cycle 51, so everything is 52 cycles later.
    assert_eq!(fetched.cycles.total, free.cycles.total + 52);
    assert_eq!(fetched.cycles.by_unit["load"].stalls.waits.fetch, 52);
    // Bytes of tensors are what they were.
    assert_eq!(fetched.dram.by_kind["instructions"], fetch.bytes);
    let tensors = |report: &Report| (report.dram.read_bytes, report.dram.burst_read_bytes);
    assert_eq!(tensors(&fetched), tensors(&free));
    let of_layers = fetched.layers.iter().map(|layer| layer.dram_by_kind["instructions"]);
    assert_eq!(of_layers.sum::<u64>(), fetch.bytes);
    let (energy, without) = (fetched.energy.unwrap().of, free.energy.unwrap().of);
    assert_eq!(energy.dram_pj - without.dram_pj, 128.0 * 108.0);
    let of_layers = fetched.layers.iter().map(|layer| layer.energy.unwrap().total_pj).sum::<f64>();
    assert!((energy.total_pj - of_layers).abs() < 1e-3);
}

#[test]
fn an_empty_program_has_no_ratio() {
    let report = report(program([], &[]));
    assert_eq!((report.cycles.total, report.bound.ratio, report.macs.utilisation), (1, None, 0.0));
}

#[test]
fn names_in_json_are_stable() {
    let report = report(two_layers());
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    for path in [
        "/machine/name",
        "/machine/digest",
        "/cycles/total",
        "/cycles/by_unit/store/busy",
        "/cycles/by_unit/store/stalls/token/denser",
        "/time_ms",
        "/instructions/total",
        "/instructions/by_mnemonic/matmul",
        "/macs/executed",
        "/macs/needed",
        "/macs/utilisation",
        "/bound/compute_cycles",
        "/bound/dram_cycles",
        "/bound/ratio",
        "/macs/slots",
        "/macs/wasted_slots",
        "/macs/idle_slots",
        "/bound/softmax_cycles",
        "/bound/vector_cycles",
        "/bound/combined_cycles",
        "/bound/binding",
        "/energy/total_pj",
        "/energy/mac_pj",
        "/energy/result_pj",
        "/energy/sram_read_pj",
        "/energy/sram_write_pj",
        "/energy/dram_pj",
        "/energy/element_pj",
        "/energy/static_pj",
        "/energy/chip_pj",
        "/energy/average_power_mw",
        "/energy/average_chip_power_mw",
        "/layers/0/bound/compute_cycles",
        "/layers/0/bound/dram_cycles",
        "/layers/0/bound/combined_cycles",
        "/layers/0/bound/binding",
        "/layers/0/energy/total_pj",
        "/dram/read_bytes",
        "/dram/write_bytes",
        "/dram/burst_read_bytes",
        "/dram/burst_write_bytes",
        "/dram/by_kind/weights",
        "/sram/touched_bytes",
        "/sram/peak_bytes",
        "/layers/0/name",
        "/layers/0/operation",
        "/layers/0/cycles",
        "/layers/0/macs",
        "/layers/0/macs_needed",
        "/layers/0/dram_read_bytes",
        "/layers/0/dram_write_bytes",
        "/layers/0/busy/denser",
        "/engines/denser/lines_min",
        "/engines/denser/idle/token/load",
        "/layers/0/engines/denser/lines_max",
        "/layers/0/engines/denser/busy",
        "/layers/0/engines/denser/idle/lines",
        "/layers/0/engines/denser/idle/channel",
        "/layers/0/engines/denser/idle/barrier",
        "/layers/0/engines/denser/mac_slots",
        "/layers/0/engines/denser/mac_slots_used",
        "/layers/0/engines/denser/mac_slots_wasted",
        "/queries/sparser_read_bytes",
        "/layers/0/queries/forwarded_bytes",
        "/decisions",
        "/cycles/by_unit/store/stalls/drained",
    ] {
        assert!(json.pointer(path).is_some(), "{path}");
    }
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[test]
fn engines_of_layers() {
    let report = report(two_engines());
    let waits = |token: &[(&str, u64)], lines, barrier| Waits {
        token: token.iter().map(|(unit, cycles)| ((*unit).to_owned(), *cycles)).collect(),
        fetch: 0,
        lines,
        channel: 0,
        barrier,
    };
    // The load arrives at 60; the denser engine works 60..70 and 70..100; the sparser engine has
    // its token at 82 and works 82..132 and 132..137; the barrier is passed at 149..150; then there
    // is a cycle of `sync`.
    let denser = &report.layers[0].engines["denser"];
    assert_eq!(report.layers[0].engines.len(), 1);
    assert_eq!((denser.lines_min, denser.lines_max, denser.busy), (64, 64, 10));
    assert_eq!(denser.idle, waits(&[("load", 60)], 0, 50));
    assert_eq!((denser.mac_slots, denser.mac_slots_used, denser.mac_slots_wasted), (5120, 5120, 0));

    let denser = &report.layers[1].engines["denser"];
    assert_eq!((denser.lines_min, denser.lines_max, denser.busy), (40, 40, 30 + 1));
    assert_eq!((&denser.idle, denser.mac_slots), (&waits(&[], 0, 0), 30 * 40 * 8));

    let sparser = &report.layers[2].engines["sparser"];
    assert_eq!((sparser.lines_min, sparser.lines_max, sparser.busy), (24, 32, 55));
    assert_eq!(sparser.idle, waits(&[("denser", 82)], 0, 0));
    let slots = (50 * 24 + 5 * 32) * 8;
    assert_eq!(
        (sparser.mac_slots, sparser.mac_slots_used, sparser.mac_slots_wasted),
        (slots, slots - 160, 160)
    );

    // In total the sparser engine waits at the barrier of a layer that it has no part in, too.
    assert_eq!(report.engines["sparser"].idle, waits(&[("denser", 82)], 0, 13));
    for (unit, engine) in &report.engines {
        let UnitReport { busy, stalls } = &report.cycles.by_unit[unit];
        assert_eq!((engine.busy, &engine.idle), (*busy, &stalls.waits), "{unit}");
    }
}
