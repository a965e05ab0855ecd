//! What every model costs on every preset, and by which strategy: one snapshot, a row for each
//! program. A change of a number here is a change of what users get. `cargo bless --test it golden`
//! writes it.

use std::fmt::Write as _;
use std::path::PathBuf;

use rayon::prelude::*;
use vitcod_compiler::calibration::noise;
use vitcod_compiler::frontend::{Options as Frontend, import_file, import_model};
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::masks::Masks;
use vitcod_emulator::Emulator;
use vitcod_isa::machine::PRESETS;
use vitcod_support::random::SplitMix64;
use vitcod_testing::compiled::compiled;
use vitcod_testing::files::{file, files};
use vitcod_testing::machine::preset;
use vitcod_testing::vit::{Vit, masked, vit};

/// Items of noise that calibrate. `vitcod compile` takes more, for accuracy.
const NOISE_ITEMS: usize = 1;

const HEADER: [&str; 7] =
    ["model", "preset", "cycles", "DRAM bytes", "instructions", "peak SRAM bytes", "strategy"];

/// A column of words is aligned to the left, one of numbers to the right.
const IS_NUMBER: [bool; HEADER.len()] = [false, false, true, true, true, true, false];

type Row = [String; HEADER.len()];

/// The exports of `tests/models`, by name.
fn exports() -> Vec<(String, Graph)> {
    let export = |path: PathBuf| {
        let graph = import_file(&path, &ImportOptions::default());
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let graph = graph.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, graph)
    };
    files("tests/models", ".onnx").into_iter().map(export).collect()
}

/// The models of `vitcod demo`.
fn digits() -> [(String, Graph); 2] {
    let options = ImportOptions::default();
    let masks = Masks::read_npy(file("examples/digits/masks90.npy"), None).unwrap();
    let dense = import_file(&file("examples/digits/digits.onnx"), &options).unwrap();
    let sparse = file("examples/digits/digits_sparse90_ae.onnx");
    let sparse =
        import_model(&sparse, &options, Frontend { masks: Some(&masks), ..Frontend::default() })
            .unwrap()
            .graph;
    [("digits".to_owned(), dense), ("digits_sparse90_ae".to_owned(), sparse)]
}

/// A vision transformer of middle size, whose extents a seed draws; those of odd seeds have masks.
fn drawn(seed: u64) -> (String, Graph) {
    let mut random = SplitMix64::new(seed);
    let mut pick = |choices: &[usize]| choices[random.bits() as usize % choices.len()];
    let patch = pick(&[4, 8]);
    let shape = Vit {
        image: patch * pick(&[9, 12, 14, 16]),
        patch,
        channels: 3,
        heads: pick(&[3, 4, 6]),
        head_dim: pick(&[32, 48, 64]),
        hidden: pick(&[500, 768, 1024]),
        depth: pick(&[1, 2]),
        classes: pick(&[10, 100]),
        all_tokens: true,
    };
    let Vit { heads, head_dim, hidden, depth, .. } = shape;
    let tokens = shape.tokens();
    let name = format!("vit {seed}: {tokens} tokens, {heads}x{head_dim}, {hidden}, {depth} layers");
    if seed.is_multiple_of(2) {
        return (name, vit(shape, seed));
    }
    let mut globals = 0;
    let graph = masked(shape, seed, |_, _, query, key| {
        if (query, key) == (0, 0) {
            globals = 1 + random.bits() as usize % 8;
        }
        key < globals || query == key || random.bits() % 100 < 8
    });
    (format!("{name}, masked"), graph)
}

/// Compiles a canonical graph as `vitcod compile` does, and says what the program costs.
fn row(name: &str, graph: &Graph, preset_name: &str) -> Row {
    let machine = preset(preset_name);
    let samples = noise(graph, NOISE_ITEMS);
    let program = compiled(graph, &machine, Some(&samples), true)
        .unwrap_or_else(|error| panic!("{name} for {preset_name}: {error}"));
    let plan = program.header.decisions.iter().find(|decision| decision.subject == "plan").unwrap();
    let strategy = plan.chosen.clone();
    let instructions = program.code.len();
    let report = Emulator::new(program.into()).unwrap().report();
    let dram = report.dram.read_bytes + report.dram.write_bytes;
    let numbers = [report.cycles.total, dram, instructions as u64, report.sram.peak_bytes];
    let [cycles, dram, instructions, peak] = numbers.map(|number| number.to_string());
    [name.to_owned(), preset_name.to_owned(), cycles, dram, instructions, peak, strategy]
}

/// Rows under their header, in columns.
fn table(rows: &[Row]) -> String {
    let header: Row = HEADER.map(str::to_owned);
    let rows: Vec<&Row> = [&header].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; HEADER.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), is_number) in row.iter().zip(widths).zip(IS_NUMBER) {
            match is_number {
                true => write!(line, "{cell:>width$}  ").unwrap(),
                false => write!(line, "{cell:<width$}  ").unwrap(),
            }
        }
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

#[test]
fn costs_of_all_models_on_all_presets() {
    let models = exports().into_iter().chain(digits()).chain((0..4).map(drawn));
    let models: Vec<(String, Graph)> = models.collect();
    let rows: Vec<Row> = models
        .par_iter()
        .flat_map_iter(|(name, graph)| PRESETS.map(|(preset, _)| row(name, graph, preset)))
        .collect();
    insta::assert_snapshot!(table(&rows));
}
