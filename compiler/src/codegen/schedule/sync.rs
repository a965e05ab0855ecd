//! Synchronisation: inserts tokens that order every pair of conflicting accesses whose instructions
//! could otherwise overlap in time.
//!
//! The memories are divided into segments, at the bounds of every operand. Each segment knows its
//! last writer and its last reader in each unit since. An instruction waits for those that it
//! conflicts with, unless it is known to start after they have completed. What a unit knows of the
//! others is a vector clock, advanced by every token. So no token is redundant when it is inserted;
//! later tokens can make it so, and `emit` removes those. A later wait on a unit is always for a
//! later instruction of that unit, so the i-th wait consumes the i-th token.
//!
//! Within a unit, instructions start and complete in order, and read before they write. So a write
//! after a read or write of the same unit needs no token. A read after a write of the same unit
//! waits for a token of that unit.

use std::collections::BTreeMap;
use std::ops::Range;

use vitcod_isa::effects::{Space, accesses};
use vitcod_isa::instr::table::Halt;
use vitcod_isa::instr::{Instr, Op, Unit};

use crate::tiled::{Addresses, Tasks};

/// Per unit, how many of its instructions are known to have completed.
type Clock = [u32; Unit::COUNT];

/// The last accesses of a segment: numbers of instructions within their units, from 1; 0 for none.
#[derive(Clone, Copy, Default)]
struct Segment {
    writer: (u8, u32),
    readers: Clock,
}

/// The code of scheduled tasks: their instructions with tokens, and `halt`.
pub(in crate::codegen) fn with_tokens(
    Tasks { tasks, image_bytes, .. }: &Tasks,
    addresses: &Addresses,
) -> Vec<Instr> {
    let mut memory =
        Memory { sram: Segments::default(), dram: Segments::default(), image_bytes: *image_bytes };
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

/// A memory in segments: by start address, the end and the last accesses.
#[derive(Default)]
struct Segments(BTreeMap<u64, (u64, Segment)>);

struct Memory {
    sram: Segments,
    dram: Segments,
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
                let segments = match access.space {
                    Space::Sram => &mut self.sram,
                    Space::Dram if access.region.base < self.image_bytes => continue,
                    Space::Dram => &mut self.dram,
                };
                for (start, bytes) in access.region.runs() {
                    segments.touch(start..start + bytes, writes, unit, number, &mut needed);
                }
            }
        }
        needed
    }
}

impl Segments {
    fn touch(
        &mut self,
        range: Range<u64>,
        writes: bool,
        unit: Unit,
        number: u32,
        needed: &mut Clock,
    ) {
        // Fast path: most operands cover an existing segment.
        if let Some((end, segment)) = self.0.get_mut(&range.start)
            && *end == range.end
        {
            segment.touch(writes, unit, number, needed);
            return;
        }
        self.cut(range.start);
        self.cut(range.end);
        if writes {
            let inside: Vec<u64> = self.0.range(range.clone()).map(|(start, _)| *start).collect();
            let mut written = Segment::default();
            for start in inside {
                if let Some((_, mut segment)) = self.0.remove(&start) {
                    segment.touch(true, unit, number, needed);
                }
            }
            written.touch(true, unit, number, needed);
            self.0.insert(range.start, (range.end, written));
            return;
        }
        let mut at = range.start;
        let mut gaps = Vec::new();
        for (start, (end, segment)) in self.0.range_mut(range.clone()) {
            gaps.push(at..*start);
            at = *end;
            segment.touch(false, unit, number, needed);
        }
        gaps.push(at..range.end);
        for gap in gaps.into_iter().filter(|gap| !gap.is_empty()) {
            let mut read = Segment::default();
            read.touch(false, unit, number, needed);
            self.0.insert(gap.start, (gap.end, read));
        }
    }

    /// Divides the segment that contains `at` at that address.
    fn cut(&mut self, at: u64) {
        if let Some((_, (end, segment))) = self.0.range_mut(..at).next_back()
            && *end > at
        {
            let rest = (*end, *segment);
            *end = at;
            self.0.insert(at, rest);
        }
    }
}

impl Segment {
    fn touch(&mut self, writes: bool, unit: Unit, number: u32, needed: &mut Clock) {
        let mut wait = |unit: usize, number: u32| needed[unit] = needed[unit].max(number);
        let (writer, written) = (usize::from(self.writer.0), self.writer.1);
        let own = writer == unit.index();
        if writes {
            if !own {
                wait(writer, written);
            }
            for (reader, read) in self.readers.iter().enumerate() {
                if reader != unit.index() {
                    wait(reader, *read);
                }
            }
            *self = Segment { writer: (unit.index() as u8, number), readers: Clock::default() };
        } else {
            if !own || written < number {
                wait(writer, written);
            }
            self.readers[unit.index()] = number;
        }
    }
}
