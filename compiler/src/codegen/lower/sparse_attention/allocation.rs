//! Line allocation: divides the MAC lines and the softmax units between the engines, by the work
//! that the fixed mask determines at compile time.
//!
//! Lists take whole groups of lines, the first ones. A list is packed for a number of groups, and
//! scores and product use the same tokens: both take as many groups. The denser engine takes the
//! lines that are left or, if none are, all lines in turn with the sparser one.

use vitcod_isa::instr::LineSet;
use vitcod_isa::lists::{Array, LineGroups, ListRow, softmax_cycles};
use vitcod_isa::machine::Machine;

use crate::codegen::limits::count;
use crate::codegen::lower::sparse_attention::operation::SparseAttention;

/// The MAC lines of both engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) denser: LineSet,
    pub(crate) scores: LineSet,
    pub(crate) products: LineSet,
    /// Groups of lines of a list.
    pub(crate) groups: u32,
}

impl Lines {
    /// Whether both engines work at the same time.
    pub(crate) fn are_divided(&self) -> bool {
        u32::from(self.denser.first) >= self.scores.end().max(self.products.end())
    }
}

impl SparseAttention {
    /// The most groups that lists can have in both phases.
    pub(crate) fn most_groups(&self, machine: &Machine) -> u32 {
        let all = machine.all_lines().count;
        let groups = |d: usize| LineGroups::new(count(d), all, machine).groups;
        groups(self.d).min(groups(self.dv))
    }

    /// The lines with so many groups for lists.
    pub(crate) fn lines(&self, groups: u32, machine: &Machine) -> Lines {
        let all = machine.all_lines();
        let of = |d: usize| {
            let each = LineGroups::new(count(d), all.count, machine).lines_each;
            LineSet { first: 0, count: count((groups * each) as usize) }
        };
        let [scores, products] = [of(self.d), of(self.dv)];
        let first = scores.count.max(products.count);
        let left = LineSet { first, count: all.count - first };
        let shared = groups == self.most_groups(machine) || left.count == 0;
        Lines { denser: if shared { all } else { left }, scores, products, groups }
    }

    /// The part of the machine that computes the scores of a list.
    pub(crate) fn array(&self, lines: &Lines, machine: &Machine) -> Array {
        Array::new(count(self.d), lines.scores.count, machine)
    }

    /// How many queries at the start of a list, and entries, the softmax unit of the sparser engine
    /// takes, so that both units finish together: `blocks` cycles of the other one are taken. Each
    /// unit that takes queries has entries.
    pub(crate) fn sparser_share(
        &self,
        rows: &[ListRow],
        (m, heads): (usize, usize),
        blocks: u64,
        machine: &Machine,
    ) -> (usize, usize) {
        let cycles = |rows: &[ListRow]| {
            let entries = rows.iter().map(|row| usize::from(row.entries)).sum();
            let op = self.list_softmax((m, heads), (rows.len(), entries));
            u64::from(softmax_cycles(&op, rows, machine))
        };
        // More queries take longer.
        let [mut low, mut high] = [1, rows.len()];
        while low < high {
            let middle = low.midpoint(high);
            let [sparser, denser] = [cycles(&rows[..middle]), blocks + cycles(&rows[middle..])];
            if sparser >= denser { high = middle } else { low = middle + 1 }
        }
        let entries =
            |rows: &[ListRow]| -> usize { rows.iter().map(|row| usize::from(row.entries)).sum() };
        while low < rows.len() && entries(&rows[..low]) == 0 {
            low += 1;
        }
        if entries(&rows[low..]) == 0 {
            low = rows.len();
        }
        (low, entries(&rows[..low]))
    }
}
