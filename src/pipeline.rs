//! From a model to a program, by the compiler's passes.

use std::cell::RefCell;

use anyhow::{bail, ensure};
use ndarray::{ArrayD, ArrayViewD};
use vitcod_compiler::autoencoder::PcaError;
use vitcod_compiler::calibration::{self, Divided};
use vitcod_compiler::frontend::Imported;
use vitcod_compiler::host::Tensors;
use vitcod_compiler::interp::InterpError;
use vitcod_compiler::ir::{Graph, Stage};
use vitcod_compiler::passes::{self, Context, Level, Module, Notes};
use vitcod_compiler::quantise::accuracy::{self, Outputs};
use vitcod_compiler::quantise::{self, Quantised};
use vitcod_compiler::split::GlobalTokens;
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
    pub(crate) quantise: quantise::Options,
    /// Whether the program records the alternatives that were costed.
    pub(crate) explain: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            autoencoder: Autoencoder::AUTO,
            globals: GlobalTokens::Auto,
            quantise: quantise::Options::default(),
            explain: false,
        }
    }
}

/// A program, and what was found on the way.
pub(crate) struct Compiled {
    pub(crate) program: Program,
    /// What it was made of.
    pub(crate) prepared: Prepared,
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
    pub(crate) fn compile(&self, graph: &Graph) -> anyhow::Result<Compiled> {
        let prepared = self.prepare(graph)?;
        let program = self.generate(&prepared)?;
        Ok(Compiled { program, prepared })
    }

    /// Measures a program on samples held back, on some of those that calibrated it if there are
    /// few, or on noise other than that which did. Stores what its outputs are expected
    /// to have, the parts of the host, and warnings, in the program.
    pub(crate) fn measure(
        &self,
        imported: &mut Imported,
        samples: &Samples,
        compiled: &mut Compiled,
    ) -> anyhow::Result<Expected> {
        /// Fewer items than these are measured if a model is large.
        const MOST_ITEMS: usize = 8;
        /// If the outputs reach it, no layer is warned of.
        const ENOUGH_DB: f64 = 30.0;
        /// Items on which all layers are compared.
        const MOST_OF_LAYERS: usize = 2;
        let Compiled { program, prepared } = compiled;
        let Imported { graph, division } = imported;
        let host = division.as_ref().map(|division| &division.host);
        let most = calibration::stand_in_items(graph).min(MOST_ITEMS);
        let divided = match (&samples.model, host) {
            (Some(samples), Some(host)) => calibration::hold_back(host, samples)?,
            (Some(samples), None) => calibration::hold_back(graph, samples)?,
            (None, _) => None,
        };
        let measured_on = match (&divided, self.samples) {
            (Some(_), _) => MeasuredOn::HeldBack,
            (None, Some(_)) => MeasuredOn::Calibrating,
            (None, None) => MeasuredOn::Noise,
        };
        let of_machine = |samples: &[ArrayD<f32>]| match host {
            Some(host) => host.before_machine(graph, samples),
            None => Ok(samples.to_vec()),
        };
        // All samples calibrate the program. What those that are held back say of a calibration
        // without them is what to expect of other inputs.
        let options = self.options.quantise.on(self.machine);
        let (without, samples) = match &divided {
            Some(Divided { calibrating, held_back }) => {
                let calibrating = of_machine(calibrating)?;
                let without = quantise::calibrated(&prepared.graph, Some(&calibrating), options)?.0;
                (without, Some(&held_back[..]))
            }
            None => (prepared.quantised.clone(), samples.model.as_deref()),
        };
        // The tensors before the machine, on which parts after it may depend.
        let some = |most| match (samples, host) {
            (Some(samples), Some(host)) => {
                let some = calibration::spread(host, samples, most)?;
                let views: Vec<ArrayViewD<'_, f32>> = some.iter().map(|x| x.view()).collect();
                Ok((host.before_machine(graph, &some)?, host.items(&views)?))
            }
            _ => Ok((calibration::some_items(graph, samples, most)?, Vec::new())),
        };
        let (inputs, items): (_, Vec<Tensors>) = some(most).map_err(|e: InterpError| e)?;
        let views: Vec<ArrayViewD<'_, f32>> = inputs.iter().map(|array| array.view()).collect();
        let after = |item: usize, expected: &[ArrayD<f32>], found: &[ArrayD<f32>]| match host {
            // What the part before computes of noise in place of its inputs is not known.
            Some(host) if host.needs_only(graph) || !items.is_empty() => {
                let tensors = items.get(item).cloned().unwrap_or_default();
                host.compared(graph, &tensors, expected, found)
            }
            _ => Ok(Vec::new()),
        };
        let Outputs { items, mut outputs } =
            accuracy::outputs(graph, &without.graph, &views, &after)?;
        for (binding, output) in program.header.outputs.iter_mut().zip(&outputs) {
            binding.expected_sqnr_db = stored_db(output.noise.sqnr_db());
        }
        let is_exact = |output: &accuracy::Output| output.noise.sqnr_db() >= ENOUGH_DB;
        let of_layers = if outputs.iter().all(is_exact) {
            Vec::new()
        } else {
            let few = some(items.min(MOST_OF_LAYERS))?.0;
            let views: Vec<ArrayViewD<'_, f32>> = few.iter().map(|array| array.view()).collect();
            let options = accuracy::Options::default();
            let layers = accuracy::measure(&prepared.graph, &without, &views, options)?;
            accuracy::warnings(&layers)
        };
        let mut warnings = prepared.quantised.warnings.clone();
        warnings.extend(of_layers);
        program.header.decisions.extend(warnings.iter().cloned());
        if let Some(division) = division {
            outputs.drain(..graph.outputs.len());
            for output in &outputs {
                let tensors = &mut division.host.outputs;
                if let Some(tensor) = tensors.iter_mut().find(|x| x.name == output.name) {
                    tensor.expected_sqnr_db = stored_db(output.noise.sqnr_db());
                }
            }
            program.header.decisions.extend(division.decisions());
            program.host = Some(division.host.save());
        }
        Ok(Expected { outputs, items, measured_on, warnings })
    }

    /// The steps of [`Session::compile`] before code generation.
    pub(crate) fn prepare(&self, graph: &Graph) -> anyhow::Result<Prepared> {
        let notes = RefCell::default();
        let module = self.run(graph, Stage::Quantised.into(), Some(QUANTISE), &notes)?;
        let Module::Graph(graph) = module else { bail!("the result is {}", module.level()) };
        self.progress.step(QUANTISE);
        let options = self.options.quantise.on(self.machine);
        let (quantised, noise) = quantise::calibrated(&graph, self.samples, options)?;
        let Notes { losses, .. } = notes.into_inner();
        Ok(Prepared { graph, quantised, noise, losses })
    }

    /// Code generation: the steps of [`Session::compile`] after [`Session::prepare`].
    pub(crate) fn generate(&self, prepared: &Prepared) -> anyhow::Result<Program> {
        let graph = &prepared.quantised.graph;
        let module = self.run(graph, Level::Program, None, &RefCell::default())?;
        let Module::Program(program) = module else { bail!("the result is {}", module.level()) };
        Ok(program)
    }

    /// Runs the passes from a graph to a level, up to but without the pass `before`.
    fn run(
        &self,
        graph: &Graph,
        to: Level,
        before: Option<&str>,
        notes: &RefCell<Notes>,
    ) -> anyhow::Result<Module> {
        let Options { autoencoder: Autoencoder { principal, form }, globals, quantise, explain } =
            self.options;
        ensure!(
            principal.is_none() || self.samples.is_some(),
            "pca:E computes auto-encoders from samples: it needs --calibration"
        );
        let divided = divided(graph, self.samples)?;
        let context = Context {
            masks: None,
            machine: Some(self.machine),
            samples: self.samples,
            divided: divided.as_ref(),
            quantise,
            compressed_heads: principal,
            form,
            globals,
            explain,
            notes: Some(notes),
        };
        let mut module = Module::Graph(graph.clone());
        let names = passes::pipeline(module.level(), to, &context);
        for name in names.into_iter().take_while(|name| Some(*name) != before) {
            self.progress.step(name);
            module = passes::find(name)?.run(&module, &context)?;
        }
        Ok(module)
    }
}
