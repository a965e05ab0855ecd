//! Plans as decisions: what `--explain` prints.

use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::buffers::Declared;
use crate::ir::{Graph, Op};

/// The reason of a choice by [weighted cycles](crate::codegen::estimate::Estimate).
pub(crate) const FEWEST_WEIGHTED_CYCLES: &str =
    "the fewest cycles, with more on top for those of the channel";

/// A decision about the layer of an operation.
pub(crate) fn decision(
    graph: &Graph,
    layer: Op,
    subject: &str,
    chosen: String,
    reason: &str,
    alternatives: Vec<Alternative>,
) -> Decision {
    Decision {
        layer: graph.layer_name(layer),
        subject: subject.to_owned(),
        chosen,
        reason: reason.to_owned(),
        alternatives,
    }
}

/// The buffers of a plan.
pub(crate) fn buffers(graph: &Graph, layer: Op, declared: &Declared) -> Decision {
    let reason = "what its tiles take of the scratchpad";
    decision(graph, layer, "buffers", declared.to_string(), reason, Vec::new())
}
