//! Checks sums that several instructions continue against the capacity of their accumulators.

use super::shadow::Held;
use crate::instr::table::*;
use crate::instr::{Op, Width};
use crate::numerics::{ProbabilityFormat, max_accumulation_depth};

/// The most int8 probabilities of a row sum: the sum of two row sums must fit 32 bits.
const MAX_PROBABILITIES: u32 = u32::MAX / 2 / i8::MAX as u32;

/// The largest products of two int8, `2^14`, that fit an accumulator.
const MAX_PRODUCTS: u32 = ProbabilityFormat::Int8.max_keys();

/// As many products as an accumulator holds beside the largest bias count for a bias.
const BIAS: u32 = MAX_PRODUCTS - max_accumulation_depth(8, 8);

/// The sums of an instruction.
pub(super) struct Sums {
    /// The operand with the sums to continue, unless they start anew.
    pub(super) continued: Option<&'static str>,
    /// The operand that stores the results as sums, if any.
    pub(super) kept: Option<&'static str>,
    /// Terms that the instruction adds to each sum.
    pub(super) terms: u32,
    /// The most terms of a sum.
    pub(super) limit: u32,
    /// Name of the terms in messages.
    pub(super) name: &'static str,
    /// What counts as several terms, in messages.
    pub(super) note: &'static str,
    /// The state of bytes that hold sums of this many terms.
    pub(super) held: fn(u32) -> Held,
    /// The number of terms of bytes in this state, if they hold such sums.
    pub(super) terms_of: fn(Held) -> Option<u32>,
}

/// The sums of an operation that can continue or store sums.
pub(super) fn sums(op: &Op) -> Option<Sums> {
    let products = |accumulate: bool, out: Width, terms: u32| Sums {
        continued: accumulate.then_some("acc"),
        kept: (out == Width::I32).then_some("dst"),
        terms,
        limit: MAX_PRODUCTS,
        name: "products",
        note: "a bias counts as 65536, a product with a minifloat as 32",
        held: Held::Products,
        terms_of: |held| if let Held::Products(terms) = held { Some(terms) } else { None },
    };
    let weight = |minifloat: bool| ProbabilityFormat::of(minifloat).weight();
    let probabilities = |continued: bool, terms: u32| Sums {
        continued: continued.then_some("sum"),
        kept: Some("sum"),
        terms,
        limit: MAX_PROBABILITIES,
        name: "probabilities",
        note: "a minifloat counts as 32",
        held: Held::Probabilities,
        terms_of: |held| if let Held::Probabilities(terms) = held { Some(terms) } else { None },
    };
    match *op {
        Op::Matmul(matmul @ Matmul { out, accumulate, .. }) => {
            let bias = if accumulate { 0 } else { BIAS };
            let depth = u32::try_from(matmul.depth()).unwrap_or(u32::MAX);
            Some(products(accumulate, out, depth.saturating_add(bias)))
        }
        Op::Spmm(Spmm { out, accumulate, n, minifloat, .. }) => {
            Some(products(accumulate, out, u32::from(n) * weight(minifloat)))
        }
        // A query has no more entries than there are keys.
        Op::SpmmList(SpmmList { accumulate, n, entries, minifloat, .. }) => {
            let terms = entries.0.min(n.into()) * weight(minifloat);
            Some(Sums { kept: None, ..products(accumulate, Width::I8, terms) })
        }
        Op::Softmax(Softmax { fresh, n, minifloat, .. }) => {
            Some(probabilities(!fresh, u32::from(n) * weight(minifloat)))
        }
        // A row of a list has a 16-bit number of entries.
        Op::SoftmaxList(SoftmaxList { minifloat, .. }) => {
            Some(probabilities(false, u32::from(u16::MAX) * weight(minifloat)))
        }
        Op::Load(_)
        | Op::Store(_)
        | Op::Gather(_)
        | Op::Sddmm(_)
        | Op::SddmmList(_)
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
