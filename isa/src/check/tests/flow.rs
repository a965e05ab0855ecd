//! The flow of data: broken programs with their messages, and tokens that are too many.

use super::*;
use crate::check::{Token, remove_redundant_tokens, tokens};

pub(super) fn flow_error(program: &Program) -> String {
    message(program, crate::check::check(program).unwrap_err())
}

/// Transfers of contiguous bytes.
pub(super) fn load_of(dst: u32, src: u64, bytes: u32) -> Load {
    Load { dst: Sram(dst), src: Dram(src), bytes, inner: 1, ..load() }
}

pub(super) fn store_of(src: u32, dst: u64, bytes: u32) -> Store {
    Store { src: Sram(src), dst: Dram(dst), bytes, ..store() }
}

/// Two operands of `add` arrive one by one, and the sum leaves. The output is the 64 bytes from
/// 320.
pub(super) fn sums() -> Vec<Instr> {
    vec![
        instr(load_of(0, 256, 64), &[], &[]),
        instr(load_of(64, 0, 64), &[], &[Unit::Vector]),
        instr(add(), &[Unit::Load], &[Unit::Store]),
        instr(store(), &[Unit::Vector], &[]),
        instr(Halt {}, &[], &[]),
    ]
}

/// Makes accumulators of 16 int32, continues them `times` times and stores the first 64 bytes of
/// DRAM's output.
fn accumulated(k: u16, times: usize, start: impl Into<Op>) -> Program {
    let product = |accumulate| Matmul {
        accumulate,
        params: Sram(1 << 16),
        a: Sram(0),
        b: Sram(0),
        k,
        ..matmul()
    };
    let product = |accumulate| Matmul {
        acc: Sram(1 << 17),
        dst: Sram(1 << 17),
        m: 4,
        n: 4,
        ..product(accumulate)
    };
    let product = |accumulate| Matmul { a_stride: 0, b_stride: 0, ..product(accumulate) };
    let mut program = with(vec![instr(load_of(1 << 16, 0, 48), &[], &[])]);
    program.header.dram_bytes = 1 << 20;
    program.image = Bytes::from(vec![0; 256]);
    let bytes = u32::from(k).max(64);
    program.header.inputs =
        vec![Binding { shape: vec![bytes.into()], element: Element::I8, ..binding("x", 1 << 17) }];
    program.code.push(instr(load_of(0, 1 << 17, bytes), &[], &[Unit::Denser]));
    program.code.push(instr(start, &[Unit::Load], &[Unit::Denser]));
    for _ in 0..times {
        program.code.push(instr(product(true), &[Unit::Denser], &[Unit::Denser]));
    }
    program.code.push(instr(Sync { unit: Unit::Denser }, &[Unit::Denser], &[Unit::Store]));
    program.code.push(instr(store_of(1 << 17, 320, 64), &[Unit::Denser], &[]));
    program.code.push(Instr::new(Halt {}));
    program.layer_of = vec![0; program.code.len()];
    program
}

fn fresh(k: u16) -> Matmul {
    Matmul {
        accumulate: false,
        params: Sram(1 << 16),
        a: Sram(0),
        b: Sram(0),
        dst: Sram(1 << 17),
        k,
        a_stride: 0,
        b_stride: 0,
        ..matmul()
    }
}

#[test]
fn data_flows() {
    assert_eq!(crate::check::check(&with(sums())), Ok(()));
    assert_eq!(crate::check::check(&pipeline_that_flows()), Ok(()));
}

/// The same through a barrier, which orders all that stands before it and all behind it.
fn pipeline_that_flows() -> Program {
    let plain: Vec<Instr> = sums().into_iter().map(|instr| Instr::new(instr.op)).collect();
    let barrier = Instr::new(Barrier {});
    with(vec![plain[0], plain[1], barrier, plain[2], barrier, plain[3], plain[4]])
}

#[test]
fn what_is_read_was_written() {
    let mut code = sums();
    code[1] = instr(load_of(64, 0, 60), &[], &[Unit::Vector]);
    assert_eq!(
        flow_error(&with(code.clone())),
        "2: b reads 0x7c..0x80 of the scratchpad, which was never written"
    );
    // Behind the image and in front of the input there is nothing.
    let mut program = with(sums());
    program.image = Bytes::from_static(&[0; 16]);
    assert_eq!(flow_error(&program), "1: src reads 0x10..0x40 of DRAM, which was never written");
    let mut program = with(sums());
    program.code[3] = instr(store_of(128, 320, 63), &[Unit::Vector], &[]);
    assert_eq!(
        flow_error(&program),
        "binding \"x\": 0x17f..0x180 of DRAM, which was never written"
    );
}

#[test]
fn every_kind_of_race() {
    // Read after write: add does not wait for its operands.
    let mut code = sums();
    (code[1].signal, code[2].wait) = (UnitSet::EMPTY, UnitSet::EMPTY);
    assert_eq!(
        flow_error(&with(code)),
        "2: a reads 0x0..0x40 of the scratchpad, which dst of instruction 0 (load) writes; no token orders them\n\
         2: b reads 0x40..0x80 of the scratchpad, which dst of instruction 1 (load) writes; no token orders them"
    );
    // Write after read: a load replaces an operand of add, and write after write: one replaces its
    // result.
    let mut code = sums();
    code.insert(4, instr(load_of(60, 256, 8), &[], &[]));
    code.insert(5, instr(load_of(188, 256, 8), &[], &[]));
    assert_eq!(
        flow_error(&with(code)),
        "4: dst writes 0x3c..0x40 of the scratchpad, which a of instruction 2 (add) reads; no token orders them\n\
         5: dst writes 0xbc..0xc0 of the scratchpad, which dst of instruction 2 (add) writes; no token orders them\n\
         5: dst writes 0xbc..0xc0 of the scratchpad, which src of instruction 3 (store) reads; no token orders them"
    );
    // In DRAM.
    let mut code = sums();
    code.insert(4, instr(load_of(1024, 320, 1), &[], &[]));
    code.swap(0, 4);
    let error = flow_error(&with(code));
    assert!(error.contains("src reads 0x140..0x141 of DRAM, which was never written"), "{error}");
}

#[test]
fn a_unit_reads_what_it_wrote_only_with_a_token_of_its_own() {
    let again = |wait: &[Unit], signal: &[Unit]| {
        let mut code = sums();
        code[2].signal = units(signal);
        let second = Add { a: Sram(128), dst: Sram(128), ..add() };
        code.insert(3, instr(second, wait, &[Unit::Store]));
        with(code)
    };
    assert_eq!(crate::check::check(&again(&[Unit::Vector], &[Unit::Vector])), Ok(()));
    assert_eq!(
        flow_error(&again(&[], &[])),
        "3: a reads 0x80..0xc0 of the scratchpad, which dst of instruction 2 (add) writes; no token orders them"
    );
}

#[test]
fn sums_stay_within_their_accumulators() {
    assert_eq!(crate::check::check(&accumulated(1 << 14, 2, fresh(1 << 14))), Ok(()));
    assert_eq!(crate::check::check(&accumulated(1 << 14, 3, fresh((1 << 14) - 1))), Ok(()));
    assert_eq!(
        flow_error(&accumulated(1 << 14, 3, fresh(1 << 14))),
        "5: sums of 131072 products, expected at most 131071 (a bias counts as 65536, a product with a minifloat as 32)"
    );
    let zeros = Lut {
        src: Sram(0),
        table: Sram(0),
        dst: Sram(1 << 17),
        m: 1,
        n: 64,
        src_stride: 64,
        dst_stride: 64,
    };
    let mut program = accumulated(256, 1, zeros);
    program.code[1].signal = units(&[Unit::Vector]);
    program.code[2].signal = units(&[Unit::Denser]);
    program.code[3].wait = units(&[Unit::Vector]);
    assert_eq!(flow_error(&program), "3: acc is continued, but does not hold sums of products");
}

#[test]
fn tokens_have_a_sender_and_a_receiver() {
    let program = with(sums());
    let expected = [Token { receiver: 2, sender: 1 }, Token { receiver: 3, sender: 2 }];
    assert_eq!(tokens(&program.code), expected);
    let mut code = program.code.clone();
    expected[0].remove(&mut code);
    assert_eq!(tokens(&code), expected[1..]);
    assert!(code[1].signal.is_empty() && code[2].wait.is_empty());
}

#[test]
fn redundant_tokens_are_removed() {
    // The first load's token says no more than the second's, and nobody needs to know of the store.
    let mut program = with(sums());
    program.code[0].signal = units(&[Unit::Vector]);
    program.code.insert(2, instr(Sync { unit: Unit::Vector }, &[Unit::Load], &[]));
    program.code[4].signal = units(&[Unit::Load]);
    program.code.insert(5, instr(Sync { unit: Unit::Load }, &[Unit::Store], &[]));
    program.layer_of = vec![0; program.code.len()];
    let removed = remove_redundant_tokens(&mut program).unwrap();
    assert_eq!(removed, [Token { receiver: 2, sender: 0 }, Token { receiver: 5, sender: 4 }]);
    assert_eq!(
        tokens(&program.code),
        [Token { receiver: 3, sender: 1 }, Token { receiver: 4, sender: 3 }]
    );
    assert_eq!(remove_redundant_tokens(&mut program), Ok(vec![]));

    // Knowledge that is taken early and needed late.
    let mut program = with(sums());
    program.code[2].wait = UnitSet::EMPTY;
    program.code.insert(2, instr(Sync { unit: Unit::Vector }, &[Unit::Load], &[]));
    program.layer_of = vec![0; program.code.len()];
    assert_eq!(remove_redundant_tokens(&mut program), Ok(vec![]));

    program.code[3].signal = UnitSet::EMPTY;
    assert!(remove_redundant_tokens(&mut program).is_err(), "a program that must not run");
}

/// Loads that write 5 million bytes one by one, `stride` bytes apart, each load from one of the two
/// addresses on.
fn scattered(strides: [u32; 2]) -> Program {
    let load = |number: usize| Load {
        dst: Sram(number as u32 % 2),
        src: Dram(0),
        bytes: 1,
        inner: 2048,
        outer: 2500,
        src_inner_stride: 0,
        src_outer_stride: 0,
        dst_inner_stride: strides[number % 2],
        dst_outer_stride: 2048 * strides[number % 2],
        traffic: Traffic::Inputs,
    };
    let mut code: Vec<Instr> = (0..100).map(|number| Instr::new(load(number))).collect();
    code.push(Instr::new(Halt {}));
    let mut program = with(code);
    program.header.outputs.clear();
    program.machine.sram.bytes = crate::instr::field::MAX_SRAM;
    program
}

#[test]
fn rows_with_one_stride_are_followed_however_many_they_are() {
    assert_eq!(crate::check::check(&scattered([2, 2])), Ok(()));
}

#[test]
fn rows_with_ever_other_strides_are_refused_in_bounded_time() {
    assert_eq!(
        flow_error(&scattered([2, 3])),
        "1: the flow of data is followed no further: operands of this program are scattered over more than 1050192 pieces of a memory or take more than 67936256 steps"
    );
}
