//! A stripe: some queries of some heads, as the operands of its instructions have it.

use std::ops::Range;

use vitcod_isa::operands::{ListRow, list_keys_to_bytes};

use super::pattern::Pattern;

/// Some queries of some heads, packed.
#[derive(Clone, Debug)]
pub(super) struct Stripe {
    pub(super) heads: Range<usize>,
    pub(super) rows: Range<usize>,
    /// The queries of all heads, most steps first: groups of lines that take them in this order finish together.
    pub(super) order: Vec<ListRow>,
    /// Keys of the entries, in the order of the queries.
    pub(super) keys: Vec<u16>,
    /// Entries and block columns of each query, in order.
    pub(super) steps: Vec<u32>,
    /// Columns of each head's block.
    pub(super) columns: Vec<usize>,
}

impl Stripe {
    /// Packs queries `rows` of `heads`.
    pub(super) fn new(pattern: &Pattern, heads: Range<usize>, rows: Range<usize>) -> Stripe {
        let columns: Vec<usize> = pattern.heads[heads.clone()].iter().map(|head| head.columns.len()).collect();
        let mut queries: Vec<(usize, usize, usize)> = Vec::with_capacity(heads.len() * rows.len());
        for (local, head) in heads.clone().enumerate() {
            for (place, query) in rows.clone().enumerate() {
                let entries = pattern.heads[head].entries(query).len();
                queries.push((local * rows.len() + place, entries, entries + columns[local]));
            }
        }
        queries.sort_by_key(|(number, _, steps)| (std::cmp::Reverse(*steps), *number));
        let keys = queries.iter().flat_map(|(number, ..)| {
            let (local, place) = (number / rows.len(), number % rows.len());
            pattern.heads[heads.start + local].entries(rows.start + place)
        });
        Stripe {
            keys: keys.copied().collect(),
            order: (queries.iter())
                .map(|(number, entries, _)| ListRow { query: *number as u16, entries: *entries as u16 })
                .collect(),
            steps: queries.iter().map(|(.., steps)| *steps as u32).collect(),
            columns,
            heads,
            rows,
        }
    }

    /// Number of queries of all heads.
    pub(super) fn queries(&self) -> usize {
        self.order.len()
    }

    /// Number of entries.
    pub(super) fn entries(&self) -> usize {
        self.keys.len()
    }

    /// Columns of all blocks.
    pub(super) fn all_columns(&self) -> usize {
        self.columns.iter().sum()
    }

    /// The queries and entries of the first part of the list that has at least `entries` entries; all queries where none are left.
    pub(super) fn prefix(&self, entries: usize) -> (usize, usize) {
        let mut taken = 0;
        let count = self.order.iter().take_while(|row| {
            let more = taken < entries;
            taken += if more { usize::from(row.entries) } else { 0 };
            more
        });
        let count = count.count();
        (if taken == self.entries() { self.queries() } else { count }, taken)
    }
}

/// The bytes that a stripe loads: queries, keys, and masks of blocks, one after the other.
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    /// Where the keys start.
    pub(super) keys: u64,
    /// Where the mask of each head starts whose block has pruned cells.
    pub(super) masks: Vec<Option<u64>>,
}

impl Image {
    /// The bytes of a stripe, whose keys take two bytes where `wide`.
    pub(super) fn new(stripe: &Stripe, pattern: &Pattern, wide: bool) -> Image {
        let mut bytes: Vec<u8> = stripe.order.iter().flat_map(|row| row.to_bytes()).collect();
        let keys = bytes.len() as u64;
        bytes.extend(list_keys_to_bytes(&stripe.keys, wide).expect("narrow keys are below 256"));
        let masks = pattern.heads[stripe.heads.clone()].iter().map(|head| {
            let mask = head.mask_rows(stripe.rows.clone())?;
            let at = bytes.len() as u64;
            bytes.extend_from_slice(mask);
            Some(at)
        });
        let masks = masks.collect();
        Image { bytes, keys, masks }
    }
}
