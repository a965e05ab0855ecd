//! What passes may need besides the graph.

use std::cell::RefCell;
use std::fmt;

use ndarray::ArrayD;
use vitcod_isa::machine::Machine;

use super::pass::Failure;
use crate::autoencoder::{Choice, PcaError};
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
    /// Compressed heads of auto-encoders that are to be made.
    pub compressed_heads: Option<usize>,
    /// In which form auto-encoders are computed.
    pub form: Choice,
    /// How global tokens are found.
    pub globals: GlobalTokens,
    /// Whether the program says for every layer what was costed.
    pub explain: bool,
    /// Where passes note what is neither in their result nor an error.
    pub notes: Option<&'a RefCell<Notes>>,
}

/// What passes have to say besides their result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// What auto-encoders lose that were made, layer by layer.
    pub losses: Vec<PcaError>,
    /// Whether noise stood in for samples.
    pub is_noise: bool,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Context {
            masks: None,
            machine: None,
            samples: None,
            quantise: quantise::Options::default(),
            compressed_heads: None,
            form: Choice::Auto,
            globals: GlobalTokens::Auto,
            explain: false,
            notes: None,
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
            Need::CompressedHeads => self.compressed_heads.is_some(),
        }
    }

    /// The machine, for a pass that needs it.
    pub(super) fn machine(&self) -> Result<&Machine, Failure> {
        self.machine.ok_or(Failure::Needs(Need::Machine))
    }

    /// Notes something, if somebody wants to know.
    pub(super) fn note(&self, note: impl FnOnce(&mut Notes)) {
        if let Some(notes) = self.notes {
            note(&mut notes.borrow_mut());
        }
    }
}

/// What a pass needs besides the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// [`Context::masks`].
    Masks,
    /// [`Context::machine`](field@Context::machine).
    Machine,
    /// [`Context::samples`].
    Samples,
    /// [`Context::compressed_heads`].
    CompressedHeads,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Need::Masks => "masks",
            Need::Machine => "a machine",
            Need::Samples => "samples",
            Need::CompressedHeads => "a number of compressed heads",
        })
    }
}
