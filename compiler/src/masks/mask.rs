//! Kept entries as sets of bits.

use super::MaskError;

/// The most queries or keys of a mask: their indices are 16 bits wide.
pub const MAX_TOKENS: usize = 1 << 16;

/// The most heads of all layers of a file of masks together: ViT-22B has 48 x 48. A head takes a
/// byte there at least, and far more here.
pub const MAX_HEADS: usize = 1 << 13;

/// Which entries of one head's attention are kept: a matrix of bits, queries by keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    queries: usize,
    keys: usize,
    /// Whole words per row, low bits first; bits past the last key are 0.
    bits: Vec<u64>,
}

impl Mask {
    /// The mask that keeps the entries for which `kept(query, key)` holds.
    ///
    /// # Panics
    /// More than [`MAX_TOKENS`] queries or keys.
    pub fn from_fn(
        queries: usize,
        keys: usize,
        mut kept: impl FnMut(usize, usize) -> bool,
    ) -> Mask {
        assert!(queries <= MAX_TOKENS && keys <= MAX_TOKENS, "at most {MAX_TOKENS} tokens");
        let words = keys.div_ceil(64);
        let mut bits = vec![0; queries * words];
        for query in 0..queries {
            for key in 0..keys {
                bits[query * words + key / 64] |= u64::from(kept(query, key)) << (key % 64);
            }
        }
        Mask { queries, keys, bits }
    }

    /// Reads [`Mask::to_kept_bytes`]. `None` where the length is another, bits past the last key
    /// are set, or there are more than [`MAX_TOKENS`] queries or keys.
    pub fn from_kept_bytes(queries: usize, keys: usize, bytes: &[u8]) -> Option<Mask> {
        if queries > MAX_TOKENS || keys > MAX_TOKENS {
            return None;
        }
        let width = Mask::kept_row_bytes(keys);
        if bytes.len() != queries * width {
            return None;
        }
        let bit = |query: usize, key: usize| bytes[query * width + key / 8] >> (key % 8) & 1 == 1;
        let mut past =
            (0..queries).flat_map(|query| (keys..8 * width).map(move |key| (query, key)));
        (!past.any(|(query, key)| bit(query, key))).then(|| Mask::from_fn(queries, keys, bit))
    }

    /// The mask as an operand of quantised graphs: row by row [`Mask::kept_row_bytes`]. Bit `j % 8`
    /// of byte `j / 8` of a row is 1 if key `j` is kept; bits past the last key are 0.
    pub fn to_kept_bytes(&self) -> Vec<u8> {
        let width = Mask::kept_row_bytes(self.keys);
        let row = |query| self.words(query).iter().flat_map(|word| word.to_le_bytes()).take(width);
        (0..self.queries).flat_map(row).collect()
    }

    /// Bytes of one row of [`Mask::to_kept_bytes`].
    pub const fn kept_row_bytes(keys: usize) -> usize {
        keys.div_ceil(8)
    }

    /// Number of rows.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Number of columns.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Number of entries, kept or not.
    pub fn entries(&self) -> usize {
        self.queries * self.keys
    }

    /// Whether an entry is kept.
    ///
    /// # Panics
    /// There is no such entry.
    pub fn is_kept(&self, query: usize, key: usize) -> bool {
        assert!(key < self.keys, "key {key} of {}", self.keys);
        self.words(query)[key / 64] >> (key % 64) & 1 == 1
    }

    /// The keys that a query keeps, rising.
    ///
    /// # Panics
    /// There is no such query.
    pub fn row(&self, query: usize) -> impl Iterator<Item = usize> {
        self.words(query).iter().enumerate().flat_map(|(word, bits)| {
            // Each step clears the lowest bit that is set.
            std::iter::successors(Some(*bits), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|rest| *rest != 0)
                .map(move |rest| word * 64 + rest.trailing_zeros() as usize)
        })
    }

    /// Number of kept entries.
    pub fn kept(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Number of kept entries of every column.
    pub fn kept_per_key(&self) -> Vec<usize> {
        let mut counts = vec![0; self.keys];
        (0..self.queries).flat_map(|query| self.row(query)).for_each(|key| counts[key] += 1);
        counts
    }

    /// Share of the entries that is pruned; 0 for a mask without entries.
    pub fn sparsity(&self) -> f64 {
        pruned_share(self.kept(), self.entries())
    }

    /// The first query that keeps nothing.
    pub fn empty_row(&self) -> Option<usize> {
        (0..self.queries).find(|query| self.words(*query).iter().all(|word| *word == 0))
    }

    fn words(&self, query: usize) -> &[u64] {
        let words = self.keys.div_ceil(64);
        &self.bits[query * words..][..words]
    }
}

/// The masks of a model: of every layer, in the order in which the model runs them, every head.
///
/// Every layer has heads, the heads of a layer have as many queries and keys as each other, and
/// every query keeps a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    layers: Vec<Vec<Mask>>,
}

impl Masks {
    /// The masks of these layers and heads.
    ///
    /// # Errors
    /// There are no layers, a layer without heads or with heads that differ in shape, or a query
    /// that keeps nothing.
    pub fn new(layers: Vec<Vec<Mask>>) -> Result<Masks, MaskError> {
        if layers.is_empty() {
            return Err(MaskError::Shape { found: vec![0] });
        }
        for (layer, heads) in layers.iter().enumerate() {
            let shape = heads.first().map_or([0, 0], |head| [head.queries, head.keys]);
            if let Some(found) =
                heads.iter().map(|head| [head.queries, head.keys]).find(|found| *found != shape)
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

    /// Share of the entries that is pruned.
    pub fn sparsity(&self) -> f64 {
        pruned_share(self.kept(), self.entries())
    }

    fn heads(&self) -> impl Iterator<Item = &Mask> {
        self.layers.iter().flatten()
    }
}

fn pruned_share(kept: usize, entries: usize) -> f64 {
    if entries == 0 { 0.0 } else { (entries - kept) as f64 / entries as f64 }
}
