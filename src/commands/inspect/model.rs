//! What an ONNX model holds.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use vitcod_compiler::ir::{Graph, OpKind, ValueDef};
use vitcod_compiler::onnx::{self, Dim, Model, ValueInfo};

use crate::pipeline::{self, Dims};

/// Prints a model as it is in the file, then what the compiler makes of it.
pub(super) fn print(path: &Path, dims: &Dims, out: &mut dyn Write) -> anyhow::Result<()> {
    exported(&onnx::load(path)?, out)?;
    // What follows may fail, and what has been found is worth seeing then.
    out.flush()?;
    canonical(&pipeline::import(path, dims)?, out)
}

fn exported(model: &Model, out: &mut dyn Write) -> anyhow::Result<()> {
    let graph = &model.graph;
    let opsets: Vec<String> = model
        .opset
        .iter()
        .map(|(domain, version)| match domain.as_str() {
            "" => version.to_string(),
            domain => format!("{} {version}", domain.escape_debug()),
        })
        .collect();
    writeln!(out, "model       {:?}", graph.name)?;
    writeln!(out, "producer    {:?} {:?}", model.producer_name, model.producer_version)?;
    writeln!(out, "opset       {}", opsets.join(", "))?;
    for (kind, values) in [("input", &graph.inputs), ("output", &graph.outputs)] {
        for ValueInfo { name, data_type, shape } in values {
            let shape: Vec<String> = shape.iter().map(extent).collect();
            writeln!(out, "{kind:<11} {name:?} {data_type}[{}]", shape.join(", "))?;
        }
    }
    let constants: usize = graph.initializers.values().map(|tensor| tensor.data().len()).sum();
    writeln!(out, "constants   {} in {constants} B", graph.initializers.len())?;
    let mut operators: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &graph.nodes {
        *operators.entry(&node.op_type).or_default() += 1;
    }
    writeln!(out, "operators   {}", graph.nodes.len())?;
    counts(&operators, out)
}

fn extent(dim: &Dim) -> String {
    match dim {
        Dim::Known(extent) => extent.to_string(),
        Dim::Symbol(name) => name.escape_debug().to_string(),
        Dim::Unknown => "?".to_owned(),
    }
}

fn canonical(graph: &Graph, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "\ncanonical   {} operations", graph.order.len())?;
    counts(&graph.operator_counts(), out)?;
    let constants = graph.values().filter(|(_, data)| matches!(data.def, ValueDef::Const(_)));
    let parameters: usize = constants.map(|(_, data)| data.ty.elements()).sum();
    writeln!(out, "parameters  {parameters}")?;
    writeln!(out, "MACs        {}", multiplications(graph))?;
    Ok(())
}

fn counts(operators: &BTreeMap<&str, usize>, out: &mut dyn Write) -> anyhow::Result<()> {
    for (operator, count) in operators {
        writeln!(out, "  {count:>6} {}", operator.escape_debug())?;
    }
    Ok(())
}

/// Multiplications of the linear layers and of attention in a canonical graph.
fn multiplications(graph: &Graph) -> u64 {
    let operations = graph.order.iter().map(|op| {
        let data = graph.op(*op);
        let matrix = |i: usize| {
            let (rows, columns) = graph.ty(data.operands[i]).matrix();
            (rows as u64, columns as u64)
        };
        match data.kind {
            OpKind::Linear {} => matrix(0).0 * matrix(0).1 * matrix(1).0,
            OpKind::Attention { .. } => matrix(0).0 * matrix(1).0 * (matrix(0).1 + matrix(2).1),
            _ => 0,
        }
    });
    operations.sum()
}
