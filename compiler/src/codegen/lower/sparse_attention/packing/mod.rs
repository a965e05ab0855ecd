//! Packing of lists: which queries are worked on together, and in which order the rows of their
//! keys pass by.
//!
//! All formulas are ours. The machine is one that could be built: irregular rows come over few
//! ports, and what a compiler knows about a fixed mask decides how many rows have to come. What
//! batches, tokens, groups and contexts are, the [instruction table](vitcod_isa::instr::table)
//! says; when tokens issue, the [clock](Clock).
//!
//! [`Clusters`] divides the queries into batches with few different keys ([`clusters`]).
//! [`Clusters::pack`] seats them so that groups have equal work ([`seats`]), and then chooses the
//! order of the tokens with the clock at hand ([`order`]), such that no group runs dry and no bank
//! is asked twice in a cycle. The [bound](crate::bound) is what no packing can beat.
//!
//! Scores, softmax and product use the same tokens: the entries of a query are stored in the order
//! of its rows. The order is chosen for scores, in which held tokens read rows too.
//!
//! Where rows cost nothing (an ideal machine), only equal work of the groups counts: the longest
//! queries come first, each to the group with the least work (longest processing time first,
//! Graham, 1969).

mod clusters;
mod order;
mod seats;
#[cfg(test)]
mod tests;

use vitcod_isa::lists::{Array, Clock, Kind, List, Phase};

use crate::split::Packing;

/// Irregular rows that a machine reads in a cycle; `None` if reads are free.
pub(crate) fn rows_per_cycle(array: &Array) -> Option<f64> {
    array.reads.map(|reads| f64::from(reads.ports) / reads.access_cycles.max(1) as f64)
}

/// Where the rows of queries and keys lie: heads side by side, and one row after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowLayout {
    /// Features of a head.
    pub(crate) d: u64,
    /// Address of the first row of queries, and bytes between rows.
    pub(crate) queries: (u64, u64),
    /// The same of keys.
    pub(crate) keys: (u64, u64),
    /// Bytes of a word.
    pub(crate) word_bytes: u64,
}

impl RowLayout {
    /// Heads whose features share a word: all rows of a pool come with the same reads.
    fn heads_per_word(&self) -> usize {
        (self.word_bytes / self.d.max(1)).max(1) as usize
    }

    /// The fewest words of a row of a head; those of a row that begins within a word may be one
    /// more.
    pub(crate) fn words_per_row(&self) -> f64 {
        self.d.div_ceil(self.word_bytes).max(1) as f64
    }

    /// The words of some heads of a row, all different, rising.
    fn words(&self, kind: Kind, row: u16, heads: &[u8], words: &mut Vec<u64>) {
        let (base, stride) = match kind {
            Kind::Held => self.queries,
            Kind::Row => self.keys,
        };
        let at = base + u64::from(row) * stride;
        for head in heads {
            let start = at + u64::from(*head) * self.d;
            let from = words.last().map_or(0, |last| last + 1);
            words.extend(
                (start / self.word_bytes).max(from)..(start + self.d).div_ceil(self.word_bytes),
            );
        }
    }
}

/// A query of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) head: u8,
    /// Number of the query in its head.
    pub(crate) query: u16,
    /// Its keys, all different.
    pub(crate) keys: Vec<u16>,
}

/// Queries that are worked on together: for every group its queries, as positions of the list. The
/// first one is in context 0.
type Batch = Vec<Vec<usize>>;

/// The queries of a list in clusters that fit a batch, in the order of execution.
#[derive(Clone, Debug)]
pub(crate) struct Clusters {
    array: Array,
    packing: Packing,
    /// Tells which heads share words; addresses do not matter.
    layout: RowLayout,
    queries: Vec<Query>,
    clusters: Vec<Cluster>,
}

/// Queries of a batch, as positions of the list.
#[derive(Clone, Debug)]
struct Cluster {
    queries: Vec<usize>,
    entries: usize,
    /// Rows of keys that pass by.
    rows: usize,
    /// Tokens that take queries, in products and scores.
    held: usize,
    /// Entries of its longest query.
    longest: usize,
}

impl Cluster {
    /// The size of a list of some clusters.
    fn sum(clusters: &[Cluster], array: &Array, layout: &RowLayout) -> Size {
        let cycles = |phase| {
            let cycles = clusters.iter().map(|cluster| cluster.cycles(phase, array, layout));
            cycles.sum::<f64>().ceil() as u64
        };
        let mut size = Size {
            batches: clusters.len(),
            cycles: [Phase::Scores, Phase::Products].map(cycles),
            ..Size::default()
        };
        for cluster in clusters {
            size.queries += cluster.queries.len();
            size.entries += cluster.entries;
            size.rows += cluster.rows;
            size.held += cluster.held;
            let most = cluster.rows + array.groups.seats() as usize;
            size.most_tokens = size.most_tokens.max(most);
        }
        size
    }

    /// The estimate of its cycles in a phase: the largest of entries by groups, of reads by ports
    /// and, as other groups run ahead by their queues only, of its longest query.
    fn cycles(&self, phase: Phase, array: &Array, layout: &RowLayout) -> f64 {
        let each = array.groups.entry_cycles as f64;
        let work = self.entries as f64 * each / f64::from(array.groups.groups);
        let Some((reads, rate)) = array.reads.zip(rows_per_cycle(array)) else { return work };
        let rows = match phase {
            Phase::Scores => self.rows + self.held,
            Phase::Products => self.rows,
        };
        let longest = self.longest.saturating_sub(2 * reads.queue as usize) as f64 * each;
        work.max(rows as f64 * layout.words_per_row() / rate).max(longest)
    }
}

/// What a list takes, before it is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) queries: usize,
    pub(crate) entries: usize,
    pub(crate) batches: usize,
    pub(crate) rows: usize,
    pub(crate) held: usize,
    /// Tokens that a segment has at most.
    pub(crate) most_tokens: usize,
    /// The estimate of the cycles of scores and products, by which tilings are compared.
    pub(crate) cycles: [u64; 2],
}

impl Clusters {
    /// Divides queries into batches.
    pub(crate) fn new(
        queries: Vec<Query>,
        layout: &RowLayout,
        array: Array,
        packing: Packing,
    ) -> Clusters {
        let size = array.groups.seats() as usize;
        let clusters = match array.reads {
            _ if !packing.ordered => seats::in_order(&queries, size),
            None => seats::longest_first(&queries, size),
            Some(_) => seats::alternate(
                &queries,
                clusters::clusters(&queries, layout, size),
                layout,
                &array,
            ),
        };
        let clusters = clusters.into_iter().map(|cluster| Cluster {
            entries: cluster.iter().map(|query| queries[*query].keys.len()).sum(),
            longest: cluster.iter().map(|query| queries[*query].keys.len()).max().unwrap_or(0),
            rows: seats::rows(&queries, &cluster, layout, packing),
            held: seats::held(&queries, &cluster, layout, packing),
            queries: cluster,
        });
        let clusters = clusters.collect();
        Clusters { array, packing, layout: *layout, queries, clusters }
    }

    /// Whether there are no queries.
    pub(crate) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Clusters of at most so many parts of about equal work, executed one after the other, each
    /// with whole batches.
    fn parts(&self, parts: usize) -> Vec<&[Cluster]> {
        let all: usize = self.clusters.iter().map(|cluster| cluster.entries).sum();
        // Where reads are free, the longest queries come first: the first part has as much work
        // that they do not make one group busier than the others.
        let longest = self.clusters.iter().map(|cluster| cluster.longest).max().unwrap_or(0);
        let least = longest * self.array.groups.groups as usize;
        let longest_first = self.array.reads.is_none() && self.packing.ordered;
        let first =
            if longest_first && parts > 1 && least * parts > all { least.min(all) } else { 0 };
        let (rest, others) = (all - first, if first > 0 { parts - 1 } else { parts });
        let mut before = 0;
        let part = self.clusters.iter().map(|cluster| {
            let start = before;
            before += cluster.entries;
            if start < first {
                return 0;
            }
            // The part in which the middle of its work is.
            let middle = start - first + cluster.entries / 2;
            (parts - others + middle * others / rest.max(1)).min(parts - 1)
        });
        let part: Vec<usize> = part.collect();
        let ends = |number: usize| part.partition_point(|part| *part <= number);
        let mut start = 0;
        let ranges = (0..parts).map(|number| {
            let range = start..ends(number);
            start = range.end;
            &self.clusters[range]
        });
        ranges.filter(|clusters| !clusters.is_empty()).collect()
    }

    /// The sizes of the parts of a list; cycles on an array with other groups, if one is given.
    pub(crate) fn sizes(&self, parts: usize, on: Option<&Array>) -> Vec<Size> {
        let array = on.unwrap_or(&self.array);
        let size = |clusters: &[Cluster]| match array.reads {
            None => self.size_by_groups(clusters, array),
            Some(_) => Cluster::sum(clusters, array, &self.layout),
        };
        self.parts(parts).into_iter().map(size).collect()
    }

    /// The size of a list of which only equal work of the groups counts.
    fn size_by_groups(&self, clusters: &[Cluster], array: &Array) -> Size {
        let batches = self.batches(clusters, array);
        let mut work = vec![0; array.groups.groups as usize];
        let mut size = Size { batches: batches.len(), ..Size::default() };
        for batch in &batches {
            for (queries, work) in batch.iter().zip(&mut work) {
                *work += queries.iter().map(|query| self.queries[*query].keys.len()).sum::<usize>();
            }
            let queries: Vec<usize> = batch.concat();
            let rows = seats::rows(&self.queries, &queries, &self.layout, self.packing);
            let held = seats::held(&self.queries, &queries, &self.layout, self.packing);
            size.queries += queries.len();
            size.rows += rows;
            size.held += held;
            size.most_tokens = size.most_tokens.max(rows + array.groups.seats() as usize);
        }
        let busiest = work.iter().max().copied().unwrap_or(0) as u64;
        let cycles = busiest * array.groups.entry_cycles;
        Size { entries: work.iter().sum(), cycles: [cycles; 2], ..size }
    }

    /// The batches of some clusters.
    fn batches(&self, clusters: &[Cluster], array: &Array) -> Vec<Batch> {
        let clusters: Vec<&[usize]> =
            clusters.iter().map(|cluster| cluster.queries.as_slice()).collect();
        match array.reads {
            _ if !self.packing.ordered => seats::in_turn(&clusters, array),
            None => seats::by_groups(&self.queries, &clusters.concat(), array),
            Some(_) => seats::seat(&self.queries, &clusters, array),
        }
    }

    /// Packs the parts of a list. No cycles are stated yet.
    pub(crate) fn pack(&self, parts: usize, layout: &RowLayout) -> Vec<List> {
        let pack = |clusters: &[Cluster]| {
            let batches = self.batches(clusters, &self.array);
            order::order(&self.queries, &batches, layout, (&self.array, self.packing))
        };
        self.parts(parts).into_iter().map(pack).collect()
    }
}

impl RowLayout {
    /// The number of the words of a row and a head. Rows of the same pool are as far apart as there
    /// are pools.
    pub(crate) fn word(&self, head: u8, row: u16) -> usize {
        usize::from(row) * 256 + usize::from(head) / self.heads_per_word()
    }
}
