//! One model on machines of one's own: the same bits, other cycles.
//!
//! ```sh
//! cargo run --release --example custom_machine
//! ```

use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use vitcod_compiler::calibration::{Calibration, noise};
use vitcod_compiler::codegen;
use vitcod_compiler::frontend::import_file;
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::quantise::quantise;
use vitcod_isa::machine::Machine;
use vitcod_runtime::{EmulatorDevice, Model};

/// A machine without energies, as a file could give it. It has the number formats of the others, so
/// that it can compute the same integers.
const EDGE: &str = r#"
name = "edge"
clock_mhz = 200
lines = { count = 16, macs = 8, port_bytes = 8, fill_cycles = 12 }
sram = { bytes = 131072 }
dram = { bytes_per_cycle = 16.0, latency_cycles = 50, burst_bytes = 64 }
softmax = { scores_per_cycle = 4, fill_cycles = 8, minifloat = true }
vector = { elements_per_cycle = 8, fill_cycles = 8, interpolation = true }
"#;

fn main() -> anyhow::Result<()> {
    let edge = Machine::from_toml(EDGE).map_err(|error| anyhow!(error.render("EDGE", EDGE)))?;
    let paper = Machine::preset("vitcod").context("a preset")?;
    let mut wide = paper.clone();
    wide.name = "vitcod, 128 lines".to_owned();
    wide.lines.count = 128;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits/digits.onnx");
    let graph = import_file(&path, &ImportOptions::default())?;
    let samples = noise(&graph, 4);
    let views: Vec<_> = samples.iter().map(|sample| sample.view()).collect();
    let quantised = quantise(&graph, &Calibration::run(&graph, &views)?)?;

    println!("{:<18} {:>6} {:>9} {:>8} {:>8}", "machine", "MACs", "cycles", "ms", "MACs used");
    let mut bits = None;
    for machine in [edge, paper, wide] {
        let program = codegen::compile(&quantised, &machine, codegen::Options::default())?;
        let model = Model::new(program)?;
        let mut session = model.open(&EmulatorDevice)?;
        let outputs = session.run(&[(&model.inputs()[0].name, samples[0].view())])?;
        let report = session.report();
        println!(
            "{:<18} {:>6} {:>9} {:>8.3} {:>7.1} %",
            machine.name,
            machine.macs_per_cycle(),
            report.cycles.total,
            report.time_ms,
            100.0 * report.macs.utilisation
        );
        let values = outputs[0].to_f32();
        ensure!(*bits.get_or_insert(values.clone()) == values, "machines disagree on the output");
    }
    println!("The outputs are equal, bit for bit.");
    Ok(())
}
