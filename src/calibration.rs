//! Options on how a model is quantised.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::ValueEnum;
use ndarray::ArrayD;
use vitcod_compiler::quantise::{self, Clipping};

use crate::npy;

/// What quantisation goes by.
#[derive(clap::Args)]
pub(crate) struct CalibrationArgs {
    /// Inputs that are typical of the model, joined along the first axis; without them noise of mean 0 and standard deviation 1 is
    /// used. Tensors that the model itself quantises (QDQ form) keep their scales
    #[arg(long, value_name = "X.npy")]
    pub(crate) calibration: Option<PathBuf>,

    /// How the range of an int8 tensor follows from calibration: max (nothing seen saturates), mse (least mean square error),
    /// percentile:P (P per cent of the numbers are within)
    #[arg(long, value_name = "METHOD", default_value_t = quantise::Options::default().clipping)]
    calibration_method: Clipping,

    /// Whether biases take back what rounding the weights adds to the means that calibration has seen
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

/// Says that noise stood in for samples.
pub(crate) fn warn_of_noise() {
    // A warning that cannot be shown is no reason to fail.
    let _ = writeln!(
        io::stderr(),
        "warning: no --calibration: the ranges of activations come from seeded noise, which costs accuracy"
    );
}

impl CalibrationArgs {
    /// The samples, where there are any.
    pub(crate) fn read(&self) -> anyhow::Result<Option<ArrayD<f32>>> {
        self.calibration.as_deref().map(npy::read).transpose()
    }

    pub(crate) fn options(&self) -> quantise::Options {
        quantise::Options { clipping: self.calibration_method, bias_correction: self.bias_correction == Switch::On }
    }
}
