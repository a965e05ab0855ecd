//! `vitcod survey`: compares many models in one table.

mod exported;
mod measure;
mod page;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use serde::Serialize;
use vitcod_compiler::onnx;
use vitcod_isa::machine::Machine;
use vitcod_support::diagnostics::did_you_mean;

use crate::calibration::CalibrationArgs;
use crate::chain;
use crate::files::Outputs;
use crate::import::ImportArgs;
use crate::machines::MachineArg;
use crate::progress::Progress;
use exported::Exported;
use measure::Measured;
use page::Page;

/// Compare ONNX models: contents, cost of their programs, accuracy of quantisation
///
/// Imports, calibrates, compiles and times each model, and runs it in float and in integers for the
/// signal-to-quantisation-noise ratio (SQNR) of its outputs. Calibrates on seeded noise and runs on
/// other noise, or uses the samples of --calibration for both. Each model uses the --dim options
/// that it has. A model that fails becomes a row with its error; files are still written, and the
/// exit status is 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The models; external data is read from their folders
    #[arg(value_name = "MODEL.onnx", required = true)]
    models: Vec<PathBuf>,

    /// Run each program and compare every output with the quantised reference interpreter bit for
    /// bit; a difference is an error of the model
    #[arg(long)]
    check: bool,

    /// Write the table as Markdown, with a second table of all operators
    #[arg(short, long, value_name = "T.md")]
    output: Option<PathBuf>,

    /// Write the Markdown into an existing page, between the lines `<!-- generated: NAME -->` and
    /// `<!-- end -->`
    #[arg(long, value_name = "NAME", requires = "output")]
    part: Option<String>,

    /// Write all results as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    #[command(flatten)]
    machine: MachineArg,

    #[command(flatten)]
    calibration: CalibrationArgs,

    #[command(flatten)]
    import: ImportArgs,
}

/// The survey in JSON; the names of its fields are stable.
#[derive(Serialize)]
struct Survey {
    machine: SurveyedMachine,
    inputs: Inputs,
    /// The models in the order of the command line.
    models: Vec<Row>,
}

/// The data for calibration and execution.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Inputs {
    Noise,
    Samples,
}

#[derive(Serialize)]
struct SurveyedMachine {
    name: String,
    /// Digest of the configuration.
    digest: String,
}

/// The results of a model.
#[derive(Serialize)]
struct Row {
    /// Name of the file, without its extension.
    model: String,
    /// Contents of the file; absent if it cannot be read.
    exported: Option<Exported>,
    /// Cost of its program; absent if there is an error.
    measured: Option<Measured>,
    /// The error, if a step failed.
    error: Option<String>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let page = args.part.as_deref().zip(args.output.as_deref());
    let page = page.map(|(part, path)| Page::read(path, part)).transpose()?;
    let mut files = Outputs::default();
    args.machine.keep(&mut files);
    args.models.iter().for_each(|path| files.keep(path));
    args.calibration.files().for_each(|path| files.keep(&path));

    let progress = Progress::new();
    progress.step("reading the models");
    // Tensor data remain in the mapped files.
    let exported: Vec<_> =
        args.models.iter().map(|path| onnx::load(path).map(|model| Exported::of(&model))).collect();
    check_dims(&args.import, exported.iter().flatten())?;
    let mut models = Vec::new();
    for (index, (path, exported)) in args.models.iter().zip(exported).enumerate() {
        let name = name(path);
        progress.about(&format!("{} of {}, {name}", index + 1, args.models.len()));
        models.push(row(
            args,
            path,
            name,
            exported.map_err(anyhow::Error::new),
            &machine,
            &progress,
        ));
    }
    drop(progress);
    let inputs =
        if args.calibration.files().next().is_some() { Inputs::Samples } else { Inputs::Noise };
    let machine = SurveyedMachine { name: machine.name.clone(), digest: machine.digest() };
    let survey = Survey { machine, inputs, models };

    // Results are printed even if files cannot be written.
    let written = write(args, &survey, page, files);
    table::print(&survey, out)?;
    written?;
    let failed: Vec<&str> = survey
        .models
        .iter()
        .filter(|row| row.error.is_some())
        .map(|row| row.model.as_str())
        .collect();
    ensure!(
        failed.is_empty(),
        "{} of {} models failed: {}",
        failed.len(),
        survey.models.len(),
        failed.join(", ")
    );
    Ok(())
}

/// Writes the requested files.
fn write(
    args: &Args,
    survey: &Survey,
    page: Option<Page>,
    mut files: Outputs,
) -> anyhow::Result<()> {
    if let Some(path) = &args.output {
        let table = table::markdown(survey);
        let text = page.map_or_else(|| table.clone(), |page| page.with(&table));
        files.stage(path, |file| Ok(file.write_all(text.as_bytes())?))?;
    }
    if let Some(path) = &args.report {
        files
            .stage(path, |file| Ok(writeln!(file, "{}", serde_json::to_string_pretty(survey)?)?))?;
    }
    files.commit()
}

/// Rejects a `--dim` that no model has.
fn check_dims<'a>(
    import: &ImportArgs,
    models: impl Iterator<Item = &'a Exported> + Clone,
) -> anyhow::Result<()> {
    let open = || models.clone().flat_map(|model| &model.open_dimensions).map(String::as_str);
    match import.dims().find(|name| open().all(|open| open != *name)) {
        None => Ok(()),
        Some(name) => {
            let help =
                did_you_mean(name, open()).map_or_else(String::new, |help| format!("; {help}"));
            bail!("--dim: no model has an open dimension {name:?}{help}")
        }
    }
}

fn row(
    args: &Args,
    path: &Path,
    model: String,
    exported: anyhow::Result<Exported>,
    machine: &Machine,
    progress: &Progress,
) -> Row {
    let (exported, measured) = match exported {
        Ok(exported) => {
            let measured = measure::measure(args, path, &exported, machine, progress);
            (Some(exported), measured)
        }
        Err(error) => (None, Err(error)),
    };
    // The row already names the file.
    let place = format!("{}: ", path.display());
    let error = measured.as_ref().err().map(|error| {
        let text = chain(error);
        text.strip_prefix(&place).map_or_else(|| text.clone(), str::to_owned)
    });
    Row { model, exported, measured: measured.ok(), error }
}

/// The name of a model's file, without its extension.
fn name(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
