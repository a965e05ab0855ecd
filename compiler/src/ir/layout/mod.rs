//! Structured constants: the layouts of masks and of the patterns of split attention. Only this
//! module encodes and decodes them; other code uses the types.
//!
//! | type | of | operand of |
//! |---|---|---|
//! | [`Mask`] | kept entries of one head | `sddmm`, head after head |
//! | [`BlockKeys`] | global tokens of every head | `block_sddmm`, `block_softmax`, `split_spmm` |
//! | [`BlockMask`] | kept cells of every head's block | `block_sddmm` |
//! | [`Csc`] | kept entries outside the blocks | `csc_sddmm`, `csc_softmax`, `split_spmm` |
//!
//! [`Patterns`] finds and reads the operands of an operation of split attention. Integers are
//! little-endian.

mod block_keys;
mod block_mask;
mod csc;
mod error;
mod mask;
mod operands;
#[cfg(test)]
mod tests;

pub use block_keys::BlockKeys;
pub use block_mask::BlockMask;
pub use csc::Csc;
pub use error::LayoutError;
pub use mask::{MAX_TOKENS, Mask, prunes};
pub(crate) use operands::mask_operand;
pub use operands::{Patterns, ProductPart, ProductParts};
pub(crate) use operands::{ScoreTerms, sddmm_masks, sddmm_terms};
