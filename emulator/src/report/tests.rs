//! The report of a small program, number by number.

use std::sync::Arc;

use vitcod_isa::program::Program;

use super::*;
use crate::Emulator;
use crate::testing::{program, two_layers};

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
    assert_eq!((denser.busy, denser.stalls.token["load"], denser.stalls.drained), (100, 60, 64));
    assert_eq!(report.instructions.total, 4);
    assert_eq!(report.instructions.by_mnemonic["halt"], 1);
    assert_eq!((report.macs.executed, report.macs.needed), (51_200, 51_200));
    assert_eq!(report.macs.utilisation, 100.0 / 224.0);
    assert_eq!((report.bound.compute_cycles, report.bound.dram_cycles), (100.0, 10.0));
    assert_eq!(report.bound.ratio, Some(2.24));
    assert_eq!((report.dram.read_bytes, report.dram.burst_read_bytes), (1500, 1536));
    assert_eq!((report.dram.write_bytes, report.dram.burst_write_bytes), (100, 128));
    assert_eq!(report.dram.by_kind, BTreeMap::from([("outputs".to_owned(), 100), ("weights".to_owned(), 1500)]));
    // The channel parameters are the highest operand: 100 of 12 bytes at 32,768.
    assert_eq!(report.sram.peak_bytes, 32_768 + 1200);
    let cycles: Vec<u64> = report.layers.iter().map(|layer| layer.cycles).collect();
    assert_eq!(cycles, [172, 224 - 172]);
    assert_eq!((report.layers[0].dram_read_bytes, report.layers[1].dram_write_bytes), (1500, 100));
    assert_eq!(report.layers[0].busy, BTreeMap::from([("denser".to_owned(), 100), ("load".to_owned(), 10)]));
}

#[test]
fn a_layer_that_is_hidden_behind_others_takes_no_cycles() {
    let mut program = two_layers();
    program.layer_of = vec![1, 0, 0, 0];
    let report = report(program);
    let cycles: Vec<u64> = report.layers.iter().map(|layer| layer.cycles).collect();
    assert_eq!(cycles, [224, 0]);
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
        "/dram/read_bytes",
        "/dram/write_bytes",
        "/dram/burst_read_bytes",
        "/dram/burst_write_bytes",
        "/dram/by_kind/weights",
        "/sram/peak_bytes",
        "/layers/0/name",
        "/layers/0/operation",
        "/layers/0/cycles",
        "/layers/0/macs",
        "/layers/0/macs_needed",
        "/layers/0/dram_read_bytes",
        "/layers/0/dram_write_bytes",
        "/layers/0/busy/denser",
    ] {
        assert!(json.pointer(path).is_some(), "{path}");
    }
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[test]
fn text() {
    insta::assert_snapshot!(report(two_layers()));
}
