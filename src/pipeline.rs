//! From a model to a program, by the compiler's passes.

use std::borrow::Cow;
use std::cell::RefCell;

use anyhow::{bail, ensure};
use ndarray::{ArrayD, ArrayViewD};
use vitcod_compiler::autoencoder::PcaError;
use vitcod_compiler::calibration::{self, Divided};
use vitcod_compiler::host::{Division, Host, Tensors};
use vitcod_compiler::interp::InterpError;
use vitcod_compiler::ir::{Graph, Stage};
use vitcod_compiler::passes::{self, Context, Level, Module, Notes};
use vitcod_compiler::quantise::accuracy;
use vitcod_compiler::quantise::{self, Quantised};
use vitcod_compiler::split::{GlobalTokens, Packing};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Decision, Program};

use crate::calibration::Samples;
use crate::progress::Progress;
use crate::sparsity_args::Autoencoder;

/// The pass that quantises a graph.
const QUANTISE: &str = "quantise";

/// Options of compilation from a canonical graph.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) autoencoder: Autoencoder,
    pub(crate) globals: GlobalTokens,
    pub(crate) packing: Packing,
    pub(crate) quantise: quantise::Options,
    /// Whether the program records the alternatives that were costed.
    pub(crate) explain: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            autoencoder: Autoencoder::AUTO,
            globals: GlobalTokens::Auto,
            packing: Packing::default(),
            quantise: quantise::Options::default(),
            explain: false,
        }
    }
}

/// A canonical graph and its quantised form.
pub(crate) struct Prepared {
    pub(crate) graph: Graph,
    pub(crate) quantised: Quantised,
    /// Whether noise was used for lack of samples.
    pub(crate) noise: bool,
    /// Reconstruction errors of added auto-encoders.
    pub(crate) losses: Vec<PcaError>,
}

/// What a program is expected to compute.
pub(crate) struct Expected {
    pub(crate) outputs: Vec<accuracy::Output>,
    /// The number of items that were measured.
    pub(crate) items: usize,
    pub(crate) measured_on: MeasuredOn,
    pub(crate) warnings: Vec<Decision>,
}

impl Expected {
    /// Stores in a program what its outputs are expected to have, the parts of the host, and
    /// warnings. Only outputs of the model remain.
    pub(crate) fn note(&mut self, program: &mut Program, division: Option<&mut Division>) {
        for (binding, output) in program.header.outputs.iter_mut().zip(&self.outputs) {
            binding.expected_sqnr_db = stored_db(output.noise.sqnr_db());
        }
        program.header.decisions.extend(self.warnings.iter().cloned());
        let Some(division) = division else { return };
        self.outputs.drain(..program.header.outputs.len());
        for output in &self.outputs {
            let tensors = &mut division.host.outputs;
            if let Some(tensor) = tensors.iter_mut().find(|x| x.name == output.name) {
                tensor.expected_sqnr_db = stored_db(output.noise.sqnr_db());
            }
        }
        program.header.decisions.extend(division.decisions());
        program.host = Some(division.host.save());
    }
}

/// What accuracy is measured against.
pub(crate) struct Reference {
    /// What the machine's part of the model computes in float.
    machine: accuracy::Reference,
    /// For each item, the tensors before the machine, on which parts after it may depend.
    tensors: Vec<Tensors>,
    divided: Option<Divided>,
}

/// Samples on which accuracy is measured, if there are any.
fn measured<'a>(divided: &'a Option<Divided>, samples: &'a Samples) -> Option<&'a [ArrayD<f32>]> {
    match divided {
        Some(Divided { held_back, .. }) => Some(held_back),
        None => samples.model.as_deref(),
    }
}

/// Up to `most` items of the machine's inputs, and the tensors before the machine.
fn some_items(
    graph: &Graph,
    host: Option<&Host>,
    samples: Option<&[ArrayD<f32>]>,
    most: usize,
) -> Result<(Vec<ArrayD<f32>>, Vec<Tensors>), InterpError> {
    let (Some(samples), Some(host)) = (samples, host) else {
        return Ok((calibration::some_items(graph, samples, most)?, Vec::new()));
    };
    let some = calibration::spread(host, samples, most)?;
    let views: Vec<ArrayViewD<'_, f32>> = some.iter().map(|x| x.view()).collect();
    Ok((host.before_machine(graph, &some)?, host.items(&views)?))
}

/// What the expectation was measured on.
#[derive(Clone, Copy)]
pub(crate) enum MeasuredOn {
    /// Samples that were held back from calibration.
    HeldBack,
    /// Samples that calibrated, too.
    Calibrating,
    /// Noise that did not calibrate.
    Noise,
}

/// A ratio as programs store it: to a hundredth of a decibel, from -200 to 200, which means
/// exact. `None` if there is none, because numbers are not finite.
fn stored_db(ratio: f64) -> Option<f64> {
    let stored = (ratio.clamp(-200.0, 200.0) * 100.0).round() / 100.0;
    (!ratio.is_nan()).then_some(stored)
}

/// Samples of which some are held back, if there are enough.
pub(crate) fn divided(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
) -> anyhow::Result<Option<Divided>> {
    Ok(match samples {
        Some(samples) => calibration::hold_back(graph, samples)?,
        None => None,
    })
}

/// The inputs of the passes from a canonical graph to its program.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    /// Calibration samples.
    pub(crate) samples: Option<&'a [ArrayD<f32>]>,
    pub(crate) machine: &'a Machine,
    pub(crate) options: Options,
    pub(crate) progress: &'a Progress,
}

impl Session<'_> {
    /// Compiles a canonical graph.
    pub(crate) fn compile(&self, graph: Graph) -> anyhow::Result<Program> {
        self.generate(self.prepare(graph)?.quantised.graph)
    }

    /// Runs a canonical graph in float on samples held back, on some of those that calibrate it if
    /// there are few, or on noise other than that which does.
    pub(crate) fn reference(
        &self,
        graph: &Graph,
        host: Option<&Host>,
        samples: &Samples,
    ) -> anyhow::Result<Reference> {
        /// Fewer items than these are measured if a model is large.
        const MOST_ITEMS: usize = 8;
        self.progress.step("running the model in float");
        let divided = match (&samples.model, host) {
            (Some(samples), Some(host)) => calibration::hold_back(host, samples)?,
            (Some(samples), None) => calibration::hold_back(graph, samples)?,
            (None, _) => None,
        };
        let most = calibration::stand_in_items(graph).min(MOST_ITEMS);
        let measured = measured(&divided, samples);
        let (inputs, tensors) = some_items(graph, host, measured, most)?;
        let machine = accuracy::Reference::new(graph, inputs)?;
        Ok(Reference { machine, tensors, divided })
    }

    /// Compares a quantised graph, and what the host computes of its outputs, with the
    /// [reference](Session::reference) of the model.
    pub(crate) fn measure(
        &self,
        reference: &Reference,
        host: Option<&Host>,
        samples: &Samples,
        prepared: &Prepared,
    ) -> anyhow::Result<Expected> {
        /// If the outputs reach it, no layer is warned of.
        const ENOUGH_DB: f64 = 30.0;
        /// Items on which all layers are compared.
        const MOST_OF_LAYERS: usize = 2;
        self.progress.step("measuring the expected accuracy");
        let Prepared { graph, quantised, .. } = prepared;
        let Reference { machine, tensors, divided } = reference;
        let measured_on = match (divided, self.samples) {
            (Some(_), _) => MeasuredOn::HeldBack,
            (None, Some(_)) => MeasuredOn::Calibrating,
            (None, None) => MeasuredOn::Noise,
        };
        // All samples calibrate the program. What those that are held back say of a calibration
        // without them is what to expect of other inputs.
        let options = self.options.quantise.on(self.machine);
        let without = match divided {
            Some(Divided { calibrating, .. }) => {
                let calibrating = match host {
                    Some(host) => Cow::Owned(host.before_machine(graph, calibrating)?),
                    None => Cow::Borrowed(calibrating),
                };
                Cow::Owned(quantise::calibrated(graph, Some(&calibrating), options)?.0)
            }
            None => Cow::Borrowed(quantised),
        };
        let after = |item: usize, expected: &[ArrayD<f32>], found: &[ArrayD<f32>]| match host {
            // What the part before computes of noise in place of its inputs is not known.
            Some(host) if host.needs_only(graph) || !tensors.is_empty() => {
                let tensors = tensors.get(item).cloned().unwrap_or_default();
                host.compared(graph, &tensors, expected, found)
            }
            _ => Ok(Vec::new()),
        };
        let outputs = machine.compare(&without.graph, &after)?;
        let is_exact = |output: &accuracy::Output| output.noise.sqnr_db() >= ENOUGH_DB;
        let mut warnings = quantised.warnings.clone();
        if !outputs.iter().all(is_exact) {
            let most = machine.items().min(MOST_OF_LAYERS);
            let few = some_items(graph, host, measured(divided, samples), most)?.0;
            let views: Vec<ArrayViewD<'_, f32>> = few.iter().map(|array| array.view()).collect();
            let options = accuracy::Options::default();
            let layers = accuracy::measure(graph, &without, &views, options)?;
            warnings.extend(accuracy::warnings(&layers));
        }
        Ok(Expected { outputs, items: machine.items(), measured_on, warnings })
    }

    /// The steps of [`Session::compile`] before code generation.
    pub(crate) fn prepare(&self, graph: Graph) -> anyhow::Result<Prepared> {
        let notes = RefCell::default();
        let module = self.run(graph, Stage::Quantised.into(), Some(QUANTISE), &notes)?;
        let Module::Graph(graph) = module else { bail!("the result is {}", module.level()) };
        self.progress.step(QUANTISE);
        let options = self.options.quantise.on(self.machine);
        let (quantised, noise) = quantise::calibrated(&graph, self.samples, options)?;
        let Notes { losses, .. } = notes.into_inner();
        Ok(Prepared { graph, quantised, noise, losses })
    }

    /// Code generation for a quantised graph: the steps of [`Session::compile`] after
    /// [`Session::prepare`].
    pub(crate) fn generate(&self, quantised: Graph) -> anyhow::Result<Program> {
        let module = self.run(quantised, Level::Program, None, &RefCell::default())?;
        let Module::Program(program) = module else { bail!("the result is {}", module.level()) };
        Ok(program)
    }

    /// Runs the passes from a graph to a level, up to but without the pass `before`.
    fn run(
        &self,
        graph: Graph,
        to: Level,
        before: Option<&str>,
        notes: &RefCell<Notes>,
    ) -> anyhow::Result<Module> {
        let Options { autoencoder, globals, packing, quantise, explain } = self.options;
        let Autoencoder { principal, form } = autoencoder;
        ensure!(
            principal.is_none() || self.samples.is_some(),
            "pca:E computes auto-encoders from samples: it needs --calibration"
        );
        let divided = divided(&graph, self.samples)?;
        let context = Context {
            masks: None,
            machine: Some(self.machine),
            samples: self.samples,
            divided: divided.as_ref(),
            quantise,
            compressed_heads: principal,
            form,
            globals,
            packing,
            explain,
            notes: Some(notes),
        };
        let mut module = Module::Graph(graph);
        let names = passes::pipeline(module.level(), to, &context);
        for name in names.into_iter().take_while(|name| Some(*name) != before) {
            self.progress.step(name);
            module = passes::find(name)?.run(module, &context)?;
        }
        Ok(module)
    }
}
