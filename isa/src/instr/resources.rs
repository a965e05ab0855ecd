//! The resources of an operation: its unit, MAC lines, the DRAM channel. Matches are exhaustive, so
//! that a new instruction does not compile before each of them handles it.

use super::table::*;
use super::{Engine, LineSet, Traffic, Unit, UnitSet};

/// How MAC lines accumulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulation {
    /// Each MAC adds to its neighbour's sum: a line computes one result at a time.
    AlongSum,
    /// Each MAC adds to its own sum: a line computes as many results as it has MACs.
    AlongOutputs,
}

impl Op {
    /// The units that execute it: one, or all of them for `barrier` and `halt`.
    pub fn units(&self) -> UnitSet {
        let unit = match self {
            Op::Load(_) | Op::Gather(_) => Unit::Load,
            Op::Store(_) => Unit::Store,
            Op::Matmul(Matmul { engine, .. })
            | Op::Sddmm(Sddmm { engine, .. })
            | Op::Spmm(Spmm { engine, .. })
            | Op::SddmmList(SddmmList { engine, .. })
            | Op::SpmmList(SpmmList { engine, .. }) => match engine {
                Engine::Denser => Unit::Denser,
                Engine::Sparser => Unit::Sparser,
            },
            Op::Softmax(Softmax { engine, .. }) | Op::SoftmaxList(SoftmaxList { engine, .. }) => {
                match engine {
                    Engine::Denser => Unit::DenserSoftmax,
                    Engine::Sparser => Unit::SparserSoftmax,
                }
            }
            Op::LayerNorm(_) | Op::Add(_) | Op::Lut(_) | Op::Interpolate(_) => Unit::Vector,
            Op::Encode(_) => Unit::Encoder,
            Op::Decode(_) => Unit::Decoder,
            Op::Sync(Sync { unit }) => *unit,
            Op::Barrier(_) | Op::Halt(_) => return UnitSet::ALL,
        };
        UnitSet::from_iter([unit])
    }

    /// The MAC lines on which it executes, if any.
    pub fn lines(&self) -> Option<LineSet> {
        self.on_lines().map(|(lines, _)| lines)
    }

    /// How its MAC lines accumulate, if it executes on lines.
    pub fn accumulation(&self) -> Option<Accumulation> {
        self.on_lines().map(|(_, accumulation)| accumulation)
    }

    /// Its MAC lines and how they accumulate.
    fn on_lines(&self) -> Option<(LineSet, Accumulation)> {
        match *self {
            Op::Matmul(Matmul { lines, .. })
            | Op::Sddmm(Sddmm { lines, .. })
            | Op::SddmmList(SddmmList { lines, .. }) => Some((lines, Accumulation::AlongSum)),
            Op::Spmm(Spmm { lines, .. })
            | Op::SpmmList(SpmmList { lines, .. })
            | Op::Encode(Encode { lines, .. })
            | Op::Decode(Decode { lines, .. }) => Some((lines, Accumulation::AlongOutputs)),
            Op::Load(_)
            | Op::Store(_)
            | Op::Gather(_)
            | Op::Softmax(_)
            | Op::SoftmaxList(_)
            | Op::LayerNorm(_)
            | Op::Add(_)
            | Op::Lut(_)
            | Op::Interpolate(_)
            | Op::Sync(_)
            | Op::Barrier(_)
            | Op::Halt(_) => None,
        }
    }

    /// The kind of data that it transfers over the DRAM channel, if it is a transfer.
    pub fn traffic(&self) -> Option<Traffic> {
        match self {
            Op::Load(Load { traffic, .. })
            | Op::Store(Store { traffic, .. })
            | Op::Gather(Gather { traffic, .. }) => Some(*traffic),
            Op::Matmul(_)
            | Op::Sddmm(_)
            | Op::Softmax(_)
            | Op::Spmm(_)
            | Op::SddmmList(_)
            | Op::SoftmaxList(_)
            | Op::SpmmList(_)
            | Op::LayerNorm(_)
            | Op::Add(_)
            | Op::Lut(_)
            | Op::Interpolate(_)
            | Op::Encode(_)
            | Op::Decode(_)
            | Op::Sync(_)
            | Op::Barrier(_)
            | Op::Halt(_) => None,
        }
    }
}
