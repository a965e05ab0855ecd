//! The order of tokens: a list schedule with the clock at hand.
//!
//! Of the rows of a batch, the next one is among those that can issue first; among these the one
//! that most feeds the groups that soon run dry. Held rows of the next batch come when no row can
//! issue, or when they are behind the rows of this batch in proportion.

use std::collections::BTreeMap;

use super::{Array, Batch, Clock, Kind, Phase, Query, Token};

/// The tokens of a batch that have not issued yet.
struct Pending {
    held: Vec<Token>,
    rows: Vec<Token>,
    /// Their numbers at the start.
    all_held: usize,
    all_rows: usize,
}

impl Pending {
    fn new(number: usize, batch: &Batch, queries: &[Query], array: &Array) -> Pending {
        // Words in rising order, held ones in the order of the contexts that they come to.
        let mut held: Vec<Token> = Vec::new();
        let mut rows = BTreeMap::<usize, Vec<u8>>::new();
        for context in 0..array.contexts {
            for (group, of_group) in batch.groups.iter().enumerate() {
                let Some(query) = of_group.get(context) else { continue };
                let Query { word, keys, .. } = &queries[*query];
                let none = || vec![0; array.groups];
                let token = match held.iter_mut().position(|token| token.word == *word) {
                    Some(place) => &mut held[place],
                    None => {
                        let (kind, word) = (Kind::Held, *word);
                        held.push(Token { kind, batch: number, word, uses: none() });
                        held.last_mut().expect("it has just been added")
                    }
                };
                token.uses[group] |= 1 << context;
                for key in keys {
                    rows.entry(*key).or_insert_with(none)[group] |= 1 << context;
                }
            }
        }
        let row = |(word, uses)| Token { kind: Kind::Row, batch: number, word, uses };
        let rows: Vec<Token> = rows.into_iter().map(row).collect();
        Pending { all_held: held.len(), all_rows: rows.len(), held, rows }
    }

    /// The held row that can issue first: its cycle and place.
    fn next_held(&self, clock: &Clock) -> Option<(usize, usize)> {
        self.held.iter().enumerate().map(|(place, token)| (clock.ready(token), place)).min()
    }
}

/// The tokens of all batches.
pub(super) fn order(queries: &[Query], batches: &[Batch], array: &Array) -> Vec<Token> {
    let mut clock = Clock::new(*array, Phase::Scores);
    let mut tokens = Vec::new();
    let mut issue = |token: Token, clock: &mut Clock| {
        clock.issue(&token);
        tokens.push(token);
    };
    let mut batches = batches.iter().enumerate();
    let mut pending =
        || batches.next().map(|(number, batch)| Pending::new(number, batch, queries, array));
    let mut next = pending();
    while let Some(mut this) = next {
        next = pending();
        while let Some((_, place)) = this.next_held(&clock) {
            issue(this.held.remove(place), &mut clock);
        }
        while let Some((cycle, place)) = next_row(&this.rows, &clock, array) {
            if let Some(next) = &mut next
                && let Some((held_cycle, held)) = next.next_held(&clock)
            {
                let behind = (next.all_held - next.held.len()) * this.all_rows
                    <= (this.all_rows - this.rows.len()) * next.all_held;
                if held_cycle < cycle || (behind && held_cycle == cycle) {
                    issue(next.held.remove(held), &mut clock);
                    continue;
                }
            }
            issue(this.rows.swap_remove(place), &mut clock);
        }
    }
    tokens
}

/// The best row: its cycle and place.
fn next_row(rows: &[Token], clock: &Clock, array: &Array) -> Option<(usize, usize)> {
    // A use is worth half as much for each cycle of work that the group still has.
    let worth: Vec<u32> =
        (0..array.groups).map(|group| 64 >> clock.backlog(group).min(6)).collect();
    let key = |(place, token): (usize, &Token)| {
        let fed: u32 = token.uses.iter().zip(&worth).map(|(uses, w)| uses.count_ones() * w).sum();
        (clock.ready(token), std::cmp::Reverse(fed), place)
    };
    rows.iter().enumerate().map(key).min().map(|(cycle, _, place)| (cycle, place))
}
