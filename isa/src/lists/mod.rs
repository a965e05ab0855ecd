//! Lists of sparse patterns: operands of `sddmm_list`, `softmax_list` and `spmm_list`, and the
//! cycles that they take.
//!
//! - [`List`]: the operands `rows` and `tokens`, decoded;
//! - [`LineGroups`]: how lines are grouped, and how many queries a group works on;
//! - [`Clock`]: when tokens issue and groups compute; the only statement of that rule;
//! - [`Run`]: a list in an instruction: checked, with the keys of its entries and its cycles.
//!
//! The paper lets its sparser engine read any row at any time, which a scratchpad of few ports
//! cannot. The reference (`docs/isa.md`) quotes the following section.
//!
//! # Lists
//!
//! A list is a sparse pattern of attention as a program for groups of lines, which the compiler
//! makes from a fixed mask. Queries are worked on in *batches*, and the row of each key that at
//! least one query of a batch needs passes by once, together with the set of the queries that use
//! it. Which queries are in a batch, and the order of rows, determine the cycles and do not affect
//! results. Nothing points into a list: both of its operands are read from front to back. The form
//! of lists and all that is said of groups is ours.
//!
//! *Groups.* The lines of an instruction form groups of `min(ceil(d / macs), lines)`, where `macs`
//! is the number of MACs of a line. A group has `contexts` of them, each of which holds a query:
//! half of a line's accumulators divided by `macs`, at least 1 and at most 8, or 2 if the machine
//! states no accumulators. There are at most 256 contexts in all; remaining lines are idle. A group
//! computes one entry in a cycle, or in as many as its lines need passes over the features, and
//! their ports for a pass. Context `c` of group `g` has the number `g * contexts + c`.
//!
//! - `rows` has 6 bytes for each query of the list: query `i` (uint16), the number of its entries
//!   (uint16), head `h` (uint8), and its context (uint8). No query of a head is named twice.
//! - `tokens` is a sequence of *segments*. Segment `s` begins with three uint16: the number of its
//!   tokens, and how many cycles later its last token issues than the last token of the segment
//!   before (of the first one, in which cycle), in scores and in products; 65535 stands for more,
//!   too. A token begins with a byte:
//!   - 0, a *row*: a key (uint8 or, where `wide` is set, uint16) and a bit for each context, low
//!     bits first, padded to whole bytes, which says that its query attends the key. Rows of
//!     segment `s` belong to the queries of batch `s - 1`.
//!   - `n > 0`, *held*: the next `n` queries of `rows`, all of which are the same query `i`, take
//!     their contexts in batch `s`. The last segment has none.
//!
//! The entries of a query are the rows that name its context, in order. So on a machine of 2 groups
//! of 1 context, the tokens (1, 1) | (0 4 0b11) (0 6 0b01) (0 0 0b10) of two segments, with `rows`
//! = (7, 2, 1, 0) (3, 2, 1, 1), say: query 7 of head 1 attends keys 4 and 6, query 3 keys 4 and 0.
//!
//! Three indices address the data of a list. Scores and probabilities are vectors by entry, `e`:
//! the entries of one query, then all of the next, in the order of `rows`. Row maxima and sums of
//! dense blocks are indexed by the query's number `r = h * m + i`, so that both engines find the
//! parts of a row. Row sums of a list are indexed by the query's position `t` in `rows`.
//!
//! Instructions state their cycles, which follow from the list, the addresses of its operands and
//! the machine. The machine stops if cycles differ from those that an instruction or, for
//! its phase, a segment states, and if a list does not hold together: a query not below `m`, a head
//! not below `heads`, a context or key that does not exist; a query named twice; entries that are
//! not `entries` in total; queries of a token that differ, or that are not all seated; a context
//! that is seated twice in a batch, or used without a query; a row that no context uses; uses that
//! are not as many as the query's entries; more entries than keys; bytes that end within a segment.

mod clock;
mod contexts;
mod error;
mod format;
mod groups;
mod run;
#[cfg(test)]
mod tests;

pub use clock::{Array, Clock, Kind, Phase, Reads, Word};
pub use contexts::ContextSet;
pub use error::ListError;
pub use format::{
    LIST_ROW_BYTES, List, ListRow, SEGMENT_BYTES, Segment, Token, list_key_bytes, list_rows,
    row_token_bytes,
};
pub use groups::{LineGroups, MAX_CONTEXTS, MAX_GROUP_CONTEXTS};
pub use run::{
    MAX_HEADS, Run, Shape, check_rows, check_softmax_cycles, softmax_cycles, state_cycles,
};
