use std::fs;

use serde_json::Value;

use super::*;

#[test]
fn a_program_has_a_memory_plan_and_pictures() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let files = ["--memory-json", "m.json", "--memory-image", "m.png", "--timeline", "t.png"];
    let text = sandbox.ok(&[&["inspect", "p.vitcod", "--memory"], &files[..]].concat());
    let plan: Value = serde_json::from_slice(&fs::read(sandbox.path("m.json")).unwrap()).unwrap();
    let buffers = plan["buffers"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let (cycles, capacity) = (number(&plan["cycles"]), number(&plan["capacity_bytes"]));
    for buffer in buffers {
        let [address, end, bytes] =
            ["address", "end_address", "bytes"].map(|key| number(&buffer[key]));
        assert!(
            address < end && end <= capacity && 0 < bytes && bytes <= end - address,
            "{buffer}"
        );
        let [start, end] = ["start_cycle", "end_cycle"].map(|key| number(&buffer[key]));
        assert!(start < end && end <= cycles, "{buffer}");
        assert!(!buffer["layer"].as_str().unwrap().is_empty(), "{buffer}");
    }
    for kind in ["weights", "params", "activations", "scores", "probabilities", "statistics"] {
        assert!(buffers.iter().any(|buffer| buffer["data"] == kind), "{kind}");
        assert!(text.contains(kind), "{kind}: {text}");
    }
    // What the plan says is what the report counts.
    sandbox.ok(&[
        "run",
        "p.vitcod",
        "--timing-only",
        "--report",
        "r.json",
        "--timeline",
        "run.png",
    ]);
    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["cycles"]["total"], plan["cycles"]);
    assert!(number(&plan["occupancy"]["peak_bytes"]) <= number(&report["sram"]["touched_bytes"]));
    assert_eq!(
        fs::read(sandbox.path("run.png")).unwrap(),
        fs::read(sandbox.path("t.png")).unwrap()
    );
    for picture in ["m.png", "t.png"] {
        assert!(fs::read(sandbox.path(picture)).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }

    // A part of the run.
    sandbox.ok(&["inspect", "p.vitcod", "--timeline", "part.png", "--cycles", "100..200"]);
    assert_ne!(
        fs::read(sandbox.path("part.png")).unwrap(),
        fs::read(sandbox.path("t.png")).unwrap()
    );
}

#[test]
fn files_without_a_plan_are_refused() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let error =
        sandbox.fails(&["inspect", "p.vitcod", "--timeline", "t.png", "--cycles", "9999999.."]);
    assert!(error.contains("--cycles: cycles 9999999..: expected a range within the"), "{error}");
    let error = sandbox.fails(&["inspect", &model(&format!("{VIT}.onnx")), "--memory"]);
    assert!(error.contains("only programs have a memory plan"), "{error}");
    let error = sandbox.fails(&["inspect", "p.vitcod", "--memory-image", "p.vitcod"]);
    assert!(error.contains("is an input"), "{error}");
    for wrong in ["5", "a..b", "1..2..3", "-1..2"] {
        let output = sandbox
            .command(&["inspect", "p.vitcod", "--timeline", "t.png", "--cycles", wrong])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
