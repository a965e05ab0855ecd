//! Whether a file of masks can restrict the attention of a graph.

use vitcod_support::problems::{Collector, Problems};

use super::{MAX_HEADS, MAX_TOKENS};
use crate::ir::{Graph, OpData, OpKind};

/// Attention that masks of a file cannot restrict: all problems, a line each, with the ONNX nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "masks cannot restrict its attention:\n{problems}\ncompile the model without --masks, or prune \
     and compile a part of it (--inputs, --outputs) that has none of this"
)]
pub struct Unprunable {
    /// The problems.
    pub problems: Problems<String>,
}

/// Checks that a canonical graph with all rows can be compiled with masks from a file: every
/// attention is among all tokens, in as many heads as the others, and its scores are pruned by
/// nothing that only a run knows.
///
/// # Errors
/// All attentions for which this is not so, or there is none.
pub fn check(graph: &Graph) -> Result<(), Unprunable> {
    let attentions: Vec<_> = (graph.order.iter())
        .filter_map(|op| match graph.op(*op).kind {
            OpKind::Attention { heads, windows, .. } => {
                let data = graph.op(*op);
                let [queries, keys] = [0, 1].map(|i| graph.ty(data.operands[i]).shape[0] / windows);
                Some((*op, windows, [heads, queries, keys]))
            }
            _ => None,
        })
        .collect();
    let mut problems = Collector::new();
    let Some((first, _, shape)) = attentions.first().copied() else {
        problems.push(|| "the model has no attention".to_owned());
        return problems.finish().map_err(|problems| Unprunable { problems });
    };
    for (op, windows, found) in &attentions {
        let problem = if *windows > 1 {
            Some(format!("attention in {windows} windows, expected attention among all tokens"))
        } else if *found != shape {
            Some(format!(
                "[heads, queries, keys] = {found:?}, expected {shape:?} as in {}: a file holds \
                 masks of one shape",
                graph.describe(first)
            ))
        } else {
            of_scores(graph, graph.op(*op))
        };
        if let Some(problem) = problem {
            problems.push(|| format!("{}: {problem}", graph.describe(*op)));
        }
    }
    let heads = attentions.len() * shape[0];
    if heads > MAX_HEADS || shape[1..].iter().any(|tokens| *tokens > MAX_TOKENS) {
        problems.push(|| {
            format!(
                "{heads} heads of all layers and {shape:?} [heads, queries, keys] of a layer, \
                 expected at most {MAX_HEADS} heads and {MAX_TOKENS} tokens"
            )
        });
    }
    problems.finish().map_err(|problems| Unprunable { problems })
}

/// What adds to the scores of an attention and is known only when it runs.
fn of_scores(graph: &Graph, attention: &OpData) -> Option<String> {
    if let Some(keys) = graph.attention_keys(attention) {
        let input = graph.inputs.iter().find(|input| input.value == keys);
        let name = input.map_or_else(|| keys.to_string(), |input| format!("{:?}", input.name));
        return Some(format!(
            "input {name} prunes keys, expected scores without a mask that is an input; export \
             the model with tokens that all count"
        ));
    }
    let bias = graph.attention_bias(attention)?;
    let is_computed = graph.constant(bias).is_none();
    is_computed.then(|| "the bias of the scores is computed, expected a constant".to_owned())
}
