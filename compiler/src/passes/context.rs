//! What passes may need besides the graph.

use std::fmt;

use ndarray::ArrayD;
use vitcod_isa::machine::Machine;

use crate::autoencoder::Choice;
use crate::masks::Masks;
use crate::quantise;
use crate::split::GlobalTokens;

/// What passes may need besides the graph.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Which attention entries are computed.
    pub masks: Option<&'a Masks>,
    /// What the graph is compiled for.
    pub machine: Option<&'a Machine>,
    /// For each input of the graph an array of one or more items along its first axis.
    pub samples: Option<&'a [ArrayD<f32>]>,
    /// How steps follow from the samples.
    pub quantise: quantise::Options,
    /// In which form auto-encoders are computed.
    pub form: Choice,
    /// How global tokens are found.
    pub globals: GlobalTokens,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Context {
            masks: None,
            machine: None,
            samples: None,
            quantise: quantise::Options::default(),
            form: Choice::Auto,
            globals: GlobalTokens::Auto,
        }
    }
}

impl Context<'_> {
    /// Whether what is needed is there.
    pub fn has(&self, need: Need) -> bool {
        match need {
            Need::Masks => self.masks.is_some(),
            Need::Machine => self.machine.is_some(),
            Need::Samples => self.samples.is_some(),
        }
    }
}

/// What a pass needs besides the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// [`Context::masks`].
    Masks,
    /// [`Context::machine`].
    Machine,
    /// [`Context::samples`].
    Samples,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Need::Masks => "masks",
            Need::Machine => "a machine",
            Need::Samples => "samples",
        })
    }
}
