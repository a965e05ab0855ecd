//! The matrix product of a linear layer without operands: its cost does not depend on them.

use vitcod_isa::instr::table::Matmul;
use vitcod_isa::instr::{Engine, LineSet, Width};

use crate::codegen::limits::count;
use crate::ir::{Elem, Graph, Op};

/// Width of the results of a linear layer's matrix product.
pub(crate) fn width_of(graph: &Graph, linear: Op) -> Width {
    match graph.ty(graph.op(linear).results[0]).elem {
        Elem::I8 => Width::I8,
        _ => Width::I16,
    }
}

/// The product of `m` rows and `n` channels over a depth of `k`.
pub(crate) fn matmul(lines: LineSet, out: Width, [m, n, k]: [usize; 3]) -> Matmul {
    let [m, n, k] = [m, n, k].map(count);
    Matmul { engine: Engine::Denser, out, lines, m, n, k, ..Matmul::ZERO }
}
