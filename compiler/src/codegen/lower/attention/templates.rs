//! The instructions of a stripe with their operands left open: costs do not depend on them.

use vitcod_isa::instr::table::{Sddmm, Softmax, Spmm};
use vitcod_isa::instr::{Engine, LineSet, Sram, Width};
use vitcod_isa::numerics::Scale;

use crate::codegen::lower::attention::shape::Shape;

/// The scores of `m` queries, without mask and bias.
pub(crate) fn sddmm(lines: LineSet, shape: Shape, m: usize, scale: Scale) -> Sddmm {
    Sddmm {
        engine: Engine::Denser,
        fresh: true,
        indexed: false,
        masked: false,
        biased: false,
        lines,
        q: Sram(0),
        k: Sram(0),
        max: Sram(0),
        dst: Sram(0),
        m: m as u16,
        n: shape.keys as u16,
        d: shape.d as u16,
        scale,
        q_stride: 0,
        k_stride: 0,
        dst_stride: 0,
        index: Sram(0),
        mask: Sram(0),
        limit: 0,
        bias: Sram(0),
    }
}

/// The probabilities of `m` queries of a stripe that has turn `turn`: stripes take turns on the
/// softmax units of the two engines.
pub(crate) fn softmax(shape: Shape, m: usize, turn: usize) -> Softmax {
    Softmax {
        engine: Engine::ALL[turn % Engine::ALL.len()],
        fresh: true,
        both: false,
        src: Sram(0),
        max: Sram(0),
        other_max: Sram(0),
        sum: Sram(0),
        dst: Sram(0),
        m: m as u16,
        n: shape.keys as u16,
        src_stride: 0,
        dst_stride: 0,
    }
}

/// The product of the probabilities of `m` queries with the values.
pub(crate) fn spmm(lines: LineSet, shape: Shape, m: usize, scale: Scale) -> Spmm {
    Spmm {
        engine: Engine::Denser,
        out: Width::I8,
        accumulate: false,
        both: false,
        lines,
        p: Sram(0),
        v: Sram(0),
        sum: Sram(0),
        other_sum: Sram(0),
        acc: Sram(0),
        dst: Sram(0),
        m: m as u16,
        n: shape.keys as u16,
        d: shape.dv as u16,
        scale,
        p_stride: 0,
        v_stride: 0,
        acc_stride: 0,
        dst_stride: 0,
    }
}
