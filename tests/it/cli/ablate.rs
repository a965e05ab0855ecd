use std::fs;

use serde_json::Value;

use super::attention::{typical, write_masks};
use super::*;

const CORE: [&str; 5] = ["ablate", "--masks", "masks.npy", "--head-dim", "16"];

fn report(sandbox: &Sandbox, arguments: &[&str]) -> (String, Value) {
    let text = sandbox.ok(&[arguments, &["--report", "r.json"]].concat());
    (text, serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap())
}

/// The steps' names and cycles.
fn steps(report: &Value) -> Vec<(&str, u64)> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["step"].as_str().unwrap(), step["cycles"].as_u64().unwrap())).collect()
}

#[test]
fn the_core_is_compared_step_by_step() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [70, 70], typical);
    let (text, report) = report(&sandbox, &[&CORE[..], &["--compressed-heads", "2"]].concat());
    let cycles = steps(&report);
    let names: Vec<&str> = cycles.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["dense", "reordered", "pruned", "pruned, reordered", "pruned, reordered, auto-encoder"]
    );
    assert_eq!(cycles[0].1, cycles[1].1, "{text}");
    assert!(cycles[3].1 < cycles[0].1, "{text}");
    assert!(
        text.contains("so it costs what dense costs") && !text.contains("There is no auto-encoder"),
        "{text}"
    );
    for (name, cycles) in &cycles {
        assert!(text.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {text}");
        assert!(*cycles > 0);
    }

    // The steps are what `vitcod attention` runs.
    for (options, step) in [
        (&["--theta-d", "65536"][..], 2),
        (&[], 3),
        (&["--theta-d", "auto", "--compressed-heads", "2"], 4),
    ] {
        let arguments = ["attention", "--masks", "masks.npy", "--head-dim", "16", "--timing-only"];
        let (_, alone) = super::ablate::report(&sandbox, &[&arguments[..], options].concat());
        assert_eq!(alone["cycles"]["total"], report["steps"][step]["cycles"]);
    }

    // Figures follow from each other.
    let number = |step: usize, key: &str| report["steps"][step][key].as_f64().unwrap();
    assert_eq!(number(3, "factor_to_dense"), number(0, "cycles") / number(3, "cycles"));
    assert_eq!(number(4, "factor_to_previous"), number(3, "cycles") / number(4, "cycles"));
    assert_eq!(number(4, "bound_ratio"), number(4, "cycles") / number(4, "bound_cycles"));
    assert!((0..5).all(|step| (0.0..=1.0).contains(&number(step, "dram_busy_share"))));
    assert_eq!(
        report["comparisons"][0]["ours"].as_f64().unwrap(),
        number(1, "cycles") / number(3, "cycles")
    );
    assert_eq!(
        report["comparisons"][1]["ours"].as_f64().unwrap(),
        number(2, "cycles") / number(3, "cycles")
    );
}

#[test]
fn without_an_auto_encoder_its_step_is_left_out() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let (text, report) = report(&sandbox, &CORE);
    assert_eq!((steps(&report).len(), report["comparisons"].as_array().unwrap().len()), (4, 2));
    assert!(
        text.contains("There is no auto-encoder: --compressed-heads E adds its step."),
        "{text}"
    );
}

#[test]
fn keys_of_the_json_are_stable() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let options = ["--compressed-heads", "2", "--parts", "--row-ports", "2"];
    let (_, report) = report(&sandbox, &[&CORE[..], &options].concat());
    let mut keys = Vec::new();
    collect("", &report, &mut keys);
    keys.dedup();
    insta::assert_snapshot!(keys.join("\n"));
}

#[test]
fn parts_are_added_to_none_and_to_all_others() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [70, 70], typical);
    let options = ["--compressed-heads", "2", "--parts", "--row-ports", "1,2", "--banks", "8,32"];
    let (text, report) = report(&sandbox, &[&CORE[..], &options].concat());
    let parts = report["parts"].as_array().unwrap();
    let names: Vec<&str> = parts.iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["pruning", "polarising", "ordered lists", "shared rows", "auto-encoder"],
        "{text}"
    );
    let cycles = |part: &Value, gain: &str, key: &str| part[gain][key].as_u64().unwrap();
    // Without any part, attention is dense; with all, it is the last step.
    for part in parts {
        assert_eq!(cycles(part, "alone", "without_cycles"), steps(&report)[0].1);
        assert_eq!(cycles(part, "on_top", "with_cycles"), steps(&report)[4].1);
        let factor = part["on_top"]["factor"].as_f64().unwrap();
        let [without, with] =
            ["without_cycles", "with_cycles"].map(|key| cycles(part, "on_top", key) as f64);
        assert_eq!(factor, without / with);
    }
    // A dense program has no lists.
    assert_eq!(cycles(&parts[2], "alone", "with_cycles"), steps(&report)[0].1);
    let machines = report["organisations"].as_array().unwrap();
    let machines: Vec<[u64; 2]> = machines
        .iter()
        .map(|machine| ["row_ports", "banks"].map(|key| machine[key].as_u64().unwrap()))
        .collect();
    assert_eq!(machines, [[1, 8], [2, 8], [1, 32], [2, 32]], "{text}");
    // Two ports and 32 banks are those of `vitcod`.
    assert_eq!(report["organisations"][3]["both_cycles"], report["steps"][4]["cycles"]);
}

#[test]
fn machines_without_banks_have_no_row_ports() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let flat = ["--machine", "vitcod-ideal", "--row-ports", "2"];
    let error = sandbox.fails(&[&CORE[..], &flat].concat());
    assert!(error.contains("vitcod-ideal has none"), "{error}");
    let error = sandbox.fails(&[&CORE[..], &["--row-ports", "0"]].concat());
    assert!(error.contains("row_ports"), "{error}");
}

/// Paths of the keys of a value; of a list those of its first element.
fn collect(path: &str, value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(&format!("{path}.{key}"), value, keys))
        }
        Value::Array(elements) => {
            let first = elements.first().into_iter();
            first.for_each(|element| collect(&format!("{path}[]"), element, keys));
        }
        _ => keys.push(path.to_owned()),
    }
}

#[test]
fn a_model_is_compared_step_by_step() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    sandbox.ok(&[
        "prune",
        &onnx,
        "--calibration",
        &input(),
        "--sparsity",
        "0.5",
        "-o",
        "masks.npy",
    ]);
    let ablate = ["ablate", &onnx, "--calibration", &input(), "--masks", "masks.npy"];
    let (text, without) = report(&sandbox, &ablate);
    assert_eq!(steps(&without).len(), 4, "{text}");
    let (text, report) = report(&sandbox, &[&ablate[..], &["--compressed-heads", "1"]].concat());
    let steps = steps(&report);
    assert_eq!((steps.len(), steps[0].1), (5, steps[1].1), "{text}");
    let of = |step: usize, key: &str| report["steps"][step][key].as_u64().unwrap();
    assert!((0..5).all(|step| 0 < of(step, "attention_cycles")
        && of(step, "attention_cycles") < of(step, "cycles")));

    // The first step is the model as it is compiled without masks.
    sandbox.ok(&["compile", &onnx, "--calibration", &input(), "-o", "p.vitcod"]);
    sandbox.ok(&["run", "p.vitcod", "--timing-only", "--report", "dense.json"]);
    let dense: Value =
        serde_json::from_slice(&fs::read(sandbox.path("dense.json")).unwrap()).unwrap();
    assert_eq!(dense["cycles"]["total"].as_u64().unwrap(), steps[0].1);
}

#[test]
fn a_model_that_cannot_be_compared_is_refused() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let fails = |arguments: &[&str]| sandbox.fails(&[arguments, &["--report", "r.json"]].concat());
    let error = fails(&[&CORE[..], &["--compressed-heads", "4"]].concat());
    assert!(
        error.contains(
            "step \"pruned, reordered, auto-encoder\": masks.npy: layer 0: 4 compressed heads"
        ),
        "{error}"
    );
    let onnx = model(&format!("{VIT}.onnx"));
    let error = fails(&["ablate", &onnx, "--calibration", &input(), "--masks", "masks.npy"]);
    assert!(
        error.contains("with the masks of masks.npy") && error.contains("the masks do not match"),
        "{error}"
    );
    let error = sandbox.fails(&[&CORE[..], &["--report", "masks.npy"]].concat());
    assert!(error.contains("masks.npy is an input"), "{error}");

    let status = |arguments: &[&str]| sandbox.command(arguments).output().unwrap().status.code();
    assert_eq!(status(&["ablate", "--masks", "masks.npy"]), Some(2));
    assert_eq!(status(&["ablate", &onnx, "--masks", "masks.npy", "--head-dim", "8"]), Some(2));
    assert_eq!(status(&[&CORE[..], &["--calibration", "x.npy"]].concat()), Some(2));
}
