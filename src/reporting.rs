//! What a program costs: the report and the files that come with it.

use std::path::PathBuf;
use std::sync::Arc;

use vitcod_emulator::{Emulator, trace};
use vitcod_runtime::{Model, Report};

use crate::files::Outputs;

/// Files that say what a run costs.
#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// Write the report as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    /// Write the schedule as Chrome trace events, for Perfetto; a microsecond stands for a cycle
    #[arg(long, value_name = "T.json")]
    trace: Option<PathBuf>,
}

impl ReportArgs {
    /// Simulates the timing of a program, and stages the files that were asked for.
    pub(crate) fn stage(&self, model: &Model, files: &mut Outputs) -> anyhow::Result<Report> {
        let emulator = Emulator::new(Arc::clone(model.program()))?;
        let report = emulator.report();
        if let Some(path) = &self.report {
            files.stage(path, |file| Ok(writeln!(file, "{}", report.to_json())?))?;
        }
        if let Some(path) = &self.trace {
            files.stage(path, |file| Ok(trace::write(model.program(), emulator.timing(), file)?))?;
        }
        Ok(report)
    }
}
