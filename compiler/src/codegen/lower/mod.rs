//! Lowering: turns groups into tile-sized instructions on buffers, in two steps.
//!
//! [`choose`] decides how a group is lowered. It is pure: it emits nothing and logs nothing. Its
//! result, a [`GroupPlan`], declares the buffers of the group. The check that the group fits, the
//! allocation in [`emit`] and the output of `--explain` all use that declaration.

mod attention;
mod autoencoder;
pub(crate) mod context;
mod copy;
mod elementwise;
mod embed;
mod explain;
mod fit;
mod linear;
mod row_gather;
mod row_mean;
mod row_tiles;
mod softmax_form;
mod sparse_attention;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use vitcod_isa::instr::LineSet;
use vitcod_isa::program::Decision;

use crate::codegen::builder::Builder;
use crate::codegen::error::CodegenError;
use crate::codegen::group::Group;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::sparse_attention::SparseTiling;
use crate::ir::{Graph, Op};

/// Choices that later groups of the same shape reuse.
pub(crate) use crate::codegen::lower::linear::mlp::Memo;

/// Packing of lists.
pub(crate) use crate::codegen::lower::sparse_attention::packing;

/// Lists that lowerings of the same graph share.
pub(crate) use crate::codegen::lower::sparse_attention::Memo as Lists;

/// How a group is lowered.
pub(crate) enum GroupPlan<'g> {
    Linear(linear::LinearPlan<'g>),
    Mlp(Box<linear::mlp::MlpPlan<'g>>),
    Attention(attention::AttentionPlan<'g>),
    RowMean(row_mean::RowMeanPlan),
    SparseAttention(sparse_attention::SparseAttentionPlan),
    Autoencoder(autoencoder::AutoencoderPlan),
    Elementwise(elementwise::ElementwisePlan),
    Embed(embed::EmbedPlan),
    RowGather(row_gather::RowGatherPlan),
    Copy(copy::CopyPlan<'g>),
}

/// Chooses how a group is lowered.
///
/// # Errors
/// Not even the smallest tiles of the group fit, or rows are farther apart than strides allow.
pub(crate) fn choose<'g>(
    planner: &Planner<'_>,
    memo: &mut Memo,
    lists: &mut Lists,
    group: &'g Group,
) -> Result<GroupPlan<'g>, CodegenError> {
    Ok(match group {
        Group::Linear(group) => {
            let available = planner.available_bytes();
            GroupPlan::Linear(linear::choose(planner, &mut memo.single, group, available)?)
        }
        Group::Mlp(group) => GroupPlan::Mlp(Box::new(linear::mlp::choose(planner, memo, group)?)),
        Group::Attention(group) => GroupPlan::Attention(attention::choose(planner, group)?),
        Group::RowMean(op) => GroupPlan::RowMean(row_mean::choose(planner, *op)?),
        Group::SparseAttention(group) => {
            GroupPlan::SparseAttention(sparse_attention::choose(planner, lists, group)?)
        }
        Group::Autoencoder(op) => GroupPlan::Autoencoder(autoencoder::choose(planner, *op)?),
        Group::Elementwise(op) => GroupPlan::Elementwise(elementwise::choose(planner, *op)?),
        Group::Embed(op) => GroupPlan::Embed(embed::choose(planner, *op)?),
        Group::RowGather(op) => GroupPlan::RowGather(row_gather::choose(planner, *op)?),
        Group::Copy(group) => GroupPlan::Copy(copy::choose(planner, group)?),
    })
}

/// The tilings of sparse attention.
///
/// # Errors
/// Not even the smallest tiles of a group fit.
pub(crate) fn sparse_tilings(
    planner: &mut Planner<'_>,
    lists: &mut Lists,
    groups: &[Group],
) -> Result<Vec<SparseTiling>, CodegenError> {
    let mut tilings = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        if let Group::SparseAttention(group) = group {
            planner.enter(index);
            tilings.push(sparse_attention::tiling(planner, lists, group)?);
        }
    }
    Ok(tilings)
}

/// Lets auto-encoders decode on the lines that lists leave. Nothing delays what decodes inputs of
/// the graph: it does so while the lists of the attention before are at work. Such attention is
/// independent, and the scheduler starts the longest first.
pub(crate) fn share_lines(plans: &mut [GroupPlan<'_>], graph: &Graph) {
    let attention = plans.iter().filter_map(|plan| match plan {
        GroupPlan::SparseAttention(plan) => Some(plan),
        _ => None,
    });
    let (mut of_inputs, others): (Vec<_>, Vec<_>) =
        attention.partition(|plan| plan.attention.decodes_inputs(graph));
    of_inputs.sort_by_key(|plan| Reverse(plan.entries()));
    let pairs = of_inputs.windows(2).map(|pair| (pair[0], pair[1]));
    let pairs = pairs.filter(|(before, _)| before.lines.are_divided());
    let own = others.iter().filter(|plan| plan.decodes_apart).map(|plan| (*plan, *plan));
    let shared: BTreeMap<Op, LineSet> = pairs
        .chain(own)
        .flat_map(|(of, plan)| {
            let decoders = plan.attention.decoders(graph);
            decoders.into_iter().map(|op| (op, of.lines.denser))
        })
        .collect();
    for plan in plans {
        if let GroupPlan::Autoencoder(plan) = plan
            && let Some(lines) = shared.get(&plan.op)
        {
            plan.lines = *lines;
        }
    }
}

/// Emits the instructions of a group in program order.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &GroupPlan<'_>) {
    match plan {
        GroupPlan::Linear(plan) => linear::emit(builder, plan),
        GroupPlan::Mlp(plan) => linear::mlp::emit(builder, plan),
        GroupPlan::Attention(plan) => attention::emit(builder, plan),
        GroupPlan::RowMean(plan) => row_mean::emit(builder, plan),
        GroupPlan::SparseAttention(plan) => sparse_attention::emit(builder, plan),
        GroupPlan::Autoencoder(plan) => autoencoder::emit(builder, plan),
        GroupPlan::Elementwise(plan) => elementwise::emit(builder, plan),
        GroupPlan::Embed(plan) => embed::emit(builder, plan),
        GroupPlan::RowGather(plan) => row_gather::emit(builder, plan),
        GroupPlan::Copy(plan) => copy::emit(builder, plan),
    }
}

impl GroupPlan<'_> {
    /// The choices, with the alternatives.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        match self {
            GroupPlan::Linear(plan) => plan.decisions(graph),
            GroupPlan::Mlp(plan) => plan.decisions(graph),
            GroupPlan::Attention(plan) => plan.decisions(graph),
            GroupPlan::RowMean(plan) => plan.decisions(graph),
            GroupPlan::SparseAttention(plan) => plan.decisions(graph),
            GroupPlan::Autoencoder(plan) => plan.decisions(graph),
            GroupPlan::Elementwise(plan) => plan.decisions(graph),
            GroupPlan::Embed(plan) => plan.decisions(graph),
            GroupPlan::RowGather(plan) => plan.decisions(graph),
            GroupPlan::Copy(plan) => plan.decisions(graph),
        }
    }
}
