//! Cycles of lines and row ports that no program can go below, whatever it puts into blocks and
//! however it packs the rest.
//!
//! Let a column, a key of a head, have `c` entries.
//!
//! - *Work.* A group of lines computes one entry or one cell of a block in a cycle. In the list the
//!   column takes `c` of these cycles, in a block one for each query of the head.
//! - *Reads of keys.* Each time the row of the key passes by it serves at most one query for each
//!   context, so a list reads it at least `ceil(c / seats)` times. (If its word has columns of
//!   other heads too, the word is read at least once for every `seats` entries of all of them; each
//!   column stands for its part, `c / seats`.)
//! - *Reads of queries*, for scores. The word of every query with an entry in the list is read for
//!   some batch. Divide this read equally among the entries that need the word: with `r` of them
//!   each has `1 / r`. If some of the entries are in blocks the others' parts are at most the read.
//!
//! A row of more features than a word has takes several words, and as many reads. A block reads its
//! rows by regular access, over none of these ports.
//!
//! Both are sums over columns, and the cycles are at least `work / groups` and at least
//! `reads / ports`, in whatever order or overlap things happen. A program chooses for every column
//! list or block. Let it choose fractions: then the smallest maximum is found by moving columns
//! into blocks, those first that save the most reads for a cycle of work, until both limits meet. A
//! choice of fractions is at least as good as the best choice of whole columns, so its maximum is a
//! bound.
//!
//! What it leaves out: that queries which share one key differ in others (on the authors' mask with
//! 16 seats it counts 8,791 reads of keys in 12 layers; the best known division has 12,301), whole
//! rounds of blocks, dependences between scores and products, and everything outside of the array.

use std::collections::BTreeMap;

use vitcod_isa::lists::{Array, Phase};

use crate::codegen::packing::{Query, RowLayout, rows_per_cycle};

/// What has to be computed.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// Entries and cells that the array computes in any case.
    work: usize,
    columns: Vec<Column>,
}

/// A key of a head in one phase.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    entries: usize,
    /// Further work if it is in a block.
    further: usize,
    /// Reads if it is in the list.
    reads: f64,
}

impl Demand {
    /// Adds work without irregular reads: entries of features of a head, one cycle of a group each.
    pub(super) fn add_work(&mut self, entries: usize) {
        self.work += entries;
    }

    /// Adds a phase of the entries of a list, any of whose columns may be computed as a block of
    /// `cells` cells.
    pub(super) fn add_list(
        &mut self,
        queries: &[Query],
        cells: usize,
        phase: Phase,
        layout: &RowLayout,
        array: &Array,
    ) {
        let words = layout.words_per_row();
        let own = |query: &Query| layout.word(query.head, query.query);
        let mut sharing = BTreeMap::<usize, usize>::new();
        for query in queries {
            *sharing.entry(own(query)).or_default() += query.keys.len();
        }
        // By word and head.
        let mut columns = BTreeMap::<(usize, u8), Column>::new();
        for query in queries {
            for key in &query.keys {
                let key = layout.word(query.head, *key);
                let column = columns.entry((key, query.head)).or_default();
                column.entries += 1;
                if phase == Phase::Scores {
                    column.reads += words / sharing[&own(query)] as f64;
                }
            }
        }
        let mut heads = BTreeMap::<usize, usize>::new();
        columns.keys().for_each(|(word, _)| *heads.entry(*word).or_default() += 1);
        for ((word, _), mut column) in columns {
            column.reads += words
                * match heads[&word] {
                    1 => column.entries.div_ceil(array.groups.seats() as usize) as f64,
                    _ => column.entries as f64 / (array.groups.seats() as usize) as f64,
                };
            column.further = cells.saturating_sub(column.entries);
            self.work += column.entries;
            self.columns.push(column);
        }
    }
}

/// What lines and row ports do in a cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Entries of all lines: also of those that no group of a list has.
    pub(super) entries: f64,
    /// Irregular rows.
    pub(super) reads: f64,
}

impl Rates {
    /// The rates of an array of so many lines.
    pub(super) fn new(array: &Array, lines: u16) -> Rates {
        let each = f64::from(array.groups.lines_each) * array.groups.entry_cycles as f64;
        let reads = rows_per_cycle(array).unwrap_or(f64::INFINITY);
        Rates { entries: f64::from(lines) / each, reads }
    }
}

impl Demand {
    /// Cycles of the lines if nothing is in blocks.
    pub(super) fn line_cycles(&self, rates: Rates) -> f64 {
        self.work as f64 / rates.entries
    }

    /// Cycles of the row ports if nothing is in blocks.
    pub(super) fn port_cycles(&self, rates: Rates) -> f64 {
        self.columns.iter().map(|column| column.reads).sum::<f64>() / rates.reads
    }

    /// The lower bound of the cycles.
    pub(super) fn bound(&self, rates: Rates) -> u64 {
        let mut columns = self.columns.clone();
        // Further work for a read that is saved, in rising order.
        let price = |column: &Column| column.further as f64 / column.reads;
        columns.sort_by(|a, b| price(a).total_cmp(&price(b)));
        let (mut work, mut reads) = (self.line_cycles(rates), self.port_cycles(rates));
        for column in columns {
            let gap = reads - work;
            if gap <= 0.0 {
                break;
            }
            let (saved, further) =
                (column.reads / rates.reads, column.further as f64 / rates.entries);
            // The share of the column at which both limits meet.
            let share = (gap / (saved + further)).min(1.0);
            reads -= share * saved;
            work += share * further;
        }
        // Sums of shares are not exact: a bound must not exceed the truth by their rounding.
        (work.max(reads) - 1e-6).ceil() as u64
    }
}
