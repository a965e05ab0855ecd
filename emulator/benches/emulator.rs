//! Time of the timing simulation, of the report and of an execution, for a program of the size of
//! DeiT-Tiny.
//!
//! The program has the instruction mix of linear layers in tiles: load weights, multiply,
//! requantise, store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use vitcod_emulator::{Emulator, Memory};
use vitcod_isa::instr::table::{Halt, Load, Matmul, Store};
use vitcod_isa::instr::{Dram, Engine, Instr, LineSet, Op, Sram, Traffic, Unit, Width};
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::Channel;
use vitcod_isa::program::{Header, Layer, Program};
use vitcod_isa::timing::simulate;

fn instr(op: impl Into<Op>, wait: &[Unit], signal: &[Unit]) -> Instr {
    Instr {
        wait: wait.iter().copied().collect(),
        signal: signal.iter().copied().collect(),
        op: op.into(),
    }
}

/// `tiles` times 64 rows of a product with 64 channels of 192 weights: 786,432 multiplications
/// each.
fn program(tiles: usize) -> Program {
    let mut code = Vec::new();
    for tile in 0..tiles {
        let slot = 0x8000 + (tile as u32 % 2) * 0x4000;
        let load = Load {
            dst: Sram(slot),
            src: Dram(4096),
            bytes: 64 * 192,
            inner: 1,
            outer: 1,
            src_inner_stride: 0,
            src_outer_stride: 0,
            dst_inner_stride: 0,
            dst_outer_stride: 0,
            traffic: Traffic::Weights,
        };
        let params = Load { dst: Sram(0x7000), src: Dram(0), bytes: 64 * 12, ..load };
        let product = Matmul {
            engine: Engine::Denser,
            out: Width::I8,
            accumulate: false,
            lines: LineSet { first: 0, count: 64 },
            a: Sram(0),
            b: Sram(slot),
            params: Sram(0x7000),
            acc: Sram(0),
            dst: Sram(0x4000),
            m: 64,
            n: 64,
            k: 192,
            a_stride: 192,
            b_stride: 192,
            acc_stride: 0,
            dst_stride: 64,
            more_runs: 0,
            run_stride: 0,
        };
        let store = Store {
            src: Sram(0x4000),
            dst: Dram(0x10000),
            bytes: 4096,
            inner: 1,
            outer: 1,
            src_inner_stride: 0,
            src_outer_stride: 0,
            dst_inner_stride: 0,
            dst_outer_stride: 0,
            traffic: Traffic::Activations,
        };
        // Loads run ahead by one slot.
        let free: &[Unit] = if tile < 2 { &[] } else { &[Unit::Denser] };
        code.push(instr(params, free, &[]));
        code.push(instr(load, &[], &[Unit::Denser]));
        code.push(instr(product, &[Unit::Load], &[Unit::Load, Unit::Store]));
        code.push(instr(store, &[Unit::Denser], &[]));
    }
    code.push(instr(Halt {}, &[], &[]));
    let channel = Channel { bias: 5, scale: Scale::from_f64(0.01).expect("a scale") }.to_bytes();
    let layer = Layer {
        name: "linear".to_owned(),
        operation: "linear".to_owned(),
        nodes: vec![],
        needed_macs: 0,
        compulsory_bytes: 0,
    };
    Program {
        header: Header {
            name: "tiles".to_owned(),
            dram_bytes: 1 << 20,
            inputs: vec![],
            outputs: vec![],
            layers: vec![layer],
            decisions: vec![],
        },
        machine: Machine::preset("vitcod").expect("the preset"),
        layer_of: vec![0; code.len()],
        code,
        buffers: Vec::new(),
        image: Bytes::from(channel.repeat(64)),
        ir: None,
        host: None,
    }
}

fn emulator(criterion: &mut Criterion) {
    let many = Arc::new(program(12_500));
    criterion.bench_function("timing of 50,000 instructions", |bencher| {
        bencher.iter(|| simulate(&many.code, &many.machine).expect("it ends"));
    });
    let emulator = Emulator::new(many).expect("it ends");
    criterion.bench_function("report of 50,000 instructions", |bencher| {
        bencher.iter(|| emulator.report())
    });

    // 1.26 billion multiplications.
    let tiny = Arc::new(program(1600));
    let mut memory = Memory::new(&tiny).expect("1 MiB");
    let mut emulator = Emulator::new(tiny).expect("it ends");
    criterion.bench_function("execution of the multiplications of DeiT-Tiny", |bencher| {
        bencher.iter(|| emulator.run(&mut memory).expect("no fault"));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = emulator
}
criterion_main!(benches);
