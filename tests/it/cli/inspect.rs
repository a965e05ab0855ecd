use std::fs;

use serde_json::Value;

use super::*;

#[test]
fn a_machine_states_its_configuration_and_its_area() {
    let sandbox = Sandbox::new();
    let mut totals = Vec::new();
    for machine in ["vitcod", "vitcod-ideal"] {
        let text = sandbox.ok(&["inspect", "--machine", machine, "--machine-json", "m.json"]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(format!("inspect_{machine}"), lines.join("\n"));

        let json: Value =
            serde_json::from_slice(&fs::read(sandbox.path("m.json")).unwrap()).unwrap();
        assert_eq!(json["machine"]["lines"]["count"], 64);
        assert_eq!(json["paper_mm2"], 3.0);
        let components = json["area"]["components"].as_array().unwrap();
        let sum: f64 = components.iter().map(|part| part["mm2"].as_f64().unwrap()).sum();
        assert!((sum - json["area"]["total_mm2"].as_f64().unwrap()).abs() < 1e-9);
        let total = format!(" {sum:.3} ");
        assert!(text.contains(&total), "{total} is not in {text}");
        totals.push(total);
    }
    assert_ne!(totals[0], totals[1]);
}

#[test]
fn a_machine_in_a_file_may_state_areas() {
    let sandbox = Sandbox::new();
    let text = ["vitcod", "area"].map(|name| file(&format!("isa/machines/{name}.toml")));
    let text = text.map(|path| fs::read_to_string(path).unwrap()).concat();
    let free = text.replace("requantiser_um2 = 1970", "requantiser_um2 = 0");
    fs::write(sandbox.path("mine.toml"), free).unwrap();
    let text = sandbox.ok(&["inspect", "--machine", "mine.toml"]);
    assert!(text.contains("256 x 0 um2"), "{text}");
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
