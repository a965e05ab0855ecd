//! Lists of sparse patterns: operands of `sddmm_list`, `softmax_list` and `spmm_list`, and the
//! cycles that they take. The instruction [table](crate::instr::table) describes them.
//!
//! - [`List`]: the operands `rows` and `tokens`, decoded;
//! - [`LineGroups`]: how lines are grouped, and how many queries a group works on;
//! - [`Clock`]: when tokens issue and groups compute; the only statement of that rule;
//! - [`Run`]: a list in an instruction: checked, with the keys of its entries and its cycles.
//!
//! All formulas are ours: the paper lets its sparser engine read any row at any time, which a
//! scratchpad of few ports cannot.

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
