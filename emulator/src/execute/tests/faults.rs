//! Instructions that the machine cannot execute.

use vitcod_isa::instr::table::{Gather, Load, Matmul};
use vitcod_isa::instr::{Dram, Engine, Instr, Op, Sram, Traffic, Width};

use super::LINES;
use crate::execute::{Core, Fault, Memory, MemoryError, Reason};
use vitcod_isa::testing;

fn fault(op: impl Into<Op>, image: &[u8]) -> Fault {
    let mut memory = Memory::new(&testing::program([], image)).unwrap();
    let before = memory.clone();
    let fault = Core::new(&testing::vitcod()).execute(7, &Instr::new(op), &mut memory).unwrap_err();
    assert!(memory.sram == before.sram && memory.dram == before.dram, "{fault}");
    fault
}

#[test]
fn accesses_outside_of_a_memory_are_faults() {
    let beyond = fault(testing::load(327_670, 0, 11), &[]);
    assert_eq!((beyond.index, beyond.operand), (7, "dst"));
    let text = beyond.to_string();
    assert!(text.starts_with("instruction 7, `load dst=sram:0x4fff6"), "{text}");
    assert!(
        text.ends_with("operand dst ends at 0x50001, beyond the 327680 bytes of the scratchpad"),
        "{text}"
    );
    assert_eq!(fault(testing::load(0, 65_530, 7), &[]).operand, "src");
    assert_eq!(fault(testing::store(0, u64::MAX, 7), &[]).operand, "dst");
    let product = testing::matmul(Engine::Denser, LINES, (u16::MAX, u16::MAX, u16::MAX), [0; 4]);
    assert_eq!(fault(product, &[]).operand, "a");
}

#[test]
fn results_that_no_memory_can_hold_are_faults() {
    // 2^32 runs of 65,535 bytes to the same place.
    let load = Load { inner: u16::MAX, outer: u16::MAX, ..testing::load(0, 0, 65_535) };
    assert!(matches!(fault(load, &[]).reason, Reason::Overlap { .. }));
    let product = Matmul {
        a_stride: 0,
        b_stride: 0,
        dst_stride: 0,
        ..testing::matmul(Engine::Denser, LINES, (u16::MAX, 20_000, 8), [0; 4])
    };
    let fault = fault(product, &[]);
    assert_eq!(
        (fault.operand, fault.reason),
        ("dst", Reason::Overlap { written: 65_535 * 20_000, bytes: 327_680, memory: "scratchpad" })
    );
}

#[test]
fn unaligned_elements_and_writes_to_constants_are_faults() {
    let mut product = testing::matmul(Engine::Denser, LINES, (1, 1, 8), [0, 0, 2, 0]);
    assert_eq!(fault(product, &[]).reason, Reason::Misaligned(4));
    (product.params, product.out, product.dst_stride, product.m) = (Sram(0), Width::I16, 3, 2);
    assert_eq!(fault(product, &[]).operand, "dst");
    assert_eq!(fault(testing::store(0, 15, 4), &[0; 16]).reason, Reason::Constant(15));
}

#[test]
fn bytes_that_are_no_parameters_are_faults() {
    // A shift of 255.
    let mut memory = Memory::new(&testing::program([], &[])).unwrap();
    memory.sram[8] = 255;
    let product = testing::matmul(Engine::Denser, LINES, (1, 1, 8), [64, 64, 0, 128]);
    let fault =
        Core::new(&testing::vitcod()).execute(0, &Instr::new(product), &mut memory).unwrap_err();
    assert!(
        fault
            .to_string()
            .ends_with("operand params cannot be read: malformed scale: the shift is above 62"),
        "{fault}"
    );
}

#[test]
fn a_gather_beyond_its_table_is_a_fault() {
    let mut memory = Memory::new(&testing::program([], &[])).unwrap();
    memory.sram[..4].copy_from_slice(&[2, 0, 3, 0]);
    let op = Gather {
        dst: Sram(64),
        src: Dram(0),
        bytes: 4,
        rows: 2,
        limit: 3,
        src_stride: 4,
        dst_stride: 4,
        index: Sram(0),
        traffic: Traffic::Activations,
    };
    let fault = Core::new(&testing::vitcod()).execute(0, &Instr::new(op), &mut memory).unwrap_err();
    assert!(
        fault
            .to_string()
            .ends_with("operand index has index 3 at position 1, expected less than 3"),
        "{fault}"
    );
}

#[test]
fn empty_operands_touch_nothing() {
    let product = Matmul {
        a_stride: u32::MAX,
        ..testing::matmul(Engine::Denser, LINES, (u16::MAX, 0, 0), [0; 4])
    };
    let mut memory = Memory::new(&testing::program([], &[])).unwrap();
    Core::new(&testing::vitcod()).execute(0, &Instr::new(product), &mut memory).unwrap();
    let load =
        Load { inner: u16::MAX, outer: u16::MAX, src_inner_stride: 9, ..testing::load(0, 0, 0) };
    Core::new(&testing::vitcod()).execute(0, &Instr::new(load), &mut memory).unwrap();
    assert!(memory.sram.iter().all(|byte| *byte == 0));
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let mut program = testing::program([], &[0; 100]);
    program.header.dram_bytes = 99;
    assert_eq!(Memory::new(&program).unwrap_err(), MemoryError::Image { image: 100, dram: 99 });
    program.header.dram_bytes = u64::MAX;
    assert_eq!(Memory::new(&program).unwrap_err(), MemoryError::TooLarge(u64::MAX));
}
