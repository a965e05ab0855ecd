//! Checks lists whose bytes are known: those that a load copied from the image.

use crate::effects::Access;
use crate::instr::Op;
use crate::lists::{
    LIST_ROW_BYTES, List, ListError, ListRow, MAX_HEADS, Run, Shape, check_rows,
    check_softmax_cycles, list_rows,
};
use crate::machine::Machine;

/// Bytes, queries and entries of all lists of a program that are checked; execution checks others.
pub(super) const BUDGET: u64 = 1 << 26;

/// What the check of an instruction's list takes of the [`BUDGET`].
pub(super) fn work(op: &Op) -> u64 {
    let of = |m: u16, heads: u16, queries: u16, rest: u64| {
        u64::from(m) * u64::from(heads.min(MAX_HEADS)) + u64::from(queries) * LIST_ROW_BYTES + rest
    };
    match op {
        Op::SoftmaxList(list) => of(0, 0, list.queries, 0),
        _ => Shape::of(op).map_or(0, |shape| {
            let rest = u64::from(shape.token_bytes) + u64::from(shape.entries);
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
    if let Some(shape) = Shape::of(op)
        && let (Some(rows), Some(tokens)) = (of("rows"), of("tokens"))
    {
        let list = List::from_bytes(&rows, &tokens, shape.wide, &shape.groups(machine))?;
        if placed {
            Run::new(op, &list, machine)?.check(op, &list)?;
        } else {
            Run::keys(op, &list, machine)?;
        }
    }
    Ok(())
}
