use std::fs;

use serde_json::Value;

use super::attention::{typical, write_masks};
use super::*;

const CORE: [&str; 5] = ["sensitivity", "--masks", "masks.npy", "--head-dim", "16"];

#[test]
fn changed_machines_are_compared_with_the_machine_itself() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let options =
        ["--set", "dram.bytes_per_cycle=0.5x,1", "--set", "sram.bytes=2048", "--report", "r.json"];
    let text = sandbox.ok(&[&CORE[..], &options].concat());
    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    let rows = report["machines"].as_array().unwrap();
    let values: Vec<Option<f64>> = rows.iter().map(|row| row["value"].as_f64()).collect();
    assert_eq!(values, [None, Some(76.8), Some(1.0), Some(2048.0)], "{text}");
    let cycles: Vec<Option<u64>> = rows.iter().map(|row| row["cost"]["cycles"].as_u64()).collect();
    assert!(cycles[0] < cycles[2], "{text}");
    // The machine itself is what `vitcod attention` compiles for.
    let attention = ["attention", "--masks", "masks.npy", "--head-dim", "16", "--timing-only"];
    sandbox.ok(&[&attention[..], &["--report", "a.json"]].concat());
    let attention: Value =
        serde_json::from_slice(&fs::read(sandbox.path("a.json")).unwrap()).unwrap();
    assert_eq!(rows[0]["cost"]["cycles"], attention["cycles"]["total"]);
    // Nothing fits 2 KB: the other rows stand, and the reason is printed.
    assert!(rows[3]["error"].as_str().unwrap().contains("bytes"), "{text}");
    assert!(text.contains("There is no program for:\n sram.bytes=2048: "), "{text}");
}

#[test]
fn without_settings_what_the_paper_leaves_open_is_changed() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let keys = |machine: &str| -> Vec<String> {
        let options = ["--machine", machine, "--report", "r.json"];
        sandbox.ok(&[&CORE[..], &options].concat());
        let report: Value =
            serde_json::from_slice(&fs::read(sandbox.path("r.json")).unwrap()).unwrap();
        let rows = report["machines"].as_array().unwrap();
        rows.iter().filter_map(|row| Some(row["key"].as_str()?.to_owned())).collect()
    };
    assert!(keys("vitcod").contains(&"banks.row_ports".to_owned()));
    let ideal = keys("vitcod-ideal");
    assert!(ideal.contains(&"dram.latency_cycles".to_owned()));
    assert!(ideal.iter().all(|key| !key.starts_with("banks.")), "it has none");
}

#[test]
fn wrong_settings_are_refused() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let error = |set: &str| sandbox.fails(&[&CORE[..], &["--set", set]].concat());
    let unknown = error("dram.latency_cycle=0");
    assert!(unknown.contains("dram.latency_cycles"), "{unknown}");
    let refused = error("banks.row_ports=0");
    assert!(refused.contains("banks.row_ports=0") && refused.contains("expected"), "{refused}");
    assert!(error("banks.row_ports=1.5").contains("banks.row_ports=1.5"));
    for set in ["dram.latency_cycles", "dram.latency_cycles=fast", "dram.latency_cycles=infx"] {
        let output = sandbox.command(&[&CORE[..], &["--set", set]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{set}");
    }
}
