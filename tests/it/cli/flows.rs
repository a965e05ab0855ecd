use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use ndarray::{ArrayD, Axis, concatenate};
use ndarray_npy::{ReadNpyExt as _, read_npy, write_npy};
use serde_json::Value;
use vitcod_compiler::interp::sqnr_db;

use super::*;

#[test]
fn programs_compute_what_the_interpreter_does_on_every_preset() {
    for name in
        [VIT, "vit.dynamo.fused.op20.default", "deit.legacy.unfused.op17", "deit.dynamo.fused.op20"]
    {
        let sandbox = Sandbox::new();
        let input = model(&format!("{name}.in.npy"));
        for machine in ["vitcod", "vitcod-sim"] {
            let onnx = model(&format!("{name}.onnx"));
            let options = ["--machine", machine, "--calibration", &input];
            let summary =
                sandbox.ok(&[&["compile", &onnx, "-o", "p.vitcod"], &options[..]].concat());
            assert!(summary.contains(&format!("for {machine}: ")), "{summary}");
            let text =
                sandbox.ok(&["run", "p.vitcod", "--input", &input, "--check", "--output", "y.npy"]);
            assert!(text.contains("check: all 10 integers"), "{text}");
            let result: ArrayD<f32> = read_npy(sandbox.path("y.npy")).unwrap();
            let reference: ArrayD<f32> = read_npy(model(&format!("{name}.out.npy"))).unwrap();
            assert_eq!(result.shape(), reference.shape());
            let sqnr = sqnr_db(reference.as_slice().unwrap(), result.as_slice().unwrap());
            assert!(sqnr > 20.0, "{name}: {sqnr} dB");
        }
    }
}

#[test]
fn the_report_adds_up() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    sandbox.ok(&[
        "run",
        "p.vitcod",
        "--input",
        &input(),
        "--report",
        "r.json",
        "--trace",
        "t.json",
    ]);
    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    let at = |path: &str| {
        report.pointer(&path.replace('.', "/")).unwrap_or_else(|| panic!("{path} is missing"))
    };
    let number = |path: &str| at(path).as_f64().unwrap_or_else(|| panic!("{path} is no number"));
    let sum = |path: &str| -> f64 {
        at(path).as_object().unwrap().values().map(|x| x.as_f64().unwrap()).sum()
    };
    let of_layers = |key: &str| -> f64 {
        let layers = at(".layers").as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer[key].as_f64().unwrap_or_else(|| panic!("layers.{key} is no number")))
            .sum()
    };

    assert_eq!(at(".machine.name"), "vitcod");
    assert!(at(".layers").as_array().unwrap().iter().all(|layer| layer["name"].is_string()));
    let cycles = number(".cycles.total");
    assert_eq!(of_layers("cycles"), cycles);
    let attention =
        at(".layers").as_array().unwrap().iter().filter(|layer| layer["attention"] == true);
    let operations: BTreeSet<&str> =
        attention.clone().map(|layer| layer["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, BTreeSet::from(["qsoftmax", "sddmm", "spmm"]));
    assert_eq!(
        number(".cycles.attention"),
        attention.map(|layer| layer["cycles"].as_f64().unwrap()).sum::<f64>()
    );
    for unit in at(".cycles.by_unit").as_object().unwrap().values() {
        let stalls = &unit["stalls"];
        let tokens: u64 =
            stalls["token"].as_object().unwrap().values().map(|x| x.as_u64().unwrap()).sum();
        let others: u64 = ["fetch", "lines", "channel", "barrier", "drained"]
            .iter()
            .map(|key| stalls[key].as_u64().unwrap())
            .sum();
        assert_eq!((unit["busy"].as_u64().unwrap() + tokens + others) as f64, cycles);
    }
    assert_eq!(number(".time_ms"), cycles / 500_000.0);
    assert_eq!(number(".instructions.total"), sum(".instructions.by_mnemonic"));
    assert_eq!(number(".macs.executed"), of_layers("macs"));
    assert_eq!(number(".macs.needed"), of_layers("macs_needed"));
    assert_eq!(number(".macs.utilisation"), number(".macs.needed") / (cycles * 512.0));
    assert_eq!(number(".bound.compute_cycles"), number(".macs.needed") / 512.0);
    let larger = number(".bound.compute_cycles").max(number(".bound.dram_cycles"));
    assert_eq!(number(".bound.ratio"), cycles / larger);
    assert!(number(".bound.ratio") >= 1.0);
    assert_eq!(number(".dram.read_bytes"), of_layers("dram_read_bytes"));
    assert_eq!(number(".dram.write_bytes"), of_layers("dram_write_bytes"));
    let tensors = number(".dram.read_bytes") + number(".dram.write_bytes");
    assert_eq!(tensors + number(".instructions.fetch.bytes"), sum(".dram.by_kind"));
    assert!(number(".sram.peak_bytes") <= 320.0 * 1024.0);

    let trace: Value = serde_json::from_slice(&fs::read(sandbox.path("t.json")).unwrap()).unwrap();
    assert!(
        trace["traceEvents"].as_array().unwrap().len()
            > at(".instructions.total").as_u64().unwrap() as usize
    );

    // Timing needs no data, and data change no timing.
    sandbox.ok(&["run", "p.vitcod", "--timing-only", "--report", "timing.json"]);
    assert_eq!(
        fs::read(sandbox.path("r.json")).unwrap(),
        fs::read(sandbox.path("timing.json")).unwrap()
    );
}

#[test]
fn several_items_run_one_by_one() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let one: ArrayD<f32> = read_npy(input()).unwrap();
    let items = [one.clone(), one.mapv(|x| -x), one.mapv(|x| x * 0.5)];
    let views: Vec<_> = items.iter().map(|item| item.view()).collect();
    write_npy(sandbox.path("all.npy"), &concatenate(Axis(0), &views).unwrap()).unwrap();
    let text = sandbox.ok(&[
        "run",
        "p.vitcod",
        "--input",
        "all.npy",
        "--check",
        "--raw",
        "--output",
        "all.out.npy",
    ]);
    assert!(
        text.contains(
            "check: all 30 integers of the outputs equal the reference interpreter's (items: 3)"
        ),
        "{text}"
    );
    let all: ArrayD<i16> = read_npy(sandbox.path("all.out.npy")).unwrap();
    assert_eq!(all.shape(), [3, 10]);
    for (item, all) in items.iter().zip(all.axis_iter(Axis(0))) {
        write_npy(sandbox.path("x.npy"), item).unwrap();
        sandbox.ok(&["run", "p.vitcod", "--input", "x.npy", "--raw", "--output", "y.npy"]);
        let one: ArrayD<i16> = read_npy(sandbox.path("y.npy")).unwrap();
        assert_eq!(one.index_axis(Axis(0), 0), all);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_with_any_number_of_threads() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let programs = ["1", "3"].map(|threads| {
        let mut command = sandbox.command(&["compile", &onnx, "-o", "p.vitcod"]);
        assert!(command.env("RAYON_NUM_THREADS", threads).output().unwrap().status.success());
        fs::read(sandbox.path("p.vitcod")).unwrap()
    });
    assert!(programs[0] == programs[1]);
}

#[test]
fn noise_in_place_of_samples_is_warned_of_and_pipes_see_no_progress() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let compile = |options: &[&str]| {
        let arguments = [&["compile", &onnx, "-o", "p.vitcod"], options].concat();
        stderr(&sandbox.command(&arguments).output().unwrap())
    };
    let warning = compile(&[]);
    assert!(
        warning.starts_with("warning: no --calibration") && warning.lines().count() == 1,
        "{warning}"
    );
    assert_eq!(compile(&["--calibration", &input()]), "");
}

#[test]
fn a_machine_without_optional_units_is_compiled_for() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let text = fs::read_to_string(file("isa/machines/vitcod.toml")).unwrap();
    let lacks = |key: &str| !["minifloat", "interpolation", "shift_pj"].contains(&key);
    let lines = text.lines().filter(|line| lacks(line.split(' ').next().unwrap_or_default()));
    fs::write(sandbox.path("plain.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let compile = |machine: &str, program: &str, accuracy: &str| {
        let samples = ["--calibration", &input(), "--accuracy", accuracy];
        let arguments = ["compile", &onnx, "-o", program, "--machine", machine];
        sandbox.ok(&[&arguments[..], &samples].concat());
        sandbox.ok(&["run", program, "--input", &input(), "--check"]);
        sandbox.ok(&["disasm", program])
    };
    let plain = compile("plain.toml", "plain.vitcod", "exact");
    assert!(!plain.contains("minifloat=true") && !plain.contains("interpolate "));
    let full = compile("vitcod", "full.vitcod", "exact");
    assert!(full.contains("minifloat=true"), "{full}");
}

#[test]
fn inputs_beyond_the_calibrated_range_are_warned_of_and_nan_is_refused() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let compile = ["compile", &onnx, "-o", "p.vitcod", "--calibration", &input()];
    let text = sandbox.ok(&compile);
    let expected = "expected signal to noise of output \"logits\": ";
    assert!(
        text.contains(expected) && text.contains("measured on a sample that calibrated it"),
        "{text}"
    );

    let run = |input: &str| {
        let arguments = ["run", "p.vitcod", "--input", input, "--report", "r.json"];
        sandbox.command(&arguments).output().unwrap()
    };
    let beyond = || {
        let report: Value =
            serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
        report["inputs_beyond_range"].clone()
    };
    assert_eq!(stderr(&run(&input())), "");
    assert_eq!(beyond(), serde_json::json!([]));

    let x: ArrayD<f32> = read_npy(input()).unwrap();
    write_npy(sandbox.path("wide.npy"), &x.mapv(|x| 10.0 * x)).unwrap();
    let warning = stderr(&run("wide.npy"));
    assert!(warning.starts_with("warning: input \"x\": "), "{warning}");
    assert!(warning.contains("up to 10.0 times as large"), "{warning}");
    assert!(beyond()[0]["share"].as_f64().unwrap() > 0.1);
    assert!((beyond()[0]["largest_to_range"].as_f64().unwrap() - 10.0).abs() < 0.1);

    write_npy(sandbox.path("nan.npy"), &x.mapv(|x| if x > 2.0 { f32::NAN } else { x })).unwrap();
    let error = sandbox.fails(&["run", "p.vitcod", "--input", "nan.npy"]);
    assert!(
        error.contains("input \"x\" holds NaN at [0, ") && error.lines().count() < 4,
        "{error}"
    );
    let error = sandbox.fails(&["compile", &onnx, "-o", "q.vitcod", "--calibration", "nan.npy"]);
    assert!(error.contains("nan.npy: NaN at [0, "), "{error}");
}

#[test]
fn a_stripped_program_runs_and_cannot_be_checked() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &["--strip"]);
    assert!(sandbox.ok(&["inspect", "p.vitcod"]).contains("stripped"));
    sandbox.ok(&["run", "p.vitcod", "--input", &input()]);
    let error =
        sandbox.fails(&["run", "p.vitcod", "--input", &input(), "--check", "--output", "y.npy"]);
    assert!(error.contains("the program is stripped"), "{error}");
}

#[test]
fn the_two_exporters_give_the_same_canonical_operators() {
    let sandbox = Sandbox::new();
    let canonical = ["deit.legacy.unfused.op17", "deit.dynamo.fused.op20"].map(|name| {
        let text = sandbox.ok(&["inspect", &model(&format!("{name}.onnx"))]);
        assert!(text.contains("opset") && text.contains("MatMul"), "{text}");
        text.split_once("\ncanonical ").expect("a part on the canonical graph").1.to_owned()
    });
    assert!(canonical[0].contains("attention"), "{}", canonical[0]);
    assert_eq!(canonical[0], canonical[1]);
}

#[test]
fn programs_are_listed_and_described() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let text = sandbox.ok(&["disasm", "p.vitcod"]);
    assert!(text.contains("sddmm ") && text.contains("\n    halt\n"), "{text}");
    let text = sandbox.ok(&["inspect", "p.vitcod"]);
    assert!(text.contains("64 lines x 8 MACs") && text.contains("(qsoftmax)"), "{text}");
}

#[test]
fn a_machine_can_come_from_a_file() {
    let sandbox = Sandbox::new();
    let preset = fs::read_to_string(file("isa/machines/vitcod.toml")).unwrap();
    fs::write(
        sandbox.path("half.toml"),
        preset.replace("\"vitcod\"", "\"half\"").replace("count = 64", "count = 32"),
    )
    .unwrap();
    compile(&sandbox, &["--machine", "half.toml"]);
    let text = sandbox.ok(&["run", "p.vitcod", "--input", &input(), "--check"]);
    assert!(text.contains("half at 500 MHz"), "{text}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let mut child = sandbox.command(&["disasm", "p.vitcod"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn float_outputs_are_the_integers_times_the_step() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let read = |name: &str| fs::File::open(sandbox.path(name)).unwrap();
    sandbox.ok(&["run", "p.vitcod", "--input", &input(), "--output", "float.npy"]);
    sandbox.ok(&["run", "p.vitcod", "--input", &input(), "--output", "raw.npy", "--raw"]);
    let (float, raw) = (
        ArrayD::<f32>::read_npy(read("float.npy")).unwrap(),
        ArrayD::<i16>::read_npy(read("raw.npy")).unwrap(),
    );
    let steps: Vec<f32> =
        float.iter().zip(&raw).filter(|(_, q)| **q != 0).map(|(x, q)| x / f32::from(*q)).collect();
    assert!(
        !steps.is_empty() && steps.iter().all(|step| (step / steps[0] - 1.0).abs() < 1e-5),
        "{steps:?}"
    );
}
