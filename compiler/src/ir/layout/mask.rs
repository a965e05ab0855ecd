//! The kept entries of one head's attention.

use bytes::Bytes;

/// The most queries or keys of a mask: their indices are 16 bits wide.
pub const MAX_TOKENS: usize = 1 << 16;

/// Whether an addend of scores prunes: -inf does, and so does `f32::MIN`, which Hugging Face uses
/// instead.
pub fn prunes(bias: f32) -> bool {
    bias <= f32::MIN
}

/// The kept entries of one head's attention: a matrix of bits, queries by keys.
///
/// It is held in the layout of constants of quantised graphs, so that reading and writing convert
/// nothing: each row has [`Mask::row_bytes`] bytes. Bit `j % 8` of byte `j / 8` is 1 if key `j` is
/// kept; bits after the last key are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    queries: usize,
    keys: usize,
    bytes: Bytes,
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
        let width = Mask::row_bytes(keys);
        let mut bytes = vec![0; queries * width];
        for query in 0..queries {
            for key in 0..keys {
                bytes[query * width + key / 8] |= u8::from(kept(query, key)) << (key % 8);
            }
        }
        Mask { queries, keys, bytes: bytes.into() }
    }

    /// The mask with these bytes. `None` if their length does not match the rows, bits after the
    /// last key are set, or there are more than [`MAX_TOKENS`] queries or keys.
    pub fn from_bytes(queries: usize, keys: usize, bytes: Bytes) -> Option<Mask> {
        if queries > MAX_TOKENS || keys > MAX_TOKENS {
            return None;
        }
        let width = Mask::row_bytes(keys);
        if bytes.len() != queries * width {
            return None;
        }
        let past = if keys.is_multiple_of(8) { 0 } else { 0xff << (keys % 8) };
        let clean = width == 0 || bytes.chunks_exact(width).all(|row| row[width - 1] & past == 0);
        clean.then_some(Mask { queries, keys, bytes })
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of a row.
    pub const fn row_bytes(keys: usize) -> usize {
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
        self.row_of(query)[key / 8] >> (key % 8) & 1 == 1
    }

    /// The keys that a query keeps, ascending.
    ///
    /// # Panics
    /// There is no such query.
    pub fn row(&self, query: usize) -> impl Iterator<Item = usize> {
        self.row_of(query).iter().enumerate().flat_map(|(byte, bits)| {
            // Each step clears the lowest bit that is set.
            std::iter::successors(Some(*bits), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|rest| *rest != 0)
                .map(move |rest| byte * 8 + rest.trailing_zeros() as usize)
        })
    }

    /// Number of kept entries.
    pub fn kept(&self) -> usize {
        self.bytes.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Number of kept entries of every column.
    pub(crate) fn kept_per_key(&self) -> Vec<usize> {
        let mut counts = vec![0; self.keys];
        (0..self.queries).flat_map(|query| self.row(query)).for_each(|key| counts[key] += 1);
        counts
    }

    /// Share of the entries that is pruned; 0 for a mask without entries.
    pub fn sparsity(&self) -> f64 {
        if self.entries() == 0 {
            return 0.0;
        }
        (self.entries() - self.kept()) as f64 / self.entries() as f64
    }

    /// The first query without a kept key.
    pub fn empty_row(&self) -> Option<usize> {
        (0..self.queries).find(|query| self.row_of(*query).iter().all(|byte| *byte == 0))
    }

    fn row_of(&self, query: usize) -> &[u8] {
        let width = Mask::row_bytes(self.keys);
        &self.bytes[query * width..][..width]
    }
}
