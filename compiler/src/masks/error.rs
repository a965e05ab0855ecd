use std::fmt;

use vitcod_support::npy::HeaderError;

use super::{MAX_HEADS, MAX_TOKENS};

/// A place in the masks or attention maps of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Layer, from 0.
    pub layer: usize,
    /// Head within the layer.
    pub head: usize,
    /// Row: the query.
    pub query: usize,
    /// Column: the key.
    pub key: usize,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}, {}]", self.layer, self.head, self.query, self.key)
    }
}

/// Why data is not a valid set of masks.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The file cannot be read.
    #[error("the mask cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// The bytes are not in the `.npy` format.
    #[error("not a .npy file: {0}")]
    Format(#[from] HeaderError),
    /// The element type cannot hold a mask.
    #[error(
        "elements of type {0:?}: a mask is bool, or 0 and 1 as little-endian integers or floats"
    )]
    ElementType(String),
    /// The shape has not four dimensions, an extent of 0, or too many tokens or heads.
    #[error(
        "a mask of shape {found:?}: expected [layers, heads, queries, keys], none of them 0, at most {MAX_TOKENS} tokens \
         and {MAX_HEADS} heads in all layers"
    )]
    Shape {
        /// Shape in the header of the file.
        found: Vec<usize>,
    },
    /// The length of the data does not match the shape.
    #[error("a mask of shape {shape:?} has {found} bytes of elements of {element} bytes")]
    Length {
        /// Shape in the header of the file.
        shape: Vec<usize>,
        /// Bytes of one element.
        element: usize,
        /// Bytes in the file after its header.
        found: usize,
    },
    /// An element that is neither 0 nor 1.
    #[error("the mask is not binary: element {at} is {value}")]
    NotBinary {
        /// The first such element.
        at: Entry,
        /// Value of the element.
        value: f64,
    },
    /// With neither polarity is the class token kept.
    #[error(
        "the mask's polarity cannot be told: row 0 and column 0 of every head are the class token's and must be kept, \
         but element [0, 0, 0, 0] is {first} and element {at} is {}; state the polarity", !.first
    )]
    Polarity {
        /// The first element of the mask.
        first: bool,
        /// The first element of a class token's row or column that differs.
        at: Entry,
    },
    /// A query keeps no key, so its softmax is undefined.
    #[error("layer {layer}, head {head}: row {query} is pruned entirely")]
    EmptyRow {
        /// Attention layer, from 0.
        layer: usize,
        /// Head of the layer, from 0.
        head: usize,
        /// Query (row of the mask), from 0.
        query: usize,
    },
    /// The layers have different shapes, so one array cannot hold them.
    #[error(
        "layer {layer} differs from layer 0 in its heads or tokens: one .npy array cannot hold both"
    )]
    Ragged {
        /// The first layer that differs from layer 0.
        layer: usize,
    },
}

/// Why attention maps cannot be pruned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PruneError {
    /// There are no attention maps.
    #[error("the model has no attention")]
    NoAttention,
    /// A layer has no heads or no tokens, or too many tokens.
    #[error(
        "layer {layer}: attention maps of shape {found:?}: expected [heads, queries, keys], none of them 0, at most {MAX_TOKENS} tokens"
    )]
    Shape {
        /// Attention layer, from 0.
        layer: usize,
        /// Shape of the layer's attention maps.
        found: [usize; 3],
    },
    /// An element is not a probability.
    #[error("attention map element {at} is {value}, expected a probability from 0 to 1")]
    NotProbability {
        /// The first such element.
        at: Entry,
        /// Value of the element.
        value: f64,
    },
    /// A row sums to 0.
    #[error("layer {layer}, head {head}: the attention of row {query} sums to 0")]
    NoMass {
        /// Attention layer, from 0.
        layer: usize,
        /// Head of the layer, from 0.
        head: usize,
        /// Query (row of the mask), from 0.
        query: usize,
    },
    /// Theta is outside (0, 1].
    #[error("theta {0} is not above 0 and at most 1")]
    Theta(f64),
    /// The sparsity is outside [0, 1).
    #[error("sparsity {0} is not at least 0 and below 1")]
    Sparsity(f64),
    /// The entries that are always kept do not allow this sparsity.
    #[error(
        "sparsity {asked} cannot be reached: the class tokens and the largest entry of every row stay, which leaves {reachable:.4}"
    )]
    Unreachable {
        /// The sparsity asked for.
        asked: f64,
        /// The largest sparsity that can be reached.
        reachable: f64,
    },
}

/// The picture of masks is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a picture of {width} x {height} pixels is larger than PNG allows or memory holds")]
pub struct PictureError {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
}
