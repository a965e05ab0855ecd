//! Checks that emission allocates what plans declare.

use std::collections::BTreeMap;

use cranelift_entity::SecondaryMap;

use crate::codegen::builder::buffers::{BufferSpec, Declared, Lifetime};
use crate::tiled::{Buffer, Tasks};

/// The declaration of a plan and the buffers that were allocated since.
#[derive(Debug, Default)]
pub(super) struct Audit {
    declared: Declared,
    allocated: Vec<(&'static str, Buffer)>,
    /// The first task that was emitted after the declaration.
    first_task: usize,
}

impl Audit {
    /// An audit of the plan that declares `declared` before it emits task `first_task`.
    pub(super) fn new(declared: &Declared, first_task: usize) -> Audit {
        Audit { declared: declared.clone(), allocated: Vec::new(), first_task }
    }

    /// Records an allocation.
    pub(super) fn allocate(&mut self, name: &'static str, buffer: Buffer) {
        self.allocated.push((name, buffer));
    }

    /// The allocations that violate the invariant of [`Declared`].
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
        // Buffers of several layers with the same name are checked together.
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

/// The declared bytes of a name.
#[derive(Default)]
struct Budget {
    /// Bytes of the largest buffer.
    largest: u64,
    /// Bytes of all buffers that live at the same time.
    all: u64,
    /// Whether the buffers live as long as the group, so that all of them count.
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

    /// Audits buffers of some bytes under a name, each accessed by a task of its own, or all by one
    /// task.
    fn audit(
        declared: &Declared,
        name: &'static str,
        sizes: &[u64],
        together: bool,
    ) -> Vec<String> {
        let mut tasks = Tasks::default();
        let mut audit = Audit::new(declared, 0);
        let mut accessed = Vec::new();
        for bytes in sizes {
            let buffer = tasks.buffers.push(*bytes);
            audit.allocate(name, buffer);
            accessed.push(PackedOption::from(buffer));
        }
        let mut push = |operands: &[PackedOption<Buffer>]| {
            let mut buffers = Buffers::default();
            operands.iter().zip(&mut buffers).for_each(|(from, to)| *to = *from);
            let op = Sync { unit: Unit::Vector }.into();
            tasks.tasks.push(Task { op, buffers, layer: 0, group: 0 });
        };
        match together {
            true => push(&accessed),
            false => accessed.iter().for_each(|buffer| push(&[*buffer])),
        }
        audit.problems(&tasks)
    }

    fn declared(bytes: usize, copies: usize, lifetime: Lifetime) -> Declared {
        let mut declared = Declared::default();
        declared.add("tiles", bytes, copies, lifetime);
        declared
    }

    #[test]
    fn declared_buffers_may_be_allocated_repeatedly() {
        let declared = declared(64, 2, Lifetime::Tile);
        assert_eq!(audit(&declared, "tiles", &[64; 5], false), [""; 0]);
        assert_eq!(audit(&declared, "tiles", &[64; 2], true), [""; 0]);
    }

    #[test]
    fn undeclared_bytes_are_found() {
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
