//! The cycles of a list: when its tokens issue, and when its groups work on which row.
//!
//! A token issues in the cycle in which its last word is read. The conditions of a token:
//!
//! - the token before it has issued, in this cycle or earlier;
//! - *row*: each group that uses it has fewer than `queue` rows when its first word is read. A row
//!   leaves the queue at the end of the last cycle in which the group works on it;
//! - *held query of batch b*, in scores: the groups that take it have finished their rows of batch
//!   `b - 2` and those before, whose queries were in the same registers;
//! - its words are read in rising order, each in the first cycle in which fewer than `ports` words
//!   have been read, none of them from its bank. If banks make one access per cycle, ports read in
//!   every other cycle, and a word arrives two cycles later instead of one.
//!
//! A group begins a row at the earliest when its last word has arrived, and when the row before it
//! has left; each context that uses it takes `entry_cycles`. In products, accumulators are doubled:
//! the first row of batch `b` waits until the sums of batch `b - 2` are drained. The sums of a
//! batch are drained after those of the batches before, one query after the other, once its rows
//! have left and its queries are known.
//!
//! On an ideal machine nothing limits the words that are read or the sums that are drained: each
//! group works on its rows one after the other.

use std::collections::VecDeque;
use std::fmt;

use super::{ContextSet, LineGroups};
use crate::machine::Machine;

/// What a list computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `sddmm_list`: held tokens read the rows of queries.
    Scores,
    /// `spmm_list`: held tokens read nothing; sums are drained.
    Products,
}

impl Phase {
    /// Both phases.
    pub const ALL: [Phase; 2] = [Phase::Scores, Phase::Products];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Scores => "scores",
            Phase::Products => "products",
        })
    }
}

/// The number of a word of the scratchpad: its address divided by the bytes of a word.
pub type Word = u64;

/// The part of a machine that works on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// The groups of lines.
    pub groups: LineGroups,
    /// How words are read; `None` on an ideal machine.
    pub reads: Option<Reads>,
    /// Cycles in which a group requantises the sums of a query.
    pub drain: u64,
}

/// How rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// Words that are read at a time, at least 1.
    pub ports: u32,
    /// Banks, at least 1, each of which is read once at a time.
    pub banks: u32,
    /// Bytes of a word.
    pub word_bytes: u32,
    /// Cycles of a read.
    pub access_cycles: u64,
    /// Rows that a group's queue holds, with the one that it works on; at least 1.
    pub queue: u32,
}

impl Array {
    /// The part of a machine that works on a list of queries of `d` features with `lines` lines.
    pub fn new(d: u16, lines: u16, machine: &Machine) -> Array {
        let groups = LineGroups::new(d, lines, machine);
        let Some(organisation) = machine.organisation() else {
            return Array { groups, reads: None, drain: 0 };
        };
        let reads = Reads {
            ports: organisation.banks.row_ports.max(1),
            banks: organisation.banks.count.max(1),
            word_bytes: organisation.banks.word_bytes.max(1),
            access_cycles: organisation.access_cycles(),
            queue: organisation.datapath.queued_rows.max(1),
        };
        let requantised =
            u64::from(groups.lines_each) * u64::from(organisation.datapath.requantisers);
        Array { groups, reads: Some(reads), drain: u64::from(d).div_ceil(requantised.max(1)) }
    }
}

/// What contexts do with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They take a query of the next batch.
    Held,
    /// They compute an entry of this batch.
    Row,
}

/// The state of the groups after the tokens that have issued so far.
#[derive(Clone, Debug)]
pub struct Clock {
    array: Array,
    phase: Phase,
    segment: usize,
    /// The cycle of the last token, and the words read in it.
    cycle: u64,
    read: u32,
    /// For each bank the cycle after its last word was read.
    banks: Vec<u64>,
    groups: Vec<Group>,
}

/// A group. A row *leaves* in the cycle after the last one in which it is worked on. Pairs are by
/// the parity of batches.
#[derive(Clone, Debug, Default)]
struct Group {
    /// When the latest rows leave, at most as many as the queue has places.
    leave: VecDeque<u64>,
    /// When the last row leaves.
    end: u64,
    /// When the last row of the batch leaves.
    last: [u64; 2],
    /// Queries of the batch whose sums are not drained yet, and when the last one was known.
    queries: [u64; 2],
    seated: [u64; 2],
    /// When the sums of the batch are drained.
    drained: [u64; 2],
}

/// Where a token issues.
struct Place {
    cycle: u64,
    /// Words read in this cycle.
    read: u32,
    /// The first of its own words among them.
    first: usize,
}

impl Clock {
    /// The clock before the first segment.
    pub fn new(array: Array, phase: Phase) -> Clock {
        let groups = vec![Group::default(); array.groups.groups as usize];
        let banks = vec![0; array.reads.map_or(0, |reads| reads.banks as usize)];
        Clock { array, phase, segment: 0, cycle: 0, read: 0, banks, groups }
    }

    /// The cycle of the last token.
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// The cycle in which a token would issue as the next one. `words` are different and rise.
    pub fn ready(&self, kind: Kind, words: &[Word], uses: &ContextSet) -> u64 {
        self.place(kind, words, uses).cycle
    }

    fn place(&self, kind: Kind, words: &[Word], uses: &ContextSet) -> Place {
        let mut place = Place { cycle: self.cycle, read: self.read, first: 0 };
        let Some(reads) = self.array.reads.filter(|_| self.needs_words(kind)) else {
            return place;
        };
        let parity = self.parity(kind);
        let free = |(group, _)| {
            let group: &Group = &self.groups[group];
            match kind {
                Kind::Held => group.last[parity],
                Kind::Row => group.place(reads.queue as usize),
            }
        };
        let free = uses.by_group(self.array.groups.contexts).map(free).max().unwrap_or(0);
        if free > place.cycle {
            place = Place { cycle: free.next_multiple_of(reads.access_cycles), read: 0, first: 0 };
        }
        let bank = |word: &Word| word % u64::from(reads.banks);
        for (number, word) in words.iter().enumerate() {
            let taken = self.banks[bank(word) as usize] == place.cycle + 1
                || words[place.first..number].iter().any(|other| bank(other) == bank(word));
            if taken || place.read == reads.ports {
                place = Place { cycle: place.cycle + reads.access_cycles, read: 0, first: number };
            }
            place.read += 1;
        }
        place
    }

    /// Issues the next token. `words` are different and rise.
    pub fn issue(&mut self, kind: Kind, words: &[Word], uses: &ContextSet) {
        let Place { cycle, read, first } = self.place(kind, words, uses);
        (self.cycle, self.read) = (cycle, read);
        if let Some(reads) = self.array.reads.filter(|_| self.needs_words(kind)) {
            for word in &words[first..] {
                self.banks[(word % u64::from(reads.banks)) as usize] = cycle + 1;
            }
        }
        let parity = self.parity(kind);
        for (group, uses) in uses.by_group(self.array.groups.contexts) {
            let group = &mut self.groups[group];
            match kind {
                Kind::Held => {
                    group.queries[parity] += uses;
                    group.seated[parity] = cycle;
                }
                Kind::Row => group.append(cycle, parity, uses, &self.array, self.phase),
            }
        }
    }

    /// Ends a segment: all rows of its batch have issued.
    pub fn end_segment(&mut self) {
        let parity = self.parity(Kind::Row);
        for group in &mut self.groups {
            group.drained[parity] = group.drained_after(parity, self.array.drain);
            group.queries[parity] = 0;
        }
        self.segment += 1;
    }

    /// The cycles for which a group has work after the words that are read now have arrived.
    pub fn backlog(&self, group: usize) -> u64 {
        let arrival = self.array.reads.map_or(0, |reads| reads.access_cycles);
        self.groups[group].end.saturating_sub(self.cycle + arrival)
    }

    /// The cycles from the start until all groups are done, after the last segment.
    pub fn end(&self) -> u64 {
        let end = |group: &Group| match self.phase {
            Phase::Scores => group.end,
            Phase::Products => group.drained.into_iter().fold(group.end, u64::max),
        };
        self.groups.iter().map(end).max().unwrap_or(0)
    }

    fn needs_words(&self, kind: Kind) -> bool {
        kind == Kind::Row || self.phase == Phase::Scores
    }

    /// The parity of the batch of a token in this segment.
    fn parity(&self, kind: Kind) -> usize {
        match kind {
            Kind::Held => self.segment % 2,
            Kind::Row => (self.segment + 1) % 2,
        }
    }
}

impl Group {
    /// When there is a place in its queue.
    fn place(&self, queue: usize) -> u64 {
        if self.leave.len() < queue { 0 } else { self.leave[0] }
    }

    /// When the sums of the batch that has this parity are drained.
    fn drained_after(&self, parity: usize, drain: u64) -> u64 {
        let queries = self.queries[parity];
        if queries == 0 || drain == 0 {
            return self.drained[parity];
        }
        let known = self.end.max(self.seated[parity]);
        self.drained.into_iter().fold(known, u64::max) + drain * queries
    }

    /// A row that issues in a cycle.
    fn append(&mut self, cycle: u64, parity: usize, uses: u64, array: &Array, phase: Phase) {
        let mut begin = self.end;
        if phase == Phase::Products {
            begin = begin.max(self.drained[parity]);
        }
        if let Some(reads) = array.reads {
            begin = begin.max(cycle + reads.access_cycles);
            if self.leave.len() == reads.queue as usize {
                self.leave.pop_front();
            }
        }
        self.end = begin + uses * array.groups.entry_cycles;
        self.last[parity] = self.end;
        if array.reads.is_some() {
            self.leave.push_back(self.end);
        }
    }
}
