//! The instructions of a stripe without operands: their costs do not depend on them.

use vitcod_isa::instr::table::{Sddmm, Softmax, Spmm};
use vitcod_isa::instr::{Engine, LineSet, Width};
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::Scale;

use crate::codegen::limits::count;
use crate::codegen::lower::attention::shape::Shape;
use crate::codegen::lower::softmax_form::SoftmaxForm;

/// Bytes between the rows of a tile of scores. Where features are few, scores are written nearly as
/// fast as banks take them, so rows begin with a word of a bank.
pub(crate) fn score_stride(machine: &Machine, shape: &Shape) -> usize {
    /// The widest head for which that is worth the bytes.
    const FEW_FEATURES: usize = 32;
    let bytes = 2 * shape.keys;
    match shape.d <= FEW_FEATURES {
        true => machine.spread().aligned(bytes as u64) as usize,
        false => bytes,
    }
}

/// The scores of `m` queries, without mask and bias.
pub(crate) fn sddmm(lines: LineSet, shape: Shape, m: usize, scale: Scale) -> Sddmm {
    let [m, n, d] = [m, shape.keys, shape.d].map(count);
    Sddmm { engine: Engine::Denser, fresh: true, lines, m, n, d, scale, ..Sddmm::ZERO }
}

/// The probabilities of `m` queries of stripe number `turn`: stripes alternate between the softmax
/// units of the two engines.
pub(crate) fn softmax(shape: Shape, m: usize, turn: usize) -> Softmax {
    let engine = Engine::ALL[turn % Engine::ALL.len()];
    let [m, n] = [m, shape.keys].map(count);
    let SoftmaxForm { shift, minifloat } = shape.softmax;
    Softmax { engine, fresh: true, minifloat, shift, m, n, ..Softmax::ZERO }
}

/// The product of the probabilities of `m` queries with the values.
pub(crate) fn spmm(lines: LineSet, shape: Shape, m: usize, scale: Scale) -> Spmm {
    let [m, n, d] = [m, shape.keys, shape.dv].map(count);
    let SoftmaxForm { minifloat, .. } = shape.softmax;
    let form = Spmm { engine: Engine::Denser, out: Width::I8, minifloat, ..Spmm::ZERO };
    Spmm { lines, m, n, d, scale, ..form }
}
