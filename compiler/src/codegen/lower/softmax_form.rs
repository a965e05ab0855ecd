//! The form of the scores and probabilities of a layer.

use vitcod_isa::instr::ScoreShift;

use crate::ir::{Elem, Graph, Op, OpKind};

/// What the softmax of a layer reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftmaxForm {
    /// The unit of scores.
    pub(crate) shift: ScoreShift,
    /// Whether probabilities are minifloats.
    pub(crate) minifloat: bool,
}

impl SoftmaxForm {
    /// That of a `qsoftmax` or a part of one.
    pub(crate) fn of(graph: &Graph, softmax: Op) -> SoftmaxForm {
        let data = graph.op(softmax);
        let (OpKind::QSoftmax { shift }
        | OpKind::BlockSoftmax { shift }
        | OpKind::CscSoftmax { shift }) = data.kind
        else {
            unreachable!("groups are formed by kind")
        };
        let minifloat = graph.ty(data.results[0]).elem == Elem::E3m5;
        SoftmaxForm { shift: ScoreShift(shift), minifloat }
    }
}
