//! The masks of a model.

use super::MaskError;
use crate::ir::layout::Mask;

/// The most heads of all layers of a mask file together: ViT-22B has 48 x 48. It bounds memory,
/// because a head takes at least a byte in the file but far more in memory.
pub const MAX_HEADS: usize = 1 << 13;

/// The masks of a model: for each layer, in order of execution, one per head.
///
/// Each layer has at least one head, the masks of a layer have the same shape, and every query
/// keeps a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    layers: Vec<Vec<Mask>>,
}

impl Masks {
    /// The masks of these layers and heads.
    ///
    /// # Errors
    /// There are no layers, a layer has no heads or heads of different shapes, or a query keeps no
    /// key.
    pub fn new(layers: Vec<Vec<Mask>>) -> Result<Masks, MaskError> {
        if layers.is_empty() {
            return Err(MaskError::Shape { found: vec![0] });
        }
        for (layer, heads) in layers.iter().enumerate() {
            let shape = heads.first().map_or([0, 0], |head| [head.queries(), head.keys()]);
            if let Some(found) =
                heads.iter().map(|head| [head.queries(), head.keys()]).find(|found| *found != shape)
            {
                return Err(MaskError::Shape {
                    found: vec![layers.len(), heads.len(), found[0], found[1]],
                });
            }
            if shape.contains(&0) {
                return Err(MaskError::Shape {
                    found: vec![layers.len(), heads.len(), shape[0], shape[1]],
                });
            }
            for (head, mask) in heads.iter().enumerate() {
                if let Some(query) = mask.empty_row() {
                    return Err(MaskError::EmptyRow { layer, head, query });
                }
            }
        }
        Ok(Masks { layers })
    }

    /// The masks by layer and head.
    pub fn layers(&self) -> &[Vec<Mask>] {
        &self.layers
    }

    /// Number of kept entries.
    pub fn kept(&self) -> usize {
        self.heads().map(Mask::kept).sum()
    }

    /// Number of entries, kept or not.
    pub fn entries(&self) -> usize {
        self.heads().map(Mask::entries).sum()
    }

    /// Share of the entries that are pruned.
    pub fn sparsity(&self) -> f64 {
        (self.entries() - self.kept()) as f64 / self.entries() as f64
    }

    fn heads(&self) -> impl Iterator<Item = &Mask> {
        self.layers.iter().flatten()
    }
}
