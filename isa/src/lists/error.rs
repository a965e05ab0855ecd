//! Lists that do not hold together.

use super::Phase;

/// Why a machine cannot execute an instruction with a list. Segments, tokens of a segment and
/// positions in `rows` count from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A query is not one of a head.
    #[error("names query {query} at position {position}, expected less than {limit}")]
    Query {
        /// Position in `rows`.
        position: usize,
        /// The query of its head.
        query: u16,
        /// Queries of a head.
        limit: u16,
    },
    /// There is no such head.
    #[error("names head {head} at position {position}, expected less than {limit}")]
    Head {
        /// Position in `rows`.
        position: usize,
        /// The head.
        head: u8,
        /// Number of heads.
        limit: u16,
    },
    /// There is no such context.
    #[error("names context {context} at position {position}, expected less than {limit}")]
    Context {
        /// Position in `rows`.
        position: usize,
        /// The context.
        context: u8,
        /// Number of contexts.
        limit: u32,
    },
    /// A query is in the list twice.
    #[error("names query {query} of head {head} a second time at position {position}")]
    Repeated {
        /// Position in `rows`.
        position: usize,
        /// The query of its head.
        query: u16,
        /// The head.
        head: u8,
    },
    /// The entries of all queries do not add up.
    #[error("adds up to {found} entries, expected {stated}")]
    Total {
        /// Entries of the queries.
        found: u64,
        /// Entries that the instruction states.
        stated: u32,
    },
    /// A query has more entries than there are keys, or than an accumulator holds.
    #[error("has {found} entries at position {position}, expected at most {most}")]
    Entries {
        /// Position in `rows`.
        position: usize,
        /// Entries of the query.
        found: u16,
        /// The most that fit.
        most: u32,
    },
    /// The bytes end within a segment.
    #[error("ends within segment {segment}")]
    Truncated {
        /// The segment.
        segment: usize,
    },
    /// A key is out of range.
    #[error("has key {key} in token {token} of segment {segment}, expected less than {limit}")]
    Key {
        /// The segment.
        segment: usize,
        /// The token of the segment.
        token: usize,
        /// The key.
        key: u16,
        /// Number of keys.
        limit: u16,
    },
    /// No context uses a row.
    #[error("has a row that no context uses in token {token} of segment {segment}")]
    Unused {
        /// The segment.
        segment: usize,
        /// The token of the segment.
        token: usize,
    },
    /// A context that uses a row has no query.
    #[error("uses context {context}, which has no query, in token {token} of segment {segment}")]
    Vacant {
        /// The segment.
        segment: usize,
        /// The token of the segment.
        token: usize,
        /// The context.
        context: u8,
    },
    /// A context gets two queries of a batch.
    #[error("seats context {context} a second time in token {token} of segment {segment}")]
    Taken {
        /// The segment.
        segment: usize,
        /// The token of the segment.
        token: usize,
        /// The context.
        context: u8,
    },
    /// Queries of one token are different.
    #[error("seats different queries of heads in token {token} of segment {segment}")]
    Apart {
        /// The segment.
        segment: usize,
        /// The token of the segment.
        token: usize,
    },
    /// More queries are seated than `rows` has, or in the last segment, after which no row comes.
    #[error("seats more queries than there are in token {token} of segment {segment}")]
    Seats {
        /// The segment.
        segment: usize,
        /// The token of the segment.
        token: usize,
    },
    /// Not all queries of `rows` are seated.
    #[error("seats {found} queries, expected {stated}")]
    Standing {
        /// Queries that are seated.
        found: usize,
        /// Queries of the list.
        stated: usize,
    },
    /// The rows that name the context of a query are not as many as its entries.
    #[error("uses {found} rows for the query at position {position}, expected {stated}")]
    Uses {
        /// Position in `rows`.
        position: usize,
        /// Rows that name its context; one more than expected stands for more, too.
        found: u32,
        /// Entries that `rows` states.
        stated: u16,
    },
    /// A segment takes other cycles than it states.
    #[error("states {stated} cycles of {phase} for segment {segment}, expected {found}")]
    Segment {
        /// The segment.
        segment: usize,
        /// The phase.
        phase: Phase,
        /// Its cycles; 65,535 stands for more, too.
        found: u16,
        /// The cycles that it states.
        stated: u16,
    },
    /// The instruction takes other cycles than it states.
    #[error("is {stated}, expected {found}")]
    Cycles {
        /// Its cycles.
        found: u32,
        /// The cycles that it states.
        stated: u32,
    },
}

impl ListError {
    /// The operand at fault.
    pub fn operand(&self) -> &'static str {
        match self {
            ListError::Query { .. }
            | ListError::Head { .. }
            | ListError::Context { .. }
            | ListError::Repeated { .. }
            | ListError::Total { .. }
            | ListError::Entries { .. } => "rows",
            ListError::Truncated { .. }
            | ListError::Key { .. }
            | ListError::Unused { .. }
            | ListError::Vacant { .. }
            | ListError::Taken { .. }
            | ListError::Apart { .. }
            | ListError::Seats { .. }
            | ListError::Standing { .. }
            | ListError::Uses { .. }
            | ListError::Segment { .. } => "tokens",
            ListError::Cycles { .. } => "cycles",
        }
    }
}
