//! Lowering: groups become tile-sized instructions on buffers.

pub(crate) mod attention;
pub(crate) mod autoencoder;
pub(crate) mod copy;
pub(crate) mod elementwise;
pub(crate) mod embed;
pub(crate) mod linear;
pub(crate) mod row_gather;
pub(crate) mod row_mean;
pub(crate) mod sparse_attention;

use crate::codegen::builder::{Builder, Lowered};
use crate::codegen::error::CodegenError;
use crate::codegen::group::Group;
use crate::ir::OpKind;

/// The tasks of all groups in program order.
pub(crate) fn lower(mut builder: Builder<'_>, groups: &[Group]) -> Result<Lowered, CodegenError> {
    for (index, group) in groups.iter().enumerate() {
        builder.enter(index);
        match group {
            Group::Linear(group) => linear::lower(&mut builder, group)?,
            Group::Mlp(group) => linear::mlp::lower(&mut builder, group)?,
            Group::Attention(group) => attention::lower(&mut builder, group)?,
            Group::RowMean(op) => row_mean::lower(&mut builder, *op)?,
            Group::SparseAttention(group) => sparse_attention::lower(&mut builder, group)?,
            Group::Autoencoder(op) => autoencoder::lower(&mut builder, *op)?,
            Group::Elementwise(op) => match builder.graph.op(*op).kind {
                OpKind::QEmbed {} => embed::embed(&mut builder, *op)?,
                _ => elementwise::lower(&mut builder, *op)?,
            },
            Group::RowGather(op) => row_gather::lower(&mut builder, *op)?,
            Group::Copy(copy) => copy::copy(&mut builder, copy)?,
        }
    }
    Ok(builder.finish())
}
