//! Split attention: masked attention of a quantised graph as operations for the two engines.
//!
//! ```text
//! sddmm q k mask          ->  block_sddmm    the dense block of every head's global tokens (denser engine)
//!                             csc_sddmm      the kept entries of all other keys (sparser engine)
//! qsoftmax                ->  block_softmax  each with the row maxima of both
//!                             csc_softmax
//! spmm                    ->  split_spmm     one product, divided by the row sums of both
//! ```
//!
//! Entries outside of the blocks that the mask prunes are in no operation. A head without global
//! tokens has a block of no columns; where no head has any there are no block operations, and where
//! the blocks hold all that is kept no CSC operations. The order of keys within a block and within
//! the pattern is stated by constants: reordering moves no data. A row's maximum and its sum do not
//! depend on how the row is divided or ordered, so a split graph computes the bits of the quantised
//! graph whatever the global tokens are.
//!
//! [`run`] is the step for given global tokens. The pass `split` runs it, and again without global
//! tokens if the whole program is better so. [`GlobalTokens`] says how it finds global tokens, by a
//! threshold as the paper does or by [the cost model](vitcod_isa::cost).
//! [`ir::layout`](crate::ir::layout) holds the layouts of the constants.

mod choose;
mod layer_cost;
mod packing;
mod pass;

use vitcod_isa::machine::Machine;
use vitcod_isa::program::Decision;
use vitcod_support::problems::Problems;

use crate::estimate::Estimate;
use crate::ir::{Graph, Stage};

pub use packing::Packing;

/// How global tokens are found, head by head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GlobalTokens {
    /// Those with which the layer takes the fewest weighted cycles by the cost model.
    #[default]
    Auto,
    /// Keys with more kept entries than this, the paper's theta_d.
    Above(usize),
}

/// How a layer's attention was divided.
#[derive(Clone, Debug, PartialEq)]
pub struct Polarised {
    /// The layer, by its ONNX node.
    pub layer: String,
    /// What became of each head.
    pub heads: Vec<HeadSplit>,
    /// What the layer takes by the cost model: cycles of the busiest unit if none waited for
    /// another, and transfers of indices and of what it reads from inputs of the graph and writes
    /// to its outputs.
    pub estimate: Estimate,
    /// Why these are the global tokens.
    pub reason: String,
}

impl GlobalTokens {
    /// No global tokens: everything is for the sparser engine.
    pub const NONE: GlobalTokens = GlobalTokens::Above(usize::MAX);
}

impl Polarised {
    /// Whether a head has global tokens.
    pub(crate) fn has_globals(&self) -> bool {
        self.heads.iter().any(|head| head.globals > 0)
    }

    /// As reports say it.
    pub fn decision(&self) -> Decision {
        let globals: Vec<String> = self.heads.iter().map(|head| head.globals.to_string()).collect();
        Decision::new(&*self.layer, "global tokens", globals.join(", "), &*self.reason)
    }
}

/// How a head's attention was divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadSplit {
    /// Global tokens: columns of the dense block.
    pub globals: usize,
    /// Cells of the dense block.
    pub cells: usize,
    /// Cells of it that the mask keeps.
    pub cells_kept: usize,
    /// Kept entries outside of it.
    pub nonzeros: usize,
}

/// Why the attention of a graph cannot be split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The graph is not quantised.
    #[error("the graph is {0}, not quantised")]
    Stage(Stage),
    /// What is in the way, one line each, with the layer.
    #[error("attention cannot be split:\n{0}")]
    Unsupported(Problems<String>),
}

/// Splits the masked attention of a verified quantised graph; all else stays as it is, attention
/// that has a bias too. A mask that keeps everything goes.
///
/// Returns the graph of stage [`Stage::Split`], compacted, and how each masked layer was divided,
/// in order.
///
/// # Errors
/// The graph is not quantised; or, of some masked layer, the mask is malformed or prunes a row
/// entirely, the scores or probabilities are read by something else too, or there are more keys
/// than indices hold.
pub fn run(
    graph: &Graph,
    machine: &Machine,
    globals: GlobalTokens,
    packing: Packing,
) -> Result<(Graph, Vec<Polarised>), SplitError> {
    pass::run(graph, &mut |layer| choose::choose(layer, machine, globals, packing))
}

#[cfg(test)]
mod tests;
