//! Executes task listings: one instruction after the other, on buffers.
//!
//! The result of a tiled or scheduled program is defined by the order of its instructions. If
//! buffers have addresses, the scratchpad is that of the machine. If they have none, each has its
//! own bytes: an instruction finds its buffers in a scratchpad that holds nothing else, at
//! addresses that differ between instructions. Bytes that no earlier instruction wrote to a buffer
//! are read as zeros. Where buffers have no addresses, the cycles that instructions on lists state
//! are not checked, because they depend on the banks of rows.

use std::collections::BTreeMap;
use std::ops::Range;

use vitcod_isa::asm::TaskListing;
use vitcod_isa::instr::{Instr, Sram};

use crate::execute::{Core, Fault, Memory, Reason};

/// Alignment of the buffers of tiled task listings during execution: the largest that an operand
/// requires.
const ALIGN: usize = 16;

/// Executes a task listing once on `memory`, which was made for its
/// [program](TaskListing::program). The contents of the scratchpad afterwards are unspecified.
/// Allocates [`live_bytes`] in addition.
///
/// # Errors
/// The first instruction that cannot be executed.
pub fn run(tasks: &TaskListing, memory: &mut Memory) -> Result<(), Fault> {
    let mut core = Core::new(&tasks.program.machine);
    let mut contents: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let last = last_uses(tasks);
    memory.clear_sram();
    for (index, instr) in tasks.program.code.iter().enumerate() {
        let numbers: Vec<u32> = tasks.operands[index].iter().flatten().copied().collect();
        let mut placed: BTreeMap<u32, Range<usize>> = BTreeMap::new();
        let mut end = 0;
        for number in &numbers {
            let (bytes, address) = tasks.buffers.get(*number as usize).copied().unwrap_or_default();
            placed.entry(*number).or_insert_with(|| {
                let start = address.map_or(end, |address| address as usize);
                let range = start..start + bytes as usize;
                end = range.end.next_multiple_of(ALIGN);
                range
            });
        }
        let capacity = memory.sram().len();
        if let Some(range) = placed.values().find(|range| range.end > capacity) {
            let (end, bytes) = (range.end as u64, capacity as u64);
            let reason = Reason::OutOfBounds { end, bytes, memory: "scratchpad" };
            return Err(Fault {
                index,
                instruction: tasks.instruction(index),
                operand: "buffers",
                reason,
            });
        }
        let is_tiled = |number: u32| tasks.buffers[number as usize].1.is_none();
        for (number, range) in placed.iter().filter(|(number, _)| is_tiled(**number)) {
            let held = contents.entry(*number).or_insert_with(|| vec![0; range.len()]);
            memory.sram_mut()[range.clone()].copy_from_slice(held);
        }
        core.set_placed(!placed.keys().any(|number| is_tiled(*number)));
        let mut op = instr.op;
        for (at, number) in op.sram_operands().into_iter().zip(tasks.operands[index]) {
            if let Some(number) = number {
                *at = Sram((placed[&number].start as u32).saturating_add(at.0));
            }
        }
        core.execute(index, &Instr::new(op), memory)?;
        for (number, range) in placed.into_iter().filter(|(number, _)| is_tiled(*number)) {
            if last[&number] == index {
                contents.remove(&number);
            } else if let Some(held) = contents.get_mut(&number) {
                held.copy_from_slice(&memory.sram()[range]);
            }
        }
    }
    Ok(())
}

/// The most bytes of buffers without addresses that are live at once, each from its first to its
/// last use.
pub fn live_bytes(tasks: &TaskListing) -> u64 {
    let last = last_uses(tasks);
    let mut live: BTreeMap<u32, u64> = BTreeMap::new();
    let (mut held, mut most) = (0u64, 0);
    for (index, operands) in tasks.operands.iter().enumerate() {
        let numbers = || operands.iter().flatten();
        for number in numbers() {
            if let Some((bytes, None)) = tasks.buffers.get(*number as usize)
                && live.insert(*number, (*bytes).into()).is_none()
            {
                held += u64::from(*bytes);
            }
        }
        most = most.max(held);
        let ended = numbers().filter(|number| last[number] == index);
        held -= ended.filter_map(|number| live.remove(number)).sum::<u64>();
    }
    most
}

/// The last instruction that uses each buffer.
fn last_uses(tasks: &TaskListing) -> BTreeMap<u32, usize> {
    let uses = tasks.operands.iter().enumerate();
    uses.flat_map(|(index, operands)| operands.iter().flatten().map(move |number| (*number, index)))
        .collect()
}
