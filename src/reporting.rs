//! Reports of a run: text, JSON, trace and pictures.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use serde::Serialize;
use vitcod_emulator::Emulator;
use vitcod_emulator::scratchpad::MemoryPlan;
use vitcod_report::{dram_trace, picture, trace};
use vitcod_runtime::{BeyondRange, Model, Report};

use crate::files::Outputs;
use crate::hosted::HostWork;

/// Output files of a report.
#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// Write the report as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    /// Write the schedule as Chrome trace events, for Perfetto; one microsecond per cycle
    #[arg(long, value_name = "T.json")]
    trace: Option<PathBuf>,

    /// Write the bursts on the DRAM for a simulator of DRAM, one a line, in the order in which the
    /// DRAM accepts them; --dram-trace-file names the file. Times are clocks of the memory
    /// (DDR4-2400 if the machine does not state it); the rows of a gather are stand-ins
    #[arg(long, value_name = "FORMAT", value_enum, requires = "dram_trace_file")]
    dram_trace: Option<DramTrace>,

    /// The file of --dram-trace
    #[arg(long, value_name = "D.txt", requires = "dram_trace")]
    dram_trace_file: Option<PathBuf>,

    #[command(flatten)]
    pictures: PictureArgs,
}

/// A form of the trace of the DRAM.
#[derive(Clone, Copy, clap::ValueEnum)]
enum DramTrace {
    /// Ramulator 2, LoadStoreTrace: LD or ST and address
    Ramulator2,
    /// Ramulator 2, ReadWriteTrace: R or W and channel, rank, group, bank, row, burst of the row
    Ramulator2Places,
    /// DRAMsim3: address, READ or WRITE, clock
    Dramsim3,
    /// DRAMSys (.stl): clock, read or write, address
    Dramsys,
}

impl From<DramTrace> for dram_trace::Format {
    fn from(format: DramTrace) -> dram_trace::Format {
        match format {
            DramTrace::Ramulator2 => dram_trace::Format::Ramulator2,
            DramTrace::Ramulator2Places => dram_trace::Format::Ramulator2Places,
            DramTrace::Dramsim3 => dram_trace::Format::Dramsim3,
            DramTrace::Dramsys => dram_trace::Format::Dramsys,
        }
    }
}

/// Pictures of a run.
#[derive(clap::Args)]
pub(crate) struct PictureArgs {
    /// Draw a timeline of each unit's activity and stalls (PNG)
    #[arg(long, value_name = "T.png")]
    timeline: Option<PathBuf>,

    /// Draw the contents of the scratchpad over time (PNG)
    #[arg(long, value_name = "M.png")]
    memory_image: Option<PathBuf>,

    /// Range of cycles in pictures: 1000..2000, ..2000 or 1000.. [default: all]
    #[arg(long, value_name = "A..B", value_parser = cycles)]
    cycles: Option<(Option<u64>, Option<u64>)>,
}

impl PictureArgs {
    /// Whether a picture was requested.
    pub(crate) fn any(&self) -> bool {
        self.timeline.is_some() || self.memory_image.is_some()
    }

    /// Stages the requested pictures.
    pub(crate) fn stage(&self, emulator: &Emulator, files: &mut Outputs) -> anyhow::Result<()> {
        let (program, timing) = (emulator.program(), emulator.timing());
        let (from, to) = self.cycles.unwrap_or_default();
        let window = picture::window(timing.total(), from, to)
            .map_err(|message| anyhow!("--cycles: {message}"))?;
        if let Some(path) = &self.timeline {
            files.stage(path, |file| {
                Ok(picture::timeline(program, timing, window.clone(), file)?)
            })?;
        }
        if let Some(path) = &self.memory_image {
            let plan = MemoryPlan::new(program, timing);
            files.stage(path, |file| Ok(picture::memory(&plan, window, file)?))?;
        }
        Ok(())
    }
}

fn cycles(text: &str) -> Result<(Option<u64>, Option<u64>), String> {
    let (from, to) = text.split_once("..").ok_or("expected two numbers with .. between them")?;
    let number = |text: &str| match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| format!("{text:?} is not a number of cycles")),
    };
    Ok((number(from)?, number(to)?))
}

/// The JSON report of a run.
#[derive(Serialize)]
struct JsonReport<'a> {
    #[serde(flatten)]
    report: &'a Report,
    inputs_beyond_range: Vec<JsonBeyondRange<'a>>,
    /// What the host did for one item; null if nothing.
    host: Option<&'a HostWork>,
}

/// An input with numbers beyond the calibrated range.
#[derive(Serialize)]
struct JsonBeyondRange<'a> {
    input: &'a str,
    /// The share of the numbers that are beyond it.
    share: f64,
    /// The largest magnitude, as a multiple of the range; null if it is infinite.
    largest_to_range: f64,
}

impl<'a> JsonReport<'a> {
    fn new(
        report: &'a Report,
        beyond: &'a [BeyondRange],
        host: Option<&'a HostWork>,
    ) -> JsonReport<'a> {
        let inputs = beyond.iter().map(|BeyondRange { input, total, beyond, largest }| {
            let share = *beyond as f64 / *total as f64;
            JsonBeyondRange { input, share, largest_to_range: *largest }
        });
        JsonReport { report, inputs_beyond_range: inputs.collect(), host }
    }
}

impl ReportArgs {
    /// Simulates the timing of a program and stages the requested files.
    /// `beyond` are the inputs of the run with numbers beyond the calibrated range.
    pub(crate) fn stage(
        &self,
        model: &Model,
        beyond: &[BeyondRange],
        host: Option<&HostWork>,
        files: &mut Outputs,
    ) -> anyhow::Result<Report> {
        let emulator = Emulator::new(Arc::clone(model.program()))?;
        let report = emulator.report();
        if let Some(path) = &self.report {
            let json = serde_json::to_string_pretty(&JsonReport::new(&report, beyond, host))?;
            files.stage(path, |file| Ok(writeln!(file, "{json}")?))?;
        }
        if let Some(path) = &self.trace {
            files
                .stage(path, |file| Ok(trace::write(model.program(), emulator.timing(), file)?))?;
        }
        if let (Some(format), Some(path)) = (self.dram_trace, &self.dram_trace_file) {
            files
                .stage(path, |file| Ok(dram_trace::write(model.program(), format.into(), file)?))?;
        }
        self.pictures.stage(&emulator, files)?;
        Ok(report)
    }
}
