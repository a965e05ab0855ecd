//! The attention that a system computes: shapes, and which entries are kept.

use serde::{Deserialize, Serialize};

use crate::kept::KeptEntries;

/// The most queries or keys of a layer.
pub const MAX_TOKENS: u32 = 1 << 16;

/// The most features of a key or of a value.
pub const MAX_FEATURES: u32 = 1 << 14;

/// The most heads of all layers together.
pub const MAX_HEADS: u64 = 1 << 13;

/// The most multiplications of all layers together if nothing is pruned. The cycles of every model
/// then fit into 64 bits.
pub const MAX_PRODUCTS: u64 = 1 << 48;

/// The shape of a layer's attention, softmax(Q K^T) V.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerShape {
    /// Number of heads.
    pub heads: u32,
    /// Rows of Q of a head.
    pub queries: u32,
    /// Rows of K and of V of a head.
    pub keys: u32,
    /// Columns of Q and of K of a head.
    pub key_features: u32,
    /// Columns of V of a head.
    pub value_features: u32,
}

impl LayerShape {
    /// Entries of the scores of all heads, kept or not.
    pub fn entries(&self) -> u64 {
        u64::from(self.heads) * u64::from(self.queries) * u64::from(self.keys)
    }

    /// Multiplications of both products of all heads if nothing is pruned.
    pub fn products(&self) -> u64 {
        self.entries() * (u64::from(self.key_features) + u64::from(self.value_features))
    }

    /// Elements of Q, K, V and the output of a head.
    pub(crate) fn head_elements(&self) -> u64 {
        let [queries, keys] = [self.queries, self.keys].map(u64::from);
        (queries + keys) * (u64::from(self.key_features) + u64::from(self.value_features))
    }
}

/// The attention of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    shape: LayerShape,
    /// One for each head; `None` if every entry is kept.
    kept: Option<Vec<KeptEntries>>,
    compressed_heads: Option<u32>,
}

impl Layer {
    /// A layer whose heads keep every entry.
    pub fn dense(shape: LayerShape) -> Layer {
        Layer { shape, kept: None, compressed_heads: None }
    }

    /// A layer with the kept entries of each head.
    ///
    /// # Errors
    /// There are no heads, or they differ in queries or keys.
    pub fn masked(
        key_features: u32,
        value_features: u32,
        kept: Vec<KeptEntries>,
    ) -> Result<Layer, WorkloadError> {
        let extents = |head: &KeptEntries| [head.queries(), head.keys()];
        let first = kept.first().map(extents).ok_or(WorkloadError::NoHeads)?;
        if let Some(head) = kept.iter().position(|head| extents(head) != first) {
            let found = extents(&kept[head]);
            return Err(WorkloadError::HeadsDiffer { head, found, first });
        }
        let heads = u32::try_from(kept.len()).unwrap_or(u32::MAX);
        let [queries, keys] = first;
        let shape = LayerShape { heads, queries, keys, key_features, value_features };
        Ok(Layer { shape, kept: Some(kept), compressed_heads: None })
    }

    /// States to how many heads the auto-encoder compresses Q and K.
    #[must_use]
    pub fn with_compressed_heads(self, heads: u32) -> Layer {
        Layer { compressed_heads: Some(heads), ..self }
    }

    /// The shape.
    pub fn shape(&self) -> LayerShape {
        self.shape
    }

    /// The kept entries of each head; `None` if every entry is kept.
    pub fn kept(&self) -> Option<&[KeptEntries]> {
        self.kept.as_deref()
    }

    /// Heads of compressed Q and K; `None` without an auto-encoder.
    pub fn compressed_heads(&self) -> Option<u32> {
        self.compressed_heads
    }

    /// Number of kept entries of all heads.
    pub fn kept_entries(&self) -> u64 {
        self.kept().map_or(self.shape.entries(), |heads| heads.iter().map(KeptEntries::count).sum())
    }
}

/// The attention of a model: its layers in order of execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    layers: Vec<Layer>,
}

impl Workload {
    /// The workload of these layers.
    ///
    /// # Errors
    /// There are no layers, or an extent is 0 or exceeds its limit.
    pub fn new(layers: Vec<Layer>) -> Result<Workload, WorkloadError> {
        if layers.is_empty() {
            return Err(WorkloadError::NoLayers);
        }
        let (mut heads, mut products) = (0_u64, 0_u64);
        for (index, layer) in layers.iter().enumerate() {
            let shape = layer.shape;
            let extents = [
                ("heads", shape.heads, MAX_HEADS as u32),
                ("queries", shape.queries, MAX_TOKENS),
                ("keys", shape.keys, MAX_TOKENS),
                ("key features", shape.key_features, MAX_FEATURES),
                ("value features", shape.value_features, MAX_FEATURES),
                ("compressed heads", layer.compressed_heads.unwrap_or(1), shape.heads),
            ];
            for (what, found, most) in extents {
                if !(1..=most).contains(&found) {
                    return Err(WorkloadError::Extent { layer: index, what, found, most });
                }
            }
            heads += u64::from(shape.heads);
            products = products.saturating_add(shape.products());
            if heads > MAX_HEADS || products > MAX_PRODUCTS {
                return Err(WorkloadError::TooLarge { layer: index });
            }
        }
        Ok(Workload { layers })
    }

    /// The layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Share of the entries that are kept, 0 to 1.
    pub fn density(&self) -> f64 {
        let kept: u64 = self.layers.iter().map(Layer::kept_entries).sum();
        let entries: u64 = self.layers.iter().map(|layer| layer.shape.entries()).sum();
        kept as f64 / entries as f64
    }
}

/// Why layers are not a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// There is no layer.
    #[error("a workload has at least one layer")]
    NoLayers,
    /// A layer has no head.
    #[error("a layer has at least one head")]
    NoHeads,
    /// The heads of a layer have different shapes.
    #[error("head {head} has {found:?} queries and keys, head 0 has {first:?}")]
    HeadsDiffer {
        /// The first head that differs.
        head: usize,
        /// Its queries and keys.
        found: [u32; 2],
        /// Those of head 0.
        first: [u32; 2],
    },
    /// An extent is 0 or exceeds its limit.
    #[error("layer {layer}: {found} {what}: expected 1 to {most}")]
    Extent {
        /// The layer, from 0.
        layer: usize,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u32,
        /// The limit.
        most: u32,
    },
    /// All layers together exceed a limit.
    #[error(
        "up to layer {layer}: more than {MAX_HEADS} heads or more than {MAX_PRODUCTS} \
         multiplications"
    )]
    TooLarge {
        /// The layer that exceeds it, from 0.
        layer: usize,
    },
    /// The bytes of a head do not match its shape.
    #[error("{queries} rows of {keys} bits take {expected} bytes, not {found}")]
    Bytes {
        /// Rows.
        queries: u32,
        /// Bits of a row.
        keys: u32,
        /// Bytes that they take.
        expected: u64,
        /// Bytes that are there.
        found: usize,
    },
    /// A row has bits after its last key.
    #[error("row {row} has bits after its last key")]
    Padding {
        /// The row, from 0.
        row: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: LayerShape =
        LayerShape { heads: 3, queries: 4, keys: 5, key_features: 6, value_features: 7 };

    fn refused(layers: Vec<Layer>) -> String {
        Workload::new(layers).unwrap_err().to_string()
    }

    #[test]
    fn a_dense_layer_keeps_every_entry() {
        let workload = Workload::new(vec![Layer::dense(SHAPE)]).unwrap();
        assert_eq!(workload.density(), 1.0);
        assert_eq!((SHAPE.entries(), SHAPE.products()), (60, 780));
        // Q 4 x 6, K 5 x 6, V 5 x 7, output 4 x 7.
        assert_eq!(SHAPE.head_elements(), 24 + 30 + 35 + 28);
    }

    #[test]
    fn density_is_that_of_all_layers() {
        let head = KeptEntries::from_fn(4, 5, |query, key| query == key).unwrap();
        let masked = Layer::masked(6, 7, vec![head]).unwrap();
        assert_eq!(masked.kept_entries(), 4);
        let workload = Workload::new(vec![masked, Layer::dense(SHAPE)]).unwrap();
        assert_eq!(workload.density(), 64.0 / 80.0);
    }

    #[test]
    fn extents_out_of_range_are_refused() {
        assert_eq!(refused(vec![]), "a workload has at least one layer");
        let dense = |shape| vec![Layer::dense(SHAPE), Layer::dense(shape)];
        let shape = LayerShape { keys: 0, ..SHAPE };
        assert_eq!(refused(dense(shape)), "layer 1: 0 keys: expected 1 to 65536");
        let shape = LayerShape { value_features: 1 << 15, ..SHAPE };
        assert_eq!(refused(dense(shape)), "layer 1: 32768 value features: expected 1 to 16384");
        let shape = LayerShape { heads: 1 << 13, ..SHAPE };
        assert!(refused(dense(shape)).starts_with("up to layer 1: more than 8192 heads"));
        let huge = LayerShape { queries: 1 << 16, keys: 1 << 16, key_features: 1 << 14, ..SHAPE };
        assert!(refused(dense(LayerShape { heads: 8, ..huge })).starts_with("up to layer 1"));
        let layer = Layer::dense(SHAPE).with_compressed_heads(4);
        assert_eq!(refused(vec![layer]), "layer 0: 4 compressed heads: expected 1 to 3");
    }

    #[test]
    fn heads_of_a_layer_have_one_shape() {
        assert_eq!(Layer::masked(1, 1, vec![]), Err(WorkloadError::NoHeads));
        let heads = [(2, 3), (3, 2)].map(|(q, k)| KeptEntries::from_fn(q, k, |_, _| true).unwrap());
        let error = Layer::masked(1, 1, heads.to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "head 1 has [3, 2] queries and keys, head 0 has [2, 3]");
    }
}
