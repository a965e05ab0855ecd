//! `vitcod opt`: passes over the IR.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use ndarray::ArrayD;
use vitcod_compiler::ir::text::{self, Constants};
use vitcod_compiler::ir::{Graph, Stage};
use vitcod_compiler::passes::{self, Context, Need, PASSES, Pass};
use vitcod_compiler::quantise;

use crate::calibration::CalibrationArgs;
use crate::files::Outputs;
use crate::graphs;
use crate::machines::MachineArg;
use crate::pipeline::{Dims, NOISE_ITEMS};
use crate::sparse::{AutoencoderArg, GlobalTokensArg, MaskArgs};

/// Run passes of the compiler on IR text or an ONNX model
///
/// Without passes the graph is printed as it is. The verifier runs after every pass. What is printed is for reading:
/// long constants are digests. What -o writes parses back, with long constants in a file beside it.
#[derive(clap::Args)]
#[command(after_long_help = pass_list())]
pub(crate) struct Args {
    /// IR text (its name ends in .vir), or an ONNX model, which is imported
    #[arg(value_name = "FILE", required_unless_present = "list")]
    file: Option<PathBuf>,

    /// Passes to run, in this order
    #[arg(long = "pass", value_name = "A,B,C", value_delimiter = ',', conflicts_with = "to")]
    passes: Vec<String>,

    /// Run the usual passes up to the end of a stage; masks and auto-encoders' placement only where they have what they need
    #[arg(long, value_enum, value_name = "STAGE")]
    to: Option<StageName>,

    /// Print the graph after this pass
    #[arg(long, value_name = "PASS")]
    print_after: Vec<String>,

    /// Print the graph after each pass that changes it
    #[arg(long)]
    print_changed: bool,

    /// Check after each pass that the text of its result parses back to the same graph, too
    #[arg(long)]
    verify_each: bool,

    /// Where to write the graph as text
    #[arg(short, long, value_name = "OUT.vir")]
    output: Option<PathBuf>,

    /// Write all elements of constants into the text
    #[arg(long)]
    inline: bool,

    /// List the passes, what they require and what they establish
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
    dims: Dims,
}

#[derive(Clone, Copy, ValueEnum)]
enum StageName {
    Imported,
    Canonical,
    Quantised,
    Split,
}

impl StageName {
    fn stage(self) -> Stage {
        match self {
            StageName::Imported => Stage::Imported,
            StageName::Canonical => Stage::Canonical,
            StageName::Quantised => Stage::Quantised,
            StageName::Split => Stage::Split,
        }
    }
}

/// The passes as help shows them.
fn pass_list() -> String {
    let mut text = "Passes, in the usual order:".to_owned();
    for Pass { name, doc, requires, establishes, needs, keeps, .. } in PASSES {
        let needs: Vec<String> = needs.iter().map(Need::to_string).collect();
        let needs = if needs.is_empty() { String::new() } else { format!("; needs {}", needs.join(", ")) };
        text += &format!("\n\n  {name}: {requires} -> {establishes}{needs}; keeps {keeps}\n      {doc}");
    }
    text
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    if args.list {
        writeln!(out, "{}", pass_list())?;
    }
    let Some(path) = &args.file else { return Ok(()) };
    if args.autoencoder.autoencoder.principal.is_some() {
        bail!("opt makes no auto-encoders: --autoencoder takes a form here");
    }
    for name in &args.print_after {
        passes::find(name)?;
    }
    let machine = args.machine.load()?;
    let masks = args.masks.read()?;
    let graph = graphs::read(path, &args.dims)?;
    let mut context = Context {
        masks: masks.as_ref(),
        machine: Some(&machine),
        samples: None,
        quantise: args.calibration.options(),
        form: args.autoencoder.autoencoder.form,
        globals: args.globals.theta_d,
    };
    let names: Vec<&str> = match args.to {
        Some(to) => {
            let to = to.stage();
            ensure!(graph.stage <= to, "{} is {} already", path.display(), graph.stage);
            passes::pipeline(graph.stage, to, &context)
        }
        None => args.passes.iter().map(String::as_str).collect(),
    };
    let samples = samples(args, &names, &graph)?;
    context.samples = samples.as_deref();

    let mut listener = Listener { args, printed: String::new(), before: graph.to_string(), broken: None };
    let graph = passes::run(&graph, &names, &context, |pass, graph| listener.after(pass, graph))
        .with_context(|| path.display().to_string());
    let Listener { printed, broken, .. } = listener;
    // What led to an error is shown before it.
    write!(out, "{printed}")?;
    let graph = graph?.compacted();
    if let Some(broken) = broken {
        bail!(broken);
    }
    if let Some(output) = &args.output {
        let mut files = Outputs::default();
        files.keep(path);
        graphs::stage(&graph, output, args.inline, &mut files)?;
        files.commit()?;
    } else if args.inline {
        write!(out, "{}", text::print(&graph, Constants::Inline))?;
    } else if args.print_after.is_empty() && !args.print_changed {
        write!(out, "{graph}")?;
    }
    Ok(())
}

/// What calibrates, if a pass asks for it.
fn samples(args: &Args, names: &[&str], graph: &Graph) -> anyhow::Result<Option<Vec<ArrayD<f32>>>> {
    let needed =
        names.iter().filter_map(|name| passes::find(name).ok()).any(|pass| pass.needs.contains(&Need::Samples));
    if !needed {
        return Ok(None);
    }
    graphs::check_size(graph)?;
    Ok(Some(match args.calibration.read()? {
        Some(samples) => vec![samples],
        None => quantise::noise(graph, NOISE_ITEMS),
    }))
}

/// Looks at the graph after each pass.
struct Listener<'a> {
    args: &'a Args,
    printed: String,
    before: String,
    /// The first pass whose result is not the same after text.
    broken: Option<String>,
}

impl Listener<'_> {
    fn after(&mut self, pass: &Pass, graph: &Graph) {
        let name = pass.name;
        if self.args.print_changed || self.args.print_after.iter().any(|after| after == name) {
            let text = graph.to_string();
            if self.args.print_changed && text == self.before {
                self.printed += &format!("// {name} changes nothing\n\n");
            } else {
                self.printed += &format!("// after {name}\n{text}\n");
            }
            self.before = text;
        }
        if self.args.verify_each && self.broken.is_none() {
            self.broken = round_trip(graph).map(|difference| format!("{name}: {difference}"));
        }
    }
}

/// What is not the same after text, if anything.
fn round_trip(graph: &Graph) -> Option<String> {
    const SIDE: &str = "side";
    let mut side = Vec::new();
    let written = text::print(&graph.compacted(), Constants::File { name: SIDE, bytes: &mut side });
    let side = Bytes::from(side);
    match text::parse(&written, &mut |_| Ok(side.clone())) {
        Err(problems) => Some(format!("the text does not parse\n\n{}", problems.render("text", &written))),
        Ok(again) => {
            let mut copy = Vec::new();
            let again = text::print(&again, Constants::File { name: SIDE, bytes: &mut copy });
            (again != written || side != copy).then(|| "the text parses to another graph".to_owned())
        }
    }
}
