//! Masks as what is added to the scores of a canonical graph.

use vitcod_support::problems::{Collector, Problems};

use super::{Mask, Masks};
use crate::ir::layout::prunes;
use crate::ir::{Graph, Op, OpKind, Stage};

/// What of some masks does not fit a graph: all of it, one line each, with the ONNX nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the masks do not fit the model:\n{problems}")]
pub struct ApplyError {
    /// What is wrong.
    pub problems: Problems<String>,
}

/// A canonical graph whose i-th `attention`, in the order of the graph, computes only what the
/// masks of layer i keep.
///
/// The masks become the attention's fourth operand `[heads, queries, keys]`: 0 where an entry is
/// kept, -inf where it is pruned. Of a bias that is there already, a baked mask for one, the kept
/// entries stay. A layer whose masks keep everything stays as it is.
///
/// Masks are of all queries, so the graph is one before the pass `drop-dead-rows`, which takes the
/// rows that it removes out of the masks, too: see
/// [`import_file_with_masks`](crate::frontend::import_file_with_masks).
///
/// # Errors
/// The graph is not canonical; layers, heads, queries or keys of masks and attentions differ; or a
/// row keeps nothing of what a baked mask has left it. Every such place, but of each attention the
/// first row only.
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

/// Number of heads of an operation that is an attention.
fn heads_of(graph: &Graph, op: Op) -> Option<usize> {
    match graph.op(op).kind {
        OpKind::Attention { heads, .. } => Some(heads),
        _ => None,
    }
}

/// What an attention adds to its scores under masks; `None` where they prune nothing.
fn bias(graph: &Graph, attention: Op, masks: &[Mask]) -> Result<Option<Vec<f32>>, String> {
    let data = graph.op(attention);
    let operands = &data.operands;
    if let OpKind::Attention { windows, .. } = data.kind
        && windows > 1
    {
        return Err(format!("attention within {windows} windows takes no masks"));
    }
    let rows = |operand: usize| graph.ty(operands[operand]).shape[0];
    let expected = [heads_of(graph, attention).unwrap_or(0), rows(0), rows(1)];
    // The heads of a layer are alike, and there is one at least.
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
        Some(bias) => graph.const_f32(bias).ok_or("what is added to the scores is no constant")?,
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
