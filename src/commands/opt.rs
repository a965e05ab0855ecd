//! `vitcod opt`: runs passes on IR.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ndarray::ArrayD;
use vitcod_compiler::passes::{self, Context, Level, Module, Need, PASSES, Pass, PassError};
use vitcod_compiler::split::Packing;
use vitcod_compiler::tiled::Scheduled;
use vitcod_isa::machine::Machine;

use crate::calibration::CalibrationArgs;
use crate::files::Outputs;
use crate::import::ImportArgs;
use crate::ir_files;
use crate::machines::MachineArg;
use crate::pipeline;
use crate::sparsity_args::{AutoencoderArg, GlobalTokensArg, MaskArgs};

/// Run compiler passes on IR text or an ONNX model
///
/// Without passes the IR is printed unchanged. The verifier runs after every pass. Printed IR shows
/// long constants as digests. The output of -o can be parsed again; its long constants are in a
/// second file with the suffix .bin. A program is printed as assembly. Passes divide nothing
/// between host and machine: cut a model with --outputs and --inputs.
#[derive(clap::Args)]
#[command(after_long_help = pass_list())]
pub(crate) struct Args {
    /// IR text (*.vir), assembly (*.s), a program, or an ONNX model, which is imported first
    #[arg(value_name = "FILE", required_unless_present = "list")]
    file: Option<PathBuf>,

    /// Passes to run, in this order
    #[arg(long = "pass", value_name = "A,B,C", value_delimiter = ',', value_parser = pass, conflicts_with = "to")]
    passes: Vec<&'static Pass>,

    /// Run the default passes up to a stage; optional passes (masks, auto-encoders) run where their
    /// options are given
    #[arg(long, value_parser = levels(), value_name = "STAGE")]
    to: Option<Level>,

    /// Print the IR after this pass
    #[arg(long, value_name = "PASS", value_parser = pass)]
    print_after: Vec<&'static Pass>,

    /// Print the IR after each pass that changes it
    #[arg(long)]
    print_changed: bool,

    /// Also check after each pass that the printed result parses back to the same IR
    #[arg(long)]
    verify_each: bool,

    /// Output file of the result, as text; a program is written as binary if the name ends in
    /// .vitcod
    #[arg(short, long, value_name = "OUT.vir")]
    output: Option<PathBuf>,

    /// Include all elements of constants in the text
    #[arg(long)]
    inline: bool,

    /// List the passes with the stages they require and establish
    #[arg(long)]
    list: bool,

    #[command(flatten)]
    machine: MachineArg,

    #[command(flatten)]
    calibration: CalibrationArgs,

    #[command(flatten)]
    masks: MaskArgs,

    #[command(flatten)]
    globals: GlobalTokensArg,

    #[command(flatten)]
    autoencoder: AutoencoderArg,

    #[command(flatten)]
    import: ImportArgs,
}

/// Parses a level by name.
fn levels() -> impl TypedValueParser<Value = Level> {
    let find = |name: String| Level::ALL.into_iter().find(|level| level.name() == name);
    PossibleValuesParser::new(Level::ALL.map(Level::name))
        .map(move |name| find(name).expect("one of the names"))
}

/// Parses the name of a pass; spaces after commas are allowed.
fn pass(name: &str) -> Result<&'static Pass, PassError> {
    passes::find(name.trim())
}

/// The list of passes for the help.
fn pass_list() -> String {
    let mut text = "Passes, in the usual order:".to_owned();
    for Pass { name, doc, requires, establishes, needs, keeps, .. } in PASSES {
        let needs: Vec<String> = needs.iter().map(Need::to_string).collect();
        let needs =
            if needs.is_empty() { String::new() } else { format!("; needs {}", needs.join(", ")) };
        text += &format!(
            "\n\n  {name}: {requires} -> {establishes}{needs}; keeps {keeps}\n      {doc}"
        );
    }
    text
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    if args.list {
        writeln!(out, "{}", pass_list())?;
    }
    let Some(path) = &args.file else { return Ok(()) };
    let machine = args.machine.load()?;
    let masks = args.masks.read()?;
    let module = ir_files::read(path, &args.import)?;
    check_machine(&module, &machine, path)?;
    let mut context = Context {
        masks: masks.as_ref(),
        machine: Some(&machine),
        samples: None,
        divided: None,
        quantise: args.calibration.options(),
        compressed_heads: args.autoencoder.autoencoder.principal,
        form: args.autoencoder.autoencoder.form,
        globals: args.globals.theta_d,
        packing: Packing::default(),
        explain: false,
        notes: None,
    };
    let names: Vec<&str> = match args.to {
        Some(to) => {
            let from = module.level();
            ensure!(from <= to, "{} is {from} already", path.display());
            passes::pipeline(from, to, &context)
        }
        None => args.passes.iter().map(|pass| pass.name).collect(),
    };
    if let Some(Pass { name, .. }) =
        args.print_after.iter().find(|pass| !names.contains(&pass.name))
    {
        let run = match names[..] {
            [] => "none does".to_owned(),
            [only] => format!("{only} does"),
            _ => format!("{} do", names.join(", ")),
        };
        bail!("--print-after {name}: this pass does not run: {run}");
    }
    let samples = samples(args, &names, &module)?;
    let divided = match &module {
        Module::Graph(graph) => pipeline::divided(graph, samples.as_deref())?,
        _ => None,
    };
    (context.samples, context.divided) = (samples.as_deref(), divided.as_ref());

    let mut listener =
        Listener { args, printed: String::new(), before: String::new(), broken: None };
    if args.print_changed {
        listener.before = module.to_string();
    }
    let module = passes::run(module, &names, &context, |pass, module| listener.after(pass, module))
        .with_context(|| path.display().to_string());
    let Listener { printed, broken, .. } = listener;
    // Output before the error is printed first.
    write!(out, "{printed}")?;
    let module = match module? {
        Module::Graph(graph) => Module::Graph(graph.compacted()),
        module => module,
    };
    if let Some(broken) = broken {
        bail!(broken);
    }
    if let Some(output) = &args.output {
        let mut files = Outputs::default();
        args.machine.keep(&mut files);
        files.keep(path);
        ir_files::stage(&module, output, args.inline, &mut files)?;
        files.commit()?;
    } else if args.inline {
        write!(out, "{}", ir_files::inline(&module))?;
    } else if args.print_after.is_empty() && !args.print_changed {
        write!(out, "{module}")?;
    }
    Ok(())
}

/// Tasks are compiled for one machine; requesting another one is an error.
fn check_machine(module: &Module, machine: &Machine, path: &Path) -> anyhow::Result<()> {
    let of = match module {
        Module::Graph(_) => return Ok(()),
        Module::Tiled(tiled) | Module::Scheduled(Scheduled { tiled, .. }) => &tiled.machine,
        Module::Program(program) => &program.machine,
    };
    let is_default = Machine::preset(MachineArg::DEFAULT).as_ref() == Some(machine);
    ensure!(
        is_default || of == machine,
        "{} is for the machine {}, not for {}",
        path.display(),
        of.name,
        machine.name
    );
    Ok(())
}

/// Calibration samples, if they are given and a pass runs the graph.
fn samples(
    args: &Args,
    names: &[&str],
    module: &Module,
) -> anyhow::Result<Option<Vec<ArrayD<f32>>>> {
    // Passes that prepare another one prepare `quantise`, by the ranges of the samples.
    let runs = |name: &str| {
        ["principal-components", "quantise"].contains(&name)
            || passes::find(name).is_ok_and(|pass| pass.prepares.is_some())
    };
    let runs = names.iter().any(|name| runs(name));
    let Some(graph) = module.graph().filter(|_| runs) else { return Ok(None) };
    ir_files::check_size(graph)?;
    args.calibration.of_graph(graph)
}

/// Prints and checks the result of each pass.
struct Listener<'a> {
    args: &'a Args,
    printed: String,
    before: String,
    /// The first pass whose printed result does not parse back to the same IR.
    broken: Option<String>,
}

impl Listener<'_> {
    fn after(&mut self, pass: &Pass, module: &Module) {
        let name = pass.name;
        if self.args.print_changed || self.args.print_after.iter().any(|after| after.name == name) {
            let text = module.to_string();
            let comment = if module.graph().is_some() { "//" } else { ";" };
            if self.args.print_changed && text == self.before {
                self.printed += &format!("{comment} {name} changes nothing\n\n");
            } else {
                self.printed += &format!("{comment} after {name}\n{text}\n");
            }
            self.before = text;
        }
        if self.args.verify_each && self.broken.is_none() {
            self.broken =
                ir_files::round_trip(module).map(|difference| format!("{name}: {difference}"));
        }
    }
}
