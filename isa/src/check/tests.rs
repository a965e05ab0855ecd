//! One broken program per check, and random ones. The flow of data has tests of its own.

mod bindings;
mod buffers;
mod flow;

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
fn counts_are_at_least_one() {
    assert_eq!(error(&of(Add { n: 0, ..add() })).lines().count(), 3);
    assert_eq!(
        error(&of(Matmul { k: 0, ..matmul() })),
        "0: a is empty: a count is 0\n0: b is empty: a count is 0"
    );
    let deep = Matmul { more_runs: 2, k: 43_691, a_stride: 0, b_stride: 0, ..matmul() };
    let deep = Matmul { b: Sram(0), acc: Sram(1 << 18), dst: Sram(1 << 18), ..deep };
    assert_eq!(error(&of(deep)), "0: sums of 131073 products, expected at most 65535");
    let gather = Gather {
        dst: Sram(0),
        src: Dram(256),
        bytes: 8,
        rows: 2,
        limit: 0,
        src_stride: 8,
        dst_stride: 8,
        index: Sram(16),
        traffic: Traffic::Params,
    };
    assert_eq!(error(&of(gather)), "0: src is empty: a count is 0");
    assert_eq!(error(&of(Gather { rows: 0, limit: 1, ..gather })).lines().count(), 2);
    let encode = Encode {
        lines: LineSet { first: 0, count: 1 },
        src: Sram(0),
        params: Sram(64),
        dst: Sram(128),
        m: 1,
        d: 16,
        heads_in: 3,
        heads_out: 0,
        src_stride: 48,
        dst_stride: 32,
    };
    assert_eq!(
        error(&of(encode)),
        "0: params is empty: a count is 0\n0: dst is empty: a count is 0"
    );
}

#[test]
fn operands_lie_in_memory() {
    let last = 320 * 1024 - 64;
    assert_eq!(check(&of(Add { dst: Sram(last), ..add() })), Ok(()));
    assert_eq!(
        error(&of(Add { dst: Sram(last + 2), ..add() })),
        "0: dst ends at 0x50002; the scratchpad has 0x50000 bytes"
    );
    assert_eq!(check(&of(Load { src: Dram(320), ..load() })), Ok(()));
    assert_eq!(
        error(&of(Load { src: Dram(321), ..load() })),
        "0: src ends at 0x181; DRAM has 0x180 bytes"
    );
    assert_eq!(
        error(&of(Load { src_inner_stride: u32::MAX, ..load() })),
        "0: src ends at 0x10000011f; DRAM has 0x180 bytes"
    );
}

#[test]
fn operands_are_aligned() {
    assert_eq!(
        error(&of(Add { a: Sram(1), ..add() })),
        "0: a starts at 0x1, expected a multiple of 2"
    );
    assert_eq!(
        error(&of(Add { b_stride: 33, ..add() })),
        "0: b has a stride of 33, expected a multiple of 2"
    );
    assert_eq!(
        error(&of(Matmul {
            out: Width::I8,
            acc: Sram(512),
            params: Sram(1030),
            dst_stride: 5,
            ..matmul()
        })),
        "0: params starts at 0x406, expected a multiple of 4"
    );
}

#[test]
fn nothing_is_written_twice() {
    assert_eq!(error(&of(Add { dst_stride: 30, ..add() })), "0: dst has rows that overlap");
    assert_eq!(error(&of(Load { dst_inner_stride: 0, ..load() })), "0: dst has rows that overlap");
    assert_eq!(check(&of(Load { src_inner_stride: 0, ..load() })), Ok(()), "reading twice is fine");
    let store = Store { dst: Dram(256), bytes: 8, inner: 4, outer: 4, ..store() };
    let transposed = Store { dst_inner_stride: 32, dst_outer_stride: 8, ..store };
    assert_eq!(check(&of(transposed)), Ok(()));
    assert_eq!(
        error(&of(Store { dst_inner_stride: 31, ..transposed })),
        "0: dst has rows that overlap"
    );
}

#[test]
fn a_result_replaces_an_operand_as_a_whole_or_not_at_all() {
    assert_eq!(error(&of(Add { dst: Sram(66), ..add() })), "0: b overlaps dst");
    assert_eq!(
        error(&of(Add { b: Sram(256), dst: Sram(0), dst_stride: 34, ..add() })),
        "0: a overlaps dst"
    );
    assert_eq!(error(&of(Matmul { dst: Sram(0), ..matmul() })), "0: a overlaps dst");
    assert_eq!(
        error(&of(Matmul { out: Width::I16, params: Sram(1024), dst_stride: 16, ..matmul() })),
        "0: acc overlaps dst",
        "elements of different width"
    );
    let softmax = Softmax {
        engine: Engine::Denser,
        fresh: true,
        max: Sram(256),
        sum: Sram(256),
        dst: Sram(512),
        m: 2,
        n: 16,
        src_stride: 32,
        dst_stride: 16,
        ..Softmax::ZERO
    };
    assert_eq!(error(&of(softmax)), "0: max overlaps sum");
    // Columns of one matrix beside columns of another.
    let columns = Add {
        a: Sram(0),
        b: Sram(64),
        dst: Sram(32),
        a_stride: 128,
        b_stride: 128,
        dst_stride: 128,
        ..add()
    };
    assert_eq!(check(&of(columns)), Ok(()));
}

#[test]
fn the_image_is_not_written() {
    assert_eq!(
        error(&of(Store { dst: Dram(255), ..store() })),
        "0: dst starts at 0xff, inside the image"
    );
}

#[test]
fn limits_of_the_machine() {
    assert_eq!(
        error(&of(Matmul { lines: LineSet { first: 1, count: 64 }, ..matmul() })),
        "0: lines 1+64 on a machine of 64"
    );
    let norm = LayerNorm {
        out: Width::I8,
        params: Sram(1 << 16),
        dst: Sram(1 << 15),
        m: 1,
        n: 8193,
        ..LayerNorm::ZERO
    };
    assert_eq!(error(&of(norm)), "0: rows of 8193 elements, expected at most 8192");
    assert_eq!(check(&of(LayerNorm { n: 8192, ..norm })), Ok(()));
    let wide = LayerNorm { out: Width::I32, n: 64, ..norm };
    assert_eq!(error(&of(wide)), "0: LayerNorm writes 8 or 16 bits");
}

/// A list of a query with three entries; every operand somewhere else.
fn spmm_list() -> SpmmList {
    let at = |operand: u32| Sram(operand << 12);
    SpmmList {
        engine: Engine::Sparser,
        wide: false,
        accumulate: false,
        minifloat: false,
        lines: LineSet { first: 0, count: 64 },
        rows: at(0),
        tokens: at(1),
        p: at(2),
        sum: at(3),
        block_sum: at(4),
        acc: at(5),
        v: at(6),
        dst: at(7),
        m: 4,
        n: 5,
        d: 8,
        heads: 2,
        v_stride: 16,
        dst_stride: 16,
        acc_stride: SramBytes(64),
        queries: 1,
        token_bytes: SramBytes(100),
        entries: Entries(3),
        cycles: Cycles(5),
        scale: Scale::ONE,
    }
}

#[test]
fn operands_of_a_product_with_a_list() {
    assert_eq!(check(&of(spmm_list())), Ok(()));
    assert_eq!(error(&of(SpmmList { p: Sram(7 << 12), ..spmm_list() })), "0: p overlaps dst");
    assert_eq!(
        error(&of(SpmmList { token_bytes: SramBytes(0), ..spmm_list() })),
        "0: tokens is empty: a count is 0"
    );
    let continued = SpmmList { accumulate: true, acc_stride: SramBytes(62), ..spmm_list() };
    assert_eq!(error(&of(continued)), "0: acc has a stride of 62, expected a multiple of 4");
}

#[test]
fn lists_number_their_heads() {
    let list = SddmmList {
        engine: Engine::Sparser,
        wide: true,
        lines: LineSet { first: 63, count: 1 },
        rows: Sram(0),
        tokens: Sram(1 << 20),
        q: Sram(2 << 20),
        k: Sram(3 << 20),
        max: Sram(4 << 20),
        dst: Sram(5 << 20),
        m: 1 << 10,
        n: 5,
        d: 1,
        heads: 256,
        q_stride: 256,
        k_stride: 256,
        queries: 3,
        token_bytes: SramBytes(100),
        entries: Entries(7),
        cycles: Cycles(8),
        scale: Scale::ONE,
    };
    let large = |list: SddmmList| {
        let mut program = of(list);
        program.machine.sram.bytes = crate::instr::field::MAX_SRAM;
        program
    };
    assert_eq!(check(&large(list)), Ok(()));
    assert_eq!(
        error(&large(SddmmList { heads: 257, m: 1, q_stride: 257, k_stride: 257, ..list })),
        "0: a list of 257 heads, expected at most 256"
    );
    let beyond = SddmmList { lines: LineSet { first: 63, count: 2 }, rows: Sram(1), ..list };
    assert_eq!(
        error(&large(beyond)),
        "0: lines 63+2 on a machine of 64\n0: rows starts at 0x1, expected a multiple of 2"
    );
}

/// A list of a query with two keys, as constants; `LATER` are the changes of a later load.
fn listed(tokens: &str, cycles: u32, later: &str) -> Result<(), String> {
    let text = format!(
        r#"
        .program "list"
        .machine vitcod
        .input x i8 [1, 32] step=1
        .output y i8 [1, 4] step=1
        .const list
            .u16 1 2
            .u8 0 0
        .const tokens
            .u16 1 0 0
            .u8 1
            .u8 {tokens}
        .buffer rows 6
        .buffer steps 64
        .buffer q 16
        .buffer k 16
        .buffer max 4
        .buffer cells 4
        .layer "scores"
            load dst=rows src=list bytes=6 traffic=indices
            load dst=q src=x bytes=16 traffic=inputs
            load dst=k src=x+16 bytes=16 traffic=inputs
            load dst=steps src=tokens bytes=19 traffic=indices signal=sparser
            {later}
            sddmm_list engine=sparser lines=0+2 rows=rows tokens=steps q=q k=k max=max dst=cells m=2 n=2 d=8 heads=1 q_stride=8 k_stride=8 queries=1 token_bytes=19 entries=2 cycles={cycles} scale=1 wait=load signal=store
            store src=cells dst=y bytes=4 traffic=outputs wait=sparser
            halt
        "#
    );
    let parsed = crate::asm::Assembly::parse(&text, &|_| Err(String::new()));
    let program = parsed.map_err(|error| error.render("list", &text))?.program;
    super::check(&program).map_err(|error| message(&program, error))
}

#[test]
fn lists_that_are_constants_hold_together_and_state_their_cycles() {
    // Query and key 0 are read in cycle 0; key 1, which shares its word with key 0, in cycle 1. Two
    // revolutions, of rows and of tokens, take longer.
    let revolution = Machine::preset("vitcod").unwrap().organisation().unwrap().revolution_cycles();
    let cycles = 2 * revolution as u32;
    let good = "2 0 1 0 1 0  0 0 1  0 1 1";
    assert_eq!(listed(good, cycles, ""), Ok(()));
    assert_eq!(listed(good, 3, ""), Err(format!("4: cycles is 3, expected {cycles}")));
    let wrong = "2 0 1 0 1 0  0 0 1  0 2 1";
    let key = "4: tokens has key 2 in token 1 of segment 1, expected less than 2";
    assert_eq!(listed(wrong, cycles, ""), Err(key.to_owned()));
    let slow = "2 0 7 0 1 0  0 0 1  0 1 1";
    let segment = "4: tokens states 7 cycles of scores for segment 1, expected 1";
    assert_eq!(listed(slow, cycles, ""), Err(segment.to_owned()));
    // A byte that comes from the input may say anything.
    let later = |load: &str| {
        let waits = "sync unit=load signal=sparser\nsync unit=sparser wait=load";
        format!("load dst=steps+14 bytes=1 {load}\n{waits}")
    };
    let input = later("src=x traffic=inputs");
    assert_eq!(listed(wrong, cycles, &input), Ok(()));
    let constant = later("src=tokens+14 traffic=indices");
    assert_eq!(listed(good, cycles, &constant), Ok(()));
    assert_eq!(listed(wrong, cycles, &constant), Err(key.replace("4:", "7:")));
}

#[test]
fn scores_with_an_index_have_a_table() {
    let sddmm = Sddmm {
        engine: Engine::Denser,
        fresh: true,
        indexed: true,
        masked: true,
        lines: LineSet { first: 0, count: 64 },
        k: Sram(1 << 12),
        max: Sram(2 << 12),
        dst: Sram(3 << 12),
        m: 2,
        n: 9,
        d: 8,
        scale: Scale::ONE,
        q_stride: 8,
        k_stride: 8,
        dst_stride: 18,
        index: Sram(4 << 12),
        mask: Sram(5 << 12),
        limit: 3,
        ..Sddmm::ZERO
    };
    assert_eq!(check(&of(sddmm)), Ok(()));
    assert_eq!(error(&of(Sddmm { limit: 0, ..sddmm })), "0: k is empty: a count is 0");
    let off = Sddmm {
        indexed: false,
        masked: false,
        limit: 0,
        index: Sram(1),
        mask: Sram(1 << 22),
        ..sddmm
    };
    assert_eq!(check(&of(off)), Ok(()), "what is switched off does not count");
}

#[test]
fn tokens_balance() {
    let mut program = pipeline();
    program.code[1].signal = units(&[Unit::Store, Unit::Load]);
    assert_eq!(error(&program), "1: vector sends 1 token to load, which waits for 0");

    let mut program = pipeline();
    program.code[0].signal = UnitSet::EMPTY;
    assert_eq!(error(&program), "1: load sends 0 tokens to vector, which waits for 1");

    let mut program = pipeline();
    program.code[3].wait = units(&[Unit::Load]);
    assert_eq!(error(&program), "3: an instruction of all units has no tokens");
}

#[test]
fn waits_in_a_circle_never_end() {
    let program = with(vec![
        instr(load(), &[Unit::Store], &[Unit::Store]),
        instr(store(), &[Unit::Load], &[Unit::Load]),
        instr(Halt {}, &[], &[]),
    ]);
    let message =
        "0: waits for a token of instruction 1, which comes later: a signal precedes its wait";
    assert_eq!(error(&program), message);
}

#[test]
fn a_token_does_not_pass_a_barrier_backwards() {
    let program = with(vec![
        instr(store(), &[Unit::Load], &[]),
        instr(Barrier {}, &[], &[]),
        instr(load(), &[], &[Unit::Store]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(
        error(&program),
        "0: waits for a token of instruction 2, which comes later: a signal precedes its wait"
    );
}

#[test]
fn tokens_may_be_sent_long_before_they_are_taken_and_to_oneself() {
    let sync = |unit, wait: &[Unit], signal: &[Unit]| instr(Sync { unit }, wait, signal);
    let program = with(vec![
        sync(Unit::Load, &[], &[Unit::Load, Unit::Store]),
        sync(Unit::Load, &[Unit::Load], &[Unit::Store]),
        sync(Unit::Store, &[Unit::Load], &[]),
        instr(Barrier {}, &[], &[]),
        sync(Unit::Store, &[Unit::Load], &[]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(check(&program), Ok(()));

    let own = with(vec![sync(Unit::Load, &[Unit::Load], &[Unit::Load]), instr(Halt {}, &[], &[])]);
    assert_eq!(error(&own), "0: waits for a token of itself: a signal precedes its wait");
}

/// Without a limit to the queues of the units, these programs would end.
#[test]
fn a_signal_precedes_its_wait_in_the_program() {
    let program = with(vec![
        instr(store(), &[Unit::Load], &[]),
        instr(load(), &[], &[Unit::Store]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(
        error(&program),
        "0: waits for a token of instruction 1, which comes later: a signal precedes its wait"
    );
    // The token of instruction 0 is that of instruction 1; the second one is taken too early.
    let sync = |unit, wait: &[Unit], signal: &[Unit]| instr(Sync { unit }, wait, signal);
    let program = with(vec![
        sync(Unit::Load, &[], &[Unit::Store]),
        sync(Unit::Store, &[Unit::Load], &[]),
        sync(Unit::Store, &[Unit::Load], &[]),
        sync(Unit::Load, &[], &[Unit::Store]),
        instr(Halt {}, &[], &[]),
    ]);
    assert_eq!(
        error(&program),
        "2: waits for a token of instruction 3, which comes later: a signal precedes its wait"
    );
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
