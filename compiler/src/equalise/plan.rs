//! The choice of what costs work: which tables read 16 bits, and which channels are copied.
//!
//! Each of these refinements lowers the predicted noise behind a table by some amount for some
//! work. They are taken in the order of noise by work. Plans along that order are quantised and
//! measured on samples, until [`Accuracy`] is satisfied.
//!
//! Work is counted in products of linear layers, relative to those of the model; an element that is
//! interpolated counts as [`ELEMENT_WORK`] of them. It does not depend on the machine, so neither
//! do the bits (our derivation).

use rayon::prelude::*;
use vitcod_isa::program::Decision;

use crate::calibration::Calibration;
use crate::interp::InterpError;
use crate::ir::Graph;
use crate::quantise::{Accuracy, Units};

use super::tables::Table;

/// Products that take as long as an element of the vector unit, on the machine of the paper about
/// 512 / 16.
pub(super) const ELEMENT_WORK: f64 = 32.0;

/// The decibels that make up for a per cent more work.
pub(super) const GAIN_OF_WORK: f64 = 0.5;

/// Plans that are measured at most, besides the one without refinements: each is quantised and runs
/// on some items. Runs of a large model take long.
fn most_measured(graph: &Graph) -> usize {
    /// Products of an item, about those of ViT-Base on 400 tokens.
    const LARGE: usize = 1 << 35;
    let products = graph.order.iter().map(|op| graph.products(*op));
    if products.fold(0, usize::saturating_add) < LARGE { 6 } else { 3 }
}

/// What a table has besides its fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refinement {
    /// Its input has 16 bits.
    pub(super) wide: bool,
    /// Channels that reach far are copied.
    pub(super) copies: bool,
}

impl Refinement {
    const ALL: [Refinement; 4] = [
        Refinement { wide: false, copies: false },
        Refinement { wide: true, copies: false },
        Refinement { wide: false, copies: true },
        Refinement { wide: true, copies: true },
    ];
}

/// What a refinement of a table is predicted to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prediction {
    /// The noise behind the table, relative to the signal there.
    pub(super) noise: f64,
    /// More work, relative to the model's.
    pub(super) work: f64,
}

/// The refinement of each table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) refinements: Vec<Refinement>,
    pub(super) work: f64,
}

/// A plan, with what the outputs have.
pub(super) struct Chosen {
    pub(super) plan: Plan,
    /// `None` if nothing was measured.
    measured: Option<Measured>,
}

/// The ratios of signal to noise of the worst output in decibels.
struct Measured {
    /// Without refinements.
    first: f64,
    /// With the plan.
    ratio: f64,
    end: End,
}

/// Why no more work is done.
enum End {
    /// The outputs have what was asked for.
    Reached,
    /// More gains too little.
    Gain,
    /// More gains too little, and the machine has no tables of 16 bits.
    NoInterpolation,
}

impl Chosen {
    /// The decision, if there was one.
    pub(super) fn decision(&self, accuracy: Accuracy) -> Option<Decision> {
        let Measured { first: without, ratio: with, end } = self.measured.as_ref()?;
        let count = |is: fn(&Refinement) -> bool| {
            self.plan.refinements.iter().filter(|refinement| is(refinement)).count()
        };
        let (wide, copied) = (count(|table| table.wide), count(|table| table.copies));
        let work = 100.0 * self.plan.work;
        let of = |count: usize, one: &str, more: &str| match count {
            0 => None,
            1 => Some(one.replace('N', "1")),
            count => Some(more.replace('N', &count.to_string())),
        };
        let refinements = [
            of(wide, "N table of 16 bits", "N tables of 16 bits"),
            of(copied, "copies of channels in N layer", "copies of channels in N layers"),
        ];
        let refinements: Vec<String> = refinements.into_iter().flatten().collect();
        let chosen = match refinements.is_empty() {
            true => format!("no table of 16 bits and no copies: {with:.1} dB"),
            false => format!("{}: {with:.1} dB for {work:.1} % more work", refinements.join(", ")),
        };
        let more = match accuracy {
            Accuracy::Decibels(_) => {
                format!("a per cent more work gains less than {GAIN_OF_WORK} dB")
            }
            _ => "more gains nothing".to_owned(),
        };
        let reason = match (end, accuracy) {
            (End::Reached, Accuracy::Decibels(target)) => format!("it reaches {target} dB"),
            (End::NoInterpolation, _) => {
                format!("{more}; the machine has no tables of 16 bits (vector.interpolation)")
            }
            _ => more,
        };
        let reason = format!("{reason}; {without:.1} dB without any");
        Some(Decision::new("the model", "accuracy", chosen, reason))
    }
}

/// Chooses a plan; `measure` gives the ratio of the worst output in decibels with one, or `None` if
/// the graph cannot be quantised.
pub(super) fn choose(
    graph: &Graph,
    tables: &[Table],
    calibration: &Calibration,
    (accuracy, units): (Accuracy, Units),
    measure: impl Fn(&Plan) -> Result<Option<f64>, InterpError>,
) -> Result<Chosen, InterpError> {
    let plain = Plan { refinements: vec![Refinement::default(); tables.len()], work: 0.0 };
    let target = match accuracy {
        Accuracy::Fastest => return Ok(Chosen { plan: plain, measured: None }),
        Accuracy::Decibels(target) => Some(target),
        Accuracy::Exact => None,
    };
    let Some(first) = measure(&plain)? else { return Ok(Chosen { plan: plain, measured: None }) };
    let enough = |ratio: f64| target.is_some_and(|target| ratio >= target);
    let chosen = |plan: &Plan, ratio: f64, end: End| {
        Ok(Chosen { plan: plan.clone(), measured: Some(Measured { first, ratio, end }) })
    };
    if enough(first) {
        return chosen(&plain, first, End::Reached);
    }
    let plans = plans(graph, tables, calibration, units);
    let steps = plans.len() - 1;
    // Coarse steps at first; between the last plan that is not enough and the first that is,
    // halves.
    let (mut below, mut above) = (0, None);
    let (mut best, mut reached) = (0, first);
    let mut stride = steps.div_ceil(most_measured(graph)).max(1);
    let mut at = stride.min(steps);
    while at > below && above.is_none_or(|(above, _)| at < above) {
        let Some(ratio) = measure(&plans[at])? else { break };
        if enough(ratio) {
            above = Some((at, ratio));
        } else {
            below = at;
            let per_cent = 100.0 * (plans[at].work - plans[best].work);
            let least = if target.is_some() { GAIN_OF_WORK * per_cent } else { 0.0 };
            // Of two plans, the smaller one may be better by chance.
            if ratio > reached && ratio >= reached + least {
                (best, reached) = (at, ratio);
            }
        }
        if let Some((above, _)) = above {
            stride = (above - below) / 2;
        }
        at = (below + stride).min(steps);
    }
    match above {
        Some((at, ratio)) => chosen(&plans[at], ratio, End::Reached),
        None if !units.interpolation => chosen(&plans[best], reached, End::NoInterpolation),
        None => chosen(&plans[best], reached, End::Gain),
    }
}

/// The plans from none to all refinements, each with one more than the one before: that which
/// lowers the predicted noise most for its work.
fn plans(graph: &Graph, tables: &[Table], calibration: &Calibration, units: Units) -> Vec<Plan> {
    let possible = |refinement: &Refinement| units.interpolation || !refinement.wide;
    let predictions = tables.par_iter().map(|table| {
        let channels = table.channels(graph, calibration);
        let refinements = Refinement::ALL.into_iter().filter(possible);
        let predicted = refinements.filter_map(|refinement| {
            let channels = channels.as_deref()?;
            Some((refinement, table.predict(graph, calibration, channels, refinement)?))
        });
        predicted.collect()
    });
    let predictions: Vec<Vec<(Refinement, Prediction)>> = predictions.collect();
    let mut plans =
        vec![Plan { refinements: vec![Refinement::default(); tables.len()], work: 0.0 }];
    loop {
        let last = plans.last().expect("there is a plan without refinements");
        let steps = predictions.iter().enumerate().flat_map(|(table, predicted)| {
            let of = |wanted: Refinement| predicted.iter().find(move |(r, _)| *r == wanted);
            let now = of(last.refinements[table]).map(|(_, now)| *now);
            predicted.iter().filter_map(move |(refinement, then)| {
                let now = now?;
                let (less, more) = (now.noise - then.noise, then.work - now.work);
                (less > 0.0 && more > 0.0).then_some((less / more, table, *refinement, more))
            })
        });
        let best = steps.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let Some((_, table, refinement, more)) = best else { break plans };
        let mut next = last.clone();
        next.refinements[table] = refinement;
        next.work += more;
        plans.push(next);
    }
}
