//! Checks lists whose bytes are known: those that a load copied from the image.

use crate::effects::Access;
use crate::instr::Op;
use crate::lists::{
    LIST_ROW_BYTES, List, ListError, ListRow, MAX_HEADS, Shape, check_rows, check_softmax_cycles,
    list_rows,
};
use crate::machine::Machine;

/// Bytes of all lists of a program that are checked, and words of the rows of their queries and
/// entries; execution checks other lists.
pub(super) const BUDGET: u64 = 1 << 26;

/// What the check of an instruction's list takes of the [`BUDGET`].
pub(super) fn work(op: &Op, machine: &Machine) -> u64 {
    let of = |m: u16, heads: u16, queries: u16, rest: u64| {
        u64::from(m) * u64::from(heads.min(MAX_HEADS)) + u64::from(queries) * LIST_ROW_BYTES + rest
    };
    match op {
        Op::SoftmaxList(list) => of(0, 0, list.queries, 0),
        _ => Shape::of(op).map_or(0, |shape| {
            // A row that begins within a word takes one more. Of a query, accumulators of four
            // times as many bytes and a result are visited, too, and a few numbers.
            let word = machine.banks.as_ref().map(|banks| u64::from(banks.word_bytes));
            let words = word.map_or(1, |word| u64::from(shape.d).div_ceil(word) + 1);
            let rows = u64::from(shape.entries) + 6 * u64::from(shape.queries);
            let rest = u64::from(shape.token_bytes) + rows * words;
            of(shape.m, shape.heads, shape.queries, rest)
        }),
    }
}

/// Checks the list of an instruction, if it has one. `bytes` returns the bytes of an operand, if
/// they are known. Cycles are those of operands at their addresses; they are checked if `placed`.
///
/// # Errors
/// The operand at fault, and what is wrong.
pub(super) fn check(
    op: &Op,
    accesses: &[Access],
    machine: &Machine,
    placed: bool,
    mut bytes: impl FnMut(&Access) -> Option<Vec<u8>>,
) -> Result<(), ListError> {
    let mut of = |operand: &str| {
        let access = accesses.iter().find(|access| access.operand == operand);
        access.and_then(&mut bytes)
    };
    if let Op::SoftmaxList(softmax) = op
        && let Some(rows) = of("rows")
    {
        let rows: Vec<ListRow> = list_rows(&rows).collect();
        check_rows(&rows, (softmax.m, softmax.heads), softmax.entries.0)?;
        if placed {
            check_softmax_cycles(softmax, &rows, machine)?;
        }
    }
    if let (Some(rows), Some(tokens)) = (of("rows"), of("tokens")) {
        List::checked(op, [&rows, &tokens], placed, machine)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instr::table::SpmmList;
    use crate::instr::{Entries, SramBytes};

    #[test]
    fn rows_take_of_the_budget_as_many_words_as_they_have() {
        let list = |d: u16, queries: u16, entries: u32| -> Op {
            let (entries, token_bytes) = (Entries(entries), SramBytes(100));
            SpmmList { m: 7, heads: 2, d, queries, entries, token_bytes, ..SpmmList::ZERO }.into()
        };
        let of = |op: Op, machine: &str| work(&op, &Machine::preset(machine).unwrap());
        assert_eq!(of(list(64, 0, 1000), "vitcod"), 2 * 7 + 100 + 2 * 1000);
        assert_eq!(of(list(64, 10, 1000), "vitcod"), 14 + 60 + 100 + 2 * (1000 + 60));
        // A few lists of long rows are beyond the budget.
        assert!(of(list(u16::MAX, 0, 1 << 16), "vitcod") > BUDGET);
        // Words matter to banks only.
        assert_eq!(of(list(u16::MAX, 0, 1000), "vitcod-ideal"), 14 + 100 + 1000);
    }
}
