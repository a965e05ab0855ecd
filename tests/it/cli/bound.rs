use std::fs;

use serde_json::Value;

use super::attention::{typical, write_masks};
use super::*;

const CORE: [&str; 5] = ["bound", "--masks", "masks.npy", "--head-dim", "16"];

#[test]
fn no_program_is_below_the_bound() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [70, 70], typical);
    for machine in ["vitcod", "vitcod-wide", "vitcod-ideal", "vitcod-sim"] {
        let options = ["--compressed-heads", "2", "--machine", machine, "--report", "r.json"];
        let text = sandbox.ok(&[&CORE[..], &options].concat());
        let report = |path: &str| -> Value {
            serde_json::from_slice(&fs::read(sandbox.path(path)).unwrap()).unwrap()
        };
        let bound = report("r.json");
        assert_eq!(bound["layers"].as_array().unwrap().len(), 2, "{text}");
        let attention = ["attention", "--timing-only", "--masks", "masks.npy", "--head-dim", "16"];
        sandbox.ok(&[&attention[..], &options].concat());
        let cycles = report("r.json")["cycles"]["total"].as_u64().unwrap();
        let least = bound["bound_cycles"].as_u64().unwrap();
        assert!(0 < least && least <= cycles, "{machine}: {least} {cycles}");
        assert!(bound["layer_by_layer_cycles"].as_u64().unwrap() >= least);
        assert!(text.contains(&format!("On {machine} ")), "{text}");
    }
}

#[test]
fn what_is_no_core_is_refused() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let error = sandbox.fails(&[&CORE[..], &["--compressed-heads", "4"]].concat());
    assert!(error.contains("masks.npy") && error.contains("4 compressed heads"), "{error}");
    let error = sandbox.fails(&["bound", "--masks", "masks.npy", "--head-dim", "0"]);
    assert!(error.contains("head dimension"), "{error}");
    let wide = sandbox.fails(&["bound", "--masks", "masks.npy", "--head-dim", "30000"]);
    assert!(wide.contains("rows of 65535 bytes"), "{wide}");
    let usage = sandbox.command(&["bound", "--masks", "masks.npy"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}
