//! Checks that emission allocates what plans declare.

use std::collections::BTreeMap;

use cranelift_entity::SecondaryMap;

use super::buffers::{BufferSpec, Declared, Lifetime};
use crate::tiled::{Buffer, Tasks};

/// The buffers that were allocated since a plan declared some.
#[derive(Debug, Default)]
pub(super) struct Audit {
    declared: Declared,
    allocated: Vec<(&'static str, Buffer)>,
    /// The first task that was emitted since.
    first_task: usize,
}

impl Audit {
    /// Starts with what a plan declares, before task `first_task`.
    pub(super) fn new(declared: &Declared, first_task: usize) -> Audit {
        Audit { declared: declared.clone(), allocated: Vec::new(), first_task }
    }

    /// Notes an allocation.
    pub(super) fn allocate(&mut self, name: &'static str, buffer: Buffer) {
        self.allocated.push((name, buffer));
    }

    /// What differs between what is declared and what is allocated; see [`Declared`].
    pub(super) fn problems(&self, tasks: &Tasks) -> Vec<String> {
        let mut lives: SecondaryMap<Buffer, Option<(usize, usize)>> = SecondaryMap::new();
        for (index, task) in tasks.tasks.iter().enumerate().skip(self.first_task) {
            for buffer in task.buffers() {
                let (first, _) = lives[buffer].unwrap_or((index, index));
                lives[buffer] = Some((first, index));
            }
        }
        let mut of_name: BTreeMap<&str, Vec<Buffer>> = BTreeMap::new();
        for (name, buffer) in &self.allocated {
            of_name.entry(name).or_default().push(*buffer);
        }
        // What several layers call the same is checked together.
        let mut budgets: BTreeMap<&str, Budget> = BTreeMap::new();
        for BufferSpec { name, bytes, copies, lifetime } in self.declared.specs() {
            let budget = budgets.entry(name).or_default();
            budget.largest = budget.largest.max(*bytes);
            budget.all += bytes * copies;
            budget.is_allocated_once |= *lifetime == Lifetime::Group;
        }
        let mut problems = Vec::new();
        for (name, budget) in budgets {
            let buffers = of_name.remove(name).unwrap_or_default();
            let problem = budget.mismatch(&buffers, &lives, tasks);
            problems.extend(problem.map(|problem| format!("{name}: {problem}")));
        }
        problems.extend(of_name.keys().map(|name| format!("{name} is not declared")));
        problems
    }
}

/// What is declared under a name.
#[derive(Default)]
struct Budget {
    /// Bytes of the largest buffer.
    largest: u64,
    /// Bytes of all buffers that live at the same time.
    all: u64,
    /// Whether buffers live as long as the group: those that are allocated later count, too.
    is_allocated_once: bool,
}

impl Budget {
    fn mismatch(
        &self,
        buffers: &[Buffer],
        lives: &SecondaryMap<Buffer, Option<(usize, usize)>>,
        tasks: &Tasks,
    ) -> Option<String> {
        let sizes = buffers.iter().map(|buffer| tasks.buffers[*buffer]);
        let (largest, all) = (sizes.clone().max().unwrap_or(0), sizes.sum::<u64>());
        if largest > self.largest {
            return Some(format!("a buffer of {largest} bytes; {} are declared", self.largest));
        }
        let mut changes: BTreeMap<usize, i64> = BTreeMap::new();
        for buffer in buffers {
            let Some((first, last)) = lives[*buffer] else { continue };
            let size = tasks.buffers[*buffer] as i64;
            *changes.entry(first).or_default() += size;
            *changes.entry(last + 1).or_default() -= size;
        }
        let live = changes.values().scan(0, |live, change| {
            *live += change;
            Some(*live as u64)
        });
        let peak = if self.is_allocated_once { all } else { live.max().unwrap_or(0) };
        (peak > self.all).then(|| format!("{peak} bytes live at a time; {} are declared", self.all))
    }
}

#[cfg(test)]
mod tests {
    use cranelift_entity::packed_option::PackedOption;
    use vitcod_isa::instr::Unit;
    use vitcod_isa::instr::table::Sync;

    use super::*;
    use crate::tiled::{Buffers, Task};

    /// Allocates buffers of some bytes under a name, each touched by one task after the other, or
    /// all by one task.
    fn audit(
        declared: &Declared,
        name: &'static str,
        sizes: &[u64],
        together: bool,
    ) -> Vec<String> {
        let mut tasks = Tasks::default();
        let mut audit = Audit::new(declared, 0);
        let mut touched = Vec::new();
        for bytes in sizes {
            let buffer = tasks.buffers.push(*bytes);
            audit.allocate(name, buffer);
            touched.push(PackedOption::from(buffer));
        }
        let mut push = |operands: &[PackedOption<Buffer>]| {
            let mut buffers = Buffers::default();
            operands.iter().zip(&mut buffers).for_each(|(from, to)| *to = *from);
            let op = Sync { unit: Unit::Vector }.into();
            tasks.tasks.push(Task { op, buffers, layer: 0, group: 0 });
        };
        match together {
            true => push(&touched),
            false => touched.iter().for_each(|buffer| push(&[*buffer])),
        }
        audit.problems(&tasks)
    }

    fn declared(bytes: usize, copies: usize, lifetime: Lifetime) -> Declared {
        let mut declared = Declared::default();
        declared.add("tiles", bytes, copies, lifetime);
        declared
    }

    #[test]
    fn what_is_declared_may_be_allocated_again_and_again() {
        let declared = declared(64, 2, Lifetime::Tile);
        assert_eq!(audit(&declared, "tiles", &[64; 5], false), [""; 0]);
        assert_eq!(audit(&declared, "tiles", &[64; 2], true), [""; 0]);
    }

    #[test]
    fn what_is_not_declared_is_found() {
        let tiles = declared(64, 2, Lifetime::Tile);
        assert_eq!(audit(&tiles, "weights", &[64], false), ["weights is not declared"]);
        assert_eq!(
            audit(&tiles, "tiles", &[65], false),
            ["tiles: a buffer of 65 bytes; 64 are declared"]
        );
        assert_eq!(
            audit(&tiles, "tiles", &[64; 3], true),
            ["tiles: 192 bytes live at a time; 128 are declared"]
        );
        let group = declared(64, 2, Lifetime::Group);
        assert_eq!(
            audit(&group, "tiles", &[64; 3], false),
            ["tiles: 192 bytes live at a time; 128 are declared"]
        );
    }
}
