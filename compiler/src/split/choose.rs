//! Which keys are global tokens.
//!
//! Candidates of a head are its keys by the number of kept entries, most first, cut where the
//! number changes: of two keys the one with more entries fills its column better. Costs are sums
//! over heads, except for the maximum over units. So for several weights of the units each head
//! takes the cut with the smallest weighted sum. Of these selections, of no global tokens, and of
//! all keys that keep an entry, the one is taken whose [`Estimate`] has the fewest weighted cycles.

use std::cmp::Reverse;

use vitcod_isa::machine::Machine;

use super::layer_cost::{LayerCost, UnitCosts, Work};
use super::pass::{Choice, Layer};
use super::{GlobalTokens, Packing};
use crate::estimate::Estimate;
use crate::masks::{Mask, Partition, polarise};

/// Weights of units are multiples of one in so many.
const WEIGHT_STEPS: u32 = 8;

/// The global tokens of a layer.
pub(super) fn choose(
    layer: &Layer<'_>,
    machine: &Machine,
    globals: GlobalTokens,
    packing: Packing,
) -> Choice {
    let costs = LayerCost::new(layer, machine, packing);
    let choice = |partitions: Vec<Partition>, reason: String| {
        let heads: UnitCosts =
            partitions.iter().map(|head| costs.head(&Work::of(head, &costs))).sum();
        Choice { estimate: (heads + costs.layer).estimate(machine), partitions, reason }
    };
    if layer.keeps_everything() {
        let all: Vec<u16> = (0..layer.extents()[1]).map(|key| key as u16).collect();
        let partitions = layer.masks.iter().map(|mask| Partition::new(mask, &all)).collect();
        return choice(partitions, "the mask keeps every entry: attention stays dense".to_owned());
    }
    match globals {
        GlobalTokens::Above(theta_d) => {
            let partitions = layer.masks.iter().map(|mask| polarise(mask, theta_d)).collect();
            choice(partitions, format!("keys with more than {theta_d} kept entries"))
        }
        GlobalTokens::Auto => {
            let heads: Vec<Candidates> =
                layer.masks.iter().map(|mask| Candidates::new(mask, &costs)).collect();
            let select = |score: &dyn Fn(&Cut) -> f64| {
                let (globals, chosen) = select(&heads, score);
                let estimate = (chosen + costs.layer).estimate(machine);
                Selection { globals, estimate }
            };
            let none = select(&|cut| cut.globals as f64);
            let most = select(&|cut| -(cut.globals as f64));
            let weighted =
                weights().map(|weights| select(&|cut| cut.costs.weighted(weights, machine)));
            // Of equal ones the first, which `min_by_key` returns.
            let candidates = [none.clone(), most.clone()].into_iter().chain(weighted);
            let best = candidates
                .min_by_key(|selection| selection.estimate.weighted_cycles())
                .expect("there are candidates");
            let reason = format!(
                "fewest weighted cycles, {}; without global tokens {}, with every key that keeps an entry {}",
                best.estimate.weighted_cycles(),
                none.estimate.weighted_cycles(),
                most.estimate.weighted_cycles()
            );
            let chosen = layer.masks.iter().zip(&heads).zip(best.globals);
            let partitions = chosen
                .map(|((mask, head), globals)| Partition::new(mask, &head.global_tokens(globals)));
            choice(partitions.collect(), reason)
        }
    }
}

/// Weights of lines, softmax and channel, in a fixed order.
fn weights() -> impl Iterator<Item = [f64; 3]> {
    (0..=WEIGHT_STEPS).flat_map(|lines| {
        (0..=WEIGHT_STEPS - lines)
            .map(move |softmax| [lines, softmax, WEIGHT_STEPS - lines - softmax].map(f64::from))
    })
}

/// The global tokens that a head may have: as many of its keys as a cut says, most entries first.
struct Candidates {
    /// Keys that keep an entry, by falling number of entries.
    keys: Vec<u16>,
    /// By rising number of global tokens.
    cuts: Vec<Cut>,
}

/// A number of global tokens, and what the head takes with them.
struct Cut {
    globals: usize,
    costs: UnitCosts,
}

impl Candidates {
    fn new(mask: &Mask, costs: &LayerCost<'_>) -> Candidates {
        let counts = mask.kept_per_key();
        let mut keys: Vec<u16> =
            (0..mask.keys()).filter(|key| counts[*key] > 0).map(|key| key as u16).collect();
        keys.sort_by_key(|key| Reverse(counts[usize::from(*key)]));
        let count = |place: usize| keys.get(place).map_or(0, |key| counts[usize::from(*key)]);

        let mut work = Work {
            columns: 0,
            cells: 0,
            cells_kept: 0,
            nonzeros: mask.kept(),
            runs: 0,
            reads: keys.iter().map(|key| costs.reads(counts[usize::from(*key)])).sum(),
        };
        let mut taken = vec![false; mask.keys() + 2];
        let mut cuts = Vec::new();
        for globals in 0..=keys.len() {
            if globals == 0 || count(globals - 1) != count(globals) {
                cuts.push(Cut { globals, costs: costs.head(&work) });
            }
            let Some(key) = keys.get(globals).map(|key| usize::from(*key) + 1) else { break };
            taken[key] = true;
            work.runs = work.runs + 1 - usize::from(taken[key - 1]) - usize::from(taken[key + 1]);
            work.reads -= costs.reads(count(globals));
            work.columns += 1;
            work.cells += mask.queries();
            work.cells_kept += count(globals);
            work.nonzeros -= count(globals);
        }
        Candidates { keys, cuts }
    }

    /// The first keys, rising.
    fn global_tokens(&self, globals: usize) -> Vec<u16> {
        let mut tokens = self.keys[..globals].to_vec();
        tokens.sort_unstable();
        tokens
    }
}

/// A number of global tokens for each head, and the estimate of the layer with them.
#[derive(Clone)]
struct Selection {
    globals: Vec<usize>,
    estimate: Estimate,
}

/// For each head the cut with the smallest score, of equal ones that with the fewest global tokens.
/// Returns their global tokens and the sum of their costs.
fn select(heads: &[Candidates], score: &dyn Fn(&Cut) -> f64) -> (Vec<usize>, UnitCosts) {
    let best = |head: &Candidates| {
        let cuts = head.cuts.iter();
        let cut = cuts.min_by(|a, b| score(a).total_cmp(&score(b)));
        let cut = cut.expect("no global tokens is a cut");
        (cut.globals, cut.costs)
    };
    let (globals, costs): (Vec<usize>, Vec<UnitCosts>) = heads.iter().map(best).unzip();
    (globals, costs.into_iter().sum())
}
