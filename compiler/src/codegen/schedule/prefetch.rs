//! Prefetch: moves loads ahead of their use and extends live ranges, as far as memory allows.
//!
//! Units wait only where accesses conflict. A load into a buffer that shares no bytes with a live
//! one conflicts with nothing. Moving it up in program order makes its buffer live earlier and lets
//! the load run during earlier computation (double buffering). If the bytes of a buffer are not
//! reused before the next task of the unit that wrote it, that unit need not wait for the readers.

use cranelift_entity::{EntityRef as _, SecondaryMap};
use vitcod_isa::cost::cost;
use vitcod_isa::effects::{Region, Space, accesses};
use vitcod_isa::instr::{Op as Instruction, Unit};
use vitcod_isa::machine::Machine;

use crate::codegen::schedule::live_bytes::live_bytes;
use crate::tiled::{Buffer, Lifetimes, Task, Tasks};

/// A load moves up until the computation that it passes takes this many times its own time. A load
/// needs one; the others are slack for the loads next to it.
const LOOKAHEAD: u64 = 4;

/// The most tasks by which a live range is extended.
const KEEP: usize = 64;

/// Reorders the tasks and returns the live ranges of their buffers. Changes that would take more
/// than `capacity` bytes are not made.
pub(super) fn run(tasks: &mut Tasks, machine: &Machine, capacity: u64) -> Lifetimes {
    hoist_loads(tasks, machine, capacity);
    let mut lives = tasks.lives();
    keep_longer(tasks, &mut lives, capacity);
    lives
}

/// Bytes that live at each task.
fn profile(tasks: &Tasks, lives: &Lifetimes) -> Vec<u64> {
    let buffers = tasks.buffers.iter();
    live_bytes(
        tasks.tasks.len(),
        buffers.filter_map(|(buffer, bytes)| Some((*bytes, lives[buffer]?))),
    )
    .collect()
}

fn unit(task: &Task) -> Option<Unit> {
    task.op.units().iter().next()
}

/// The part of DRAM that a load reads or a store writes.
fn dram_region(op: &Instruction) -> Option<Region> {
    accesses(op).into_iter().find(|access| access.space == Space::Dram).map(|access| access.region)
}

fn hoist_loads(tasks: &mut Tasks, machine: &Machine, capacity: u64) {
    let lives = tasks.lives();
    let mut live = profile(tasks, &lives);
    let list = &tasks.tasks;
    // Per task, the task before which it is emitted. Loads keep their order among each other.
    let mut position: Vec<usize> = (0..list.len()).collect();
    let mut earliest = 0;
    for index in 0..list.len() {
        let task = &list[index];
        if unit(task) != Some(Unit::Load) {
            continue;
        }
        let mut new_bytes = 0;
        let mut movable = true;
        for buffer in task.buffers() {
            match lives[buffer] {
                Some((first, _)) if first == index => new_bytes += tasks.buffers[buffer],
                // A second load into a buffer moves with the first one. A load into a buffer with
                // older contents stays after the tasks that use them.
                Some((first, _))
                    if position[first] < first && unit(&list[first]) == Some(Unit::Load) => {}
                _ => movable = false,
            }
        }
        let (source, own) = (dram_region(&task.op), cost(&task.op, machine));
        let wanted = LOOKAHEAD * machine.transfer_cycles(own.burst_bytes) + 2 * own.latency + 500;
        let (mut at, mut passed) = (index, 0);
        while movable && at > earliest && passed < wanted && live[at - 1] + new_bytes <= capacity {
            let before = &list[at - 1];
            let stored = matches!(before.op, Instruction::Store(_))
                .then(|| dram_region(&before.op))
                .flatten()
                .zip(source)
                .is_some_and(|(stored, read)| stored.base < read.end() && read.base < stored.end());
            // A buffer that is loaded again has been read in between. A load that stays comes after
            // the loads that move to its position.
            let stays = unit(before) != Some(Unit::Load) || position[at - 1] == at - 1;
            let used =
                stays && before.buffers().any(|buffer| task.buffers().any(|other| other == buffer));
            if stored || used {
                break;
            }
            at -= 1;
            live[at] += new_bytes;
            if matches!(unit(before), Some(Unit::Denser | Unit::Sparser)) {
                passed += cost(&before.op, machine).cycles;
            }
        }
        position[index] = at;
        earliest = at;
    }
    let mut order: Vec<usize> = (0..list.len()).collect();
    // A load goes before the task at its position. Loads with the same position keep their order.
    order.sort_by_key(|index| (position[*index], position[*index] == *index, *index));
    tasks.tasks = order.into_iter().map(|index| tasks.tasks[index]).collect();
}

fn keep_longer(tasks: &Tasks, lives: &mut Lifetimes, capacity: u64) {
    let mut live = profile(tasks, lives);
    let mut writer: SecondaryMap<Buffer, Option<Unit>> = SecondaryMap::new();
    for task in &tasks.tasks {
        for buffer in task.buffers() {
            writer[buffer] = writer[buffer].or(unit(task));
        }
    }
    let mut buffers: Vec<Buffer> =
        tasks.buffers.keys().filter(|buffer| lives[*buffer].is_some()).collect();
    buffers.sort_by_key(|buffer| (lives[*buffer].map(|(_, last)| last), buffer.index()));
    for buffer in buffers {
        let (Some((first, last)), bytes) = (lives[buffer], tasks.buffers[buffer]) else { continue };
        let end = tasks.tasks.len().min(last + 1 + KEEP);
        let next = (last + 1..end).find(|index| unit(&tasks.tasks[*index]) == writer[buffer]);
        let Some(next) = next else { continue };
        if live[last + 1..=next].iter().all(|taken| taken + bytes <= capacity) {
            live[last + 1..=next].iter_mut().for_each(|taken| *taken += bytes);
            lives[buffer] = Some((first, next));
        }
    }
}

#[cfg(test)]
pub(in crate::codegen::schedule) mod tests {
    use cranelift_entity::packed_option::PackedOption;
    use proptest::prelude::*;
    use vitcod_isa::instr::table::{Add, Load, Store, Sync};
    use vitcod_isa::instr::{Dram, Sram, Traffic};

    use super::*;
    use crate::tiled::Buffers;

    /// A task with its operands in the given buffers.
    pub(in crate::codegen::schedule) fn task(
        op: impl Into<Instruction>,
        operands: &[Buffer],
    ) -> Task {
        let mut buffers = Buffers::default();
        operands
            .iter()
            .zip(&mut buffers)
            .for_each(|(buffer, operand)| *operand = PackedOption::from(*buffer));
        Task { op: op.into(), buffers, layer: 0, group: 0 }
    }

    /// A task that touches nothing.
    pub(in crate::codegen::schedule) fn idle() -> Task {
        task(Sync { unit: Unit::Vector }, &[])
    }

    /// Bytes of a buffer and of a block of DRAM.
    const BYTES: u64 = 64;

    /// A random task: its kind, its half buffers, its block of DRAM.
    pub(in crate::codegen::schedule) type Draw = (u8, [usize; 3], u64);

    /// Tasks that write half a buffer each, so that a buffer may have several writers.
    pub(in crate::codegen::schedule) fn tasks(draws: &[Draw]) -> Tasks {
        let mut tasks = Tasks::default();
        let buffers: Vec<Buffer> = (0..8).map(|_| tasks.buffers.push(BYTES)).collect();
        for (kind, picked, block) in draws {
            let half = BYTES / 2;
            let [a, b, c] = picked.map(|index| Sram((index % 2) as u32 * half as u32));
            let [in_a, in_b, in_c] = picked.map(|index| buffers[index / 2]);
            let dram = Dram(block * half);
            let (bytes, traffic) = (half as u32, Traffic::Activations);
            tasks.tasks.push(match kind {
                0 => task(Load::contiguous(a, dram, bytes, traffic), &[in_a]),
                1 => task(Store::contiguous(dram, a, bytes, traffic), &[in_a]),
                _ => {
                    let add =
                        Add { a, b, dst: c, m: 1, n: 16, a_scale: 1, b_scale: 1, ..Add::ZERO };
                    task(add, &[in_a, in_b, in_c])
                }
            });
        }
        tasks
    }

    /// The draws that read only bytes that were written before.
    pub(in crate::codegen::schedule) fn valid(mut draws: Vec<Draw>) -> Vec<Draw> {
        let mut written = [false; 16];
        draws.retain(|(kind, [a, b, c], _)| match kind {
            0 => {
                written[*a] = true;
                true
            }
            1 => written[*a],
            _ => written[*a] && written[*b] && std::mem::replace(&mut written[*c], true),
        });
        draws
    }

    /// The contents of both memories after a sequence of tasks, each of which writes a hash of what
    /// it reads.
    fn execute(order: &[Task]) -> (Vec<u64>, Vec<u64>) {
        let (mut sram, mut dram) = (vec![0u64; 16], vec![0u64; 8]);
        let half = (BYTES / 2) as u32;
        for task in order {
            let mut op = task.op;
            let operands = op.sram_operands().into_iter().zip(task.buffers());
            let at: Vec<usize> = operands
                .map(|(offset, buffer)| buffer.index() * 2 + (offset.0 / half) as usize)
                .collect();
            let mix = |x: u64| (x ^ (x >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            match op {
                Instruction::Load(load) => {
                    sram[at[0]] = mix(dram[(load.src.0 / u64::from(half)) as usize])
                }
                Instruction::Store(store) => {
                    dram[(store.dst.0 / u64::from(half)) as usize] = mix(sram[at[0]]) ^ 7
                }
                _ => sram[at[2]] = mix(sram[at[0]]).wrapping_add(mix(mix(sram[at[1]]))),
            }
        }
        (sram, dram)
    }

    proptest! {
        #[test]
        fn the_order_computes_the_same(
            draws in prop::collection::vec((0u8..4, [0usize..16, 0usize..16, 0usize..16], 0u64..8), 1..60),
            capacity in 0u64..600,
        ) {
            let draws = valid(draws);
            let before = tasks(&draws);
            let mut after = before.clone();
            let lives = run(&mut after, &Machine::preset("vitcod").unwrap(), capacity);
            prop_assert_eq!(before.tasks.len(), after.tasks.len());
            prop_assert_eq!(execute(&before.tasks), execute(&after.tasks));
            for (index, task) in after.tasks.iter().enumerate() {
                for buffer in task.buffers() {
                    let (first, last) = lives[buffer].unwrap();
                    prop_assert!((first..=last).contains(&index));
                }
            }
        }
    }
}
