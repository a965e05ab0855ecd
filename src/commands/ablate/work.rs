//! The workload of an ablation.

use anyhow::Context as _;
use ndarray::ArrayD;
use vitcod_compiler::autoencoder::{Choice, Form};
use vitcod_compiler::codegen;
use vitcod_compiler::frontend::{self, HostUse};
use vitcod_compiler::ir::{Graph, OpKind};
use vitcod_compiler::masks::{Mask, Masks};
use vitcod_compiler::synthetic::{self, AttentionCore};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Program;

use super::{Args, Configuration};
use crate::import;
use crate::npy;
use crate::pipeline::{self, Session};
use crate::progress::Progress;
use crate::sparsity_args::Autoencoder;

/// The workload of every step.
pub(super) struct Work {
    name: String,
    /// Name of the masks in messages.
    file: String,
    masks: Masks,
    /// Compressed heads of auto-encoders to add.
    compressed_heads: Option<usize>,
    source: Source,
}

enum Source {
    Core { unpruned: Masks, head_dim: usize },
    Model { dense: Box<Graph>, pruned: Box<Graph>, samples: Option<ArrayD<f32>> },
}

/// Samples are those of the machine's input, so the host computes nothing.
fn never(masks: Option<&Masks>) -> frontend::Options<'_> {
    frontend::Options { masks, host: HostUse::Never, ..frontend::Options::default() }
}

impl Work {
    /// The workload that the command line describes.
    pub(super) fn of(args: &Args) -> anyhow::Result<Work> {
        let masks = args.polarity.read(&args.masks)?;
        let file = args.masks.display().to_string();
        let (name, source) = match (&args.model, args.head_dim) {
            (Some(path), _) => {
                let samples = args.calibration.as_deref().map(npy::read).transpose()?;
                let dense = import::import(path, &args.import, never(None))?.graph;
                let pruned = import::import(path, &args.import, never(Some(&masks)))
                    .with_context(|| format!("with the masks of {file}"))?
                    .graph;
                (
                    dense.name.clone(),
                    Source::Model { dense: dense.into(), pruned: pruned.into(), samples },
                )
            }
            (None, head_dim) => {
                let head_dim = head_dim.context("--head-dim is required without a model")?;
                ("attention core".to_owned(), Source::Core { unpruned: unpruned(&masks), head_dim })
            }
        };
        Ok(Work { name, file, masks, compressed_heads: args.compressed_heads, source })
    }

    /// Name of the model.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The masks of the steps that prune.
    pub(super) fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Whether there is a step with an auto-encoder.
    pub(super) fn has_autoencoder(&self) -> bool {
        self.compressed_heads.is_some() || self.has_its_own()
    }

    /// Whether the model has its own auto-encoder.
    fn has_its_own(&self) -> bool {
        match &self.source {
            Source::Core { .. } => false,
            Source::Model { dense, .. } => {
                dense.order.iter().any(|op| matches!(dense.op(*op).kind, OpKind::MixHeads { .. }))
            }
        }
    }

    /// The program of a configuration.
    pub(super) fn compile(
        &self,
        configuration: &Configuration,
        machine: &Machine,
        progress: &Progress,
    ) -> anyhow::Result<Program> {
        let &Configuration { pruned, globals, packing, autoencoder } = configuration;
        match &self.source {
            Source::Core { unpruned, head_dim } => {
                let masks = if pruned { &self.masks } else { unpruned };
                let compressed_heads = self.compressed_heads.filter(|_| autoencoder);
                let minifloat = machine.softmax.minifloat;
                let core =
                    AttentionCore { head_dim: *head_dim, compressed_heads, minifloat, seed: 0 };
                let graph =
                    synthetic::attention_core(masks, core).with_context(|| self.file.clone())?;
                Ok(codegen::compile(
                    &graph,
                    machine,
                    codegen::Options { globals, packing, ..codegen::Options::default() },
                )?)
            }
            Source::Model { dense, pruned: masked, samples } => {
                let autoencoder = match autoencoder {
                    true => Autoencoder { principal: self.compressed_heads, form: Choice::Auto },
                    // An auto-encoder that is folded into the projection costs nothing.
                    false if self.has_its_own() => {
                        Autoencoder { principal: None, form: Choice::Always(Form::FoldBoth) }
                    }
                    false => Autoencoder::AUTO,
                };
                let graph = if pruned { masked } else { dense };
                let options = pipeline::Options {
                    autoencoder,
                    globals,
                    packing,
                    ..pipeline::Options::default()
                };
                let samples = samples.as_ref().map(std::slice::from_ref);
                let session = Session { samples, machine, options, progress };
                session.compile(Graph::clone(graph))
            }
        }
    }
}

/// Masks of the same shape that keep everything.
fn unpruned(masks: &Masks) -> Masks {
    let all = |mask: &Mask| Mask::from_fn(mask.queries(), mask.keys(), |_, _| true);
    let layers = masks.layers().iter().map(|heads| heads.iter().map(all).collect());
    Masks::new(layers.collect()).expect("the shape is that of masks")
}
