//! Exact rewrites that make channels of 8-bit tensors use the whole range of their integers.
//!
//! An int8 tensor has one step for all its channels. A channel that is far wider than the others,
//! or far from 0, takes the integers of all others. Where the operations around a tensor are linear
//! in each channel, a factor and an offset of the channel can move from one parameter to another:
//! the float function stays the same, and the integers gain bits.
//!
//! | tensor | made by | read by | offset | factor |
//! |---|---|---|---|---|
//! | channels of an image | the runtime | patch embedding | | to the patch weights |
//! | keys | `linear` | scores | vanishes: softmax does not change if a row of scores is shifted | against queries |
//! | queries | `linear` | scores | | against keys |
//! | values | `linear` | `linear` after attention | to the reader's bias: probabilities of a row add up to 1 | to the reader's weights |
//! | normalised tokens | `layer_norm` | `linear` | to the readers' biases | to the readers' weights |
//! | hidden units | `linear`, ReLU | `linear` | | to the reader's weights |
//! | inputs of tables | `linear` | table | to the table (one for a group of channels) | to the table |
//! | results of tables | table | `linear` | to the reader's bias | to the reader's weights |
//!
//! Tables are the functions of every element, such as GELU and ReLU.
//!
//! [`centre`] moves offsets, [`balance`] factors, and [`fit_tables`] both around tables.
//! Parameters are changed in f64, and each change is rounded to f32. Each rewrite is recorded as a
//! decision of its layer. A layer that has the decision is not rewritten again, so the passes can
//! run on their own results.
//!
//! A tensor is left alone if an operation that is not linear in each channel reads it, or if the
//! model itself states its step; weights that the model has quantised are not scaled, because they
//! would lose their integers.
//!
//! Sources: SmoothQuant (arXiv 2211.10438), cross-layer equalisation (arXiv 1906.04721), RepQ-ViT
//! (arXiv 2212.08254). The choice of the exponent ([`factors`]) is ours.

mod channel_groups;
mod factors;
mod interval;
mod parameters;
mod plan;
mod readers;
mod sites;
mod tables;

use ndarray::ArrayD;
use rayon::prelude::*;

use crate::calibration::{Calibration, Column, Divided, some_items};
use crate::interp::InterpError;
use crate::ir::{Graph, Op};
use crate::quantise;
use crate::quantise::accuracy::{self, Reference};

use self::channel_groups::Division;
use self::factors::{Channels, Factors};
use self::plan::Plan;
use self::sites::{Image, Keys, Site, Sites};

/// A rewrite in the decisions of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rewrite {
    Offsets,
    Factors,
}

/// Moves the middle of every channel's range to 0. Without samples, noise stands in for them.
///
/// # Errors
/// The samples are not items of the graph's inputs, or the graph cannot be evaluated.
pub(crate) fn centre(graph: Graph, samples: Option<&[ArrayD<f32>]>) -> Result<Graph, InterpError> {
    rewrite(graph, samples, Rewrite::Offsets, |graph, sites, calibration| {
        for Keys { source, .. } in &sites.keys {
            let offsets = middles(graph, calibration, *source);
            parameters::shift(graph, *source, &offsets);
        }
        for Site { source, reads, direct, readers, .. } in &sites.linear_after {
            let offsets = middles(graph, calibration, *source);
            let source = parameters::own_copy(graph, *source, *reads, direct);
            parameters::shift(graph, source, &offsets);
            readers.iter().for_each(|reader| parameters::add_product(graph, *reader, &offsets));
        }
    })
}

/// Balances the ranges of channels against the weights, or the other tensor, that they are
/// multiplied with. Without samples, noise stands in for them.
///
/// # Errors
/// As for [`centre`].
pub(crate) fn balance(graph: Graph, samples: Option<&[ArrayD<f32>]>) -> Result<Graph, InterpError> {
    rewrite(graph, samples, Rewrite::Factors, |graph, sites, calibration| {
        for scores in &sites.scores {
            let [queries, keys] = [scores.queries, scores.keys]
                .map(|op| scores.shared_across_heads(ranges(graph, calibration, op)));
            let factors = factors::between(&queries, &keys);
            divide(graph, calibration, scores.queries, &factors);
            divide(graph, calibration, scores.keys, &factors.inverse());
        }
        for Image { pixels, readers } in &sites.images {
            let result = graph.op(*pixels).results[0];
            let channels = Channels {
                ranges: ranges(graph, calibration, *pixels),
                squares: factors::mean_squares(calibration, result),
            };
            let factors = factors::against_weights(graph, calibration, &channels, readers);
            let factors = parameters::divide_image(graph, *pixels, &factors);
            readers.iter().for_each(|reader| parameters::multiply(graph, *reader, &factors));
        }
        for Site { source, reads, direct, readers, .. } in &sites.linear_after {
            let channels = Channels {
                ranges: ranges(graph, calibration, *source),
                squares: factors::mean_squares(calibration, *reads),
            };
            let factors = factors::against_weights(graph, calibration, &channels, readers);
            let source = parameters::own_copy(graph, *source, *reads, direct);
            divide(graph, calibration, source, &factors);
            readers.iter().for_each(|reader| parameters::multiply(graph, *reader, &factors));
        }
    })
}

/// Fits the lookup tables of functions to the ranges of their inputs and results, with several
/// tables where the ranges of channels differ. Tables of 16 bits and copies of channels, which cost
/// work, are chosen as the options state, by measurement on samples that are held back. Without
/// samples, noise stands in for them.
///
/// # Errors
/// The graph cannot be evaluated, or the samples are not items of its inputs.
pub(crate) fn fit_tables(
    mut graph: Graph,
    (samples, divided): (Option<&[ArrayD<f32>]>, Option<&Divided>),
    options: quantise::Options,
) -> Result<Graph, InterpError> {
    /// Items on which a plan is measured.
    const ITEMS: usize = 4;
    let (tables, left) = tables::find(&graph);
    graph.decisions.extend(left);
    if tables.is_empty() {
        return Ok(graph.compacted());
    }
    let calibration = Calibration::columns_or_noise(&graph, samples)?;
    let fitted = |mut graph: Graph, plan: &Plan| {
        let divisions = tables.par_iter().zip(&plan.refinements).map(|(table, refinement)| {
            let channels = table.channels(&graph, &calibration)?;
            Some(table.divide(&channels, *refinement))
        });
        let divisions: Vec<Option<Division>> = divisions.collect();
        for ((table, division), refinement) in tables.iter().zip(divisions).zip(&plan.refinements) {
            let decision = table.fit(&mut graph, division, *refinement);
            graph.decisions.push(decision);
        }
        graph.compacted()
    };
    let calibrating = divided.map_or(samples, |divided| Some(&divided.calibrating));
    let measured_on = divided.map_or(samples, |divided| Some(&divided.held_back));
    // Every plan computes the same real numbers.
    let reference = match options.accuracy {
        quantise::Accuracy::Fastest => None,
        _ => Some(Reference::new(&graph, some_items(&graph, measured_on, ITEMS)?)?),
    };
    let measure = |plan: &Plan| match &reference {
        Some(reference) => {
            worst_output(fitted(graph.clone(), plan), calibrating, reference, options)
        }
        None => Ok(None),
    };
    let wanted = (options.accuracy, options.units);
    let chosen = plan::choose(&graph, &tables, &calibration, wanted, measure)?;
    let mut rewritten = fitted(graph, &chosen.plan);
    rewritten.decisions.extend(chosen.decision(options.accuracy));
    Ok(rewritten)
}

/// The smallest ratio of signal to quantisation noise of an output in decibels; `None` if the graph
/// cannot be quantised, which the pass `quantise` reports.
fn worst_output(
    graph: Graph,
    samples: Option<&[ArrayD<f32>]>,
    reference: &Reference,
    options: quantise::Options,
) -> Result<Option<f64>, InterpError> {
    let Ok((quantised, _)) = quantise::calibrated(&graph, samples, options) else {
        return Ok(None);
    };
    drop(graph);
    let outputs = reference.compare(&quantised.graph, accuracy::NOTHING)?;
    let ratios = outputs.iter().map(|output| output.noise.sqnr_db());
    Ok(ratios.min_by(f64::total_cmp))
}

/// Fewer rows than these, as those of one image, do not show the middle of a channel's range.
const FEWEST_ROWS: usize = 256;

/// Rewrites the sites of a graph that have no decision yet, and records the decisions.
fn rewrite(
    mut graph: Graph,
    samples: Option<&[ArrayD<f32>]>,
    kind: Rewrite,
    run: impl FnOnce(&mut Graph, &Sites, &mut Calibration),
) -> Result<Graph, InterpError> {
    let mut sites = sites::find(&graph, kind);
    if !sites.is_empty() {
        let mut calibration = Calibration::columns_or_noise(&graph, samples)?;
        let unknown = |op: Op| {
            if calibration.rows(graph.op(op).results[0]) == 0 {
                return Some("no rows occur in calibration".to_owned());
            }
            let is_known = ranges(&graph, &calibration, op).iter().all(|range| range.is_finite());
            (!is_known).then(|| "infinite or undefined numbers occur in calibration".to_owned())
        };
        let rare = |op| {
            let is_rare = calibration.rows(graph.op(op).results[0]) < FEWEST_ROWS;
            (kind == Rewrite::Offsets && is_rare)
                .then(|| format!("fewer than {FEWEST_ROWS} rows occur in calibration"))
        };
        sites.leave_out(unknown, |op| unknown(op).or_else(|| rare(op)));
        run(&mut graph, &sites, &mut calibration);
    }
    let decisions = sites.decisions(&graph, kind);
    graph.decisions.extend(decisions);
    Ok(graph.compacted())
}

/// Divides the channels of an operation's result, and their statistics.
fn divide(graph: &mut Graph, calibration: &mut Calibration, op: Op, factors: &Factors) {
    parameters::divide(graph, op, factors);
    calibration.divide(graph.op(op).results[0], factors.as_slice());
}

/// The middles of the channels of an operation's result.
fn middles(graph: &Graph, calibration: &Calibration, op: Op) -> Vec<f64> {
    let columns = calibration.columns(graph.op(op).results[0]).unwrap_or_default();
    columns.iter().map(Column::middle).collect()
}

/// The magnitudes that the channels of an operation's result should cover.
fn ranges(graph: &Graph, calibration: &Calibration, op: Op) -> Vec<f64> {
    let columns = calibration.columns(graph.op(op).results[0]).unwrap_or_default();
    columns.iter().map(Column::reach).collect()
}
