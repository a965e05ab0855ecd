//! What becomes of sums: results that are requantised, reciprocals, roots.

use crate::instr::Width;
use crate::instr::table::*;

/// Results of an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    /// Sums that become int8 or int16.
    pub(super) requantised: u64,
    /// Reciprocals of row sums.
    pub(super) reciprocals: u64,
    /// Roots of LayerNorm.
    pub(super) roots: u64,
}

impl Results {
    pub(super) fn of(op: &Op) -> Results {
        let sums = |requantised: u64, reciprocals: u64| Results {
            requantised,
            reciprocals,
            ..Results::default()
        };
        match *op {
            Op::Matmul(Matmul { m, n, out, .. }) if out != Width::I32 => sums(product(m, n), 0),
            Op::Sddmm(Sddmm { m, n, .. }) => sums(product(m, n), 0),
            Op::Spmm(Spmm { m, d, out, .. }) if out != Width::I32 => sums(product(m, d), m.into()),
            Op::SddmmList(SddmmList { entries, .. }) => sums(entries.0.into(), 0),
            Op::SpmmList(SpmmList { queries, d, .. }) => sums(product(queries, d), queries.into()),
            Op::Encode(Encode { m, d, heads_out, .. })
            | Op::Decode(Decode { m, d, heads_out, .. }) => {
                sums(product(m, d) * u64::from(heads_out), 0)
            }
            Op::LayerNorm(LayerNorm { m, .. }) => Results { roots: m.into(), ..Results::default() },
            _ => Results::default(),
        }
    }
}

fn product(a: u16, b: u16) -> u64 {
    u64::from(a) * u64::from(b)
}
