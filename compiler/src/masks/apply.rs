//! Applies masks to a canonical graph: as addends of the scores.

use vitcod_support::problems::{Collector, Problems};

use super::{Mask, Masks};
use crate::ir::layout::prunes;
use crate::ir::{Graph, Op, OpKind, Stage};

/// Masks that do not match a graph: all mismatches, one line each, with the ONNX nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the masks do not match the model:\n{problems}")]
pub struct ApplyError {
    /// The mismatches.
    pub problems: Problems<String>,
}

/// Restricts the i-th `attention` of a canonical graph, in graph order, to the entries that layer i
/// of the masks keeps.
///
/// The masks become the attention's fourth operand `[heads, queries, keys]`: 0 for kept entries,
/// -inf for pruned ones. An existing bias (which may contain a mask of the model) is preserved for
/// the kept entries. A layer whose masks keep everything is unchanged.
///
/// Masks cover all queries, so they apply to a graph before the pass `drop-dead-rows`, which also
/// removes the dead rows of the masks: see
/// [`import_model`](crate::frontend::import_model).
///
/// # Errors
/// The graph is not canonical; masks and attentions differ in layers, heads, queries or keys; or a
/// row keeps no entry of those that the model's own mask keeps. All mismatches, but of each
/// attention only the first row.
pub fn apply(graph: &Graph, masks: &Masks) -> Result<Graph, ApplyError> {
    if graph.stage != Stage::Canonical {
        let problem = format!("the graph is {}, not canonical", graph.stage);
        return Err(ApplyError { problems: problem.into() });
    }
    let attentions: Vec<Op> =
        graph.order.iter().copied().filter(|op| heads_of(graph, *op).is_some()).collect();
    let layers = masks.layers();
    let mut problems = Collector::new();
    if attentions.len() != layers.len() {
        let which = match (attentions.get(layers.len()), attentions.last()) {
            (Some(op), _) => format!("; the first without masks is {}", graph.describe(*op)),
            (None, Some(op)) => format!("; the last is {}", graph.describe(*op)),
            (None, None) => String::new(),
        };
        let (layers, attentions) = (layers.len(), attentions.len());
        problems.push(|| {
            format!("layers of masks: {layers}, attentions of the model: {attentions}{which}")
        });
    }
    let mut masked = graph.clone();
    for (layer, (op, heads)) in attentions.iter().zip(layers).enumerate() {
        match bias(graph, *op, heads) {
            Ok(None) => {}
            Ok(Some(bias)) => {
                let shape = [heads.len(), heads[0].queries(), heads[0].keys()];
                let bias = masked.add_f32("mask", shape, &bias);
                let operands = &mut masked.op_mut(*op).operands;
                operands.truncate(3);
                operands.push(bias);
                operands.extend(graph.attention_keys(graph.op(*op)));
            }
            Err(problem) => {
                problems.push(|| format!("{}: layer {layer}: {problem}", graph.describe(*op)))
            }
        }
    }
    problems.finish().map_err(|problems| ApplyError { problems })?;
    Ok(masked.compacted())
}

/// Number of heads, if an operation is an attention.
fn heads_of(graph: &Graph, op: Op) -> Option<usize> {
    match graph.op(op).kind {
        OpKind::Attention { heads, .. } => Some(heads),
        _ => None,
    }
}

/// The bias of an attention with masks applied; `None` if they prune nothing.
fn bias(graph: &Graph, attention: Op, masks: &[Mask]) -> Result<Option<Vec<f32>>, String> {
    let data = graph.op(attention);
    let operands = &data.operands;
    if let OpKind::Attention { windows, .. } = data.kind
        && windows > 1
    {
        return Err(format!("masks are not supported for attention in {windows} windows"));
    }
    let rows = |operand: usize| graph.ty(operands[operand]).shape[0];
    let expected = [heads_of(graph, attention).unwrap_or(0), rows(0), rows(1)];
    // All masks of a layer have the same shape, and there is at least one.
    let found = [masks.len(), masks[0].queries(), masks[0].keys()];
    if found != expected {
        return Err(format!(
            "masks of shape {found:?}: expected [heads, queries, keys] = {expected:?}"
        ));
    }
    if masks.iter().all(|mask| mask.kept() == mask.entries()) {
        return Ok(None);
    }
    let [heads, queries, keys] = expected;
    let mut bias = match graph.attention_bias(data) {
        Some(bias) => graph.const_f32(bias).ok_or("the bias of the scores is not a constant")?,
        None => vec![0.0; heads * queries * keys],
    };
    for (i, row) in bias.chunks_exact_mut(keys).enumerate() {
        let (head, query) = (i / queries, i % queries);
        for (key, bias) in row.iter_mut().enumerate() {
            if !masks[head].is_kept(query, key) {
                *bias = f32::NEG_INFINITY;
            }
        }
        if row.iter().all(|bias| prunes(*bias)) {
            return Err(format!(
                "head {head}: row {query} is pruned entirely by its mask and the model's own"
            ));
        }
    }
    Ok(Some(bias))
}

#[cfg(test)]
mod tests;
