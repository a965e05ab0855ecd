//! Programs that state their buffers: sound ones, and each invariant broken.

use super::flow::{flow_error, load_of, store_of, sums};
use super::*;
use crate::program::Buffer;

fn buffer(address: u32, bytes: u32, [first, last]: [u32; 2]) -> Buffer {
    Buffer { address, bytes, first, last }
}

/// [`sums`] with a buffer for each operand and the result.
fn stated() -> Program {
    let mut program = with(sums());
    program.buffers = vec![buffer(0, 64, [0, 2]), buffer(64, 64, [1, 2]), buffer(128, 64, [2, 3])];
    program
}

fn with_buffer(index: usize, buffer: Buffer) -> String {
    let mut program = stated();
    program.buffers[index] = buffer;
    flow_error(&program)
}

#[test]
fn buffers_that_hold_what_is_touched() {
    assert_eq!(crate::check::check(&stated()), Ok(()));
    // In any order, and one of which nothing is touched.
    let mut program = stated();
    program.buffers.reverse();
    program.buffers.push(buffer(4096, 16, [4, 4]));
    assert_eq!(crate::check::check(&program), Ok(()));
    // One buffer may hold several operands.
    let mut program = stated();
    program.buffers = vec![buffer(0, 192, [0, 3])];
    assert_eq!(crate::check::check(&program), Ok(()));
}

#[test]
fn buffers_that_are_none() {
    let end = stated().machine.sram.bytes;
    assert_eq!(
        with_buffer(1, buffer(64, 0, [1, 2])),
        "buffer 1 (0 bytes at sram:0x40, instructions 1 to 2): has no bytes"
    );
    assert_eq!(
        with_buffer(1, buffer(end - 32, 64, [1, 2])),
        format!(
            "buffer 1 (64 bytes at sram:{:#x}, instructions 1 to 2): ends at {:#x}; the scratchpad has {end:#x} bytes",
            end - 32,
            end + 32
        )
    );
    assert_eq!(
        with_buffer(1, buffer(64, 64, [2, 1])),
        "buffer 1 (64 bytes at sram:0x40, instructions 2 to 1): lives from instruction 2 to 1"
    );
    assert_eq!(
        with_buffer(1, buffer(64, 64, [1, 5])),
        "buffer 1 (64 bytes at sram:0x40, instructions 1 to 5): lives to instruction 5 of 5"
    );
}

#[test]
fn buffers_that_live_together_share_no_byte() {
    let mut program = stated();
    program.buffers[2].address = 112;
    assert_eq!(
        flow_error(&program),
        "buffer 2 (64 bytes at sram:0x70, instructions 2 to 3): shares bytes with buffer 1, which is live at the same time"
    );
    // One inside another, and the same one twice.
    for inner in [buffer(16, 16, [1, 1]), buffer(0, 64, [0, 2])] {
        let mut program = stated();
        program.buffers.push(inner);
        assert!(flow_error(&program).contains("which is live at the same time"));
    }
}

#[test]
fn what_is_touched_lies_in_a_live_buffer() {
    let message = "accesses 0x40..0x80 of the scratchpad, which is not in a live buffer";
    // Too short, too late, over too early.
    for other in [buffer(64, 48, [1, 2]), buffer(80, 48, [1, 2])] {
        assert_eq!(with_buffer(1, other), format!("1: dst {message}\n2: b {message}"));
    }
    assert_eq!(with_buffer(1, buffer(64, 64, [2, 2])), format!("1: dst {message}"));
    assert_eq!(with_buffer(1, buffer(64, 64, [1, 1])), format!("2: b {message}"));
    // Two that touch each other do not hold together what one does not hold.
    let mut program = stated();
    program.buffers[1] = buffer(64, 32, [1, 2]);
    program.buffers.push(buffer(96, 32, [1, 2]));
    assert_eq!(flow_error(&program), format!("1: dst {message}\n2: b {message}"));
}

#[test]
fn bytes_of_another_life_are_unwritten() {
    // A load puts bytes at 128, and the sum goes elsewhere: the store sends what the load wrote.
    let mut code = sums();
    code[1] = instr(load_of(128, 0, 64), &[], &[Unit::Vector]);
    code[2].op = Add { b: Sram(128), dst: Sram(0), ..add() }.into();
    code[3] = instr(store_of(128, 320, 64), &[Unit::Vector], &[]);
    let program = with(code);
    assert_eq!(crate::check::check(&program), Ok(()), "the flow of data alone");
    let mut stated = program;
    stated.buffers = vec![buffer(0, 64, [0, 2]), buffer(128, 64, [1, 3])];
    assert_eq!(crate::check::check(&stated), Ok(()), "one life");
    stated.buffers = vec![buffer(0, 64, [0, 2]), buffer(128, 64, [1, 2]), buffer(128, 64, [3, 3])];
    assert_eq!(
        flow_error(&stated),
        "3: src reads 0x80..0xc0 of the scratchpad, which was never written in the live range of its buffer"
    );
}
