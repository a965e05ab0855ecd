//! Packing of row lists: which queries are worked on together, and in which order the rows of their
//! keys pass by.
//!
//! All formulas are ours. The machine is one that could be built: irregular rows come over few
//! ports, and what a compiler knows about a fixed mask decides how many rows have to come.
//!
//! # The machine
//!
//! The scratchpad is divided into *banks* of 64-byte words; word `w` lies in bank `w mod banks`. In
//! each cycle the irregular *ports* read at most one word each, all of different banks. The lines
//! form *groups*; a group computes one entry in each cycle, a score (the lines' partial sums are
//! added) or the product of a probability and a row of values. Every line sees its own slice of a
//! word only.
//!
//! A *batch* seats up to `contexts` queries in each group. The row of each key that at least one of
//! them needs passes by **once**, together with the set of the contexts that use it: the machine
//! compares no keys and dispatches nothing. The program of a list is a sequence of [`Token`]s:
//!
//! - [`Kind::Row`] reads the row of a key and appends it to the *queue* of each group that uses it.
//!   A group works on the rows of its queue in order, one entry in a cycle. Groups do not wait for
//!   each other; a group that is ahead begins the next batch.
//! - [`Kind::Held`] reads the row of a query, which contexts hold for the batch (several contexts
//!   if a word has the features of several heads). Contexts have two registers: the queries of the
//!   next batch may come while this batch is worked on. In the product the token names the query
//!   whose sum a context accumulates, and reads nothing.
//!
//! Tokens issue in order. [`Clock`] states in which cycle, without looking at data. Scores, softmax
//! and product use the same tokens: the entries of a query are stored in the order of its rows.
//!
//! # The packing
//!
//! [`pack_stripes`] first divides the queries into batches with few different keys ([`clusters`]), seats
//! them so that groups have equal work ([`seats`]), and then chooses the order of the tokens with
//! the clock at hand ([`order`]), such that no group runs dry and no bank is asked twice in a
//! cycle. [`bound`] states what no packing can beat.

mod bound;
mod clock;
mod clusters;
mod order;
mod seats;
#[cfg(test)]
mod tests;

pub(crate) use bound::{Demand, bound};
pub(crate) use clock::{Clock, Phase, cycles};

/// The part of the machine that works on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Array {
    /// Groups of lines. A group has a line for every 8 features of a head.
    pub(crate) groups: usize,
    /// Queries that a group works on at the same time, at most 8.
    pub(crate) contexts: usize,
    /// Rows that wait in front of a group, with the one that it works on.
    pub(crate) queue: usize,
    /// Words that can be read in a cycle.
    pub(crate) ports: usize,
    /// Banks of the scratchpad, each of which reads at most one word in a cycle.
    pub(crate) banks: usize,
}

impl Array {
    /// Queries of a batch.
    pub(crate) fn seats(&self) -> usize {
        self.groups * self.contexts
    }
}

/// Where the rows of a matrix lie: heads side by side, and one row after the other.
///
/// Its first word is in bank 0. Heads must not straddle words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowLayout {
    /// Words from a row to the next one.
    pub(crate) stride: usize,
    /// Heads in a word.
    pub(crate) heads_per_word: usize,
}

impl RowLayout {
    /// The word with the features of a head in a row, counted from the start of the matrix.
    pub(crate) fn word(self, head: usize, row: usize) -> usize {
        row * self.stride + head / self.heads_per_word
    }

    /// A query of a list. `keys` are different.
    pub(crate) fn query(self, head: usize, query: usize, keys: &[u16]) -> Query {
        let keys = keys.iter().map(|key| self.word(head, usize::from(*key))).collect();
        Query { head, pool: head / self.heads_per_word, word: self.word(head, query), keys }
    }
}

/// A query of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) head: usize,
    /// Queries of different pools have no keys in common.
    pub(crate) pool: usize,
    /// The word of its own row, counted from the first word of the queries.
    pub(crate) word: usize,
    /// The words of its keys' rows, all different, counted from the first word of the keys (for the
    /// product: of the values).
    pub(crate) keys: Vec<usize>,
}

/// Queries that are worked on together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// For every group its queries, as positions of the list. The first one is in context 0.
    pub(crate) groups: Vec<Vec<usize>>,
}

/// An element of the program of a list: a word and the contexts that take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) batch: usize,
    /// The word, counted from the first word of the queries, or of the keys or values.
    pub(crate) word: usize,
    /// Bit `c` of `uses[g]` says that context `c` of group `g` takes it.
    pub(crate) uses: Vec<u8>,
}

/// What contexts do with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The row of a query, which contexts hold during the batch.
    Held,
    /// The row of a key, with which contexts compute an entry.
    Row,
}

/// A packed list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) batches: Vec<Batch>,
    pub(crate) tokens: Vec<Token>,
}

/// Packs a list. Queries without keys have no place in it.
pub(crate) fn pack(queries: &[Query], array: &Array) -> Packing {
    pack_stripes(queries, array, 1).pop().unwrap_or_default()
}

/// Packs a list as at most so many lists of about equal work, which are executed one after the
/// other: each consists of whole batches, whatever queries these have.
pub(crate) fn pack_stripes(queries: &[Query], array: &Array, stripes: usize) -> Vec<Packing> {
    assert!((1..=8).contains(&array.contexts), "a byte names the contexts of a group");
    let clusters = clusters::clusters(queries, array.seats());
    let clusters = seats::alternate(queries, clusters, array);
    let work = |cluster: &Vec<usize>| cluster.iter().map(|q| queries[*q].keys.len()).sum::<usize>();
    let all: usize = clusters.iter().map(work).sum();
    let mut before = 0;
    let mut of_stripe = vec![Vec::new(); stripes];
    for cluster in clusters {
        // The stripe in which the middle of its work is.
        let middle = before + work(&cluster) / 2;
        before += work(&cluster);
        of_stripe[middle * stripes / all].push(cluster);
    }
    of_stripe.retain(|clusters| !clusters.is_empty());
    let pack = |clusters: Vec<Vec<usize>>| {
        let batches = seats::seat(queries, &clusters, array);
        let tokens = order::order(queries, &batches, array);
        Packing { batches, tokens }
    };
    of_stripe.into_iter().map(pack).collect()
}
