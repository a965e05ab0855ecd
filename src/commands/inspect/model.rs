//! The contents of an ONNX model.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use vitcod_compiler::frontend;
use vitcod_compiler::host::HostNode;
use vitcod_compiler::ir::layout::prunes;
use vitcod_compiler::ir::{Graph, OpData, OpKind};
use vitcod_compiler::onnx::{self, Dim, Model, ValueInfo};

use crate::hosted;
use crate::import::{self, ImportArgs};

/// Prints a model as exported, then after canonicalisation.
pub(super) fn print(path: &Path, import: &ImportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    exported(&onnx::load(path)?, out)?;
    // What follows may fail, and what has been found is worth seeing then.
    out.flush()?;
    let imported = import::import(path, import, frontend::Options::default())?;
    canonical(&imported.graph, out)?;
    if let Some(division) = &imported.division {
        writeln!(out, "\n{}", hosted::summary(division))?;
        for HostNode { node, place, reason, .. } in &division.nodes {
            if let Some(reason) = reason {
                writeln!(out, "  {place}: {reason}")?;
            } else {
                writeln!(out, "  {place}: {node}")?;
            }
        }
    }
    Ok(())
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
    writeln!(out, "operators   {}", graph.nodes.len())?;
    counts(&graph.operator_counts(), out)
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
    writeln!(out, "parameters  {}", graph.constant_elements())?;
    writeln!(out, "MACs        {}", multiplications(graph))?;
    print_masks(graph, out)
}

/// Prints how much of attention is pruned, if any.
fn print_masks(graph: &Graph, out: &mut dyn Write) -> anyhow::Result<()> {
    let (mut masked, mut attentions, mut kept, mut entries) = (0, 0, 0, 0);
    for op in graph.order.iter().map(|op| graph.op(*op)) {
        if let OpKind::Attention { .. } = op.kind {
            attentions += 1;
            masked += usize::from(op.operands.len() > 3);
            let layer = scores(graph, op);
            (kept, entries) = (kept + layer.kept, entries + layer.all);
        }
    }
    if kept < entries {
        let pruned = 100.0 * (entries - kept) as f64 / entries as f64;
        writeln!(
            out,
            "masks       {masked} of {attentions} attentions, {pruned:.2} % of all {entries} scores pruned"
        )?;
    }
    Ok(())
}

/// Numbers of scores of an attention.
struct Scores {
    all: u64,
    /// Scores that its mask, if it has one, keeps.
    kept: u64,
}

fn scores(graph: &Graph, attention: &OpData) -> Scores {
    let OpKind::Attention { heads, windows, .. } = attention.kind else {
        return Scores { all: 0, kept: 0 };
    };
    let rows = |operand: usize| graph.ty(attention.operands[operand]).matrix().0 as u64;
    let all = heads as u64 * rows(0) * rows(1) / windows as u64;
    let bias = graph
        .attention_bias(attention)
        .and_then(|bias| graph.const_f32(bias))
        .filter(|bias| !bias.is_empty());
    // Windows may share a bias.
    let kept = |bias: Vec<f32>| {
        let kept = bias.iter().filter(|bias| !prunes(**bias)).count() as u64;
        kept * (all / bias.len() as u64)
    };
    Scores { all, kept: bias.map_or(all, kept) }
}

fn counts(operators: &BTreeMap<&str, usize>, out: &mut dyn Write) -> anyhow::Result<()> {
    for (operator, count) in operators {
        writeln!(out, "  {count:>6} {}", operator.escape_debug())?;
    }
    Ok(())
}

/// Multiplications of the linear layers, auto-encoders and attention of a canonical graph, without
/// pruned scores.
fn multiplications(graph: &Graph) -> u64 {
    let operations = graph.order.iter().map(|op| {
        let data = graph.op(*op);
        let matrix = |i: usize| {
            let (rows, columns) = graph.ty(data.operands[i]).matrix();
            (rows as u64, columns as u64)
        };
        match data.kind {
            OpKind::Linear {} => matrix(0).0 * matrix(0).1 * matrix(1).0,
            OpKind::MixHeads { heads_out, .. } => matrix(0).0 * matrix(0).1 * heads_out as u64,
            OpKind::Attention { heads, .. } => {
                let features = (matrix(0).1 + matrix(2).1) / heads as u64;
                scores(graph, data).kept * features
            }
            _ => 0,
        }
    });
    operations.sum()
}
