//! Stripes of sparse attention: some queries of a head group, packed for the instructions.

use std::ops::Range;

use vitcod_isa::operands::{LIST_ROW_BYTES, ListRow, list_key_bytes, list_keys_to_bytes};

use crate::codegen::limits::{bytes32, count};
use crate::codegen::lower::sparse_attention::pattern::Pattern;

/// Some queries of some heads, packed.
#[derive(Clone, Debug)]
pub(crate) struct Stripe {
    pub(crate) heads: Range<usize>,
    pub(crate) rows: Range<usize>,
    /// The queries of all heads in descending order of steps, so that groups of lines finish
    /// together.
    pub(crate) order: Vec<ListRow>,
    /// Entries of all queries.
    entries: usize,
    /// Entries and block columns of each query, in order.
    pub(crate) steps: Vec<u32>,
    /// Columns of each head's block.
    pub(crate) columns: Vec<usize>,
}

impl Stripe {
    /// Packs queries `rows` of `heads`.
    pub(crate) fn new(pattern: &Pattern, heads: Range<usize>, rows: Range<usize>) -> Stripe {
        let columns: Vec<usize> =
            pattern.heads[heads.clone()].iter().map(|head| head.columns.len()).collect();
        let mut queries: Vec<(usize, usize, usize)> = Vec::with_capacity(heads.len() * rows.len());
        for (local, head) in heads.clone().enumerate() {
            for (row, query) in rows.clone().enumerate() {
                let entries = pattern.heads[head].entries(query).len();
                queries.push((local * rows.len() + row, entries, entries + columns[local]));
            }
        }
        queries.sort_by_key(|(number, _, steps)| (std::cmp::Reverse(*steps), *number));
        Stripe {
            entries: queries.iter().map(|(_, entries, _)| entries).sum(),
            order: (queries.iter())
                .map(|(number, entries, _)| ListRow {
                    query: count(*number),
                    entries: count(*entries),
                })
                .collect(),
            steps: queries.iter().map(|(.., steps)| bytes32(*steps)).collect(),
            columns,
            heads,
            rows,
        }
    }

    /// Number of queries of all heads.
    pub(crate) fn queries(&self) -> usize {
        self.order.len()
    }

    /// Number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Keys of the entries, in the order of the queries.
    fn keys(&self, pattern: &Pattern) -> Vec<u16> {
        let of_query = |row: &ListRow| {
            let (local, query) = (
                usize::from(row.query) / self.rows.len(),
                usize::from(row.query) % self.rows.len(),
            );
            pattern.heads[self.heads.start + local].entries(self.rows.start + query).to_vec()
        };
        self.order.iter().flat_map(of_query).collect()
    }

    /// Columns of all blocks.
    pub(crate) fn all_columns(&self) -> usize {
        self.columns.iter().sum()
    }

    /// The numbers of queries and entries of the shortest prefix of the list with at least
    /// `entries` entries; all queries if no entries are left.
    pub(crate) fn prefix(&self, entries: usize) -> (usize, usize) {
        let mut taken = 0;
        let rows = self.order.iter().take_while(|row| {
            let more = taken < entries;
            taken += if more { usize::from(row.entries) } else { 0 };
            more
        });
        let rows = rows.count();
        (if taken == self.entries() { self.queries() } else { rows }, taken)
    }
}

/// The counts that determine the bytes of a stripe, without packing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) heads: usize,
    /// Queries of all heads.
    pub(crate) queries: usize,
    pub(crate) entries: usize,
    /// Columns of all blocks.
    pub(crate) columns: usize,
    /// Cells of all blocks.
    pub(crate) cells: usize,
    /// Bytes of the blocks' masks.
    pub(crate) mask_bytes: usize,
}

impl Counts {
    /// Counts queries `rows` of `heads`.
    pub(crate) fn new(pattern: &Pattern, heads: Range<usize>, rows: Range<usize>) -> Counts {
        let patterns = &pattern.heads[heads];
        let columns = patterns.iter().map(|head| head.columns.len()).sum();
        Counts {
            heads: patterns.len(),
            queries: patterns.len() * rows.len(),
            entries: patterns.iter().map(|head| head.entries_of(rows.clone())).sum(),
            columns,
            cells: columns * rows.len(),
            mask_bytes: patterns
                .iter()
                .filter_map(|head| head.mask_rows(rows.clone()))
                .map(<[u8]>::len)
                .sum(),
        }
    }
}

/// The constants of a stripe: row list, keys, and masks of blocks, one after the other.
pub(crate) struct StripeConstants {
    pub(crate) bytes: Vec<u8>,
    /// The offset of the keys.
    pub(crate) keys: u64,
    /// Per head, the offset of the mask, if the block has pruned cells.
    pub(crate) masks: Vec<Option<u64>>,
}

impl StripeConstants {
    /// The constants of a stripe. Keys take two bytes if `wide`.
    pub(crate) fn new(stripe: &Stripe, pattern: &Pattern, wide: bool) -> StripeConstants {
        let mut bytes: Vec<u8> = stripe.order.iter().flat_map(|row| row.to_bytes()).collect();
        let keys = bytes.len() as u64;
        bytes.extend(
            list_keys_to_bytes(&stripe.keys(pattern), wide).expect("narrow keys are below 256"),
        );
        let masks = pattern.heads[stripe.heads.clone()].iter().map(|head| {
            let mask = head.mask_rows(stripe.rows.clone())?;
            let at = bytes.len() as u64;
            bytes.extend_from_slice(mask);
            Some(at)
        });
        let masks = masks.collect();
        StripeConstants { bytes, keys, masks }
    }

    /// The number of bytes of [`StripeConstants::new`] for a stripe with these counts.
    pub(crate) fn bytes(counts: &Counts, wide: bool) -> usize {
        counts.queries * LIST_ROW_BYTES as usize
            + counts.entries * list_key_bytes(wide) as usize
            + counts.mask_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vitcod_isa::operands::{LineGroups, list_keys_from_bytes};

    use super::*;
    use crate::codegen::lower::sparse_attention::pattern::HeadPattern;
    use crate::ir::layout::Mask;

    const QUERIES: usize = 7;
    const KEYS: u16 = 9;

    /// Random heads, with their first keys as the block.
    fn pattern() -> impl Strategy<Value = Pattern> {
        let head = (0..KEYS, prop::collection::vec(any::<bool>(), QUERIES * usize::from(KEYS)));
        prop::collection::vec(head, 1..4).prop_map(|heads| Pattern {
            heads: (heads.into_iter())
                .map(|(columns, kept)| {
                    let kept =
                        |query: usize, key: u16| kept[query * usize::from(KEYS) + usize::from(key)];
                    let block = Mask::from_fn(QUERIES, columns.into(), |query, key| {
                        kept(query, key as u16)
                    });
                    let entries = |query| (columns..KEYS).filter(|key| kept(query, *key)).collect();
                    HeadPattern::new(
                        (0..columns).collect(),
                        &block,
                        (0..QUERIES).map(entries).collect(),
                    )
                })
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn packing_covers_every_entry_once(pattern in pattern(), from in 0..QUERIES, count in 1..=QUERIES, wide: bool) {
            let (heads, rows) = (0..pattern.heads.len(), from..QUERIES.min(from + count));
            let stripe = Stripe::new(&pattern, heads.clone(), rows.clone());
            let image = StripeConstants::new(&stripe, &pattern, wide);
            let keys = image.keys as usize;
            let keys = &image.bytes[keys..keys + stripe.entries() * list_key_bytes(wide) as usize];
            let mut keys = list_keys_from_bytes(keys, wide).into_iter();
            let mut seen = vec![None; stripe.queries()];
            for row in &stripe.order {
                seen[usize::from(row.query)] = Some(keys.by_ref().take(row.entries.into()).collect::<Vec<u16>>());
            }
            let expected = heads.clone().flat_map(|head| rows.clone().map(move |query| (head, query)));
            let expected = expected.map(|(head, query)| Some(pattern.heads[head].entries(query).to_vec()));
            prop_assert_eq!(seen, expected.collect::<Vec<_>>());

            let counts = Counts::new(&pattern, heads, rows);
            prop_assert_eq!(StripeConstants::bytes(&counts, wide), image.bytes.len());
            let all = (stripe.queries(), stripe.entries(), stripe.all_columns(), stripe.all_columns() * stripe.rows.len());
            prop_assert_eq!((counts.queries, counts.entries, counts.columns, counts.cells), all);
        }

        /// Longest first is at most a third worse than any division, and no group waits while
        /// another has two queries more to take.
        #[test]
        fn groups_of_lines_finish_together(pattern in pattern(), groups in 1u16..5) {
            let stripe = Stripe::new(&pattern, 0..pattern.heads.len(), 0..QUERIES);
            let groups = LineGroups::new(1, groups, 1);
            let steps = stripe.steps.iter().map(|steps| u64::from(*steps).max(1));
            let (sum, longest) = (steps.clone().sum::<u64>(), steps.max().unwrap_or(0));
            let bound = sum.div_ceil(groups.groups.into()).max(longest);
            let busiest = groups.busiest(stripe.steps.iter().copied());
            prop_assert!((bound..=bound + longest).contains(&busiest));
            prop_assert!(stripe.steps.is_sorted_by(|a, b| a >= b));
        }

        #[test]
        fn a_prefix_has_as_many_entries_as_wanted_and_no_query_more(pattern in pattern(), wanted in 1usize..200) {
            let stripe = Stripe::new(&pattern, 0..pattern.heads.len(), 0..QUERIES);
            let (count, taken) = stripe.prefix(wanted);
            let entries = |count: usize| stripe.order[..count].iter().map(|row| usize::from(row.entries)).sum::<usize>();
            prop_assert_eq!(entries(count), taken);
            prop_assert!(taken >= wanted.min(stripe.entries()));
            prop_assert!(count == stripe.queries() || entries(count - 1) < wanted);
        }
    }
}
