//! Times of general platforms: the result files of the scripts `measure_cpu.py` and
//! `measure_gpu.py`, and the logs that the authors of ViTCoD published, in the same form.
//!
//! A factor over a platform is stated against one of these files only. Without one, a report says
//! how to get it: [`Platform::how_to_measure`].

mod text;

use std::fmt;

use serde::{Deserialize, Serialize};
use vitcod_support::diagnostics::Diagnostic;

use crate::estimate::Label;
use crate::shapes::Layers;
use crate::workload::Workload;
pub use text::Milliseconds;
use text::{Count, Form, Name, Text};

/// Times that were measured on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Version of the form.
    form: Form,
    /// Measured by a script of this crate, or published.
    label: Label,
    platform: Platform,
    processor: Name,
    /// Threads of the library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threads: Option<Count>,
    /// Day of the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date: Option<Name>,
    software: Name,
    precision: Name,
    batch: Count,
    source: Text,
    results: Vec<Timed>,
}

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// A general processor.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// A graphics processor of an embedded system.
    EdgeGpu,
}

/// The time of a part of a model for one item of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    model: Name,
    part: Part,
    /// Shapes of the attention.
    layers: Vec<Layers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runs: Option<Count>,
    /// The median of measured runs; logs have means.
    milliseconds: Milliseconds,
    /// The fastest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fastest_milliseconds: Option<Milliseconds>,
    /// The slowest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slowest_milliseconds: Option<Milliseconds>,
    /// The time by operation, if known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    operations: Vec<Operation>,
}

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Q K^T, softmax and S V of all heads and layers, dense.
    CoreAttention,
    /// The same, with splitting and transposing Q, K, V and the outputs.
    CoreAttentionWithCopies,
    /// The whole model.
    Model,
}

/// The time of one kind of operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    name: Name,
    milliseconds: Milliseconds,
}

/// Files of the crate.
const PUBLISHED: [&str; 2] = [
    include_str!("../../published/jetson-tx2.json"),
    include_str!("../../published/rtx-2080-ti.json"),
];
const MEASURED: [&str; 1] = [include_str!("../../measured/cpu.json")];

/// The logs that the authors of ViTCoD published.
pub fn published() -> Vec<Measurement> {
    PUBLISHED.map(of_crate).into()
}

/// What we measured: on whose machines, each result says.
pub fn measured() -> Vec<Measurement> {
    MEASURED.map(of_crate).into()
}

fn of_crate(text: &str) -> Measurement {
    Measurement::from_json(text).expect("a file of this crate; a test reads each")
}

impl Measurement {
    /// Parses a result file.
    ///
    /// # Errors
    /// The first problem, with its position.
    pub fn from_json(text: &str) -> Result<Measurement, Diagnostic> {
        text::read(text)
    }

    /// The text of a result file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a measurement is plain data")
    }

    /// Whether the times were measured by a script of this crate or published.
    pub fn label(&self) -> Label {
        self.label
    }

    /// The kind of machine.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// The processor, its threads, library, precision, batch and date, as one line.
    pub fn machine(&self) -> String {
        let mut words = vec![self.processor.as_str().to_owned()];
        words.extend(self.threads.map(|threads| format!("{} threads", threads.get())));
        words.push(self.software.as_str().to_owned());
        words.push(self.precision.as_str().to_owned());
        words.push(format!("batch {}", self.batch.get()));
        words.extend(self.date.as_ref().map(|date| date.as_str().to_owned()));
        words.join(", ")
    }

    /// Where the times come from.
    pub fn source(&self) -> &str {
        self.source.as_str()
    }

    /// The results.
    pub fn results(&self) -> &[Timed] {
        &self.results
    }

    /// The time of dense attention of the same shapes as a workload's.
    pub fn core_attention(&self, workload: &Workload) -> Option<&Timed> {
        self.results.iter().find(|timed| {
            timed.part == Part::CoreAttention && Layers::are_those_of(&timed.layers, workload)
        })
    }
}

impl Platform {
    /// How to get a result file for this platform.
    pub fn how_to_measure(self) -> &'static str {
        match self {
            Platform::Cpu => "python3 baselines/measure_cpu.py --output cpu.json",
            Platform::Gpu => "python3 baselines/measure_gpu.py --output gpu.json",
            Platform::EdgeGpu => {
                "python3 baselines/measure_gpu.py --platform edge-gpu --output edge-gpu.json"
            }
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Platform::Cpu => "CPU",
            Platform::Gpu => "GPU",
            Platform::EdgeGpu => "EdgeGPU",
        })
    }
}

impl Timed {
    /// The model.
    pub fn model(&self) -> &str {
        self.model.as_str()
    }

    /// What was timed.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Shapes of the attention.
    pub fn layers(&self) -> &[Layers] {
        &self.layers
    }

    /// Number of runs, if known.
    pub fn runs(&self) -> Option<u32> {
        self.runs.map(Count::get)
    }

    /// Milliseconds of an item.
    pub fn milliseconds(&self) -> f64 {
        self.milliseconds.get()
    }

    /// Milliseconds of the fastest and of the slowest run, if known.
    pub fn range_milliseconds(&self) -> Option<[f64; 2]> {
        Some([self.fastest_milliseconds?.get(), self.slowest_milliseconds?.get()])
    }

    /// Names and milliseconds of the operations; empty if unknown.
    pub fn operations(&self) -> impl Iterator<Item = (&str, f64)> {
        self.operations
            .iter()
            .map(|operation| (operation.name.as_str(), operation.milliseconds.get()))
    }

    /// How many times as long this takes as a machine with a clock does for some cycles.
    pub fn factor(&self, cycles: u64, clock_mhz: f64) -> f64 {
        self.milliseconds() * clock_mhz * 1000.0 / cycles as f64
    }
}

#[cfg(test)]
mod tests;
