//! Small programs for tests.

use crate::instr::table::*;
use crate::instr::{Dram, Engine, Instr, LineSet, Sram, Traffic, Unit};
use crate::machine::Machine;
use crate::program::{Decision, Header, Layer, Program};
use bytes::Bytes;

/// The machine of the paper with an ideal memory.
pub fn vitcod() -> Machine {
    Machine::preset("vitcod-ideal").expect("it is a preset")
}

/// A program of one layer on `vitcod`, with 64 KiB of DRAM. `halt` is appended.
pub fn program(code: impl IntoIterator<Item = Instr>, image: &[u8]) -> Program {
    let code: Vec<Instr> = code.into_iter().chain([Instr::new(Halt {})]).collect();
    let layer = Layer {
        name: "layer".to_owned(),
        operation: "operation".to_owned(),
        nodes: vec![],
        needed_macs: 0,
        compulsory_bytes: 0,
    };
    Program {
        header: Header {
            name: "test".to_owned(),
            dram_bytes: 1 << 16,
            inputs: vec![],
            outputs: vec![],
            layers: vec![layer],
            decisions: vec![],
        },
        machine: vitcod(),
        layer_of: vec![0; code.len()],
        code,
        buffers: Vec::new(),
        image: Bytes::copy_from_slice(image),
        ir: None,
        host: None,
    }
}

/// An instruction with the units that it waits for and signals.
pub fn instr(op: impl Into<Op>, wait: &[Unit], signal: &[Unit]) -> Instr {
    Instr {
        wait: wait.iter().copied().collect(),
        signal: signal.iter().copied().collect(),
        op: op.into(),
    }
}

/// A load of contiguous weights.
pub fn load(dst: u32, src: u64, bytes: u32) -> Load {
    Load::contiguous(Sram(dst), Dram(src), bytes, Traffic::Weights)
}

/// A store of contiguous outputs.
pub fn store(src: u32, dst: u64, bytes: u32) -> Store {
    Store::contiguous(Dram(dst), Sram(src), bytes, Traffic::Outputs)
}

/// A product of contiguous operands. A missing bias does not affect its timing.
pub fn matmul(
    engine: Engine,
    lines: LineSet,
    (m, n, k): (u16, u16, u16),
    [a, b, params, dst]: [u32; 4],
) -> Matmul {
    Matmul {
        engine,
        lines,
        a: Sram(a),
        b: Sram(b),
        params: Sram(params),
        dst: Sram(dst),
        m,
        n,
        k,
        a_stride: k.into(),
        b_stride: k.into(),
        dst_stride: n.into(),
        ..Matmul::ZERO
    }
}

/// A product that takes `cycles` cycles on lines `first..first + count`.
pub fn work(engine: Engine, first: u16, count: u16, cycles: u16) -> Matmul {
    matmul(engine, LineSet { first, count }, (count, cycles, 8), [0, 4096, 32768, 16384])
}

/// Two layers: a load and a product, and a store.
pub fn two_layers() -> Program {
    let mut program = program(
        [
            instr(load(0, 0, 1500), &[], &[Unit::Denser]),
            instr(work(Engine::Denser, 0, 64, 100), &[Unit::Load], &[Unit::Store]),
            instr(store(16, 4096, 100), &[Unit::Denser], &[]),
        ],
        &[],
    );
    let layer = |name: &str, needed_macs, compulsory_bytes| Layer {
        name: name.to_owned(),
        operation: "linear".to_owned(),
        nodes: vec![],
        needed_macs,
        compulsory_bytes,
    };
    program.header.layers = vec![layer("first", 51_200, 1500), layer("second", 0, 36)];
    program.layer_of = vec![0, 0, 1, 1];
    program
}

/// Two layers, the second of which is divided between both engines, which contend for lines; with
/// decisions.
pub fn two_engines() -> Program {
    let mut program = program(
        [
            instr(load(0, 0, 1536), &[], &[Unit::Denser]),
            instr(work(Engine::Denser, 0, 64, 10), &[Unit::Load], &[Unit::Sparser]),
            Instr::new(work(Engine::Denser, 0, 40, 30)),
            instr(work(Engine::Sparser, 40, 24, 50), &[Unit::Denser], &[]),
            Instr::new(work(Engine::Sparser, 0, 32, 5)),
            Instr::new(Barrier {}),
            instr(Sync { unit: Unit::Denser }, &[], &[]),
        ],
        &[],
    );
    // A sum of 7 instead of 8 products leaves a MAC idle.
    let Op::Matmul(product) = &mut program.code[4].op else { unreachable!() };
    product.k = 7;
    let layer = |name: &str| Layer { name: name.to_owned(), ..program.header.layers[0].clone() };
    program.header.layers = vec![layer("first"), layer("second"), layer("second")];
    program.layer_of = vec![0, 0, 1, 2, 2, 0, 1, 1];
    let decision =
        |layer: &str, chosen: &str| Decision::new(layer, "auto-encoder", chosen, "the least cost");
    program.header.decisions =
        vec![decision("first", "folded"), decision("second", "apart"), decision("third", "folded")];
    program
}
