use std::fs;

use serde_json::Value;

use super::*;

/// What makes `vitcod-ideal` a machine that could be built.
const ORGANISATION: &str = "
[banks]
count = 32
word_bytes = 64
accesses_per_cycle = 2
row_ports = 2

[slots]
denser_read = 4
denser_write = 8
sparser_read = 2
sparser_write = 8
encoder = 1
decoder = 1
softmax = 1
vector = 2
load = 3
store = 1

[datapath]
operand_bytes = 128
accumulators = 16
requantisers = 4
mode_switch_cycles = 12
dividers = 24
divider_cycles = 32
roots = 8
root_cycles = 95
token_cycles = 4
";

#[test]
fn a_machine_states_its_configuration_and_its_area() {
    let sandbox = Sandbox::new();
    let ideal = fs::read_to_string(file("isa/machines/vitcod-ideal.toml")).unwrap();
    fs::write(sandbox.path("banked.toml"), format!("{ideal}{ORGANISATION}")).unwrap();
    for machine in ["vitcod-ideal", "banked.toml"] {
        let arguments = ["inspect", "--machine", machine, "--machine-json", "m.json"];
        let text = sandbox.ok(&arguments);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(format!("inspect_{machine}"), lines.join("\n"));

        let json: Value =
            serde_json::from_slice(&fs::read(sandbox.path("m.json")).unwrap()).unwrap();
        assert_eq!(json["machine"]["lines"]["count"], 64);
        assert_eq!(json["paper_mm2"], 3.0);
        let components = json["area"]["components"].as_array().unwrap();
        let sum: f64 = components.iter().map(|part| part["mm2"].as_f64().unwrap()).sum();
        assert!((sum - json["area"]["total_mm2"].as_f64().unwrap()).abs() < 1e-9);
        let total = format!("{sum:.3}");
        assert!(text.contains(&total), "{total} is not in {text}");
    }
}

#[test]
fn a_machine_and_a_file_are_not_inspected_together() {
    let sandbox = Sandbox::new();
    let status = |arguments: &[&str]| sandbox.command(arguments).output().unwrap().status.code();
    assert_eq!(status(&["inspect"]), Some(2));
    assert_eq!(status(&["inspect", "--machine", "vitcod", "p.vitcod"]), Some(2));
    assert_eq!(status(&["inspect", "--machine", "vitcod", "--memory"]), Some(2));
    assert_eq!(status(&["inspect", "p.vitcod", "--machine-json", "m.json"]), Some(2));
    let error = sandbox.fails(&["inspect", "--machine", "vitcot", "--machine-json", "m.json"]);
    assert!(error.contains("unknown machine \"vitcot\""), "{error}");
}
