use std::fs;

use serde_json::Value;

use super::*;

#[test]
fn every_model_is_a_row_and_failures_are_told_at_the_end() {
    let sandbox = Sandbox::new();
    let onnx = fs::read(model(&format!("{VIT}.onnx"))).unwrap();
    fs::write(sandbox.path("cut|off.onnx"), &onnx[..onnx.len() / 2]).unwrap();
    let (vit, batch) =
        (model(&format!("{VIT}.onnx")), model("hfvit.dynamo.unfused.op20.batch.onnx"));
    let arguments =
        ["survey", "cut|off.onnx", &vit, &batch, "lost.onnx", "--dim", "batch=1", "--check"];
    let output = sandbox
        .command(&[&arguments[..], &["-o", "t.md", "--report", "r.json"]].concat())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "error: 2 of 4 models failed: cut|off, lost\n");
    insta::assert_snapshot!("survey_text", layout(&String::from_utf8(output.stdout).unwrap()));
    insta::assert_snapshot!(
        "survey_markdown",
        layout(&fs::read_to_string(sandbox.path("t.md")).unwrap())
    );

    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    let keys =
        |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join("\n  ");
    let row = &report["models"][1];
    let parts = [
        &report,
        &report["machine"],
        row,
        &row["exported"],
        &row["measured"],
        &row["measured"]["outputs"][0],
    ];
    insta::assert_snapshot!("survey_keys", parts.map(keys).join("\n\n"));
    assert!(
        report["models"][0]["error"].is_string() && report["models"][0]["exported"].is_null(),
        "{report}"
    );
    assert!(row["error"].is_null() && row["exported"]["exporter"] == "legacy", "{row}");
    assert_eq!(report["models"][2]["measured"]["outputs"].as_array().unwrap().len(), 2);

    // The figures are those that the other commands give.
    compile(&sandbox, &[]);
    sandbox.ok(&["run", "p.vitcod", "--timing-only", "--report", "run.json"]);
    let run: Value = serde_json::from_slice(&fs::read(sandbox.path("run.json")).unwrap()).unwrap();
    let measured = &row["measured"];
    let bytes =
        run["dram"]["read_bytes"].as_u64().unwrap() + run["dram"]["write_bytes"].as_u64().unwrap();
    assert_eq!(
        (
            &measured["cycles"],
            &measured["bound_ratio"],
            &measured["macs_needed"],
            measured["dram_bytes"].as_u64()
        ),
        (&run["cycles"]["total"], &run["bound"]["ratio"], &run["macs"]["needed"], Some(bytes))
    );
    assert!(measured["compulsory_dram_bytes"].as_u64() <= Some(bytes), "{measured}");
    assert_eq!(measured["equal_integers"], 10);
}

#[test]
fn samples_calibrate_and_are_run() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let text = sandbox.ok(&["survey", &onnx, "--calibration", &input(), "--report", "r.json"]);
    assert!(text.contains("calibrated on samples"), "{text}");
    sandbox.ok(&[
        "accuracy",
        &onnx,
        "--calibration",
        &input(),
        "--input",
        &input(),
        "--report",
        "a.json",
    ]);
    let [survey, accuracy]: [Value; 2] = ["r.json", "a.json"]
        .map(|name| serde_json::from_slice(&fs::read(sandbox.path(name)).unwrap()).unwrap());
    assert_eq!(
        survey["models"][0]["measured"]["outputs"][0]["sqnr_db"],
        accuracy["outputs"][0]["sqnr_db"]
    );
    assert_eq!(survey["models"][0]["measured"]["equal_integers"], Value::Null);
}

#[test]
fn options_that_do_not_fit_are_refused_before_models_run() {
    let sandbox = Sandbox::new();
    let onnx = model("vit.legacy.unfused.op17.batch.onnx");
    fs::write(sandbox.path("page.md"), "<!-- generated: a -->\n<!-- end -->\n").unwrap();
    for (options, expected) in [
        (
            &["--dim", "batsh=1"][..],
            "no model has an open dimension \"batsh\"; did you mean `batch`?",
        ),
        (&["-o", "page.md", "--part", "b"], "page.md: missing line `<!-- generated: b -->`"),
        (&["-o", "lost.md", "--part", "b"], "cannot read lost.md"),
    ] {
        let error = sandbox.fails(&[&["survey", &onnx], options].concat());
        assert!(error.contains(expected), "{error}");
    }
    // What cannot be written is printed all the same.
    let output = sandbox.command(&["survey", &onnx, "-o", "lost/t.md"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: cannot write lost/t.md"), "{}", stderr(&output));
    assert!(String::from_utf8(output.stdout).unwrap().contains("vit.legacy.unfused.op17.batch"));
}

/// How far a ratio in decibels may be off on another kind of processor: calibration in float
/// differs in last bits.
const TOLERANCE_DB: f64 = 1.0;

/// Whether two pages are the same but for noise within [`TOLERANCE_DB`].
fn agree(a: &str, b: &str) -> bool {
    let close = |a: &str, b: &str| match (a.trim().parse::<f64>(), b.trim().parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE_DB,
        _ => false,
    };
    let mut noise = None;
    let same_line = |(a, b): (&str, &str)| {
        let (a, b): (Vec<&str>, Vec<&str>) = (a.split('|').collect(), b.split('|').collect());
        noise = a.iter().position(|cell| cell.trim() == "SQNR dB").or(noise);
        let same = |(i, (a, b)): (usize, (&&str, &&str))| a == b || noise == Some(i) && close(a, b);
        a.len() == b.len() && a.iter().zip(&b).enumerate().all(same)
    };
    a.lines().count() == b.lines().count() && a.lines().zip(b.lines()).all(same_line)
}

#[test]
fn the_table_of_small_exports_is_that_of_the_command() {
    let sandbox = Sandbox::new();
    let page = file("docs/models.md");
    fs::copy(&page, sandbox.path("models.md")).unwrap();
    let entries = fs::read_dir(file("tests/models")).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    models.sort();
    let models = models.iter().map(|path| path.to_str().unwrap());
    let arguments: Vec<&str> = ["survey", "--check", "-o", "models.md", "--part", "small"]
        .into_iter()
        .chain(models)
        .collect();
    sandbox.ok(&arguments);
    let written = fs::read_to_string(sandbox.path("models.md")).unwrap();
    if agree(&written, &fs::read_to_string(&page).unwrap()) {
        return;
    }
    assert!(
        std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always"),
        "docs/models.md: `cargo bless --test it cli` writes it"
    );
    fs::write(&page, written).unwrap();
}
