//! The other operand of the add after a linear layer.

use crate::codegen::group::LinearGroup;
use crate::ir::{Graph, Value};

/// The operand of the add that is not the product of the layer.
pub(crate) struct Addend {
    pub(crate) value: Value,
    pub(crate) is_first: bool,
}

impl Addend {
    pub(crate) fn of(graph: &Graph, group: &LinearGroup) -> Option<Addend> {
        let operands = &graph.op(group.add?).operands;
        let last = group.luts.last().copied().unwrap_or(group.linear);
        // A product added to itself is not fused: it has two uses.
        let is_first = operands[1] == graph.op(last).results[0];
        Some(Addend { value: if is_first { operands[0] } else { operands[1] }, is_first })
    }
}
