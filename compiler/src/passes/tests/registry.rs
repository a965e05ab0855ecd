//! The registry.

use vitcod_isa::machine::Machine;

use super::Builder;
use crate::ir::{Graph, Stage};
use crate::passes::{
    CANONICALISE, Context, Level, PASSES, PassError, find, pipeline, run, run_on_graph,
};

#[test]
fn the_pipeline_is_made_of_known_passes_whose_stages_follow() {
    let mut level = Level::Graph(Stage::Imported);
    for name in CANONICALISE {
        let pass = find(name).unwrap();
        assert_eq!(pass.requires, level, "{name}");
        level = pass.establishes;
    }
    assert_eq!(level, Level::Graph(Stage::Canonical));
    assert!(
        PASSES.iter().all(|pass| pass.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
    );
}

#[test]
fn the_hook_sees_every_result() {
    let mut b = Builder::new();
    let x = b.input(&[1, 2, 3]);
    let y = b.linear(x, 4, "fc");
    let mut seen = Vec::new();
    let graph = b.finish(&[y]);
    let names = ["cse", "layer-norm", "gelu", "canonicalise", "drop-dead-rows"];
    run(graph.into(), &names, &Context::default(), |pass, module| {
        let graph = module.graph().unwrap();
        seen.push((pass.name, graph.stage, graph.order.len()));
    })
    .unwrap();
    let stages = seen
        .iter()
        .map(|(name, stage, _)| format!("{name}: {stage}"))
        .collect::<Vec<_>>()
        .join(", ");
    assert_eq!(
        stages,
        "cse: imported, layer-norm: imported, gelu: imported, canonicalise: canonical, drop-dead-rows: canonical"
    );
    assert_eq!(seen.iter().map(|(.., ops)| *ops).collect::<Vec<_>>(), [2, 2, 2, 1, 1]);
}

#[test]
fn wrong_names_and_stages_are_errors() {
    let mut b = Builder::new();
    let x = b.input(&[1, 2, 3]);
    let y = b.linear(x, 4, "fc");
    let graph = b.finish(&[y]);
    let unknown = run(graph.clone().into(), &["cse", "speed"], &Context::default(), |_, _| {
        panic!("nothing may run")
    })
    .unwrap_err();
    let names: Vec<&str> = PASSES.iter().map(|pass| pass.name).collect();
    assert_eq!(
        unknown.to_string(),
        format!("unknown pass \"speed\"; the passes are {}", names.join(", "))
    );
    let near = run_on_graph(&graph, &["gleu"], &Context::default()).unwrap_err().to_string();
    assert!(
        near.starts_with("unknown pass \"gleu\"; did you mean `gelu`? the passes are"),
        "{near}"
    );
    let stage = run_on_graph(&graph, &["drop-dead-rows"], &Context::default()).unwrap_err();
    let (requires, found) = (Level::Graph(Stage::Canonical), Level::Graph(Stage::Imported));
    assert_eq!(stage, PassError::Level { pass: "drop-dead-rows", requires, found });
}

#[test]
fn passes_follow_each_other() {
    let mut level = Level::Graph(Stage::Imported);
    for pass in PASSES {
        assert_eq!(pass.requires, level, "{}", pass.name);
        level = pass.establishes;
    }
    assert_eq!(level, Level::Program);
}

#[test]
fn pipelines_leave_out_what_is_not_asked_for() {
    let context = Context::default();
    assert_eq!(pipeline(Stage::Imported, Stage::Canonical, &context), CANONICALISE);
    assert_eq!(
        pipeline(Stage::Canonical, Stage::Split, &context),
        [
            "drop-dead-rows",
            "centre-channels",
            "balance-channels",
            "fit-tables",
            "quantise",
            "split"
        ]
    );
    let machine = Machine::preset("vitcod").expect("a preset");
    let context = Context { machine: Some(&machine), ..context };
    assert_eq!(
        pipeline(Stage::Canonical, Stage::Canonical, &context),
        ["drop-dead-rows", "auto-encoders"]
    );
    assert!(pipeline(Stage::Split, Stage::Imported, &context).is_empty());
}

#[test]
fn what_is_missing_is_what_is_declared() {
    for pass in PASSES {
        // Only what graphs become may need something.
        let Level::Graph(stage) = pass.requires else {
            assert!(pass.needs.is_empty(), "{}", pass.name);
            continue;
        };
        match pass.run(Graph::new("empty", stage).into(), &Context::default()) {
            Err(PassError::Needs { need, .. }) => assert_eq!(pass.needs, [need]),
            _ => assert!(pass.needs.is_empty(), "{}", pass.name),
        }
    }
}
