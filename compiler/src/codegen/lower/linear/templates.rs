//! The matrix product of a linear layer with its operands left open: costs do not depend on them.

use vitcod_isa::instr::table::Matmul;
use vitcod_isa::instr::{Engine, LineSet, Sram, Width};

use crate::ir::{Elem, Graph, Op};

/// Width of what the matrix product of a linear layer writes.
pub(crate) fn width_of(graph: &Graph, linear: Op) -> Width {
    match graph.ty(graph.op(linear).results[0]).elem {
        Elem::I8 => Width::I8,
        _ => Width::I16,
    }
}

/// The product of `m` rows and `n` channels over a depth of `k`; operands are left open.
pub(crate) fn matmul(lines: LineSet, out: Width, [m, n, k]: [usize; 3]) -> Matmul {
    Matmul {
        engine: Engine::Denser,
        out,
        accumulate: false,
        lines,
        a: Sram(0),
        b: Sram(0),
        params: Sram(0),
        acc: Sram(0),
        dst: Sram(0),
        m: m as u16,
        n: n as u16,
        k: k as u16,
        a_stride: 0,
        b_stride: 0,
        acc_stride: 0,
        dst_stride: 0,
        more_runs: 0,
        run_stride: 0,
    }
}
