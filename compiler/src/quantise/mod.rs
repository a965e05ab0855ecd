//! From float to integers: the pass from canonical to quantised graphs, and what it
//! [costs](accuracy).
//!
//! Everything is symmetric. Weights are int8 with a step for each output channel; activations have
//! one step for a tensor. `docs/quantisation.md` gives the reasons and what was measured.
//!
//! | canonical | quantised | integers |
//! |---|---|---|
//! | `linear` | `qlinear` | reads 8 bits; writes 16 if something reads them so or nothing reads 8 |
//! | `mix_heads` | `encode` to fewer heads, `decode` otherwise | reads 8, writes 8 |
//! | `embed` | `qembed` | writes 16 |
//! | `layer_norm` | `qlayer_norm` | reads 16; writes 8, and 16 if something reads them so |
//! | `unary` | `lut` | reads 8, writes 8 |
//! | `attention` | `sddmm`, `qsoftmax`, `spmm` | reads 8, writes 8 |
//! | `binary` add, sub; mul and div by one constant number | `qadd` | reads 16, writes 16 |
//! | `reduce_mean` | `spmm` with equal probabilities | reads 8, writes 8 |
//! | `concat`, `slice`, `pixels`, `patches` | the same | operands and result alike, in one step |
//!
//! What attention adds to its scores is a mask where it is -inf or `f32::MIN`, which Hugging Face
//! writes for it, and elsewhere a bias in units of log2 / 256. Both are parameters of no step, and
//! no part of calibration but by what they do to the results. An input that says which keys count
//! becomes a mask, too, a row for each query.
//!
//! So the residual stream is 16 bits wide from the patch embedding to the last LayerNorm. Where 8
//! bits are written and 16 read, a second LayerNorm writes these, or a `qlinear` with the identity
//! widens them exactly. Where 16 are written and 8 read and no LayerNorm lies between, as in LeViT,
//! a `qadd` of one operand narrows them, for all readers at once; what only moves elements then
//! moves the narrow ones.

pub mod accuracy;
mod pass;
mod plan;
mod score_terms;
mod weights;

use cranelift_entity::SecondaryMap;
use ndarray::{ArrayD, ArrayViewD};
use vitcod_support::problems::Problems;

use crate::calibration::{Calibration, Clipping, NOISE_ITEMS, noise};
use crate::interp::InterpError;
use crate::ir::{Graph, Stage, Value};

/// What of a graph cannot be quantised: all of it, one line each, with the ONNX nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model cannot be quantised:\n{problems}")]
pub struct QuantiseError {
    /// What is wrong.
    pub problems: Problems<String>,
}

/// How a graph is quantised. `docs/quantisation.md` gives what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How ranges of int8 activations follow from calibration.
    pub clipping: Clipping,
    /// Whether biases take back what rounding the weights adds to the mean of a linear layer's
    /// results, as calibration has seen its operands.
    pub bias_correction: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { clipping: Clipping::Max, bias_correction: false }
    }
}

/// [`quantise_with`] the usual options.
///
/// # Errors
/// As [`quantise_with`].
pub fn quantise(graph: &Graph, calibration: &Calibration) -> Result<Graph, QuantiseError> {
    Ok(quantise_with(graph, calibration, Options::default())?.graph)
}

/// Quantises a canonical graph by the steps that the model brings, and where it brings none by the
/// ranges of its values.
///
/// The result is compacted ([`Graph::compacted`]) and the same on every platform, for the same
/// calibration.
///
/// # Errors
/// The graph is not canonical, or holds what the machine cannot compute: every such place.
pub fn quantise_with(
    graph: &Graph,
    calibration: &Calibration,
    options: Options,
) -> Result<Quantised, QuantiseError> {
    quantise_reaching(graph, calibration, options, plan::I16_REACH)
}

/// [`quantise_with`] the calibration of samples. Without samples, noise calibrates the graph where
/// a step must come from samples; the second result says whether it did.
///
/// # Errors
/// The samples are not items of the graph's inputs, or as [`quantise_with`].
pub fn calibrated(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
    options: Options,
) -> Result<(Quantised, bool), CalibratedError> {
    let is_noise = samples.is_none() && needs_samples(graph);
    let stand_in = if is_noise { noise(graph, NOISE_ITEMS) } else { Vec::new() };
    let samples: Vec<ArrayViewD<'_, f32>> =
        samples.unwrap_or(&stand_in).iter().map(|array| array.view()).collect();
    // A model that brings all its scales is not run.
    let calibration = match samples[..] {
        [] => Calibration::default(),
        _ => Calibration::run(graph, &samples)?,
    };
    Ok((quantise_with(graph, &calibration, options)?, is_noise))
}

/// Why samples and a graph give no quantised graph.
#[derive(Debug, thiserror::Error)]
pub enum CalibratedError {
    /// The graph cannot be run on the samples.
    #[error("the model cannot be calibrated: {0}")]
    Calibration(#[from] InterpError),
    /// The graph cannot be quantised.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
}

/// A quantised graph with its origin.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// The graph in integers.
    pub graph: Graph,
    /// For each input and result of the canonical graph the value of `graph` whose integers stand
    /// for it, where an output needs it.
    pub integers: SecondaryMap<Value, Option<Value>>,
}

/// Whether the step of some tensor must come from samples, because the model does not bring it.
pub fn needs_samples(graph: &Graph) -> bool {
    plan::needs_samples(graph)
}

/// [`quantise_with`], with the magnitude of the 16-bit integer that stands for a tensor's largest
/// number: 127 measures what a residual stream of 8 bits would cost.
fn quantise_reaching(
    graph: &Graph,
    calibration: &Calibration,
    options: Options,
    i16_reach: f64,
) -> Result<Quantised, QuantiseError> {
    if graph.stage != Stage::Canonical {
        let problem = format!("the graph is {}, not canonical", graph.stage);
        return Err(QuantiseError { problems: problem.into() });
    }
    pass::run(graph, calibration, options, i16_reach).map_err(|problems| QuantiseError { problems })
}

#[cfg(test)]
mod tests;
