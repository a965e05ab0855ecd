//! The order of tokens: a list schedule with the clock at hand.
//!
//! Of the rows of a batch, the next one is among those that can issue first; among these the one
//! that most feeds the groups that soon run dry. Held rows of the next batch come when no row can
//! issue, or when they are behind the rows of this batch in proportion.

use std::collections::BTreeMap;

use vitcod_isa::lists::{ContextSet, ListRow, Segment, Token};

use super::{Array, Batch, Clock, Kind, List, Packing, Phase, Query, RowLayout};

/// The most queries of a held token.
const MAX_HELD: usize = u8::MAX as usize;

/// So many rows are compared at a time, so that the work grows with their number and not with its
/// square.
const MAX_COMPARED: usize = 256;

/// A token that has not issued yet.
struct Waiting {
    kind: Kind,
    /// The query or key.
    row: u16,
    uses: ContextSet,
    /// Contexts of each group.
    of_group: Vec<(usize, u64)>,
    /// Heads, rising.
    heads: Vec<u8>,
    words: Vec<u64>,
    /// Held: the queries, as rows of the list.
    rows: Vec<ListRow>,
}

/// The tokens of a batch that have not issued yet.
struct Pending {
    held: Vec<Waiting>,
    rows: Vec<Waiting>,
    /// Their numbers at the start.
    all_held: usize,
    all_rows: usize,
}

impl Pending {
    fn new(
        batch: &Batch,
        queries: &[Query],
        layout: &RowLayout,
        (array, packing): (&Array, Packing),
    ) -> Pending {
        let contexts = array.groups.contexts as usize;
        let new = |kind, row| Waiting {
            kind,
            row,
            uses: ContextSet::EMPTY,
            of_group: Vec::new(),
            heads: Vec::new(),
            words: Vec::new(),
            rows: Vec::new(),
        };
        // Held rows in the order of the contexts that they come to, others in rising order.
        let mut held: Vec<(usize, Waiting)> = Vec::new();
        let mut rows = BTreeMap::<(usize, u8), Waiting>::new();
        for context in 0..contexts {
            for (group, of_group) in batch.iter().enumerate() {
                let Some(query) = of_group.get(context) else { continue };
                let Query { head, query, keys } = &queries[*query];
                // There are at most 256 contexts.
                let context = (group * contexts + context) as u8;
                let word = layout.word(*head, *query);
                let known = held
                    .iter()
                    .position(|(other, token)| *other == word && token.rows.len() < MAX_HELD)
                    .filter(|_| packing.shared);
                let known = known.unwrap_or_else(|| {
                    held.push((word, new(Kind::Held, *query)));
                    held.len() - 1
                });
                let (query, entries, head) = (*query, keys.len() as u16, *head);
                held[known].1.rows.push(ListRow { query, entries, head, context });
                held[known].1.take(head, context);
                for key in keys {
                    let of = if packing.shared { 0 } else { context };
                    let token = rows.entry((layout.word(head, *key), of));
                    token.or_insert_with(|| new(Kind::Row, *key)).take(head, context);
                }
            }
        }
        let complete = |mut token: Waiting| {
            if array.reads.is_some() {
                layout.words(token.kind, token.row, &token.heads, &mut token.words);
            }
            token.of_group = token.uses.by_group(array.groups.contexts).collect();
            token
        };
        let held: Vec<Waiting> = held.into_iter().map(|(_, token)| complete(token)).collect();
        let rows: Vec<Waiting> = rows.into_values().map(complete).collect();
        Pending { all_held: held.len(), all_rows: rows.len(), held, rows }
    }

    /// The held row that can issue first: its cycle and place.
    fn next_held(&self, clock: &Clock) -> Option<(u64, usize)> {
        self.held.iter().enumerate().map(|(place, token)| (token.ready(clock), place)).min()
    }
}

impl Waiting {
    fn take(&mut self, head: u8, context: u8) {
        self.uses.insert(context);
        if let Err(place) = self.heads.binary_search(&head) {
            self.heads.insert(place, head);
        }
    }

    fn ready(&self, clock: &Clock) -> u64 {
        clock.ready(self.kind, &self.words, &self.uses)
    }
}

/// A list while it is built.
struct Ordered {
    list: List,
    clock: Clock,
}

impl Ordered {
    fn issue(&mut self, token: Waiting) {
        self.clock.issue(token.kind, &token.words, &token.uses);
        let segment = self.list.segments.last_mut().expect("a segment has begun");
        segment.tokens.push(match token.kind {
            Kind::Held => Token::Held(token.rows.len() as u8),
            Kind::Row => Token::Row { key: token.row, uses: token.uses },
        });
        self.list.rows.extend(token.rows);
    }
}

/// The tokens of all batches.
pub(super) fn order(
    queries: &[Query],
    batches: &[Batch],
    layout: &RowLayout,
    (array, packing): (&Array, Packing),
) -> List {
    let mut out = Ordered { list: List::default(), clock: Clock::new(*array, Phase::Scores) };
    let mut batches = batches.iter();
    let mut pending =
        || batches.next().map(|batch| Pending::new(batch, queries, layout, (array, packing)));
    let mut next = pending();
    out.list.segments.push(Segment::default());
    while let Some(mut this) = next {
        next = pending();
        if !packing.ordered {
            this.held.drain(..).for_each(|token| out.issue(token));
            out.clock.end_segment();
            out.list.segments.push(Segment::default());
            this.rows.drain(..).for_each(|token| out.issue(token));
            continue;
        }
        while let Some((_, place)) = this.next_held(&out.clock) {
            out.issue(this.held.remove(place));
        }
        out.clock.end_segment();
        out.list.segments.push(Segment::default());
        while let Some((cycle, place)) = next_row(&this.rows, &out.clock, array) {
            if let Some(next) = &mut next
                && let Some((held_cycle, held)) = next.next_held(&out.clock)
            {
                let behind = (next.all_held - next.held.len()) * this.all_rows
                    <= (this.all_rows - this.rows.len()) * next.all_held;
                if held_cycle < cycle || (behind && held_cycle == cycle) {
                    out.issue(next.held.remove(held));
                    continue;
                }
            }
            out.issue(this.rows.swap_remove(place));
        }
    }
    out.list
}

/// The best row: its cycle and place.
fn next_row(rows: &[Waiting], clock: &Clock, array: &Array) -> Option<(u64, usize)> {
    if array.reads.is_none() {
        // Nothing waits for another: any order is as good.
        return (!rows.is_empty()).then(|| (clock.cycle(), rows.len() - 1));
    }
    // A use is worth half as much for each cycle of work that the group still has.
    let worth: Vec<u64> =
        (0..array.groups.groups as usize).map(|group| 64 >> clock.backlog(group).min(6)).collect();
    let key = |(place, token): (usize, &Waiting)| {
        let fed: u64 = token.of_group.iter().map(|(group, uses)| uses * worth[*group]).sum();
        (token.ready(clock), std::cmp::Reverse(fed), place)
    };
    rows.iter()
        .take(MAX_COMPARED)
        .enumerate()
        .map(key)
        .min()
        .map(|(cycle, _, place)| (cycle, place))
}
