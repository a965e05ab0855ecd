//! Groups: operations that are lowered together because their tiles flow from one to the next
//! without being stored.
//!
//! A group executes at the position of one of its operations. Lookups and the add of a linear layer
//! execute earlier than in the graph, scores and softmax of attention later. Values never change,
//! so this is correct if the operands of the group are computed before it, and if their storage is
//! not reused before it. So [`residence`](crate::codegen::residence) counts live ranges in groups,
//! not in operations.

pub(crate) mod form;
pub(crate) mod fuse;
pub(crate) mod views;

use crate::ir::{Elem, Graph, Op, Value};

/// Operations that are lowered together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Group {
    /// A linear layer with its lookups and adds.
    Linear(LinearGroup),
    /// Two linear layers; the second one is the only reader of the first.
    Mlp(MlpGroup),
    /// SDDMM, softmax and SpMM of all heads.
    Attention(AttentionGroup),
    /// SpMM with constant probabilities: means of rows.
    RowMean(Op),
    /// Scores, softmax and product of split attention.
    SparseAttention(SparseAttentionGroup),
    /// `encode` or `decode` of an auto-encoder.
    Autoencoder(Op),
    /// An operation that keeps the row: `qlayer_norm`, `lut`, `qadd`.
    Elementwise(Op),
    /// Rows of a table by their indices: `qembed`.
    Embed(Op),
    /// Rows in another order, or concatenated to longer ones: `pick_rows`, and `patches` that
    /// linear layers do not read in place.
    RowGather(Op),
    /// A copy of rows: an operand of a concat, or an output, that cannot be computed in place.
    Copy(CopyGroup),
}

/// `[patches ->] qlinear [-> lut ...] [-> qadd] [-> qadd to 8 bits]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearGroup {
    /// The `patches` operation whose windows are the activation operand, if it is not a matrix.
    pub(crate) patches: Option<Op>,
    pub(crate) linear: Op,
    /// Lookups of its result.
    pub(crate) luts: Vec<Op>,
    /// The add of the last result.
    pub(crate) add: Option<Op>,
    /// The result of the group.
    pub(crate) result: Value,
    /// The add that narrows that result to 8 bits: a second result of the group.
    pub(crate) narrow: Option<Op>,
}

/// `qlinear [-> lut ...] -> qlinear [-> lut ...] [-> qadd] [-> qadd to 8 bits]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MlpGroup {
    pub(crate) first: LinearGroup,
    pub(crate) second: LinearGroup,
}

/// `[qlinear -> ] sddmm -> qsoftmax -> spmm [-> lut ...]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AttentionGroup {
    /// The linear layers of queries, keys and values that are computed head by head.
    pub(crate) projections: Vec<Op>,
    pub(crate) sddmm: Op,
    pub(crate) softmax: Op,
    pub(crate) spmm: Op,
    /// Lookups of the product.
    pub(crate) luts: Vec<Op>,
    /// The result of the group.
    pub(crate) result: Value,
}

/// Sparse attention: a part for the dense blocks and a part for the lists, at least one of
/// them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SparseAttentionGroup {
    /// The dense blocks, for the denser engine.
    pub(crate) block: Option<AttentionPart>,
    /// The lists of the other kept entries, for the sparser engine.
    pub(crate) list: Option<AttentionPart>,
    /// The product of both parts.
    pub(crate) product: Op,
}

/// Scores and softmax of one part of split attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttentionPart {
    pub(crate) scores: Op,
    pub(crate) softmax: Op,
}

/// A copy of all rows of `from` to the rows of `to` from row `at` on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CopyGroup {
    pub(crate) from: Value,
    pub(crate) to: Destination,
    pub(crate) at: usize,
}

/// The destination of copied rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A value: the result of a concat.
    Value(Value),
    /// The i-th output of the graph.
    Output(usize),
}

/// The properties of groups. Each match is exhaustive, so that a new group does not compile until
/// each of them handles it.
impl Group {
    /// The operations of the group, in order.
    pub(crate) fn ops(&self) -> Vec<Op> {
        match self {
            Group::Linear(g) => g.ops().collect(),
            Group::Mlp(g) => g.first.ops().chain(g.second.ops()).collect(),
            Group::Attention(g) => {
                let inner = g.projections.iter().copied().chain([g.sddmm, g.softmax, g.spmm]);
                inner.chain(g.luts.iter().copied()).collect()
            }
            Group::SparseAttention(g) => {
                let parts = g.block.iter().chain(&g.list);
                parts.flat_map(|part| [part.scores, part.softmax]).chain([g.product]).collect()
            }
            Group::RowMean(op)
            | Group::Autoencoder(op)
            | Group::Elementwise(op)
            | Group::Embed(op)
            | Group::RowGather(op) => vec![*op],
            Group::Copy(_) => Vec::new(),
        }
    }

    /// The stored values that the group reads: constants and results of earlier groups.
    pub(crate) fn reads(&self, graph: &Graph) -> Vec<Value> {
        let ops = self.ops();
        let inside: Vec<Value> = ops.iter().flat_map(|op| graph.op(*op).results.clone()).collect();
        let mut reads: Vec<Value> =
            ops.iter().flat_map(|op| graph.op(*op).operands.clone()).collect();
        reads.retain(|value| !inside.contains(value));
        match self {
            Group::Copy(copy) => reads.push(copy.from),
            // The hidden activations may be spilled and read again.
            Group::Mlp(mlp) => reads.push(mlp.first.result),
            Group::Linear(_)
            | Group::Attention(_)
            | Group::RowMean(_)
            | Group::SparseAttention(_)
            | Group::Autoencoder(_)
            | Group::Elementwise(_)
            | Group::Embed(_)
            | Group::RowGather(_) => {}
        }
        reads
    }

    /// The results that the group stores.
    pub(crate) fn results(&self, graph: &Graph) -> Vec<Value> {
        let of = |op: Op| graph.op(op).results.first().copied();
        match self {
            Group::Linear(g) => g.results(graph).collect(),
            Group::Mlp(g) => g.first.results(graph).chain(g.second.results(graph)).collect(),
            Group::Attention(g) => vec![g.result],
            Group::SparseAttention(g) => of(g.product).into_iter().collect(),
            Group::RowMean(op)
            | Group::Autoencoder(op)
            | Group::Elementwise(op)
            | Group::Embed(op)
            | Group::RowGather(op) => of(*op).into_iter().collect(),
            Group::Copy(_) => Vec::new(),
        }
    }

    /// The linear group, if it is one.
    pub(crate) fn linear(&self) -> Option<&LinearGroup> {
        match self {
            Group::Linear(group) => Some(group),
            Group::Mlp(_)
            | Group::Attention(_)
            | Group::RowMean(_)
            | Group::SparseAttention(_)
            | Group::Autoencoder(_)
            | Group::Elementwise(_)
            | Group::Embed(_)
            | Group::RowGather(_)
            | Group::Copy(_) => None,
        }
    }

    /// The MLP group, if it is one.
    pub(crate) fn mlp(&self) -> Option<&MlpGroup> {
        match self {
            Group::Mlp(group) => Some(group),
            Group::Linear(_)
            | Group::Attention(_)
            | Group::RowMean(_)
            | Group::SparseAttention(_)
            | Group::Autoencoder(_)
            | Group::Elementwise(_)
            | Group::Embed(_)
            | Group::RowGather(_)
            | Group::Copy(_) => None,
        }
    }

    /// The result that the group can write as a padded map: that of a linear layer, which writes
    /// row by row.
    pub(crate) fn padded_result(&self) -> Option<Value> {
        match self {
            Group::Linear(group) | Group::Mlp(MlpGroup { second: group, .. }) => Some(group.result),
            Group::Attention(_)
            | Group::RowMean(_)
            | Group::SparseAttention(_)
            | Group::Autoencoder(_)
            | Group::Elementwise(_)
            | Group::Embed(_)
            | Group::RowGather(_)
            | Group::Copy(_) => None,
        }
    }

    /// The value that must be in DRAM for the group: the load and store units do not copy within
    /// the scratchpad.
    pub(crate) fn reads_from_dram(&self, graph: &Graph) -> Option<Value> {
        match self {
            Group::RowGather(op) => Some(graph.op(*op).operands[0]),
            Group::Copy(CopyGroup { from, to: Destination::Value(_), .. }) => Some(*from),
            Group::Copy(CopyGroup { to: Destination::Output(_), .. })
            | Group::Linear(_)
            | Group::Mlp(_)
            | Group::Attention(_)
            | Group::RowMean(_)
            | Group::SparseAttention(_)
            | Group::Autoencoder(_)
            | Group::Elementwise(_)
            | Group::Embed(_) => None,
        }
    }

    /// The destination of a copy, which is not a result.
    pub(crate) fn copies_to(&self) -> Option<Destination> {
        match self {
            Group::Copy(copy) => Some(copy.to),
            Group::Linear(_)
            | Group::Mlp(_)
            | Group::Attention(_)
            | Group::RowMean(_)
            | Group::SparseAttention(_)
            | Group::Autoencoder(_)
            | Group::Elementwise(_)
            | Group::Embed(_)
            | Group::RowGather(_) => None,
        }
    }
}

/// The bytes of the tables of lookups.
pub(crate) fn table_bytes(graph: &Graph, luts: &[Op]) -> usize {
    luts.iter().map(|lut| graph.ty(graph.op(*lut).operands[1]).bytes()).sum()
}

impl LinearGroup {
    /// Whether the first lookup is an interpolation of 16 bits.
    pub(crate) fn is_interpolated(&self, graph: &Graph) -> bool {
        let first = self.luts.first().map(|lut| graph.op(*lut).operands[0]);
        first.is_some_and(|operand| graph.ty(operand).elem == Elem::I16)
    }

    /// The operations of the group, in order.
    fn ops(&self) -> impl Iterator<Item = Op> {
        let inner = self.patches.into_iter().chain([self.linear]).chain(self.luts.iter().copied());
        inner.chain(self.add).chain(self.narrow)
    }

    /// The results of the group.
    fn results(&self, graph: &Graph) -> impl Iterator<Item = Value> {
        [self.result].into_iter().chain(self.narrow.map(|narrow| graph.op(narrow).results[0]))
    }
}

#[cfg(test)]
pub(in crate::codegen) mod tests;
