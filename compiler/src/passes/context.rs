//! Inputs of passes other than the graph.

use std::cell::RefCell;
use std::fmt;

use ndarray::ArrayD;
use vitcod_isa::machine::Machine;

use super::pass::Failure;
use crate::autoencoder::{Choice, PcaError};
use crate::calibration::Divided;
use crate::codegen;
use crate::masks::Masks;
use crate::quantise;
use crate::split::{GlobalTokens, Packing};

/// Inputs of passes other than the graph. A pass that lacks one it needs returns an error.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Which attention entries are computed.
    pub masks: Option<&'a Masks>,
    /// The target machine.
    pub machine: Option<&'a Machine>,
    /// Calibration samples: for each graph input an array of one or more items along the first
    /// axis.
    pub samples: Option<&'a [ArrayD<f32>]>,
    /// The same samples with some held back, on which plans are measured; if absent, plans are
    /// measured on samples that calibrate.
    pub divided: Option<&'a Divided>,
    /// How calibration derives steps from the samples.
    pub quantise: quantise::Options,
    /// The number of compressed heads of the auto-encoders to add.
    pub compressed_heads: Option<usize>,
    /// The form in which auto-encoders are computed.
    pub form: Choice,
    /// How global tokens are chosen.
    pub globals: GlobalTokens,
    /// How lists are packed.
    pub packing: Packing,
    /// Whether the program records the decisions of the compiler for each layer.
    pub explain: bool,
    /// Where passes record observations that are neither results nor errors.
    pub notes: Option<&'a RefCell<Notes>>,
}

/// What passes report besides their results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// Reconstruction errors of the auto-encoders that were added, by layer.
    pub losses: Vec<PcaError>,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Context {
            masks: None,
            machine: None,
            samples: None,
            divided: None,
            quantise: quantise::Options::default(),
            compressed_heads: None,
            form: Choice::Auto,
            globals: GlobalTokens::Auto,
            packing: Packing::default(),
            explain: false,
            notes: None,
        }
    }
}

impl Context<'_> {
    /// Whether the context provides an input.
    pub fn has(&self, need: Need) -> bool {
        match need {
            Need::Masks => self.masks.is_some(),
            Need::Machine => self.machine.is_some(),
            Need::Samples => self.samples.is_some(),
            Need::CompressedHeads => self.compressed_heads.is_some(),
        }
    }

    /// How graphs are quantised, with the optional units of the machine if it is known.
    pub(super) fn quantise(&self) -> quantise::Options {
        self.machine.map_or(self.quantise, |machine| self.quantise.on(machine))
    }

    /// The machine, for a pass that needs it.
    pub(super) fn machine(&self) -> Result<&Machine, Failure> {
        self.machine.ok_or(Failure::Needs(Need::Machine))
    }

    /// The options of code generation.
    pub(super) fn codegen(&self) -> codegen::Options {
        let Context { globals, packing, explain, .. } = *self;
        codegen::Options { globals, packing, explain }
    }

    /// Records a note, if notes are collected.
    pub(super) fn note(&self, note: impl FnOnce(&mut Notes)) {
        if let Some(notes) = self.notes {
            note(&mut notes.borrow_mut());
        }
    }
}

/// An input of a pass other than the graph.
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
