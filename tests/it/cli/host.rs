//! Models of which the host computes parts, and parts of models.

use std::fs;

use ndarray::{ArrayD, Axis, concatenate};
use ndarray_npy::{read_npy, write_npy};
use serde_json::Value;
use vitcod_compiler::interp::sqnr_db;
use vitcod_isa::program::SavedIr;

use super::*;

fn idiom(file: &str) -> String {
    files::file("tests/idioms").join(file).to_str().unwrap().to_owned()
}

fn compiled(sandbox: &Sandbox, name: &str, input: &str) -> String {
    let (onnx, samples) =
        (idiom(&format!("{name}.onnx")), idiom(&format!("{name}.{input}.in.npy")));
    sandbox.ok(&["compile", &onnx, "-o", "p.vitcod", "--calibration", &samples])
}

fn ratio(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    sqnr_db(expected.as_slice().unwrap(), found.as_slice().unwrap())
}

#[test]
fn the_ends_run_on_the_host() {
    let sandbox = Sandbox::new();
    let summary = compiled(&sandbox, "host_top_k", "x");
    assert!(
        summary.contains("the host computes 3 operations after the machine in float; 100.00 %"),
        "{summary}"
    );
    assert!(summary.contains("expected signal to noise of output \"values\""), "{summary}");

    // Two items, and both outputs: floats and integers.
    let x: ArrayD<f32> = read_npy(idiom("host_top_k.x.in.npy")).unwrap();
    write_npy(sandbox.path("two.npy"), &concatenate![Axis(0), x, x]).unwrap();
    let outputs = ["--output", "values=v.npy", "--output", "indices=i.npy"];
    let run = ["run", "p.vitcod", "--input", "two.npy", "--check", "--report", "r.json"];
    let text = sandbox.ok(&[&run[..], &outputs].concat());
    assert!(text.contains("host: 0 operations before the machine, 3 after; 40 B cross"), "{text}");
    assert!(text.contains("check of the machine: all 20 integers"), "{text}");
    let values: ArrayD<f32> = read_npy(sandbox.path("v.npy")).unwrap();
    let one: ArrayD<f32> = read_npy(idiom("host_top_k.values.out.npy")).unwrap();
    assert!(ratio(&values, &concatenate![Axis(0), one, one]) > 20.0);
    let indices: ArrayD<i64> = read_npy(sandbox.path("i.npy")).unwrap();
    let one: ArrayD<i64> = read_npy(idiom("host_top_k.indices.out.npy")).unwrap();
    assert_eq!(indices, concatenate![Axis(0), one, one]);
    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["host"]["operations_after"], 3);
    assert_eq!(report["host"]["crossing_bytes"], 40);

    let contents = sandbox.ok(&["inspect", "p.vitcod"]);
    assert!(contents.contains("  after       top_indices i64[1,3]"), "{contents}");
    let raw = sandbox.fails(&[&run[..5], &["--raw"], &outputs[..2]].concat());
    assert!(raw.contains("so it has no integers"), "{raw}");
    let wrong = sandbox.fails(&["run", "p.vitcod", "--input", "y=two.npy"]);
    assert!(wrong.contains("unknown input \"y\"; the model's inputs are \"x\""), "{wrong}");
    let shape = concatenate![Axis(1), x, x];
    write_npy(sandbox.path("wide.npy"), &shape).unwrap();
    let wrong = sandbox.fails(&["run", "p.vitcod", "--input", "wide.npy"]);
    assert!(wrong.contains("\"x\": found f32[1,12,8], expected items of f32[1,6,8]"), "{wrong}");
}

#[test]
fn a_number_without_dimensions_passes_to_the_host() {
    let sandbox = Sandbox::new();
    compiled(&sandbox, "host_scalar", "x");
    let x: ArrayD<f32> = read_npy(idiom("host_scalar.x.in.npy")).unwrap();
    write_npy(sandbox.path("two.npy"), &concatenate![Axis(0), x, x]).unwrap();
    for (input, shape) in [(idiom("host_scalar.x.in.npy"), vec![]), ("two.npy".into(), vec![2])] {
        sandbox.ok(&["run", "p.vitcod", "--input", &input, "--output", "y.npy", "--check"]);
        let y: ArrayD<f32> = read_npy(sandbox.path("y.npy")).unwrap();
        assert_eq!(y.shape(), shape);
    }
}

#[test]
fn parts_before_the_machine_prepare_samples() {
    let sandbox = Sandbox::new();
    let summary = compiled(&sandbox, "host_crossing", "image");
    assert!(summary.contains("before the machine and "), "{summary}");
    let input = idiom("host_crossing.image.in.npy");
    sandbox.ok(&["run", "p.vitcod", "--input", &input, "--output", "y.npy", "--check"]);
    let found: ArrayD<f32> = read_npy(sandbox.path("y.npy")).unwrap();
    assert!(ratio(&found, &read_npy(idiom("host_crossing.y.out.npy")).unwrap()) > 30.0);

    // A program survives its text, with what the host computes.
    fs::write(sandbox.path("p.s"), sandbox.ok(&["disasm", "p.vitcod"])).unwrap();
    sandbox.ok(&["asm", "p.s", "-o", "again.vitcod"]);
    let [first, again] = ["p.vitcod", "again.vitcod"].map(|file| fs::read(sandbox.path(file)));
    assert_eq!(first.unwrap(), again.unwrap());
    let onnx = idiom("host_crossing.onnx");
    sandbox.ok(&["accuracy", &onnx, "--input", &input, "--calibration", &input]);
}

#[test]
fn without_the_host_such_models_are_refused() {
    let sandbox = Sandbox::new();
    let onnx = idiom("host_softmax.onnx");
    let refused = sandbox.fails(&["compile", &onnx, "-o", "p.vitcod", "--host=never"]);
    for part in [
        "(softmax): found tokens, expected attention scores",
        "(1 operation after the machine), the machine has 100.0 % of the multiplications",
        "without --host=never, the host computes them",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[test]
fn a_broken_part_of_the_host_is_refused() {
    let sandbox = Sandbox::new();
    compiled(&sandbox, "host_softmax", "x");
    let bytes = fs::read(sandbox.path("p.vitcod")).unwrap();
    let mut program = Program::from_bytes(bytes.into()).unwrap();
    let SavedIr { graph, constants } = program.host.take().unwrap();
    let text = String::from_utf8(graph.to_vec()).unwrap();
    for (from, to, message) in [
        ("\"softmax\"", "\"soft\"", "unknown variant"),
        ("\"axis\":1", "\"axis\":7", "the host's part after the machine"),
    ] {
        let graph = text.replace(from, to).into();
        program.host = Some(SavedIr { graph, constants: constants.clone() });
        fs::write(sandbox.path("p.vitcod"), program.to_bytes().unwrap()).unwrap();
        let input = idiom("host_softmax.x.in.npy");
        let refused = sandbox.fails(&["run", "p.vitcod", "--input", &input]);
        assert!(refused.contains(message), "{refused}");
    }
}

#[test]
fn a_part_of_a_model_is_compiled() {
    let sandbox = Sandbox::new();
    let onnx = idiom("out_layers.onnx");
    let compile = |more: &[&str]| {
        let arguments = [&["compile", &onnx, "-o", "p.vitcod"], more].concat();
        sandbox.ok(&arguments);
        sandbox.ok(&["inspect", "p.vitcod"])
    };
    let whole = compile(&[]);
    assert!(whole.contains("output        \"logits\""), "{whole}");
    let first = compile(&["--outputs", "first"]);
    assert!(first.contains("output        \"first\"") && !first.contains("\"logits\""), "{first}");
    let second = compile(&["--inputs", "first", "--outputs", "map,logits"]);
    assert!(second.contains("input         \"first\"") && !second.contains("\"x\""), "{second}");

    let fails =
        |more: &[&str]| sandbox.fails(&[&["compile", &onnx, "-o", "q.vitcod"], more].concat());
    let unknown = fails(&["--outputs", "frist"]);
    assert!(unknown.contains("found \"frist\"; did you mean `first`?"), "{unknown}");
    let useless = fails(&["--inputs", "map", "--outputs", "first"]);
    assert!(useless.contains("found \"map\", of which they are independent"), "{useless}");
}
