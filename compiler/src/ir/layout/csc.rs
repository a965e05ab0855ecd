//! Sparse patterns in compressed sparse columns (CSC).

use super::LayoutError;

/// The kept entries of all heads outside the dense blocks, in CSC: the uint32 starts of the
/// columns, column `head * keys + key`, and the number of entries; then the query of each entry as
/// uint16, ascending within each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csc {
    keys: usize,
    /// Starts of the columns and the end.
    starts: Vec<u32>,
    queries: Vec<u16>,
}

impl Csc {
    /// The pattern of `heads` heads of `keys` keys. `column(head, key)` returns the queries of the
    /// column's entries, ascending. `None` if there are more entries than 32 bits can count.
    pub fn new<C: IntoIterator<Item = u16>>(
        heads: usize,
        keys: usize,
        mut column: impl FnMut(usize, usize) -> C,
    ) -> Option<Csc> {
        let mut pattern = Csc { keys, starts: vec![0], queries: Vec::new() };
        for head in 0..heads {
            for key in 0..keys {
                pattern.queries.extend(column(head, key));
                pattern.starts.push(u32::try_from(pattern.queries.len()).ok()?);
            }
        }
        Some(pattern)
    }

    /// The number of entries that `bytes` bytes hold for `heads` heads of `keys` keys; `None` if no
    /// pattern has this length.
    pub(crate) fn nonzeros_in(heads: usize, keys: usize, bytes: usize) -> Option<usize> {
        let starts = heads.checked_mul(keys)?.checked_add(1)?.checked_mul(4)?;
        let queries = bytes.checked_sub(starts)?;
        queries.is_multiple_of(2).then_some(queries / 2)
    }

    /// The keys of a head that `bytes` bytes hold for `heads` heads and `nonzeros` entries; `None`
    /// if no pattern has this length.
    pub(crate) fn keys_in(heads: usize, nonzeros: usize, bytes: usize) -> Option<usize> {
        let starts = bytes.checked_sub(nonzeros.checked_mul(2)?)?;
        let columns = (starts / 4).checked_sub(1)?;
        (starts.is_multiple_of(4) && heads > 0 && columns.is_multiple_of(heads))
            .then(|| columns / heads)
    }

    /// Number of entries.
    pub fn nonzeros(&self) -> usize {
        self.queries.len()
    }

    /// Keys of a head.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The entries in order, as head, key and query.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.starts.windows(2).enumerate().flat_map(move |(column, ends)| {
            let queries = &self.queries[ends[0] as usize..ends[1] as usize];
            queries
                .iter()
                .map(move |query| (column / self.keys, column % self.keys, usize::from(*query)))
        })
    }

    /// Encodes the layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        let starts = self.starts.iter().flat_map(|start| start.to_le_bytes());
        starts.chain(self.queries.iter().flat_map(|query| query.to_le_bytes())).collect()
    }

    /// Decodes the layout for `heads` heads of `queries` queries and `keys` keys.
    ///
    /// # Errors
    /// The length does not match the starts and entries, the starts do not ascend from 0 to the
    /// number of entries, or the queries of a column are not ascending and below `queries`.
    pub fn from_bytes(
        heads: usize,
        queries: usize,
        keys: usize,
        bytes: &[u8],
    ) -> Result<Csc, LayoutError> {
        let length = || LayoutError::Length { what: "a sparse pattern", found: bytes.len() };
        let nonzeros = Csc::nonzeros_in(heads, keys, bytes.len()).ok_or_else(length)?;
        let (starts, rows) = bytes.split_at(bytes.len() - 2 * nonzeros);
        let starts: Vec<u32> =
            starts.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let rows: Vec<u16> =
            rows.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word)).collect();
        let mut previous = 0;
        for (column, start) in starts.iter().copied().enumerate() {
            let ends = column == 0 && start != 0
                || column + 1 == starts.len() && start as usize != nonzeros;
            if ends || start < previous || start as usize > nonzeros {
                return Err(LayoutError::Start { start, previous, nonzeros });
            }
            previous = start;
        }
        for (column, ends) in starts.windows(2).enumerate() {
            let rows = &rows[ends[0] as usize..ends[1] as usize];
            if !rows.is_sorted_by(|a, b| a < b)
                || rows.last().is_some_and(|last| usize::from(*last) >= queries)
            {
                return Err(LayoutError::Queries {
                    head: column / keys,
                    key: column % keys,
                    queries,
                });
            }
        }
        Ok(Csc { keys, starts, queries: rows })
    }
}
