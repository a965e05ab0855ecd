//! Line allocation: divides the MAC lines and the softmax units between the engines in proportion
//! to their work, which the fixed mask determines at compile time.

use vitcod_isa::cost::cost;
use vitcod_isa::instr::{LineSet, Op as Instruction};
use vitcod_isa::machine::Machine;

use crate::codegen::lower::sparse_attention::operation::SparseAttention;
use crate::codegen::lower::sparse_attention::stripe::Stripe;

/// The MAC lines of both engines while they compute scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    pub(crate) denser: LineSet,
    pub(crate) sparser: LineSet,
}

/// A stripe with the units that compute it.
pub(crate) struct AllocatedStripe {
    pub(crate) stripe: Stripe,
    pub(crate) lines: Lines,
    /// Queries and entries of the row list for the softmax unit of the sparser engine.
    pub(crate) sparser_softmax: (usize, usize),
}

impl SparseAttention {
    /// Cycles of both engines for the scores of a stripe.
    pub(crate) fn score_cycles(
        &self,
        stripe: &Stripe,
        lines: Lines,
        machine: &Machine,
    ) -> [u64; 2] {
        let denser = stripe.columns.iter().filter(|columns| **columns > 0);
        let denser = denser
            .map(|columns| self.block_scores(stripe.rows.len(), *columns, lines.denser).into());
        let denser = denser.map(|op: Instruction| cost(&op, machine).cycles).sum();
        let sparser = match stripe.entries() {
            0 => 0,
            _ => cost(&self.list_scores(stripe, lines.sparser).into(), machine).cycles,
        };
        [denser, sparser]
    }

    /// The line allocation with which the scores of a stripe take the fewest cycles.
    pub(crate) fn divide(&self, stripe: &Stripe, machine: &Machine) -> Lines {
        let all = machine.all_lines();
        let of = |denser: u16| match denser {
            _ if all.count == 1 => Lines { denser: all, sparser: all },
            0 => Lines { denser: LineSet { first: 0, count: 1 }, sparser: all },
            denser if denser == all.count => {
                Lines { denser: all, sparser: LineSet { first: 0, count: 1 } }
            }
            denser => Lines {
                denser: LineSet { first: 0, count: denser },
                sparser: LineSet { first: denser, count: all.count - denser },
            },
        };
        if stripe.entries() == 0 || all.count == 1 {
            return of(all.count);
        }
        if stripe.all_columns() == 0 {
            return of(0);
        }
        // With more lines for the denser engine it takes less time and the sparser one takes more:
        // the optimum is where they meet.
        let [mut low, mut high] = [1, all.count - 1];
        while low < high {
            let middle = low.midpoint(high);
            let [denser, sparser] = self.score_cycles(stripe, of(middle), machine);
            if denser <= sparser { high = middle } else { low = middle + 1 }
        }
        let cycles = |denser: u16| self.score_cycles(stripe, of(denser), machine).into_iter().max();
        if low > 1 && cycles(low - 1) < cycles(low) { of(low - 1) } else { of(low) }
    }

    /// Allocates lines and softmax units to a stripe.
    pub(crate) fn allocate(&self, stripe: Stripe, machine: &Machine) -> AllocatedStripe {
        let sparser_softmax = stripe.prefix(self.sparser_share(&stripe, machine));
        AllocatedStripe { lines: self.divide(&stripe, machine), sparser_softmax, stripe }
    }

    /// Entries of a stripe's row list for the softmax unit of the sparser engine, so that both
    /// units finish together; at least one.
    fn sparser_share(&self, stripe: &Stripe, machine: &Machine) -> usize {
        let per_cycle = u64::from(machine.softmax.scores_per_cycle);
        let blocks = self.block_softmax_cycles(stripe, machine) * per_cycle;
        let entries = stripe.entries() as u64;
        ((entries + blocks).div_ceil(2)).min(entries).max(1) as usize
    }
}
