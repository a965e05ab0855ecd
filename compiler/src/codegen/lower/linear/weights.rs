//! Tiles of weights with their channel parameters.

use std::ops::Range;

use vitcod_isa::instr::Traffic;
use vitcod_isa::instr::table::Matmul;
use vitcod_isa::operands::Channel;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, SramOperand, Tile};
use crate::codegen::lower::linear::names::{CHANNELS, WEIGHTS};
use crate::ir::Op;

/// Weights of some output channels, and bias and scale of each.
pub(crate) struct WeightTile {
    pub(crate) weights: Tile,
    pub(crate) params: SramOperand,
    pub(crate) channels: Range<usize>,
}

impl WeightTile {
    /// Loads all weights of some output channels.
    pub(crate) fn load(
        builder: &mut Builder<'_>,
        linear: Op,
        channels: Range<usize>,
    ) -> WeightTile {
        let weights = builder.graph.op(linear).operands[1];
        WeightTile {
            weights: builder.weights(WEIGHTS, linear, weights, &channels),
            params: load_channels(builder, linear, &channels),
            channels,
        }
    }

    /// Loads all weights of some output channels into the next buffer of a ring.
    pub(crate) fn load_in(
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        linear: Op,
        channels: Range<usize>,
    ) -> WeightTile {
        let weights = builder.graph.op(linear).operands[1];
        let (_, k) = builder.graph.ty(weights).matrix();
        let block = Block { rows: channels.clone(), bytes: 0..k };
        WeightTile {
            weights: builder.weights_in(ring, linear, weights, &block),
            params: load_channels(builder, linear, &channels),
            channels,
        }
    }

    /// A product of `a` and these weights.
    pub(crate) fn with(&self, a: Tile, op: Matmul) -> Matmul {
        Matmul {
            a: a.at.into(),
            a_stride: a.stride,
            b: self.weights.at.into(),
            b_stride: self.weights.stride,
            params: self.params.into(),
            ..op
        }
    }
}

/// Loads bias and scale of some output channels of a linear layer.
pub(crate) fn load_channels(
    builder: &mut Builder<'_>,
    linear: Op,
    channels: &Range<usize>,
) -> SramOperand {
    let params = builder.graph.op(linear).operands[2];
    let bytes = channels.start * Channel::BYTES..channels.end * Channel::BYTES;
    builder.constant(CHANNELS, linear, params, bytes, Traffic::Params)
}
