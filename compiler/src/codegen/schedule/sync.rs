//! Synchronisation: inserts tokens that order every pair of conflicting accesses whose instructions
//! could otherwise overlap in time.
//!
//! The memories are divided into [`Pieces`], each of which knows its last writer and its last
//! reader in each unit since. An instruction waits for those that it conflicts with, unless it is
//! known to start after they have completed. What a unit knows of the others is a vector clock,
//! advanced by every token. So no token is redundant when it is inserted; later tokens can make it
//! so, and `emit` removes those. A later wait on a unit is always for a later instruction of that
//! unit, so the i-th wait consumes the i-th token.
//!
//! Within a unit, instructions start and complete in order, and read before they write. So a write
//! after a read or write of the same unit needs no token. A read after a write of the same unit
//! waits for a token of that unit.

use vitcod_isa::effects::{Limits, Pieces, Space, accesses};
use vitcod_isa::instr::table::Halt;
use vitcod_isa::instr::{Instr, Op, Unit};

use crate::tiled::{Addresses, Tasks};

/// Per unit, how many of its instructions are known to have completed.
type Clock = [u32; Unit::COUNT];

/// The last accesses of a piece: numbers of instructions within their units, from 1; 0 for none.
#[derive(Clone, Copy, Default)]
struct Last {
    writer: (u8, u32),
    readers: Clock,
}

/// The code of scheduled tasks: their instructions with tokens, and `halt`.
pub(in crate::codegen) fn with_tokens(
    Tasks { tasks, image_bytes, .. }: &Tasks,
    addresses: &Addresses,
) -> Vec<Instr> {
    // A program that exceeds them is refused by the verifier.
    let limits = Limits::of_program(tasks.len() + 1);
    let pieces = || Pieces::new(Last::default(), limits);
    let mut memory = Memory { sram: pieces(), dram: pieces(), image_bytes: *image_bytes };
    let mut instructions: Vec<Instr> =
        tasks.iter().map(|task| Instr::new(task.at(|buffer| addresses[buffer]))).collect();
    // Per instruction, what is known to have completed when it completes.
    let mut completed: Vec<Clock> = Vec::with_capacity(tasks.len());
    // Per unit, the positions of its instructions in the program.
    let mut sequence: [Vec<usize>; Unit::COUNT] = Default::default();
    let mut known: [Clock; Unit::COUNT] = Default::default();

    for index in 0..instructions.len() {
        let op = instructions[index].op;
        let unit = op.units().iter().next().unwrap_or(Unit::Load);
        sequence[unit.index()].push(index);
        let number = sequence[unit.index()].len() as u32;
        let needed = memory.touch(&op, unit, number);

        // The latest first: its clock may cover the others.
        let mut waits: Vec<(usize, Unit)> = Unit::ALL
            .into_iter()
            .filter(|other| needed[other.index()] > 0)
            .map(|other| (sequence[other.index()][needed[other.index()] as usize - 1], other))
            .collect();
        waits.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
        for (position, other) in waits {
            if known[unit.index()][other.index()] >= needed[other.index()] {
                continue;
            }
            instructions[position].signal.insert(unit);
            instructions[index].wait.insert(other);
            for (mine, theirs) in known[unit.index()].iter_mut().zip(completed[position]) {
                *mine = (*mine).max(theirs);
            }
        }
        let mut clock = known[unit.index()];
        clock[unit.index()] = number;
        completed.push(clock);
    }
    instructions.push(Instr::new(Halt {}));
    instructions
}

struct Memory {
    sram: Pieces<Last>,
    dram: Pieces<Last>,
    /// Bytes of the constant image, which nothing writes.
    image_bytes: u64,
}

impl Memory {
    /// Records the accesses of an instruction, and returns per unit the last instruction that it
    /// must wait for.
    fn touch(&mut self, op: &Op, unit: Unit, number: u32) -> Clock {
        let mut needed = Clock::default();
        let all = accesses(op);
        // Reads come first, so that an operand overwritten in place is ordered by its old contents.
        for writes in [false, true] {
            for access in all
                .iter()
                .filter(|access| if writes { access.mode.writes() } else { access.mode.reads() })
            {
                let pieces = match access.space {
                    Space::Sram => &mut self.sram,
                    Space::Dram if access.region.base < self.image_bytes => continue,
                    Space::Dram => &mut self.dram,
                };
                if writes {
                    let written = Last { writer: (unit.index() as u8, number), ..Last::default() };
                    pieces.replace(&access.region, &written, |last, _| {
                        last.before_write(unit, &mut needed)
                    });
                } else {
                    pieces.update(&access.region, |last, _| last.read(unit, number, &mut needed));
                }
            }
        }
        needed
    }
}

impl Last {
    /// Adds what a write must wait for.
    fn before_write(&self, unit: Unit, needed: &mut Clock) {
        let (writer, written) = (usize::from(self.writer.0), self.writer.1);
        if writer != unit.index() {
            needed[writer] = needed[writer].max(written);
        }
        for (reader, (read, needed)) in self.readers.iter().zip(needed).enumerate() {
            if reader != unit.index() {
                *needed = (*needed).max(*read);
            }
        }
    }

    /// Adds what a read must wait for, and notes the read. An instruction does not wait for itself.
    fn read(&mut self, unit: Unit, number: u32, needed: &mut Clock) {
        let (writer, written) = (usize::from(self.writer.0), self.writer.1);
        if writer != unit.index() || written < number {
            needed[writer] = needed[writer].max(written);
        }
        self.readers[unit.index()] = number;
    }
}
