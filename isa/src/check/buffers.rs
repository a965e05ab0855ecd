//! Checks buffers: each access to the scratchpad must lie in a live buffer.
//!
//! A sweep over the instructions maintains the live buffers by address. They are disjoint, so the
//! buffer of an access is found by its first byte.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Report;
use super::order::{Clock, Order};
use crate::effects::{Space, accesses};
use crate::program::{Buffer, Program};

/// Per instruction, the buffers of its accesses to the scratchpad, in the order of [`accesses`].
/// Empty for a program without buffers.
#[derive(Debug, Default)]
pub(super) struct Touched {
    of_instruction: Vec<Vec<usize>>,
    lives: Vec<Life>,
}

/// The live range of a buffer as instruction numbers of each unit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    /// The last numbers before the live range.
    before: Clock,
    /// The last numbers of the live range.
    through: Clock,
}

impl Life {
    /// Whether an instruction is in the live range.
    pub(super) fn covers(&self, unit: usize, number: u32) -> bool {
        self.before[unit] < number && number <= self.through[unit]
    }
}

impl Touched {
    /// The live range of the buffer of an instruction's i-th access to the scratchpad; `None` in a
    /// program without buffers.
    pub(super) fn life(&self, instruction: usize, i: usize) -> Option<&Life> {
        let buffer = self.of_instruction.get(instruction)?.get(i)?;
        self.lives.get(*buffer)
    }

    /// Counts the instructions of each unit before and during each live range.
    pub(super) fn count(&mut self, program: &Program, order: &Order) {
        let mut starts = by(program, |buffer| buffer.first);
        let mut ends = by(program, |buffer| buffer.last);
        self.lives = vec![Life::default(); program.buffers.len()];
        let mut numbers = Clock::default();
        for (index, unit) in order.units.iter().enumerate() {
            starts.take_at(index).iter().for_each(|b| self.lives[*b].before = numbers);
            if let Some(unit) = unit {
                numbers[unit.index()] = order.numbers[index];
            }
            ends.take_at(index).iter().for_each(|b| self.lives[*b].through = numbers);
        }
    }
}

/// Buffers sorted by an instruction.
struct By {
    /// Instruction and buffer, in descending order of instructions.
    left: Vec<(u32, usize)>,
}

fn by(program: &Program, instruction: impl Fn(&Buffer) -> u32) -> By {
    let mut left: Vec<(u32, usize)> =
        program.buffers.iter().enumerate().map(|(i, buffer)| (instruction(buffer), i)).collect();
    left.sort_unstable_by(|a, b| b.cmp(a));
    By { left }
}

impl By {
    /// Takes the buffers of an instruction. Calls must be in ascending order of instructions.
    fn take_at(&mut self, index: usize) -> Vec<usize> {
        let mut found = Vec::new();
        while let Some((_, buffer)) = self.left.pop_if(|(at, _)| *at as usize == index) {
            found.push(buffer);
        }
        found
    }
}

/// Checks the buffers of a program, if it has any, and that each access lies in a live one.
pub(super) fn check(program: &Program, problems: &mut Report) -> Touched {
    let mut touched = Touched::default();
    if program.buffers.is_empty() {
        return touched;
    }
    let before = problems.0.len();
    for (index, buffer) in program.buffers.iter().enumerate() {
        if let Some(message) = malformed(program, buffer) {
            problems.buffer(index, buffer, || message);
        }
    }
    if problems.0.len() > before {
        return touched;
    }
    let mut starts = by(program, |buffer| buffer.first);
    let mut ends = by(program, |buffer| buffer.last);
    let mut overlap = false;
    let mut live: BTreeMap<u64, (Range<u64>, usize)> = BTreeMap::new();
    for (index, instr) in program.code.iter().enumerate() {
        for started in starts.take_at(index) {
            let range = program.buffers[started].range();
            let below = live.range(..range.end).next_back();
            if let Some((_, (_, other))) = below.filter(|(_, (other, _))| other.end > range.start) {
                overlap = true;
                problems.buffer(started, &program.buffers[started], || {
                    format!("shares bytes with buffer {other}, which is live at the same time")
                });
            }
            live.insert(range.start, (range, started));
        }
        if overlap {
            return touched;
        }
        let mut buffers = Vec::new();
        for access in accesses(&instr.op).iter().filter(|access| access.space == Space::Sram) {
            let (from, to) = (access.region.base, access.region.end());
            match live.range(..=from).next_back() {
                Some((_, (range, buffer))) if to <= range.end => buffers.push(*buffer),
                _ => problems.instruction(index, instr, || {
                    format!(
                        "{} accesses {from:#x}..{to:#x} of the scratchpad, which is not in a live buffer",
                        access.operand
                    )
                }),
            }
        }
        touched.of_instruction.push(buffers);
        for ended in ends.take_at(index) {
            live.remove(&program.buffers[ended].range().start);
        }
    }
    touched
}

/// The problem of a single buffer, if any.
fn malformed(program: &Program, buffer: &Buffer) -> Option<String> {
    let capacity = u64::from(program.machine.sram.bytes);
    let Buffer { bytes, first, last, .. } = *buffer;
    if bytes == 0 {
        Some("has no bytes".to_owned())
    } else if buffer.range().end > capacity {
        let end = buffer.range().end;
        Some(format!("ends at {end:#x}; the scratchpad has {capacity:#x} bytes"))
    } else if first > last {
        Some(format!("lives from instruction {first} to {last}"))
    } else if last as usize >= program.code.len() {
        Some(format!("lives to instruction {last} of {}", program.code.len()))
    } else {
        None
    }
}
