//! Which keys are global tokens.
//!
//! Candidates of a head are its keys by the number of kept entries, most first, cut where the number changes: of two keys the one with
//! more entries fills its column better. Cycles are sums over heads, all but the maximum over units; so for a few weights of the units
//! each head takes the cut with the smallest weighted sum, and the weights with which the layer takes the fewest cycles are kept.

use vitcod_isa::machine::Machine;

use super::pass::{Choice, Layer};
use super::prices::{Cycles, Prices, Work};
use super::{Estimate, GlobalTokens};
use crate::masks::{Mask, Split, polarise};

/// Weights of units are multiples of one in so many.
const WEIGHT_STEPS: u32 = 8;

/// The global tokens of a layer.
pub(super) fn choose(layer: &Layer<'_>, machine: &Machine, globals: GlobalTokens) -> Choice {
    let prices = Prices::new(layer, machine);
    let choice = |splits: Vec<Split>, reason: String| {
        let cycles = splits.iter().map(|split| prices.head(&Work::of(split))).sum::<Cycles>() + prices.layer;
        Choice { estimate: cycles.estimate(), splits, reason }
    };
    if layer.keeps_everything() {
        let all: Vec<u16> = (0..layer.tokens()[1]).map(|key| key as u16).collect();
        let splits = layer.masks.iter().map(|mask| Split::new(mask, &all)).collect();
        return choice(splits, "the mask keeps every entry: attention stays dense".to_owned());
    }
    match globals {
        GlobalTokens::Above(theta_d) => {
            let splits = layer.masks.iter().map(|mask| polarise(mask, theta_d)).collect();
            choice(splits, format!("keys with more than {theta_d} kept entries"))
        }
        GlobalTokens::Auto => {
            let heads: Vec<Vec<Cut>> = layer.masks.iter().map(|mask| cuts(mask, &prices)).collect();
            let best = weights().map(|weights| select(&heads, prices.layer, |cut| cut.cycles.weighted(weights)));
            // Of equal ones the first, which `min_by_key` returns.
            let best = best.min_by_key(|selection| selection.estimate.cycles()).expect("there are weights");
            let none = select(&heads, prices.layer, |cut| cut.globals.len() as f64);
            let most = select(&heads, prices.layer, |cut| -(cut.globals.len() as f64));
            let reason = format!(
                "the fewest cycles estimated, {}; without global tokens {}, with every key that keeps an entry {}",
                best.estimate.cycles(),
                none.estimate.cycles(),
                most.estimate.cycles()
            );
            let splits = layer.masks.iter().zip(best.cuts).map(|(mask, cut)| Split::new(mask, &cut.globals));
            choice(splits.collect(), reason)
        }
    }
}

/// Weights of lines, softmax and channel, in a fixed order.
fn weights() -> impl Iterator<Item = [f64; 3]> {
    (0..=WEIGHT_STEPS).flat_map(|lines| {
        (0..=WEIGHT_STEPS - lines).map(move |softmax| [lines, softmax, WEIGHT_STEPS - lines - softmax].map(f64::from))
    })
}

/// Global tokens that a head may have.
struct Cut {
    /// Rising.
    globals: Vec<u16>,
    cycles: Cycles,
}

/// A cut for each head.
struct Selection<'a> {
    cuts: Vec<&'a Cut>,
    estimate: Estimate,
}

/// The cuts with the smallest score, of equal ones those with fewest global tokens.
fn select<'a>(heads: &'a [Vec<Cut>], layer: Cycles, score: impl Fn(&Cut) -> f64) -> Selection<'a> {
    let cuts: Vec<&Cut> =
        heads.iter().filter_map(|cuts| cuts.iter().min_by(|a, b| score(a).total_cmp(&score(b)))).collect();
    let cycles = cuts.iter().map(|cut| cut.cycles).sum::<Cycles>() + layer;
    Selection { cuts, estimate: cycles.estimate() }
}

/// The cuts of a head by rising number of global tokens.
fn cuts(mask: &Mask, prices: &Prices<'_>) -> Vec<Cut> {
    let counts = mask.kept_per_key();
    let mut keys: Vec<u16> = (0..mask.keys()).filter(|key| counts[*key] > 0).map(|key| key as u16).collect();
    keys.sort_by_key(|key| std::cmp::Reverse(counts[usize::from(*key)]));
    let count = |place: usize| keys.get(place).map_or(0, |key| counts[usize::from(*key)]);

    let mut work = Work { columns: 0, cells: 0, cells_kept: 0, nonzeros: mask.kept() };
    let mut cuts = Vec::new();
    for place in 0..=keys.len() {
        if place == 0 || count(place - 1) != count(place) {
            let mut globals = keys[..place].to_vec();
            globals.sort_unstable();
            cuts.push(Cut { globals, cycles: prices.head(&work) });
        }
        work.columns += 1;
        work.cells += mask.queries();
        work.cells_kept += count(place);
        work.nonzeros -= count(place);
    }
    cuts
}
