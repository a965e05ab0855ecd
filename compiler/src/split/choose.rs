//! Which keys are global tokens.
//!
//! Candidates of a head are its keys by the number of kept entries, most first, cut where the
//! number changes: of two keys the one with more entries fills its column better. Cycles are sums
//! over heads, all but the maximum over units; so for a few weights of the units each head takes
//! the cut with the smallest weighted sum, and of these selections, no global tokens, and all that
//! keep an entry, the one with which the layer takes the fewest cycles is kept.

use std::cmp::Reverse;

use vitcod_isa::machine::Machine;

use super::pass::{Choice, Layer};
use super::prices::{Cycles, Prices, Work};
use super::{Estimate, GlobalTokens};
use crate::masks::{Mask, Partition, polarise};

/// Weights of units are multiples of one in so many.
const WEIGHT_STEPS: u32 = 8;

/// The global tokens of a layer.
pub(super) fn choose(layer: &Layer<'_>, machine: &Machine, globals: GlobalTokens) -> Choice {
    let prices = Prices::new(layer, machine);
    let choice = |partitions: Vec<Partition>, reason: String| {
        let cycles = partitions.iter().map(|head| prices.head(&Work::of(head))).sum::<Cycles>()
            + prices.layer;
        Choice { estimate: cycles.estimate(), partitions, reason }
    };
    if layer.keeps_everything() {
        let all: Vec<u16> = (0..layer.tokens()[1]).map(|key| key as u16).collect();
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
                layer.masks.iter().map(|mask| Candidates::new(mask, &prices)).collect();
            let none = select(&heads, prices.layer, |cut| cut.globals as f64);
            let most = select(&heads, prices.layer, |cut| -(cut.globals as f64));
            let weighted = weights()
                .map(|weights| select(&heads, prices.layer, |cut| cut.cycles.weighted(weights)));
            // Of equal ones the first, which `min_by_key` returns.
            let candidates = [none.clone(), most.clone()].into_iter().chain(weighted);
            let best = candidates
                .min_by_key(|selection| selection.estimate.cycles())
                .expect("there are candidates");
            let reason = format!(
                "the fewest cycles estimated, {}; without global tokens {}, with every key that keeps an entry {}",
                best.estimate.cycles(),
                none.estimate.cycles(),
                most.estimate.cycles()
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
    cycles: Cycles,
}

impl Candidates {
    fn new(mask: &Mask, prices: &Prices<'_>) -> Candidates {
        let counts = mask.kept_per_key();
        let mut keys: Vec<u16> =
            (0..mask.keys()).filter(|key| counts[*key] > 0).map(|key| key as u16).collect();
        keys.sort_by_key(|key| Reverse(counts[usize::from(*key)]));
        let count = |place: usize| keys.get(place).map_or(0, |key| counts[usize::from(*key)]);

        let mut work = Work { columns: 0, cells: 0, cells_kept: 0, nonzeros: mask.kept() };
        let mut cuts = Vec::new();
        for globals in 0..=keys.len() {
            if globals == 0 || count(globals - 1) != count(globals) {
                cuts.push(Cut { globals, cycles: prices.head(&work) });
            }
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

/// A number of global tokens for each head, and what the layer takes with them.
#[derive(Clone)]
struct Selection {
    globals: Vec<usize>,
    estimate: Estimate,
}

/// The cuts with the smallest score, of equal ones those with fewest global tokens.
fn select(heads: &[Candidates], layer: Cycles, score: impl Fn(&Cut) -> f64) -> Selection {
    let best = |head: &'_ Candidates| {
        let cut = head
            .cuts
            .iter()
            .min_by(|a, b| score(a).total_cmp(&score(b)))
            .expect("no global tokens is a cut");
        (cut.globals, cut.cycles)
    };
    let (globals, cycles): (Vec<usize>, Vec<Cycles>) = heads.iter().map(best).unzip();
    Selection { globals, estimate: (cycles.into_iter().sum::<Cycles>() + layer).estimate() }
}
