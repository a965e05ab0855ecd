//! The auto-encoder of queries and keys: where its two halves are computed, and how one is added to
//! a model without any.
//!
//! For every token and feature, the encoder mixes the values of `h` heads into `e` compressed ones,
//! `z = We x + be`, and the decoder mixes these into `h` again, `x' = Wd z + bd` (ViTCoD, HPCA
//! 2023; biases as in the authors' code, no nonlinearity). In canonical graphs both are
//! [`MixHeads`](crate::ir::OpKind::MixHeads) between the projection of Q or K, which is a linear
//! layer, and attention.
//!
//! # Three forms
//!
//! All functions from the input of the projection to attention are linear, so each half can be
//! computed separately or folded into the projection's weights. Folding is exact in real
//! arithmetic; it is computed in f64 and rounded to f32 once. With `m` tokens, `k` inputs of the
//! projection and `d` features of a head:
//!
//! | form | projection | multiplications | Q or K is stored as |
//! |---|---|---|---|
//! | [`Form::Apart`], as in the paper | `W` | `m k h d + m d h e + m d e h` | `m e d` bytes |
//! | [`Form::FoldEncoder`] | `(We ⊗ I) W` | `m k e d + m d e h` | `m e d` bytes |
//! | [`Form::FoldBoth`] | `(Wd We ⊗ I) W` | `m k h d` | `m h d` bytes |
//!
//! # Costs
//!
//! [`place`] compares their [estimates](crate::estimate::Estimate). Cycles are those of the form's
//! `matmul`, `encode` and `decode` by [`vitcod_isa::cost::cost`], each as one instruction on all
//! MAC lines, one after the other, for Q and K of a layer together. Q and K, in the form in which
//! they are stored between projection and attention, are resident if together they take at most
//! half the scratchpad; otherwise all their bytes are written to DRAM and read from it once.
//!
//! # Models without auto-encoders
//!
//! [`pca`] inserts the linear auto-encoder with the smallest mean squared error on samples: the
//! principal components of the vectors across heads (Eckart and Young, 1936; Baldi and Hornik,
//! 1989), for Q and for K of every layer.

mod chain;
mod error;
mod fold;
mod jacobi;
mod pca;
mod place;
#[cfg(test)]
mod tests;

pub use error::AutoencoderError;
pub use pca::{PcaError, Reconstruction, pca};
pub use place::{Choice, Decision, Form, place};

use crate::ir::{Graph, Op};

/// The name of a layer in reports and errors: the first ONNX node of its attention.
fn layer(graph: &Graph, attention: Op) -> String {
    match graph.op(attention).nodes.first() {
        Some(node) => graph.node(*node).to_owned(),
        None => graph.describe(attention),
    }
}

/// Names of attention's first two operands in reports and errors.
const OPERANDS: [&str; 2] = ["Q", "K"];
