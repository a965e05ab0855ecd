//! Products on machines with banks: what lines hold.

use super::matmul;
use crate::cost::cost;
use crate::instr::Op;
use crate::instr::table::Matmul;
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
fn strides_without_any_common_factor_take_no_time_to_count() {
    let mut machine = with_registers(6);
    let (banks, datapath) = (machine.banks.as_mut().unwrap(), machine.datapath.as_mut().unwrap());
    (banks.count, banks.word_bytes, datapath.accumulators) = (64, 256, 512);
    let Op::Matmul(product) = matmul(u16::MAX, u16::MAX, u16::MAX) else { unreachable!() };
    let op = Matmul {
        more_runs: 255,
        a_stride: 65_537,
        b_stride: 65_537,
        run_stride: 65_539,
        dst_stride: 65_541,
        ..product
    };
    assert!(cost(&op.into(), &machine).cycles > 1 << 32);
}
