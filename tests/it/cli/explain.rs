use std::fs;

use serde_json::Value;

use super::*;

#[test]
fn every_layer_says_what_was_costed_and_why_one_way_won() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let arguments = ["compile", &onnx, "-o", "p.vitcod", "--calibration", &input()];
    let text = sandbox.ok(&[&arguments[..], &["--explain", "--explain-json", "e.json"]].concat());
    assert!(text.contains("> coarse tiles") || text.contains("> fine tiles"), "{text}");
    assert!(text.contains("weights stationary"), "{text}");
    assert!(text.contains("because: "), "{text}");

    let decisions: Value =
        serde_json::from_slice(&fs::read(sandbox.path("e.json")).unwrap()).unwrap();
    let decisions = decisions.as_array().unwrap();
    let of = |subject: &'static str| {
        decisions.iter().filter(move |decision| decision["subject"] == subject)
    };
    assert_eq!(of("plan").count(), 1);
    assert!(
        of("tiles").count() >= 8 && of("residence of the result").count() >= 8,
        "{decisions:?}"
    );
    for decision in of("tiles").chain(of("stripes")) {
        let alternatives = decision["alternatives"].as_array().unwrap();
        let chosen =
            alternatives.iter().filter(|alternative| alternative["name"] == decision["chosen"]);
        assert_eq!(chosen.count(), 1, "{decision}");
        assert!(
            alternatives
                .iter()
                .all(|other| other["cycles"].is_u64() && other["dram_bytes"].is_u64()),
            "{decision}"
        );
    }

    // The program carries them; otherwise it is the same, byte for byte but for the header.
    let listing = |sandbox: &Sandbox| {
        let text = sandbox.ok(&["disasm", "p.vitcod"]);
        let explains =
            |line: &&str| line.starts_with(".decision") || line.starts_with(".alternative");
        let (explained, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(explains);
        (explained.len(), rest.join("\n"))
    };
    let (explained, program) = listing(&sandbox);
    sandbox.ok(&arguments);
    let (recorded, plain) = listing(&sandbox);
    assert_eq!(plain, program);
    assert!(explained > recorded && explained > decisions.len());
}
