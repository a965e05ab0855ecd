//! Decisions of plans, as `--explain` prints them.

use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::buffers::Declared;
use crate::ir::{Graph, Op};

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
    let reason = "scratchpad bytes that the plan declares";
    decision(graph, layer, "buffers", declared.to_string(), reason, Vec::new())
}
