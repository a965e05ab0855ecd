//! Linear layers and convolutions, in tiles of rows x output channels.
//!
//! If the activations are resident, or all their rows or all weights fit, the weights are
//! stationary: each tile of weights is loaded once and applied to all rows. Otherwise stripes of
//! rows are stationary and the weights are loaded once per stripe, or the depth is divided
//! ([`split_k`]): accumulators stay on chip while slices of activations and weights pass. The two
//! layers of an MLP can be interleaved ([`mlp`]). The choice among these, with the sizes of tiles,
//! is the candidate with the smallest estimate by the cost model ([`tiling`]). A convolution is a
//! product whose rows are windows; an instruction reads the windows of one row of the map.

mod addend;
mod extents;
mod form;
pub(crate) mod full_k;
mod layer;
pub(crate) mod mlp;
pub(crate) mod names;
mod operand;
mod split_k;
pub(crate) mod templates;
pub(crate) mod tiling;
mod weights;

use crate::estimate::fewest_weighted_cycles;
use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffers::Declared;
use crate::codegen::error::CodegenError;
use crate::codegen::group::LinearGroup;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::linear::extents::{Extents, Tiling};
use crate::codegen::lower::linear::layer::Layer;
use crate::codegen::lower::linear::tiling::{Costed, Memo};
use crate::ir::Graph;

/// How a linear layer with its lookups and adds is lowered.
pub(crate) struct LinearPlan<'g> {
    group: &'g LinearGroup,
    extents: Extents,
    tiling: Tiling,
    /// Rows per instruction at the boundaries of the layer.
    boundary_rows: usize,
    buffers: Declared,
    /// The best tiling of each kind.
    considered: Vec<Costed>,
}

/// Chooses the tiling with the fewest weighted cycles that fits `available` bytes.
///
/// # Errors
/// Not even the smallest tiles fit.
pub(crate) fn choose<'g>(
    planner: &Planner<'_>,
    memo: &mut Memo,
    group: &'g LinearGroup,
    available: u64,
) -> Result<LinearPlan<'g>, CodegenError> {
    let extents = Extents::of(planner, group);
    let considered = tiling::of_each_kind(planner, memo, &extents, available);
    let Some(Costed { tiling, .. }) = tiling::best(considered) else {
        let needed = extents.buffers(tiling::smallest(&extents)).bytes();
        return Err(planner.too_small(group.linear, needed, available));
    };
    let (buffers, considered) = (extents.buffers(tiling), considered.to_vec());
    let tile = [tiling.rows, tiling.channels, extents.k];
    let boundary_rows = full_k::boundary_rows(planner.machine, extents.out, tile);
    Ok(LinearPlan { group, extents, tiling, boundary_rows, buffers, considered })
}

/// Emits a linear layer.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &LinearPlan<'_>) {
    builder.declare(&plan.buffers);
    let layer = Layer::new(builder, plan.group, plan.extents);
    if plan.tiling.depth < plan.extents.k {
        layer.split_k(builder, plan.tiling);
    } else {
        layer.full_k(builder, plan.tiling, plan.boundary_rows);
    }
}

impl LinearPlan<'_> {
    /// The choices, with the alternatives.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        let alternative = |costed: &Costed| Alternative {
            name: self.extents.describe(costed.tiling),
            cycles: costed.estimate.cycles,
            dram_bytes: costed.estimate.dram_bytes,
        };
        let tiles = explain::decision(
            graph,
            self.group.linear,
            "tiles",
            self.extents.describe(self.tiling),
            &fewest_weighted_cycles(),
            self.considered.iter().map(alternative).collect(),
        );
        vec![tiles, explain::buffers(graph, self.group.linear, &self.buffers)]
    }
}

#[cfg(test)]
mod tests;
