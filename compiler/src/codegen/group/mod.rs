//! Groups: operations that are lowered together because their tiles flow from one to the next
//! without being stored.
//!
//! A group executes as a whole where one of its operations stands: a linear layer's lookups and its
//! add earlier than they stand, scores and softmax later. Values never change, so all that this
//! asks for is that what the group reads is there, and that the storage of what it reads is not
//! given away before: so [`residence`](super::residence) counts lifetimes in groups, not in operations.

pub(crate) mod form;
pub(crate) mod fuse;
pub(crate) mod views;

use crate::ir::{Graph, Op, Value};

/// What is lowered as one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Group {
    /// A linear layer with what its tiles flow through.
    Linear(LinearGroup),
    /// Two linear layers, one of which alone reads what the other makes.
    Mlp(MlpGroup),
    /// SDDMM, softmax and SpMM of all heads.
    Attention(AttentionGroup),
    /// SpMM of constant probabilities: means of rows.
    RowMean(Op),
    /// Scores, softmax and product of split attention.
    SparseAttention(SparseAttentionGroup),
    /// The auto-encoder's `encode` or `decode`.
    Autoencoder(Op),
    /// An operation on whole rows: `qlayer_norm`, `lut`, `qadd`.
    Elementwise(Op),
    /// Rows of a table by their numbers: `qembed`.
    Embed(Op),
    /// Rows in another order, or joined to longer ones: `pick_rows`, and `patches` that no linear
    /// layer takes as windows.
    RowGather(Op),
    /// Rows that are copied: an operand of a concat, or an output, that could not be computed in
    /// place.
    Copy(CopyGroup),
}

/// `[patches ->] qlinear [-> lut ...] [-> qadd] [-> qadd to 8 bits]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearGroup {
    /// The `patches` that makes the left operand, if it is not a stored matrix.
    pub(crate) patches: Option<Op>,
    /// The linear layer.
    pub(crate) linear: Op,
    /// Lookups of its result.
    pub(crate) luts: Vec<Op>,
    /// The add that takes the last result.
    pub(crate) add: Option<Op>,
    /// The value that leaves the group.
    pub(crate) result: Value,
    /// The add that narrows that value to 8 bits, which leave the group too.
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
    /// The linear layers of queries, keys and values that are computed head by head, as attention
    /// needs them.
    pub(crate) projections: Vec<Op>,
    pub(crate) sddmm: Op,
    pub(crate) softmax: Op,
    pub(crate) spmm: Op,
    /// Lookups of the product.
    pub(crate) luts: Vec<Op>,
    /// The value that leaves the group.
    pub(crate) result: Value,
}

/// Attention split into a dense block and a list of entries, of which at least one is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SparseAttentionGroup {
    /// The dense block, for the denser engine.
    pub(crate) block: Option<AttentionPart>,
    /// The list of the other kept entries, for the sparser engine.
    pub(crate) list: Option<AttentionPart>,
    /// The product of both.
    pub(crate) product: Op,
}

/// Scores and softmax of a part of split attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttentionPart {
    pub(crate) scores: Op,
    pub(crate) softmax: Op,
}

/// `rows` rows of `from` become those of `to` from `at` on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CopyGroup {
    pub(crate) from: Value,
    pub(crate) to: Destination,
    pub(crate) at: usize,
}

/// Where copied rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A value: the result of a concat.
    Value(Value),
    /// The i-th output of the graph.
    Output(usize),
}

/// What other parts of the compiler ask of a group. Each match is exhaustive, so that a new group
/// does not compile until all of them know it.
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

    /// The stored values that the group reads: constants and what earlier groups made.
    pub(crate) fn reads(&self, graph: &Graph) -> Vec<Value> {
        let ops = self.ops();
        let inside: Vec<Value> = ops.iter().flat_map(|op| graph.op(*op).results.clone()).collect();
        let mut reads: Vec<Value> =
            ops.iter().flat_map(|op| graph.op(*op).operands.clone()).collect();
        reads.retain(|value| !inside.contains(value));
        match self {
            Group::Copy(copy) => reads.push(copy.from),
            // It may be too large to stay on chip as a whole.
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

    /// The values that the group makes and stores.
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

    /// The linear layer, if the group is nothing else.
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

    /// Both layers of an MLP, which may be interleaved.
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

    /// The result that the group can write as a map with zeros around its pixels: that of a linear
    /// layer, which writes row by row.
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

    /// What the group can read only from DRAM: the DMA unit does not copy within the scratchpad.
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

    /// Where the group writes besides its results.
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

impl LinearGroup {
    /// The operations of the group, in order.
    fn ops(&self) -> impl Iterator<Item = Op> {
        let inner = self.patches.into_iter().chain([self.linear]).chain(self.luts.iter().copied());
        inner.chain(self.add).chain(self.narrow)
    }

    /// The values that leave it.
    fn results(&self, graph: &Graph) -> impl Iterator<Item = Value> {
        [self.result].into_iter().chain(self.narrow.map(|narrow| graph.op(narrow).results[0]))
    }
}
