//! The matrix product of a linear layer without operands: contiguous rows whose place does not
//! matter for the cost.

use vitcod_isa::instr::table::Matmul;
use vitcod_isa::instr::{Engine, Width};
use vitcod_isa::machine::Machine;

use crate::codegen::limits::{count, row_stride};
use crate::ir::{Elem, Graph, Op};

/// Width of the results of a linear layer's matrix product.
pub(crate) fn width_of(graph: &Graph, linear: Op) -> Width {
    match graph.ty(graph.op(linear).results[0]).elem {
        Elem::I8 => Width::I8,
        _ => Width::I16,
    }
}

/// The product of `m` rows and `n` channels over a depth of `k`.
pub(crate) fn matmul(machine: &Machine, out: Width, [m, n, k]: [usize; 3]) -> Matmul {
    Matmul {
        engine: Engine::Denser,
        out,
        lines: machine.all_lines(),
        m: count(m),
        n: count(n),
        k: count(k),
        a_stride: row_stride(k as u64),
        b_stride: row_stride(machine.spread().stride(k as u64)),
        dst_stride: row_stride(n as u64 * u64::from(out.bytes())),
        ..Matmul::ZERO
    }
}
