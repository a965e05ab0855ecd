//! Sparse attention: blocks of global tokens and rows that keep nearly all keys on the denser
//! engine, lists of the other kept entries on the sparser one, at the same time.
//!
//! Instructions span all heads of a head group. The entries are known at compile time, so lists are
//! [packed](packing) for the MAC lines. A head group is divided into *stripes* in one of two ways:
//!
//! - *batches*: each stripe has some of the batches of one packing, of any queries. All queries and
//!   results of the heads are in the scratchpad;
//! - *ranges of queries*, if heads have blocks or memory is short.
//!
//! First queries that keep nearly all keys may be a stripe of their own, computed in full: a list
//! would occupy a group of lines for as long as they have keys.
//!
//! A block's product is a dense `spmm` of each run of consecutive keys into sums, which the product
//! of the list continues.
//!
//! Stripes form a pipeline as in dense [attention](crate::codegen::lower::attention): the scores of
//! stripe `i + 1` precede the product of stripe `i`. The softmax of a list is divided between the
//! softmax units of both engines, so that both finish together with the softmax of the blocks.

mod allocation;
mod division;
mod emission;
mod estimate;
mod memo;
mod names;
mod operation;
pub(crate) mod packing;
mod pattern;
mod plan;
mod stripe;
mod templates;
mod tiling;

pub(crate) use crate::codegen::lower::sparse_attention::division::SparseTiling;
pub(crate) use crate::codegen::lower::sparse_attention::emission::emit;
pub(crate) use crate::codegen::lower::sparse_attention::memo::Memo;
pub(crate) use crate::codegen::lower::sparse_attention::plan::{
    SparseAttentionPlan, choose, tiling,
};

#[cfg(test)]
mod tests;
