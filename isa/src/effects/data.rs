//! What an operand in the scratchpad holds, for accounting.

use super::Access;
use crate::instr::table::*;
use crate::instr::{Op, Traffic};

/// What an operand in the scratchpad holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// Weight matrices.
    Weights,
    /// Biases, multipliers, tables.
    Params,
    /// Indices and bit masks of sparse patterns.
    Indices,
    /// Inputs, outputs and what layers pass on.
    Activations,
    /// Attention scores.
    Scores,
    /// Attention probabilities.
    Probabilities,
    /// Row maxima and row sums of softmax.
    Statistics,
}

impl Data {
    /// Every kind.
    pub const ALL: [Data; 7] = [
        Data::Weights,
        Data::Params,
        Data::Indices,
        Data::Activations,
        Data::Scores,
        Data::Probabilities,
        Data::Statistics,
    ];

    /// Number of kinds.
    pub const COUNT: usize = Data::ALL.len();

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Data::Weights => "weights",
            Data::Params => "params",
            Data::Indices => "indices",
            Data::Activations => "activations",
            Data::Scores => "scores",
            Data::Probabilities => "probabilities",
            Data::Statistics => "statistics",
        }
    }

    /// What an operand of an operation holds.
    pub fn of(op: &Op, access: &Access) -> Data {
        match (op, access.operand) {
            (_, "index" | "mask" | "rows" | "keys" | "block_keys") => Data::Indices,
            (_, "params" | "table" | "bias") | (Op::Load(Load { traffic: Traffic::Params, .. }), _) => Data::Params,
            (Op::Matmul(_), "b") | (Op::Load(Load { traffic: Traffic::Weights, .. }), _) => Data::Weights,
            (Op::Load(Load { traffic: Traffic::Indices, .. }), _) => Data::Indices,
            (_, "max" | "other_max" | "sum" | "other_sum" | "block_sum") => Data::Statistics,
            (Op::Sddmm(_) | Op::SddmmList(_), "dst") | (Op::Softmax(_) | Op::SoftmaxList(_), "src") => Data::Scores,
            (Op::Softmax(_) | Op::SoftmaxList(_), "dst") | (Op::Spmm(_) | Op::SpmmList(_), "p") | (_, "block_p") => {
                Data::Probabilities
            }
            _ => Data::Activations,
        }
    }
}
