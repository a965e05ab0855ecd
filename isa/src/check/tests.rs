//! One broken program per check, and random ones. The flow of data has tests of its own.

mod bindings;
mod buffers;
mod flow;
mod lists;
mod operands;
mod tokens;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::instr::arbitrary;
use crate::instr::table::*;
use crate::instr::{
    Cycles, Dram, Engine, Entries, LineSet, Shift, Sram, SramBytes, Traffic, Unit, UnitSet, Width,
};
use crate::machine::Machine;
use crate::numerics::Scale;
use crate::program::{Binding, Element, Header, Layer, Layout};

fn load() -> Load {
    Load {
        src: Dram(256),
        bytes: 32,
        inner: 2,
        outer: 1,
        src_inner_stride: 32,
        dst_inner_stride: 32,
        traffic: Traffic::Inputs,
        ..Load::ZERO
    }
}

fn add() -> Add {
    Add {
        narrow: false,
        a: Sram(0),
        b: Sram(64),
        dst: Sram(128),
        m: 2,
        n: 16,
        a_scale: 1,
        b_scale: 1,
        shift: Shift(0),
        a_stride: 32,
        b_stride: 32,
        dst_stride: 32,
    }
}

fn store() -> Store {
    Store {
        src: Sram(128),
        dst: Dram(320),
        bytes: 64,
        inner: 1,
        outer: 1,
        traffic: Traffic::Outputs,
        ..Store::ZERO
    }
}

fn matmul() -> Matmul {
    Matmul {
        engine: Engine::Denser,
        out: Width::I32,
        accumulate: true,
        lines: LineSet { first: 0, count: 64 },
        b: Sram(64),
        params: Sram(1 << 20),
        acc: Sram(256),
        dst: Sram(256),
        m: 4,
        n: 4,
        k: 16,
        a_stride: 16,
        b_stride: 16,
        acc_stride: 16,
        dst_stride: 16,
        ..Matmul::ZERO
    }
}

/// Checks all but the flow of data.
fn check(program: &Program) -> Result<(), CheckError> {
    let mut problems = Report::new();
    form(program, &mut problems);
    problems.0.finish()
}

fn units(units: &[Unit]) -> UnitSet {
    units.iter().copied().collect()
}

fn instr(op: impl Into<Op>, wait: &[Unit], signal: &[Unit]) -> Instr {
    Instr { wait: units(wait), signal: units(signal), op: op.into() }
}

fn binding(name: &str, address: u64) -> Binding {
    Binding {
        name: name.to_owned(),
        shape: vec![2, 16],
        layout: Layout::RowMajor,
        element: Element::I16,
        step: 0.5,
        factors: vec![],
        offsets: vec![],
        expected_sqnr_db: None,
        address,
    }
}

/// A program whose only instruction but `halt` is the one given.
fn of(op: impl Into<Op>) -> Program {
    with(vec![Instr::new(op), Instr::new(Halt {})])
}

fn with(code: Vec<Instr>) -> Program {
    Program {
        header: Header {
            name: "tiny".to_owned(),
            dram_bytes: 384,
            inputs: vec![binding("x", 256)],
            outputs: vec![binding("x", 320)],
            layers: vec![Layer {
                name: "/add".to_owned(),
                operation: "add".to_owned(),
                nodes: vec![],
                needed_macs: 0,
                compulsory_bytes: 128,
            }],
            decisions: vec![],
        },
        machine: Machine::preset("vitcod").unwrap(),
        layer_of: vec![0; code.len()],
        code,
        buffers: Vec::new(),
        image: Bytes::from_static(&[0; 256]),
        ir: None,
        host: None,
    }
}

/// Loads, adds on the vector unit, stores.
fn pipeline() -> Program {
    with(vec![
        instr(load(), &[], &[Unit::Vector]),
        instr(add(), &[Unit::Load], &[Unit::Store]),
        instr(store(), &[Unit::Vector], &[]),
        instr(Barrier {}, &[], &[]),
        instr(Halt {}, &[], &[]),
    ])
}

fn error(program: &Program) -> String {
    message(program, check(program).unwrap_err())
}

/// The message without the assembly of the instruction.
fn message(program: &Program, error: CheckError) -> String {
    assert_eq!(error.omitted(), 0);
    let short = |problem: &CheckProblem| match &problem.place {
        Place::Instruction { index, text } => {
            assert_eq!(*text, program.code[*index].to_string());
            format!("{index}: {}", problem.message)
        }
        _ => problem.to_string(),
    };
    error.kept().iter().map(short).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_sound_program_passes() {
    assert_eq!(check(&pipeline()), Ok(()));
    assert_eq!(
        check(&of(matmul())),
        Ok(()),
        "accumulators continue in place, parameters are not read"
    );
    assert_eq!(check(&of(Add { dst: Sram(64), ..add() })), Ok(()), "the sum replaces an operand");
}

#[test]
fn every_problem_is_reported_at_once() {
    let mut program = pipeline();
    program.header.inputs[0].step = 0.0;
    program.layer_of[1] = 1;
    program.code[2].wait = UnitSet::EMPTY;
    program.code[0].op = Load { bytes: 0, ..load() }.into();
    assert_eq!(
        error(&program),
        "1: layer 1 of 1\n\
         0: dst is empty: a count is 0\n\
         0: src is empty: a count is 0\n\
         1: vector sends 1 token to store, which waits for 0\n\
         binding \"x\": the step 0 is not positive and finite"
    );
}

#[test]
fn messages_show_the_instruction() {
    assert_eq!(
        check(&of(Sync { unit: Unit::Load })).and(check(&with(vec![]))).unwrap_err().to_string(),
        "the last instruction is not halt"
    );
    let mut program = pipeline();
    program.code[3] = Instr::new(Halt {});
    assert_eq!(
        check(&program).unwrap_err().to_string(),
        "instruction 3: halt before the end: `halt`"
    );
}

#[test]
fn structure() {
    let mut program = pipeline();
    program.layer_of.pop();
    assert_eq!(error(&program), "4 layer indices for 5 instructions");

    let mut program = pipeline();
    program.header.dram_bytes = (1 << 40) + 1;
    assert_eq!(error(&program), "1099511627777 bytes of DRAM; addresses reach 1099511627776");

    let mut program = of(Barrier {});
    (program.header.inputs, program.header.outputs) = (vec![], vec![]);
    program.header.dram_bytes = 255;
    assert_eq!(error(&program), "the image has 256 bytes, DRAM 255");
}

#[test]
fn the_number_of_messages_is_bounded() {
    let error = check(&with(vec![Instr::new(Halt {}); 1000])).unwrap_err();
    assert_eq!(error.kept().len() + error.omitted(), 999);
    assert!(error.to_string().len() < 10_000);
}

proptest! {
    #[test]
    fn any_program_passes_or_is_refused(
        code in prop::collection::vec(arbitrary::instr(), 0..20),
        dram_bytes in any::<u64>(),
        sram_bytes in 1024..=crate::instr::field::MAX_SRAM,
    ) {
        let mut program = with(code);
        program.header.dram_bytes = dram_bytes;
        program.machine.sram.bytes = sram_bytes;
        let _ = super::check(&program);
    }
}
