//! A pass outside the compiler: a function from a graph to a graph.
//!
//! docs/adding-a-pass.md shows how a pass becomes part of the compiler.
//!
//! ```sh
//! cargo run --release --example write_a_pass
//! ```

use anyhow::{Context as _, anyhow};
use vitcod_compiler::calibration::{Calibration, noise};
use vitcod_compiler::codegen;
use vitcod_compiler::ir::{Graph, OpKind, UnaryFn, Value, text};
use vitcod_compiler::quantise::quantise;
use vitcod_emulator::Emulator;
use vitcod_isa::machine::Machine;

const GRAPH: &str = r#"
graph "two_relus" canonical {
    v0 = input "x" : f32[64,48]
    v1 = unary(v0) {f=relu}
    v2 = unary(v1) {f=relu}
    output "y" [64,48] = v2
}
"#;

fn main() -> anyhow::Result<()> {
    let graph = text::parse(GRAPH, &mut |_| Err("no files".to_owned()))
        .map_err(|error| anyhow!(error.render("GRAPH", GRAPH)))?;
    let merged = merge_relus(&graph);
    merged.verify()?;
    println!("{graph}\nafter the pass:\n\n{merged}");
    println!("{} cycles before, {} after", cycles(&graph)?, cycles(&merged)?);
    Ok(())
}

/// Merges a ReLU of a ReLU.
fn merge_relus(graph: &Graph) -> Graph {
    let mut merged = graph.clone();
    for op in &graph.order {
        let result = graph.op(*op).results[0];
        if let Some(x) = relu(graph, result)
            && relu(graph, x).is_some()
        {
            merged.replace_uses(result, x);
        }
    }
    merged.compacted()
}

/// The operand of the ReLU that produces a value.
fn relu(graph: &Graph, value: Value) -> Option<Value> {
    let (_, op) = graph.producer(value)?;
    match op.kind {
        OpKind::Unary { f: UnaryFn::Relu } => Some(op.operands[0]),
        _ => None,
    }
}

/// What the rest of the compiler makes of a graph.
fn cycles(graph: &Graph) -> anyhow::Result<u64> {
    let samples = noise(graph, 4);
    let views: Vec<_> = samples.iter().map(|sample| sample.view()).collect();
    let quantised = quantise(graph, &Calibration::run(graph, &views)?)?;
    let machine = Machine::preset("vitcod").context("a preset")?;
    let program = codegen::compile(&quantised, &machine, codegen::Options::default())?;
    Ok(Emulator::new(program.into())?.timing().total())
}
