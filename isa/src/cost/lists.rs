//! Instructions on lists. They state their cycles, so that their cost is a function of the
//! instruction and the machine; what the cycles are, of a list at its addresses, is computed here
//! and by the clock of lists. All formulas are ours.
//!
//! The cycles are the largest of these; the last three hold on machines with banks only.
//!
//! - *Groups and row ports*: the end of the clock.
//! - *Softmax*: on an ideal machine whole words of scores, independently of rows. With banks, each
//!   row takes whole words, at least one.
//! - *Words* through the slots of the unit. Rows, tokens and sums are contiguous, and so are the
//!   scores and probabilities of an engine, except that a row that begins within a word takes this
//!   word a second time, because the row before it is that of another context. Maxima, accumulators
//!   and results are visited in windows of as many queries of the list as have no more words than
//!   there are banks, each distinct word of a window once, as `streams` describes.
//! - *Requantisers*: scores, or the results of all queries.
//! - *Dividers*: a reciprocal for each query of a product.
//!
//! The bytes of the scratchpad are those of a list of as many row tokens as `token_bytes` hold, or
//! as there are entries: each reads a row of one head. On a machine with banks whole words count.

use super::streams::{Geometry, Stream};
use super::{Cost, SramTraffic};
use crate::effects::Data;
use crate::instr::Engine;
use crate::instr::table::*;
use crate::lists::{LIST_ROW_BYTES, LineGroups, ListRow, SEGMENT_BYTES, Shape, row_token_bytes};
use crate::machine::Machine;

/// The cost of an instruction on a list.
pub(super) fn cost(op: &Op, machine: &Machine) -> Cost {
    let latency = |fill: u32| {
        machine.organisation().map_or(fill.into(), |organisation| organisation.latency(fill))
    };
    let sram = traffic(op, machine);
    if let Op::SoftmaxList(SoftmaxList { cycles, entries, .. }) = *op {
        return Cost {
            cycles: cycles.0.max(1).into(),
            latency: latency(machine.softmax.fill_cycles),
            elements: entries.0.into(),
            sram,
            ..Cost::default()
        };
    }
    Shape::of(op).map_or(Cost::default(), |shape| {
        let cost = Cost {
            cycles: shape.cycles.max(1).into(),
            latency: latency(machine.lines.fill_cycles),
            lines: op.lines(),
            macs: u64::from(shape.entries) * u64::from(shape.d),
            sram,
            ..Cost::default()
        };
        cost.shifted(matches!(op, Op::SpmmList(SpmmList { minifloat: true, .. })))
    })
}

/// The row tokens that a list has at most.
fn row_tokens(shape: &Shape, machine: &Machine) -> u64 {
    let groups = LineGroups::new(shape.d, shape.lines, machine);
    let bytes = u64::from(shape.token_bytes).saturating_sub(SEGMENT_BYTES);
    (bytes / row_token_bytes(shape.wide, &groups)).min(shape.entries.into())
}

fn traffic(op: &Op, machine: &Machine) -> SramTraffic {
    let word = machine.banks.as_ref().map_or(1, |banks| u64::from(banks.word_bytes));
    let mut sram = SramTraffic::default();
    // Runs of bytes that are accessed, each in whole words.
    let bytes = |runs: u64, bytes: u64| runs.saturating_mul(bytes.div_ceil(word) * word);
    let mut read = |operand: &str, count: u64| {
        sram.read[Data::of_operand(op, operand) as usize] += count;
    };
    let rows = |queries: u16| bytes(1, u64::from(queries) * LIST_ROW_BYTES);
    // Elements of this size, contiguous or nearly so.
    let vector = |count: u64, element: u64| bytes(1, count * element);
    let written: Vec<(&str, u64)> = match *op {
        Op::SddmmList(list) => {
            let (queries, d) = (u64::from(list.queries), u64::from(list.d));
            read("rows", rows(list.queries));
            read("tokens", bytes(1, list.token_bytes.0.into()));
            read("q", bytes(queries, d));
            read("k", bytes(row_tokens(&(&list).into(), machine), d));
            vec![("max", vector(queries, 2)), ("dst", vector(list.entries.0.into(), 2))]
        }
        Op::SoftmaxList(list) => {
            let (queries, entries) = (u64::from(list.queries), u64::from(list.entries.0));
            read("rows", rows(list.queries));
            read("src", vector(entries, 2));
            read("max", vector(queries, 2));
            if list.both {
                read("other_max", vector(queries, 2));
            }
            vec![("sum", vector(queries, 4)), ("dst", vector(entries, 1))]
        }
        Op::SpmmList(list) => {
            let (queries, d) = (u64::from(list.queries), u64::from(list.d));
            read("rows", rows(list.queries));
            read("tokens", bytes(1, list.token_bytes.0.into()));
            read("p", vector(list.entries.0.into(), 1));
            read("sum", vector(queries, 4));
            if list.accumulate {
                read("block_sum", vector(queries, 4));
                read("acc", bytes(queries, 4 * d));
            }
            read("v", bytes(row_tokens(&(&list).into(), machine), d));
            vec![("dst", bytes(queries, d))]
        }
        _ => Vec::new(),
    };
    for (operand, count) in written {
        sram.written[Data::of_operand(op, operand) as usize] += count;
    }
    sram
}

/// The cycles of `sddmm_list` or `spmm_list` on queries apart from those of the clock.
pub(crate) fn list_limits(op: &Op, rows: &[ListRow], machine: &Machine) -> u64 {
    let Some(organisation) = machine.organisation() else { return 0 };
    let words = Words { geometry: Geometry::new(organisation), rows };
    let limits = |engine: Engine, lines: u16, streams: [Stream; 2]| {
        organisation.of_engine(engine, streams).max(organisation.results(op, lines))
    };
    match *op {
        Op::SddmmList(list) => {
            let read = words.list(list.rows.0, Some((list.tokens.0, list.token_bytes.0)));
            let max = words.numbered(list.max.0, list.m, 2);
            let written = max.and(words.entries(list.dst.0, 2, true));
            limits(list.engine, list.lines.count, [read, written])
        }
        Op::SpmmList(list) => {
            let d = u64::from(list.d);
            let mut read = words
                .list(list.rows.0, Some((list.tokens.0, list.token_bytes.0)))
                .and(words.entries(list.p.0, 1, true))
                .and(words.positions(list.sum.0, 4));
            if list.accumulate {
                read = read.and(words.numbered(list.block_sum.0, list.m, 4)).and(words.matrix(
                    list.acc.0,
                    list.acc_stride.0,
                    4 * d,
                ));
            }
            let written = words.matrix(list.dst.0, list.dst_stride.into(), d);
            limits(list.engine, list.lines.count, [read, written])
        }
        _ => 0,
    }
}

/// The cycles of `softmax_list` on queries.
pub(crate) fn softmax_limits(op: &SoftmaxList, rows: &[ListRow], machine: &Machine) -> u64 {
    let per_cycle = u64::from(machine.softmax.scores_per_cycle).max(1);
    let Some(organisation) = machine.organisation() else {
        return u64::from(op.entries.0).div_ceil(per_cycle);
    };
    let words = Words { geometry: Geometry::new(organisation), rows };
    let mut read = words
        .list(op.rows.0, None)
        .and(words.entries(op.src.0, 2, false))
        .and(words.numbered(op.max.0, op.m, 2));
    if op.both {
        read = read.and(words.numbered(op.other_max.0, op.m, 2));
    }
    let written = words.entries(op.dst.0, 1, false).and(words.positions(op.sum.0, 4));
    let of_row = |row: &ListRow| u64::from(row.entries).div_ceil(per_cycle).max(1);
    let cycles = rows.iter().map(of_row).sum::<u64>();
    cycles.max(organisation.in_turn(organisation.slots.softmax, [read, written]))
}

/// The words of the operands of a list other than those that the row ports read.
struct Words<'a> {
    geometry: Geometry,
    rows: &'a [ListRow],
}

impl Words<'_> {
    /// The list itself.
    fn list(&self, rows: u32, tokens: Option<(u32, u32)>) -> Stream {
        let queries = self.rows.len() as u64;
        let rows = self.geometry.contiguous(rows.into(), queries * LIST_ROW_BYTES);
        tokens
            .map_or(rows, |(at, bytes)| rows.and(self.geometry.contiguous(at.into(), bytes.into())))
    }

    /// A vector by entry; `apart` if rows that begin within a word take it a second time.
    fn entries(&self, base: u32, element: u64, apart: bool) -> Stream {
        let (mut at, mut again) = (u64::from(base), 0);
        for row in self.rows {
            let begins = at != u64::from(base) && !at.is_multiple_of(self.geometry.word);
            again += u64::from(apart && row.entries > 0 && begins);
            at += element * u64::from(row.entries);
        }
        let Stream { words, .. } = self.geometry.contiguous(base.into(), at - u64::from(base));
        let words = words + again;
        Stream { words, layers: words.div_ceil(self.geometry.banks) }
    }

    /// A vector by position.
    fn positions(&self, base: u32, element: u64) -> Stream {
        self.geometry.contiguous(base.into(), self.rows.len() as u64 * element)
    }

    /// A vector by query number, for `m` queries of a head.
    fn numbered(&self, base: u32, m: u16, element: u64) -> Stream {
        let number = |row: &ListRow| row.number(m) as u64;
        let of = |row| (u64::from(base) + number(row) * element, element);
        self.geometry.windows(self.rows.iter().map(of))
    }

    /// A matrix with a row for each query of a head, with `bytes` bytes for each head.
    fn matrix(&self, base: u32, stride: u32, bytes: u64) -> Stream {
        let at = |row: &ListRow| {
            let start = u64::from(base) + u64::from(row.query) * u64::from(stride);
            (start + u64::from(row.head) * bytes, bytes)
        };
        self.geometry.windows(self.rows.iter().map(at))
    }
}
