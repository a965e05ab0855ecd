//! Products on machines with banks: what lines hold.

use super::matmul;
use crate::cost::cost;
use crate::effects::Data;
use crate::instr::{Engine, LineSet, Op};
use crate::numerics::Scale;

use crate::instr::table::{Matmul, Sddmm};
use crate::machine::Machine;

/// Machine `vitcod` with so many bytes of registers for operands.
fn with_registers(bytes: u32) -> Machine {
    let mut machine = Machine::preset("vitcod").unwrap();
    machine.datapath.as_mut().unwrap().operand_bytes = bytes;
    machine
}

#[test]
fn lines_hold_whole_words() {
    let product = matmul(100, 64, 640);
    let of = |registers: u32| cost(&product, &with_registers(registers));
    for part in [2, 6, 50, 127] {
        assert_eq!(of(part), of(128), "{part} bytes");
    }
    assert_eq!(of(130), of(256));
    assert!(of(256).cycles <= of(128).cycles);
}

#[test]
fn strides_without_a_common_factor_take_little_time_to_count() {
    let mut machine = with_registers(6);
    let (banks, datapath) = (machine.banks.as_mut().unwrap(), machine.datapath.as_mut().unwrap());
    (banks.count, banks.word_bytes, datapath.accumulators) = (64, 256, 66);
    let Op::Matmul(product) = matmul(u16::MAX, u16::MAX, u16::MAX) else { unreachable!() };
    let op = Matmul {
        more_runs: 63,
        a_stride: 65_537,
        b_stride: 65_537,
        run_stride: 65_539,
        dst_stride: 65_541,
        ..product
    };
    assert!(cost(&op.into(), &machine).cycles > 1 << 32);
}

#[test]
fn a_key_of_an_index_takes_words_of_its_own() {
    let machine = with_registers(128);
    let revolution = machine.organisation().unwrap().revolution_cycles();
    let of = |d: u16, indexed: bool| {
        let scores = Sddmm {
            engine: Engine::Sparser,
            indexed,
            lines: LineSet { first: 0, count: 64 },
            m: 1,
            n: 64,
            d,
            limit: 64,
            scale: Scale::ONE,
            q_stride: d.into(),
            k_stride: d.into(),
            dst_stride: 128,
            ..Sddmm::ZERO
        };
        let cost = cost(&scores.into(), &machine);
        (cost.cycles / revolution, cost.sram.read(Data::Activations) / 64)
    };
    // A query and 64 keys, contiguous, in 16 words, of which a slot delivers 32 per revolution; and
    // in a word each, with two more layers for maxima and the index.
    assert_eq!(of(16, false), (3, 1 + 16));
    assert_eq!(of(16, true), (1 + 64 + 2, 1 + 64));
    // Keys of 48 bytes are in 48 words. One of an index may be in two, but these are in two banks.
    assert_eq!(of(48, false).1, 1 + 48);
    assert_eq!(of(48, true), (1 + 64 + 2, 1 + 2 * 64));
}
