//! Compile-time attention masks: their sources, and the partition of one head's mask between the
//! two engines.
//!
//! - [`Masks`] holds the kept entries of every head, read from `.npy` or made by [`prune`];
//! - [`apply`] adds them to the scores of a canonical graph, for which [`check`] looks beforehand;
//! - [`average_attention`](crate::calibration::average_attention) runs a model on samples and
//!   averages its attention maps, which [`prune`] needs;
//! - [`polarise`] divides one head into a denser block of global tokens and a sparser rest;
//! - [`picture`] draws masks and partitions.
//!
//! Rows are queries and columns are keys, as in `softmax(q k^T)`. The first tokens may be class
//! tokens ([`ClassTokens`](crate::class_tokens::ClassTokens)). Pruning always keeps their rows and
//! columns, from which the polarity of a mask file can be inferred.
//!
//! Source of the algorithms: ViTCoD (You et al., HPCA 2023, arXiv 2210.09573), Algorithm 1, and the
//! authors' code where the paper is silent. The authors publish a mask of DeiT-Tiny with 197
//! tokens, 12 layers of 3 heads; [`polarise`] with their threshold of 50 finds in it what their
//! code finds:
//!
//! | figure | value |
//! |---|---|
//! | kept entries | 74,399 of 1,397,124 |
//! | cells of the denser blocks | 53,978, of which 34,508 are kept |
//! | non-zeros of the sparser parts | 39,891 |

mod apply;
mod check;
mod error;
mod model;
mod npy;
mod partition;
mod picture;
mod prune;

pub use crate::ir::layout::{MAX_TOKENS, Mask};
pub use apply::{ApplyError, apply};
pub use check::{Unprunable, check};
pub use error::{Entry, MaskError, PictureError, PruneError};
pub use model::{MAX_HEADS, Masks};
pub use npy::Polarity;
pub use partition::{Partition, polarise};
pub use picture::picture;
pub use prune::{Criterion, Pruned, prune};

#[cfg(test)]
mod tests;
