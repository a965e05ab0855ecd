//! Exact rewrites that make channels of 8-bit tensors use the whole range of their integers.
//!
//! An int8 tensor has one step for all its channels. A channel that is far wider than the others,
//! or far from 0, takes the integers of all others. Where the operations around a tensor are linear
//! in each channel, a factor and an offset of the channel can move from one parameter to another:
//! the float function stays the same, and the integers gain bits.
//!
//! | tensor | made by | read by | offset | factor |
//! |---|---|---|---|---|
//! | keys | `linear` | scores | vanishes: softmax does not change if a row of scores is shifted | against queries |
//! | queries | `linear` | scores | | against keys |
//! | values | `linear` | `linear` after attention | to the reader's bias: probabilities of a row add up to 1 | to the reader's weights |
//! | normalised tokens | `layer_norm` | `linear` | to the readers' biases | to the readers' weights |
//! | hidden units | `linear`, ReLU | `linear` | | to the reader's weights |
//! | inputs of tables | `linear` | table | to the table (one for all channels) | |
//! | results of tables | table | `linear` | to the reader's bias (one for all channels) | |
//!
//! Tables are the functions of every element, such as GELU and ReLU.
//!
//! [`centre`] moves offsets, [`balance`] factors, and [`centre_tables`] the offsets around tables.
//! Parameters are computed in f64 and rounded once. Each rewrite is recorded as a decision of its
//! layer. A layer that has the decision is not rewritten again, so the passes can run on their own
//! results.
//!
//! A tensor is left alone if an operation that is not linear in each channel reads it, or if the
//! model itself states its step; weights that the model has quantised are not scaled, because they
//! would lose their integers.
//!
//! Sources: SmoothQuant (arXiv 2211.10438), cross-layer equalisation (arXiv 1906.04721), RepQ-ViT
//! (arXiv 2212.08254). The choice of the exponent ([`factors`]) is ours.

mod factors;
mod parameters;
mod sites;

use ndarray::{ArrayD, ArrayViewD};

use crate::calibration::{Calibration, Column, I8_MAX, stand_in};
use crate::interp::InterpError;
use crate::ir::{Graph, Op, OpKind};

use self::factors::{Channels, Factors};
use self::sites::{Keys, Site, Sites, Table};

/// A rewrite in the decisions of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rewrite {
    Offsets,
    Factors,
    Tables,
}

/// Moves the middle of every channel's range to 0. Without samples, noise stands in for them.
///
/// # Errors
/// The samples are not items of the graph's inputs, or the graph cannot be evaluated.
pub(crate) fn centre(graph: &Graph, samples: Option<&[ArrayD<f32>]>) -> Result<Graph, InterpError> {
    rewrite(graph, samples, Rewrite::Offsets, |graph, sites, calibration| {
        for Keys { source, .. } in &sites.keys {
            let offsets = of_channels(graph, calibration, *source, Column::middle);
            parameters::shift(graph, *source, &offsets);
        }
        for Site { source, reads, direct, readers, .. } in &sites.linear_after {
            let offsets = of_channels(graph, calibration, *source, Column::middle);
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
pub(crate) fn balance(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
) -> Result<Graph, InterpError> {
    rewrite(graph, samples, Rewrite::Factors, |graph, sites, calibration| {
        for scores in &sites.scores {
            let [queries, keys] = [scores.queries, scores.keys].map(|op| {
                let ranges = of_channels(graph, calibration, op, Column::reach);
                scores.shared_across_heads(ranges)
            });
            let factors = factors::between(&queries, &keys);
            divide(graph, calibration, scores.queries, &factors);
            divide(graph, calibration, scores.keys, &factors.inverse());
        }
        for Site { source, reads, direct, readers, .. } in &sites.linear_after {
            let channels = Channels {
                ranges: of_channels(graph, calibration, *source, Column::reach),
                squares: factors::mean_squares(calibration, *reads),
            };
            let factors = factors::against_weights(graph, calibration, &channels, readers);
            let source = parameters::own_copy(graph, *source, *reads, direct);
            divide(graph, calibration, source, &factors);
            readers.iter().for_each(|reader| parameters::multiply(graph, *reader, &factors));
        }
    })
}

/// Moves the middle of the ranges before and behind functions of every element to 0. Without
/// samples, noise stands in for them.
///
/// # Errors
/// As for [`centre`].
pub(crate) fn centre_tables(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
) -> Result<Graph, InterpError> {
    rewrite(graph, samples, Rewrite::Tables, |graph, sites, calibration| {
        for Table { op, source, readers } in &sites.tables {
            let data = graph.op(*op);
            let OpKind::Unary { f } = data.kind else { unreachable!("a site is a function") };
            let (input, result) = (data.operands[0], data.results[0]);
            let offset = |value| calibration.span(value).map_or(0.0, zero_point);
            let input_offset = source.map_or(0.0, |_| offset(input));
            let result_offset = if readers.is_empty() { 0.0 } else { offset(result) };
            graph.op_mut(*op).kind = OpKind::Table { f, input_offset, result_offset };
            if let Some(source) = source {
                let channels = graph.ty(input).matrix().1;
                parameters::shift(graph, *source, &vec![input_offset; channels]);
            }
            for reader in readers {
                let channels = graph.ty(result).matrix().1;
                parameters::add_product(graph, *reader, &vec![result_offset; channels]);
            }
        }
    })
}

/// Rewrites the sites of a graph that have no decision yet, and records the decisions.
fn rewrite(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
    kind: Rewrite,
    run: impl FnOnce(&mut Graph, &Sites, &mut Calibration),
) -> Result<Graph, InterpError> {
    let mut sites = sites::find(graph, kind);
    let mut rewritten = graph.clone();
    if !sites.is_empty() {
        let noise = if samples.is_none() { stand_in(graph) } else { Vec::new() };
        let samples: Vec<ArrayViewD<'_, f32>> =
            samples.unwrap_or(&noise).iter().map(|array| array.view()).collect();
        let mut calibration = Calibration::run(graph, &samples)?;
        let unknown = |op| {
            let columns = of_channels(graph, &calibration, op, Column::reach);
            let is_known = columns.iter().all(|reach| reach.is_finite());
            (!is_known).then_some("infinite or undefined numbers occur in calibration")
        };
        let rare = |op| match kind {
            Rewrite::Offsets => too_few_rows(graph, &calibration, op),
            Rewrite::Factors | Rewrite::Tables => None,
        };
        sites.leave_out(unknown, |op| unknown(op).or_else(|| rare(op)));
        run(&mut rewritten, &sites, &mut calibration);
    }
    rewritten.decisions.extend(sites.decisions(graph, kind));
    Ok(rewritten.compacted())
}

/// The offset near the middle of a range that is a multiple of the step of int8 behind it, so that
/// 0 stays an integer: most results of GELU and ReLU are near 0, and an error that they share would
/// add up in the layer behind them.
///
/// With `k` steps of offset and `most > -least`, the step is `most / (127 + k)`, and `k` is the
/// largest integer with which the other end is at most 127 steps away.
fn zero_point([least, most]: [f64; 2]) -> f64 {
    if most < -least {
        return -zero_point([-most, -least]);
    }
    let steps = (I8_MAX * (most + least) / (most - least)).floor();
    if steps > 0.0 { most * steps / (I8_MAX + steps) } else { 0.0 }
}

/// Divides the channels of an operation's result, and their statistics.
fn divide(graph: &mut Graph, calibration: &mut Calibration, op: Op, factors: &Factors) {
    parameters::divide(graph, op, factors);
    calibration.divide(graph.op(op).results[0], factors.as_slice());
}

/// A property of each channel of an operation's result.
fn of_channels(
    graph: &Graph,
    calibration: &Calibration,
    op: Op,
    property: fn(&Column) -> f64,
) -> Vec<f64> {
    let columns = calibration.columns(graph.op(op).results[0]).unwrap_or_default();
    columns.iter().map(property).collect()
}

/// Whether too few rows were observed to move the middle of a channel. Few rows, as those of the
/// class token of some items, lie closer around their middle than those of other inputs.
fn too_few_rows(graph: &Graph, calibration: &Calibration, op: Op) -> Option<&'static str> {
    const FEWEST: usize = 256;
    let columns = calibration.columns(graph.op(op).results[0]).unwrap_or_default();
    let is_rare = columns.first().is_none_or(|column| column.count() < FEWEST);
    is_rare.then_some("fewer than 256 rows occur in calibration")
}
