//! The constant operands of split operations, decoded.

use bytes::Bytes;

use super::{BlockKeys, BlockMask, Csc, MAX_TOKENS, Mask};
use crate::ir::{Elem, Graph, OpData, OpKind, TensorType, Value};

/// The constant operands of a split operation. Each is present if the operation has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// Keys of the dense blocks.
    pub keys: Option<BlockKeys>,
    /// Kept cells of the dense blocks.
    pub mask: Option<BlockMask>,
    /// Entries outside the blocks.
    pub csc: Option<Csc>,
}

impl Patterns {
    /// The operands of an operation that [`Patterns::read`] decodes.
    pub fn operands(data: &OpData) -> Vec<Value> {
        let at: Vec<usize> = match data.kind {
            OpKind::BlockSddmm { .. } => vec![2, 3],
            OpKind::CscSddmm { .. } => vec![2],
            OpKind::BlockSoftmax { .. } | OpKind::CscSoftmax { .. } => vec![1],
            OpKind::SplitSpmm { block, csc, .. } => {
                ProductParts::of(block, csc).iter().map(|part| part.pattern).collect()
            }
            _ => Vec::new(),
        };
        at.into_iter().map(|operand| data.operands[operand]).collect()
    }

    /// Decodes the constant operands of an operation whose operand shapes are valid. For an
    /// operation that is not of split attention, all are absent.
    ///
    /// # Errors
    /// An operand is not a constant, or does not decode.
    pub fn read(graph: &Graph, data: &OpData) -> Result<Patterns, String> {
        let bytes = |i: usize| {
            let constant = graph.constant(data.operands[i]).map(|constant| &constant.bytes);
            constant.ok_or_else(|| format!("operand {} is not a constant", data.operands[i]))
        };
        let shape = |i: usize| &graph.ty(data.operands[i]).shape[..];
        let keys = |i: usize, heads: usize, keys: usize| {
            BlockKeys::from_bytes(heads, keys, bytes(i)?).map_err(|error| error.to_string())
        };
        let csc = |i: usize, heads: usize, queries: usize, keys: usize| {
            Csc::from_bytes(heads, queries, keys, bytes(i)?).map_err(|error| error.to_string())
        };
        let mut patterns = Patterns::default();
        match data.kind {
            OpKind::BlockSddmm { heads, .. } => {
                let keys = keys(2, heads, shape(1)[0])?;
                let mask = BlockMask::from_bytes(shape(0)[0], &keys, bytes(3)?)
                    .map_err(|error| error.to_string())?;
                (patterns.keys, patterns.mask) = (Some(keys), Some(mask));
            }
            OpKind::CscSddmm { heads, .. } => {
                patterns.csc = Some(csc(2, heads, shape(0)[0], shape(1)[0])?)
            }
            // The softmax does not depend on the number of keys; the operations that read keys
            // check them.
            OpKind::BlockSoftmax { .. } => patterns.keys = Some(keys(1, shape(2)[0], MAX_TOKENS)?),
            OpKind::CscSoftmax { .. } => {
                let [heads, queries] = [shape(2)[0], shape(2)[1]];
                let keys = Csc::keys_in(heads, shape(0)[0], shape(1)[0])
                    .ok_or("the entries are not those of the pattern")?;
                patterns.csc = Some(csc(1, heads, queries, keys)?);
            }
            OpKind::SplitSpmm { heads, block, csc: sparse, .. } => {
                let parts = ProductParts::of(block, sparse);
                if let Some(part) = parts.block {
                    patterns.keys = Some(keys(part.pattern, heads, shape(0)[0])?);
                }
                if let Some(part) = parts.csc {
                    patterns.csc =
                        Some(csc(part.pattern, heads, shape(part.sums)[1], shape(0)[0])?);
                }
            }
            _ => {}
        }
        Ok(patterns)
    }
}

/// The operand indices of the parts of a `split_spmm`; operand 0 is the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductParts {
    /// The dense blocks; their pattern is [`BlockKeys`].
    pub block: Option<ProductPart>,
    /// The entries outside them; their pattern is [`Csc`].
    pub csc: Option<ProductPart>,
}

/// Indices of the operands of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductPart {
    /// Probabilities.
    pub probs: usize,
    /// Their row sums.
    pub sums: usize,
    /// The pattern constant.
    pub pattern: usize,
}

impl ProductParts {
    /// The parts of a `split_spmm` with these attributes.
    pub fn of(block: bool, csc: bool) -> ProductParts {
        let part = |first: usize| ProductPart { probs: first, sums: first + 1, pattern: first + 2 };
        ProductParts {
            block: block.then(|| part(1)),
            csc: csc.then(|| part(if block { 4 } else { 1 })),
        }
    }

    /// The parts that are present.
    pub fn iter(self) -> impl Iterator<Item = ProductPart> {
        self.block.into_iter().chain(self.csc)
    }
}

/// Masks and bias of an `sddmm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScoreTerms {
    /// Which entries of each head are kept.
    pub(crate) mask: Option<Value>,
    /// Which entries are kept, the same for all heads: a run-time input in place of `mask`.
    pub(crate) shared_mask: Option<Value>,
    /// The bias, in units of log2 / 256.
    pub(crate) bias: Option<Value>,
}

/// The optional operands of an `sddmm`, which are distinguished by their types.
pub(crate) fn sddmm_terms(graph: &Graph, data: &OpData) -> ScoreTerms {
    let of = |elem, rank| {
        let mut terms = data.operands[2..].iter().copied();
        terms.find(|term| (graph.ty(*term).elem, graph.ty(*term).rank()) == (elem, rank))
    };
    ScoreTerms { mask: of(Elem::Byte, 3), shared_mask: of(Elem::Byte, 2), bias: of(Elem::I16, 3) }
}

/// The masks of the heads of an `sddmm`; `None` if it has none, or one that all heads share.
///
/// # Errors
/// They are not constant, have bits after the last key, or too many tokens.
pub(crate) fn sddmm_masks(graph: &Graph, data: &OpData) -> Result<Option<Vec<Mask>>, String> {
    let Some(mask) = sddmm_terms(graph, data).mask else { return Ok(None) };
    let bytes = &graph.constant(mask).ok_or("the parameters are not constant")?.bytes;
    let [heads, queries, keys] = graph.ty(data.results[0]).shape[..] else {
        return Err("no scores of heads".to_owned());
    };
    masks_of(bytes, heads, queries, keys)
        .map(Some)
        .ok_or_else(|| "the mask has bits past the last key, or too many tokens".to_owned())
}

/// The masks of heads encoded as the operand of an `sddmm`. All must have the same numbers of
/// queries and keys.
pub(crate) fn mask_operand<'m>(masks: impl Iterator<Item = &'m Mask>) -> (TensorType, Vec<u8>) {
    let (mut shape, mut bytes) = ([0; 3], Vec::new());
    for mask in masks {
        shape = [shape[0] + 1, mask.queries(), Mask::row_bytes(mask.keys())];
        bytes.extend_from_slice(mask.bytes());
    }
    (TensorType::new(Elem::Byte, shape), bytes)
}

/// Decodes the consecutive masks of heads.
fn masks_of(bytes: &Bytes, heads: usize, queries: usize, keys: usize) -> Option<Vec<Mask>> {
    let size = queries.checked_mul(Mask::row_bytes(keys))?;
    let mask = |head: usize| {
        let start = size.checked_mul(head)?;
        let end = start.checked_add(size).filter(|end| *end <= bytes.len())?;
        Mask::from_bytes(queries, keys, bytes.slice(start..end))
    };
    (0..heads).map(mask).collect()
}
