//! Options of calibration and quantisation.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use ndarray::{ArrayD, Dimension as _};
use vitcod_compiler::calibration::{Clipping, Inputs};
use vitcod_compiler::frontend::Imported;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::quantise;

use crate::{npy, tensor_args, warning};

/// Options of quantisation.
#[derive(clap::Args)]
pub(crate) struct CalibrationArgs {
    /// Calibration samples of an input, stacked along the first axis; repeat for each input, omit
    /// NAME if the model has one. Default: normal noise, for an image that the model normalises
    /// around the mean of the offsets. Tensors that the model quantises itself (QDQ form) keep
    /// their scales
    #[arg(long, value_name = "[NAME=]X.npy")]
    calibration: Vec<String>,

    /// How the range of an int8 tensor is derived from the samples: max (no sample saturates), mse
    /// (least mean square error), percentile:P (covers P per cent of the values)
    #[arg(long, value_name = "METHOD", default_value_t = quantise::Options::default().clipping)]
    calibration_method: Clipping,

    /// How much work more accuracy is worth: fastest (none), DB (the least with which all outputs
    /// are expected to have this ratio of signal to quantisation noise; if none has, as long as a
    /// per cent gains half a decibel), exact (any)
    #[arg(long, value_name = "fastest|DB|exact", default_value_t = quantise::Options::default().accuracy)]
    accuracy: quantise::Accuracy,

    /// Correct biases for the shift of output means that weight rounding causes on the samples
    #[arg(long, value_enum, value_name = "on|off", default_value_t = Switch::from(quantise::Options::default().bias_correction))]
    bias_correction: Switch,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl From<bool> for Switch {
    fn from(on: bool) -> Switch {
        if on { Switch::On } else { Switch::Off }
    }
}

/// Warns if the model was calibrated on noise.
pub(crate) fn warn_of_noise() {
    warning::warn(
        "no --calibration: the ranges of activations come from seeded noise, which costs accuracy",
    );
}

/// Calibration samples.
#[derive(Default)]
pub(crate) struct Samples {
    /// Samples of the model's inputs.
    pub(crate) model: Option<Vec<ArrayD<f32>>>,
    /// Those of the machine's inputs, if the host computes some of them.
    machine: Option<Vec<ArrayD<f32>>>,
}

impl Samples {
    /// Reads the samples of a model's inputs, as `--calibration` names them.
    pub(crate) fn read(calibration: &[String], imported: &Imported) -> anyhow::Result<Samples> {
        let model = read(calibration, imported)?;
        let machine = match &imported.division {
            Some(division) => Some(division.host.before_machine(&imported.graph, &model)?),
            None => None,
        };
        Ok(Samples { model: Some(model), machine })
    }

    /// Samples of the machine's inputs, in their order.
    pub(crate) fn machine(&self) -> Option<&[ArrayD<f32>]> {
        self.machine.as_deref().or(self.model.as_deref())
    }
}

impl CalibrationArgs {
    /// The samples of the inputs of a graph, if there are any.
    pub(crate) fn of_graph(&self, graph: &Graph) -> anyhow::Result<Option<Vec<ArrayD<f32>>>> {
        (!self.calibration.is_empty()).then(|| read(&self.calibration, graph)).transpose()
    }

    /// The samples of a model's inputs, if there are any.
    pub(crate) fn read(&self, imported: &Imported) -> anyhow::Result<Samples> {
        match &self.calibration[..] {
            [] => Ok(Samples::default()),
            calibration => Samples::read(calibration, imported),
        }
    }

    /// The sample files.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        files(&self.calibration)
    }

    pub(crate) fn options(&self) -> quantise::Options {
        quantise::Options {
            clipping: self.calibration_method,
            bias_correction: self.bias_correction == Switch::On,
            accuracy: self.accuracy,
            ..quantise::Options::default()
        }
    }
}

/// Reads the samples of a model's inputs, in their order, as `--calibration` names them.
pub(crate) fn read(
    calibration: &[String],
    model: &impl Inputs,
) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let names: Vec<&str> = model.inputs().into_iter().map(|(name, _)| name).collect();
    let files = tensor_args::bind("input", calibration, &names)?;
    let sample = |name: &&str| {
        let file = files.iter().find(|(bound, _)| *bound == name);
        let (_, path) =
            file.with_context(|| format!("no --calibration is given for input {name:?}"))?;
        let samples = npy::read(path)?;
        let wrong = samples.indexed_iter().find(|(_, x)| !x.is_finite());
        if let Some((place, found)) = wrong {
            bail!(
                "{}: {found} at {:?}, expected finite numbers to calibrate on",
                path.display(),
                place.slice()
            );
        }
        Ok(samples)
    };
    names.iter().map(sample).collect()
}

/// The files of `--calibration`; both readings of `NAME=FILE`, because the inputs are unknown.
pub(crate) fn files(calibration: &[String]) -> impl Iterator<Item = PathBuf> {
    let read = calibration
        .iter()
        .flat_map(|text| [Some(text.as_str()), text.rsplit_once('=').map(|(_, path)| path)]);
    read.flatten().map(PathBuf::from)
}
