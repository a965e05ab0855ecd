//! Time from an ONNX file to its results, on one thread: compilation (calibration excluded),
//! verification, an emulated run, and the timing alone.
//!
//! `VITCOD_BENCH_MODEL` names the model; without it the digits model runs. Absolute paths are
//! safest: benchmarks run in the folder of the package.
//!
//! ```text
//! VITCOD_BENCH_MODEL=/path/to/deit_tiny.onnx cargo bench --bench end_to_end
//! ```

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::env;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::ArrayViewD;
use vitcod_compiler::calibration::{Calibration, noise};
use vitcod_compiler::codegen;
use vitcod_compiler::frontend::import_file;
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::quantise::quantise;
use vitcod_emulator::Emulator;
use vitcod_isa::check::check;
use vitcod_isa::machine::Machine;
use vitcod_runtime::{EmulatorDevice, Model};

fn end_to_end(criterion: &mut Criterion) {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no pool is in use yet");
    let path = env::var_os("VITCOD_BENCH_MODEL").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/digits/digits.onnx"),
        PathBuf::from,
    );
    let machine = Machine::preset("vitcod").expect("a preset");
    let import =
        || import_file(&path, &ImportOptions::default()).expect("the model can be imported");
    let graph = import();
    let samples = noise(&graph, 1);
    let views: Vec<ArrayViewD<'_, f32>> = samples.iter().map(|sample| sample.view()).collect();
    let calibration = Calibration::run(&graph, &views).expect("noise is a sample");
    let compile = || {
        let quantised = quantise(&import(), &calibration).expect("the model can be quantised");
        codegen::compile(&quantised, &machine, codegen::Options::default())
            .expect("the model can be compiled")
    };

    criterion.bench_function("compile", |b| {
        b.iter(|| compile().to_bytes().expect("a program has a file form"))
    });

    let model = Model::new(compile()).expect("the compiler's programs are valid");
    criterion.bench_function("verify", |b| {
        b.iter(|| check(black_box(model.program())).expect("it is valid still"))
    });
    let names = graph.inputs.iter().map(|input| input.name.as_str());
    let inputs: Vec<(&str, ArrayViewD<'_, f32>)> = names.zip(views).collect();
    let mut session = model.open(&EmulatorDevice).expect("the emulator runs every valid program");
    criterion.bench_function("run", |b| {
        b.iter(|| session.run(black_box(&inputs)).expect("the program runs"))
    });
    criterion.bench_function("timing only", |b| {
        b.iter(|| Emulator::new(Arc::clone(model.program())).expect("the program ends").report());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    targets = end_to_end
}
criterion_main!(benches);
