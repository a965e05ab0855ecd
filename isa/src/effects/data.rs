//! The kind of data in a scratchpad operand, for accounting.

use super::Access;
use crate::instr::table::*;
use crate::instr::{Op, Traffic};

/// The kind of data in a scratchpad operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// Weight matrices.
    Weights,
    /// Biases, multipliers, tables.
    Params,
    /// Indices and bit masks of sparse patterns.
    Indices,
    /// Inputs, outputs and intermediate tensors.
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

    /// The kind of an operand's data.
    pub fn of(op: &Op, access: &Access) -> Data {
        Data::of_operand(op, access.operand)
    }

    /// The kind of the data in the operand of this name.
    pub(crate) fn of_operand(op: &Op, operand: &str) -> Data {
        // These names have the same meaning in every instruction.
        match operand {
            "index" | "mask" | "rows" | "tokens" => return Data::Indices,
            "params" | "table" | "bias" => return Data::Params,
            "max" | "other_max" | "sum" | "other_sum" | "block_sum" => return Data::Statistics,
            _ => {}
        }
        let or_activations = |operands: &[&str], data: Data| match operands.contains(&operand) {
            true => data,
            false => Data::Activations,
        };
        match op {
            Op::Load(Load { traffic, .. }) => match traffic {
                Traffic::Weights => Data::Weights,
                Traffic::Params => Data::Params,
                Traffic::Indices => Data::Indices,
                Traffic::Inputs | Traffic::Outputs | Traffic::Activations => Data::Activations,
            },
            Op::Matmul(_) => or_activations(&["b"], Data::Weights),
            Op::Sddmm(_) | Op::SddmmList(_) => or_activations(&["dst"], Data::Scores),
            Op::Softmax(_) | Op::SoftmaxList(_) if operand == "src" => Data::Scores,
            Op::Softmax(_) | Op::SoftmaxList(_) => or_activations(&["dst"], Data::Probabilities),
            Op::Spmm(_) | Op::SpmmList(_) => or_activations(&["p"], Data::Probabilities),
            Op::Store(_)
            | Op::Gather(_)
            | Op::LayerNorm(_)
            | Op::Add(_)
            | Op::Lut(_)
            | Op::Interpolate(_)
            | Op::Encode(_)
            | Op::Decode(_)
            | Op::Sync(_)
            | Op::Barrier(_)
            | Op::Halt(_) => Data::Activations,
        }
    }
}
