//! `vitcod compile`: from an ONNX model to a program.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use vitcod_compiler::autoencoder::{PcaError, Reconstruction};
use vitcod_compiler::frontend::{self, Imported};
use vitcod_compiler::quantise::accuracy;
use vitcod_compiler::split::Packing;
use vitcod_report::table;

use crate::calibration::{self, CalibrationArgs};
use crate::files::Outputs;
use crate::hosted;
use crate::import::{self, HostArg, ImportArgs};
use crate::machines::MachineArg;
use crate::pipeline::{Expected, MeasuredOn, Options, Prepared, Session};
use crate::progress::Progress;
use crate::sparsity_args::{AutoencoderArg, GlobalTokensArg, MaskArgs};
use crate::warning;

/// Compile an ONNX vision transformer to a program
///
/// The model is quantised (int8, int16 residual stream) with ranges measured on the calibration
/// samples. With masks, pruned attention entries are not computed. Prints the compiler's decisions;
/// `vitcod run` reports them with their reasons. Compilation is deterministic: the same files give
/// the same bytes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; external data is read from its folder
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,

    /// Output file of the program
    #[arg(short, long, value_name = "P.vitcod")]
    output: PathBuf,

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

    /// Print the alternatives that were costed for each layer and why one was chosen; also stored
    /// in the program and shown in reports of its runs
    #[arg(long)]
    explain: bool,

    /// Write the output of --explain as JSON
    #[arg(long, value_name = "E.json")]
    explain_json: Option<PathBuf>,

    /// Omit the saved graph, which `run --check` needs
    #[arg(long)]
    strip: bool,

    #[command(flatten)]
    host: HostArg,

    #[command(flatten)]
    import: ImportArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let masks = args.masks.read()?;
    let (mut program, expected, noise, losses, division) = {
        let progress = Progress::new();
        progress.step("reading the model");
        let options = frontend::Options {
            masks: masks.as_ref(),
            host: args.host.host(),
            ..frontend::Options::default()
        };
        let imported = import::import(&args.model, &args.import, options);
        let imported = match &args.masks.masks {
            Some(path) => imported.with_context(|| format!("with the masks of {}", path.display())),
            None => imported,
        }?;
        let samples = args.calibration.read(&imported)?;
        let options = Options {
            autoencoder: args.autoencoder.autoencoder,
            globals: args.globals.theta_d,
            packing: Packing::default(),
            quantise: args.calibration.options(),
            explain: args.explain || args.explain_json.is_some(),
        };
        let session =
            Session { samples: samples.machine(), machine: &machine, options, progress: &progress };
        let name = || args.model.display().to_string();
        // Of a large model, float and integers together take most memory. So accuracy is measured
        // before code is generated, and each graph is dropped where the next one suffices.
        let Imported { graph, mut division } = imported;
        let host = division.as_ref().map(|division| &division.host);
        let reference = session.reference(&graph, host, &samples).with_context(name)?;
        let prepared = session.prepare(graph).with_context(name)?;
        let mut expected =
            session.measure(&reference, host, &samples, &prepared).with_context(name)?;
        let Prepared { graph, quantised, noise, losses } = prepared;
        drop(graph);
        let mut program = session.generate(quantised.graph).with_context(name)?;
        expected.note(&mut program, division.as_mut());
        (program, expected, noise, losses, division)
    };
    if args.strip {
        program.ir = None;
    }
    let bytes = program.to_bytes()?;
    let mut files = Outputs::default();
    args.machine.keep(&mut files);
    [Some(&args.model), args.masks.masks.as_ref()]
        .into_iter()
        .flatten()
        .for_each(|input| files.keep(input));
    args.calibration.files().for_each(|input| files.keep(&input));
    files.stage(&args.output, |file| Ok(file.write_all(&bytes)?))?;
    if let Some(path) = &args.explain_json {
        files.stage(path, |file| {
            Ok(writeln!(file, "{}", serde_json::to_string_pretty(&program.header.decisions)?)?)
        })?;
    }
    files.commit()?;

    if noise {
        calibration::warn_of_noise();
    }
    warning::warn_of_decisions(&expected.warnings);
    let (layers, instructions) = (program.header.layers.len(), program.code.len());
    let (name, machine, file) = (&program.header.name, &machine.name, args.output.display());
    writeln!(
        out,
        "{name:?} for {machine}: {layers} layers, {instructions} instructions, {} bytes in {file}",
        bytes.len()
    )?;
    if let Some(division) = &division {
        writeln!(out, "{}", hosted::summary(division))?;
    }
    print_expected(&expected, out)?;
    if args.explain {
        writeln!(out, "\n{}", table::alternatives(&program.header.decisions).trim_fmt())?;
    } else if args.explain_json.is_none() && !program.header.decisions.is_empty() {
        writeln!(out, "\n{}", table::decisions(&program.header.decisions, false).trim_fmt())?;
    }
    if !losses.is_empty() {
        print_losses(&losses, out)?;
    }
    Ok(())
}

/// Prints the ratio of signal to noise, against the float model, that each output is expected to
/// have.
fn print_expected(expected: &Expected, out: &mut dyn Write) -> anyhow::Result<()> {
    let Expected { outputs, items, measured_on, .. } = expected;
    let on = match (measured_on, *items) {
        (MeasuredOn::Noise, 1) => "an item of noise".to_owned(),
        (MeasuredOn::Noise, items) => format!("{items} items of noise"),
        (MeasuredOn::Calibrating, 1) => "a sample that calibrated it".to_owned(),
        (MeasuredOn::Calibrating, items) => format!("{items} of the samples that calibrated it"),
        (MeasuredOn::HeldBack, 1) => "a sample held back from calibration".to_owned(),
        (MeasuredOn::HeldBack, items) => format!("{items} samples held back from calibration"),
    };
    for accuracy::Output { name, noise, .. } in outputs {
        let ratio = match noise.sqnr_db() {
            ratio if ratio.is_nan() => "not known, because float results are not finite".to_owned(),
            f64::INFINITY => "exact".to_owned(),
            ratio => format!("{ratio:.1} dB against float"),
        };
        writeln!(out, "expected signal to noise of output {name:?}: {ratio}, measured on {on}")?;
    }
    Ok(())
}

/// Prints the reconstruction errors of added auto-encoders, layer by layer.
fn print_losses(losses: &[PcaError], out: &mut dyn Write) -> anyhow::Result<()> {
    let mut lost = table::plain(&["auto-encoder's error", "Q", "K", "mean square, Q", "K"]);
    let percent = |loss: Reconstruction| format!("{:.2} %", 100.0 * loss.relative);
    let mean = |loss: Reconstruction| format!("{:.3e}", loss.mse);
    for PcaError { layer, q, k } in losses {
        lost.add_row([layer.clone(), percent(*q), percent(*k), mean(*q), mean(*k)]);
    }
    writeln!(out, "\n{}", lost.trim_fmt())?;
    Ok(())
}
