use std::fs;

use ndarray::ArrayD;
use ndarray_npy::{read_npy, write_npy};
use serde_json::Value;

use super::*;

#[test]
fn layers_and_outputs_are_compared() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    // Moved copies of the input: what one rounding does by chance is averaged.
    const ITEMS: usize = 16;
    let image: ArrayD<f32> = read_npy(input()).unwrap();
    let elements = image.iter().cycle();
    let moved = (0..ITEMS).flat_map(|item| elements.clone().skip(37 * item).take(image.len()));
    let mut shape = image.shape().to_vec();
    shape[0] = ITEMS;
    let images = ArrayD::from_shape_vec(shape, moved.copied().collect()).unwrap();
    write_npy(sandbox.path("images.npy"), &images).unwrap();

    let arguments = ["accuracy", &onnx, "--input", "images.npy", "--calibration", "images.npy"];
    let text =
        sandbox.ok(&[&arguments[..], &["--top", "3", "--impact", "--report", "r.json"]].concat());
    assert!(text.contains("largest element in the same place: 16 of 16"), "{text}");
    assert!(text.contains("Worst first, 3 of "), "{text}");

    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    let output = &report["outputs"][0];
    assert_eq!((&report["items"], &output["name"]), (&ITEMS.into(), &"logits".into()));
    assert_eq!(
        (&output["equal_predictions"], &output["float_accuracy"]),
        (&1.0.into(), &Value::Null)
    );
    assert!(output["sqnr_db"].as_f64().unwrap() > 25.0, "{output}");
    let layers = report["layers"].as_array().unwrap();
    let db = |layer: &Value, key: &str| layer[key].as_f64().unwrap_or(f64::INFINITY);
    for layer in layers {
        let [alone, accumulated, impact] =
            ["alone_sqnr_db", "accumulated_sqnr_db", "impact_sqnr_db"].map(|key| db(layer, key));
        // What comes before adds noise, and does not take it away by more than chance.
        assert!(alone > accumulated - 1.0 && impact > db(output, "sqnr_db"), "{layer}");
        assert!(layer["saturated_elements"].as_u64() < layer["elements"].as_u64(), "{layer}");
    }
    // The first layer has no errors but its own; the last one's are the output's.
    assert_eq!(layers[0]["operation"], "pixels");
    assert_eq!(layers[0]["alone_sqnr_db"], layers[0]["accumulated_sqnr_db"]);
    assert_eq!(layers.last().unwrap()["accumulated_sqnr_db"], output["sqnr_db"]);
}

#[test]
fn keys_of_the_json_are_stable() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    sandbox.ok(&[
        "accuracy",
        &onnx,
        "--input",
        &input(),
        "--calibration",
        &input(),
        "--report",
        "r.json",
    ]);
    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    let keys =
        |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join("\n  ");
    let keys = [keys(&report), keys(&report["outputs"][0]), keys(&report["layers"][0])];
    insta::assert_snapshot!(keys.join("\n\n"));
}

#[test]
fn predictions_are_compared_with_labels() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let logits: ArrayD<f32> = read_npy(model(&format!("{VIT}.out.npy"))).unwrap();
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    for (label, right) in [(best, 1), ((best + 1) % 10, 0)] {
        write_npy(sandbox.path("labels.npy"), &ndarray::arr1(&[label as i64])).unwrap();
        let text = sandbox.ok(&["accuracy", &onnx, "--input", &input(), "--labels", "labels.npy"]);
        assert!(
            text.contains(&format!("right: {right} of 1 in float, {right} of 1 quantised")),
            "{text}"
        );
    }
}

#[test]
fn inputs_and_labels_that_do_not_fit_are_refused() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    write_npy(sandbox.path("two.npy"), &ndarray::arr1(&[1i64, 2])).unwrap();
    write_npy(sandbox.path("half.npy"), &ndarray::arr1(&[0.5f32])).unwrap();
    let input = input();
    for (options, expected) in [
        (&["--input", &input, "--labels", "two.npy"][..], "found 2 labels for 1 items"),
        (
            &["--input", &input, "--labels", "half.npy"],
            "half.npy: found 0.5, expected integers from 0",
        ),
        (&["--input", "two.npy"], "samples of input \"x\": found f32[2]"),
        (&["--input", &format!("y={input}")], "unknown input \"y\""),
        (&["--input", &input, "--report", &input], "input"),
    ] {
        let error = sandbox.fails(&[&["accuracy", &onnx], options].concat());
        assert!(error.contains(expected), "{error}");
    }
    let wrong = ["compile", &onnx, "-o", "p.vitcod", "--calibration-method", "percentile:200"];
    let error = stderr(&sandbox.command(&wrong).output().unwrap());
    assert!(
        error.contains("expected a number above 0 and at most 100 after percentile:"),
        "{error}"
    );
}

/// A quantised model needs no samples, and its program computes what the interpreter does.
#[test]
fn quantised_models_bring_their_scales() {
    for name in ["vit.legacy.unfused.op17.qdq_s8", "vit.dynamo.unfused.op20.qdq_u8"] {
        let sandbox = Sandbox::new();
        let onnx = model(&format!("{name}.onnx"));
        let output = sandbox.command(&["compile", &onnx, "-o", "p.vitcod"]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
        let text = sandbox.ok(&[
            "run",
            "p.vitcod",
            "--input",
            &model(&format!("{name}.in.npy")),
            "--check",
        ]);
        assert!(text.contains("check: all 10 integers"), "{text}");
        // Samples change no step and no weight. Where there is one format of probabilities, they
        // change nothing that is computed.
        let machine = fs::read_to_string(file("isa/machines/vitcod.toml")).unwrap();
        let int8 = machine.replace("minifloat = true", "minifloat = false");
        fs::write(sandbox.path("int8.toml"), int8).unwrap();
        let compile = ["compile", &onnx, "--machine", "int8.toml", "-o", "r.vitcod"];
        let samples = ["--calibration", &input(), "--bias-correction", "off"];
        let program = |options: &[&str]| {
            sandbox.ok(&[&compile, options].concat());
            let mut program = unmeasured(&fs::read(sandbox.path("r.vitcod")).unwrap());
            program.header.decisions.clear();
            program
        };
        let (without, with) = (program(&[]), program(&samples));
        assert!(without == with, "{name}");
    }
}
