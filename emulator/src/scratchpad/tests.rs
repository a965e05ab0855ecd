//! Plans worked out by hand, and against maps of bytes.

use std::sync::Arc;

use vitcod_isa::instr::{Engine, Instr, Unit};

use super::*;
use crate::Emulator;
use vitcod_isa::testing::{instr, load, program, store, two_layers, work};

fn plan(program: Program) -> MemoryPlan {
    let emulator = Emulator::new(Arc::new(program)).unwrap();
    MemoryPlan::new(emulator.program(), emulator.timing())
}

fn buffers(plan: &MemoryPlan) -> Vec<(u64, u64, u64, u64, &str, &str)> {
    let of = |b: &Buffer| (b.address, b.bytes, b.start_cycle, b.end_cycle, b.data, b.written_by);
    plan.buffers.iter().map(of).collect()
}

/// `matmul` reads 512 bytes at 0 and 800 at 4096 and writes 6,400 at 16384; what it reads elsewhere
/// nothing has written.
#[test]
fn a_buffer_lives_from_its_writer_to_its_last_reader() {
    let plan = plan(two_layers());
    // Load 0..10, there at 60; product 60..160, done at 172; store 172..173 of 100 bytes at 16,
    // which the load has written.
    assert_eq!(
        buffers(&plan),
        [(0, 1500, 0, 173, "weights", "load"), (16_384, 6400, 60, 172, "activations", "matmul")]
    );
    let Occupancy {
        peak_bytes,
        peak_cycle,
        mean_bytes,
        largest_free_at_peak_bytes,
        mean_fragmentation,
    } = plan.occupancy;
    assert_eq!((peak_bytes, peak_cycle), (7900, 60));
    assert_eq!(largest_free_at_peak_bytes, 327_680 - 16_384 - 6400);
    assert_eq!(mean_bytes, (1500 * 173 + 6400 * 112) as f64 / 224.0);
    let apart = (16_384 - 1500) as f64 / (327_680 - 7900) as f64;
    assert!((mean_fragmentation - apart * 112.0 / 224.0).abs() < 1e-12, "{mean_fragmentation}");
    assert_eq!(
        plan.by_kind["activations"],
        KindOccupancy { buffers: 1, peak_bytes: 6400, mean_bytes: 3200.0 }
    );
}

#[test]
fn parts_that_are_read_as_one_are_a_buffer_and_those_that_take_turns_are_not() {
    let product = || work(Engine::Denser, 0, 64, 10);
    let code = [
        // Both halves of the left operand.
        Instr::new(load(0, 0, 256)),
        instr(load(256, 256, 256), &[], &[Unit::Denser]),
        instr(product(), &[Unit::Load], &[Unit::Load]),
        // The next ones: the first of them overwrites half of what was there before.
        instr(load(0, 512, 256), &[Unit::Denser], &[]),
        instr(load(512, 768, 64), &[], &[Unit::Store]),
        instr(store(512, 4096, 64), &[Unit::Load], &[]),
    ];
    let plan = plan(program(code, &[]));
    let found: Vec<(u64, u64)> = plan.buffers.iter().map(|b| (b.address, b.end_address)).collect();
    assert_eq!(found, [(0, 512), (0, 256), (512, 576), (16_384, 17_024)]);
    let [first, second] = [&plan.buffers[0], &plan.buffers[1]];
    assert_eq!((first.bytes, first.start_cycle), (512, 0));
    // The product reads what was loaded first, which then makes room.
    assert!(first.end_cycle <= second.start_cycle, "{first:?} {second:?}");
    // A product is never read: it lives until it is complete.
    assert_eq!(plan.buffers[3].end_cycle, second.start_cycle);
}

/// At no time do two parts hold one byte, and all that lives is inside the scratchpad.
#[test]
fn parts_never_overlap() {
    let mut program = two_layers();
    program.code.splice(
        2..2,
        [Instr::new(work(Engine::Denser, 0, 64, 20)), Instr::new(work(Engine::Denser, 0, 32, 7))],
    );
    program.layer_of = vec![0; program.code.len()];
    let plan = plan(program);
    for (i, a) in plan.parts.iter().enumerate() {
        assert!(
            a.cycles.start <= a.cycles.end
                && a.bytes.start < a.bytes.end
                && a.bytes.end <= plan.capacity_bytes
        );
        for b in &plan.parts[..i] {
            let shared = |a: &Range<u64>, b: &Range<u64>| a.start.max(b.start) < a.end.min(b.end);
            assert!(!(shared(&a.bytes, &b.bytes) && shared(&a.cycles, &b.cycles)), "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_program_that_touches_nothing_has_an_empty_plan() {
    let plan = plan(program([], &[]));
    assert_eq!((plan.buffers.len(), plan.occupancy), (0, Occupancy::default()));
}

#[test]
fn names_in_json_are_stable() {
    let json: serde_json::Value = serde_json::from_str(&plan(two_layers()).to_json()).unwrap();
    for path in [
        "/model",
        "/machine",
        "/cycles",
        "/capacity_bytes",
        "/occupancy/peak_bytes",
        "/occupancy/peak_cycle",
        "/occupancy/mean_bytes",
        "/occupancy/largest_free_at_peak_bytes",
        "/occupancy/mean_fragmentation",
        "/by_kind/weights/buffers",
        "/by_kind/weights/peak_bytes",
        "/by_kind/weights/mean_bytes",
        "/buffers/0/address",
        "/buffers/0/end_address",
        "/buffers/0/bytes",
        "/buffers/0/start_cycle",
        "/buffers/0/end_cycle",
        "/buffers/0/data",
        "/buffers/0/layer",
        "/buffers/0/operation",
        "/buffers/0/written_by",
    ] {
        assert!(json.pointer(path).is_some(), "{path}");
    }
}
