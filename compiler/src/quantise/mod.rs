//! The pass from canonical to quantised graphs, and the measurement of its [error](accuracy).
//!
//! Quantisation is symmetric. Weights are int8 with a step for each output channel; activations
//! have one step per tensor. `docs/quantisation.md` gives the reasons and measurements.
//!
//! | canonical | quantised | integers |
//! |---|---|---|
//! | `linear` | `qlinear` | reads 8 bits; writes 16 if something reads them so or nothing reads 8 |
//! | `mix_heads` | `encode` to fewer heads, `decode` otherwise | reads 8, writes 8 |
//! | `embed` | `qembed` | writes 16 |
//! | `layer_norm` | `qlayer_norm` | reads 16; writes 8, and 16 if something reads them so |
//! | `unary`, `table` | `lut` | reads 8, writes 8 |
//! | `attention` | `sddmm`, `qsoftmax`, `spmm` | reads 8, writes 8 |
//! | `binary` add, sub; mul and div by one constant number | `qadd` | reads 16, writes 16 |
//! | `reduce_mean` | `spmm` with equal probabilities | reads 8, writes 8 |
//! | `concat`, `slice`, `pixels`, `patches` | the same | operands and result alike, in one step |
//!
//! An addend of scores is a mask where it is -inf or `f32::MIN`, which Hugging Face uses instead,
//! and a bias in units of log2 / 256 elsewhere. Neither has a step or takes part in calibration. An
//! input that prunes keys becomes a mask with equal rows.
//!
//! The residual stream is thus 16 bits wide from the patch embedding to the last LayerNorm. If a
//! tensor is written in 8 bits and read in 16, a second LayerNorm writes the 16 bits, or a
//! `qlinear` with the identity widens it exactly. If it is written in 16 bits and read in 8 without
//! a LayerNorm between, as in LeViT, a `qadd` of one operand narrows it for all readers; operations
//! that only move elements then move the narrow form.

pub mod accuracy;
mod pass;
mod plan;
mod score_terms;
mod tables;
mod weights;

pub(crate) use plan::{reads_16_bits, selects_rows};
pub(crate) use tables::real_function;
pub(crate) use weights::grid as weight_grid;

use std::fmt;
use std::str::FromStr;

use cranelift_entity::SecondaryMap;
use ndarray::ArrayD;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Decision;
use vitcod_support::problems::Problems;

use crate::calibration::{Calibration, Clipping};
use crate::interp::InterpError;
use crate::ir::{Graph, Stage, Value};

/// Parts of a graph that cannot be quantised: all of them, one line each, with the ONNX nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model cannot be quantised:\n{problems}")]
pub struct QuantiseError {
    /// One line for each part.
    pub problems: Problems<String>,
}

/// How a graph is quantised. `docs/quantisation.md` gives measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How the ranges of int8 activations are derived from calibration.
    pub clipping: Clipping,
    /// Whether biases compensate the change of a linear layer's mean result that the rounding of
    /// weights causes, by the calibrated means of its operands.
    pub bias_correction: bool,
    /// How much work more accuracy is worth.
    pub accuracy: Accuracy,
    /// The optional units of the target machine.
    pub units: Units,
}

impl Default for Options {
    fn default() -> Options {
        let (clipping, accuracy) = (Clipping::default(), Accuracy::default());
        Options { clipping, bias_correction: false, accuracy, units: Units::ALL }
    }
}

impl Options {
    /// These options for a machine.
    pub fn on(self, machine: &Machine) -> Options {
        let units = Units {
            minifloat: machine.softmax.minifloat,
            interpolation: machine.vector.interpolation,
        };
        Options { units, ..self }
    }
}

/// How much work (products, elements) more accuracy is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accuracy {
    /// None.
    Fastest,
    /// The least with which every output is expected to have this ratio of signal to quantisation
    /// noise in decibels, as long as a per cent gains at least half a decibel.
    Decibels(f64),
    /// Any.
    Exact,
}

impl Default for Accuracy {
    fn default() -> Accuracy {
        Accuracy::Decibels(30.0)
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accuracy::Fastest => f.write_str("fastest"),
            Accuracy::Decibels(decibels) => write!(f, "{decibels}"),
            Accuracy::Exact => f.write_str("exact"),
        }
    }
}

impl FromStr for Accuracy {
    type Err = String;

    /// Parses `fastest`, `exact` or a number of decibels from 0 to 100.
    fn from_str(text: &str) -> Result<Accuracy, String> {
        match (text, text.parse::<f64>()) {
            ("fastest", _) => Ok(Accuracy::Fastest),
            ("exact", _) => Ok(Accuracy::Exact),
            (_, Ok(decibels)) if (0.0..=100.0).contains(&decibels) => {
                Ok(Accuracy::Decibels(decibels))
            }
            _ => Err("expected fastest, exact or a number of decibels from 0 to 100".to_owned()),
        }
    }
}

/// Which optional units a machine has: all that integers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Probabilities can be minifloats.
    pub minifloat: bool,
    /// Functions can read 16 bits.
    pub interpolation: bool,
}

impl Units {
    /// All of them.
    pub const ALL: Units = Units { minifloat: true, interpolation: true };
}

/// [`quantise_with`] the default options.
///
/// ```
/// use vitcod_compiler::calibration::{Calibration, noise};
/// use vitcod_compiler::ir::{Stage, text};
/// use vitcod_compiler::quantise::quantise;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"graph "layer" canonical {
///     v0 = input "x" : f32[2,2]
///     v1 = const "w" : f32[3,2] = [1, 0, 0, 1, 1, 1]
///     v2 = const "b" : f32[3] = [0, 10, -1]
///     v3 = linear(v0, v1, v2)
///     output "y" [2,3] = v3
/// }"#;
/// let graph = text::parse(text, &mut |name| Err(format!("there is no {name}")))
///     .map_err(|error| error.render("layer.vir", text))?;
/// let samples = noise(&graph, 4); // in practice, real inputs
/// let samples: Vec<_> = samples.iter().map(|sample| sample.view()).collect();
/// let quantised = quantise(&graph, &Calibration::run(&graph, &samples)?)?;
/// assert_eq!(quantised.stage, Stage::Quantised);
/// assert_eq!(quantised.operator_counts()["qlinear"], 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`quantise_with`].
pub fn quantise(graph: &Graph, calibration: &Calibration) -> Result<Graph, QuantiseError> {
    Ok(quantise_with(graph, calibration, Options::default())?.graph)
}

/// Quantises a canonical graph. Steps are those of the model if it has any, else they are derived
/// from calibrated ranges.
///
/// The result is compacted ([`Graph::compacted`]) and the same on every platform, for the same
/// calibration.
///
/// # Errors
/// The graph is not canonical, or the machine cannot compute some operations; all of them are
/// listed.
pub fn quantise_with(
    graph: &Graph,
    calibration: &Calibration,
    options: Options,
) -> Result<Quantised, QuantiseError> {
    quantise_reaching(graph, calibration, options, plan::I16_REACH)
}

/// [`quantise_with`] calibration on samples. Without samples, noise calibrates the graph if a step
/// must be calibrated; the second result states whether noise was used.
///
/// # Errors
/// The samples are not items of the graph's inputs, or as [`quantise_with`].
pub fn calibrated(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
    options: Options,
) -> Result<(Quantised, bool), CalibratedError> {
    let needs_samples = needs_samples(graph);
    let is_noise = samples.is_none() && needs_samples;
    // A model that has all steps is calibrated, too: for the range of its scores. Its biases are
    // its own; the means of noise do not correct them.
    let bias_correction = options.bias_correction && (samples.is_some() || needs_samples);
    let options = Options { bias_correction, ..options };
    let calibration = match samples {
        Some([]) => Calibration::default(),
        _ => Calibration::run_or_noise(graph, samples)?,
    };
    Ok((quantise_with(graph, &calibration, options)?, is_noise))
}

/// Why a graph cannot be calibrated and quantised.
#[derive(Debug, thiserror::Error)]
pub enum CalibratedError {
    /// The graph cannot be evaluated on the samples.
    #[error("the model cannot be calibrated: {0}")]
    Calibration(#[from] InterpError),
    /// The graph cannot be quantised.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
}

/// A quantised graph and its relation to the canonical one.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// The graph in integers.
    pub graph: Graph,
    /// For each input and result of the canonical graph on which an output depends, the value of
    /// `graph` that represents it.
    pub integers: SecondaryMap<Value, Option<Value>>,
    /// What calibration shows to be beyond the machine's integers.
    pub warnings: Vec<Decision>,
}

/// Whether some step must be calibrated, because the model does not state it.
pub fn needs_samples(graph: &Graph) -> bool {
    plan::needs_samples(graph)
}

/// [`quantise_with`] a given `reach`: the 16-bit integer that represents a tensor's largest number.
/// 127 simulates a residual stream of 8 bits.
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
