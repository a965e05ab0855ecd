//! The instructions on lists, against lines that are stepped cycle by cycle.

use proptest::prelude::*;

use super::{lines, vitcod};
use crate::cost::cost;
use crate::effects::Data;
use crate::instr::table::{SddmmList, SoftmaxList, SpmmList};
use crate::instr::{Engine, Entries, ScoreShift, Sram};
use crate::numerics::Scale;
use crate::operands::LineGroups;

const NOWHERE: Sram = Sram(0);

fn scores(entries: u32, d: u16, count: u16) -> SddmmList {
    SddmmList {
        engine: Engine::Sparser,
        lines: lines(count),
        rows: NOWHERE,
        keys: NOWHERE,
        q: NOWHERE,
        k: NOWHERE,
        max: NOWHERE,
        dst: NOWHERE,
        m: 10,
        n: 10,
        d,
        heads: 3,
        entries: Entries(entries),
        scale: Scale::ONE,
        ..SddmmList::ZERO
    }
}

fn product(steps: u32, d: u16, count: u16) -> SpmmList {
    SpmmList {
        engine: Engine::Sparser,
        list: true,
        block: true,
        lines: lines(count),
        rows: NOWHERE,
        keys: NOWHERE,
        p: NOWHERE,
        sum: NOWHERE,
        block_keys: NOWHERE,
        block_p: NOWHERE,
        block_sum: NOWHERE,
        v: NOWHERE,
        dst: NOWHERE,
        m: 10,
        n: 10,
        d,
        heads: 3,
        columns: 6,
        entries: Entries(100),
        steps: Entries(steps),
        scale: Scale::ONE,
        ..SpmmList::ZERO
    }
}

#[test]
fn scores_of_a_list_worked_out_by_hand() {
    // 130 entries on 64 lines are 3 rounds of 8 steps; 30 queries change in at most as many rounds.
    let cost = cost(&scores(130, 64, 64).into(), &vitcod());
    assert_eq!((cost.cycles, cost.latency, cost.macs), (24, 12, 130 * 64));
    let read = |data: Data| cost.sram.read[data as usize];
    assert_eq!(read(Data::Activations), (30 + 3) * 64 + 130 * 64);
    assert_eq!(read(Data::Indices), 30 * 4 + 130);
    assert_eq!(cost.sram.written[Data::Scores as usize], 130 * 2);
    assert_eq!(cost.sram.written[Data::Statistics as usize], 30 * 2);
}

#[test]
fn a_softmax_of_a_list_does_not_pad_rows() {
    let softmax = SoftmaxList {
        engine: Engine::Sparser,
        both: false,
        minifloat: false,
        shift: ScoreShift(0),
        rows: NOWHERE,
        src: NOWHERE,
        max: NOWHERE,
        other_max: NOWHERE,
        sum: NOWHERE,
        dst: NOWHERE,
        count: 30,
        queries: 40,
        entries: Entries(101),
    };
    let cost = cost(&softmax.into(), &vitcod());
    assert_eq!((cost.cycles, cost.latency, cost.macs), (13, 8, 0));
    assert_eq!((cost.sram.read_bytes(), cost.sram.written_bytes()), (30 * 4 + 202 + 80, 101 + 120));
}

#[test]
fn a_product_with_a_list_worked_out_by_hand() {
    // 100 entries, 6 columns of 10 queries each.
    let whole = cost(&product(20, 64, 64).into(), &vitcod());
    assert_eq!((whole.cycles, whole.latency, whole.macs), (20, 12, 160 * 64));
    let read = |data: Data| whole.sram.read[data as usize];
    assert_eq!(read(Data::Probabilities), 160);
    assert_eq!(read(Data::Activations), 160 * 64);
    assert_eq!(read(Data::Indices), 30 * 4 + 100 + (3 + 6) * 2);
    assert_eq!(read(Data::Statistics), 2 * 30 * 4);
    // 4 lines are one group that needs two passes for 8 parts of 8 features.
    assert_eq!(cost(&product(20, 64, 4).into(), &vitcod()).cycles, 40);
    let dense = SpmmList { list: false, entries: Entries(0), ..product(20, 64, 64) };
    assert_eq!(cost(&dense.into(), &vitcod()).macs, 60 * 64);
}

/// Lines that are dealt the entries in turn, each `d` products along `macs` MACs, operands through
/// a port of `port` bytes; a result waits in a register for its own port. Returns the cycle after
/// the last operand.
fn step_dealt(entries: u32, d: u16, count: u16, macs: u32, port: u32) -> u64 {
    struct Line {
        entries: u32,
        /// Products left of the entry under way, and bytes left of their step.
        products: u32,
        bytes: u32,
        writing: u32,
    }
    let mut all: Vec<Line> =
        (0..count).map(|_| Line { entries: 0, products: 0, bytes: 0, writing: 0 }).collect();
    for entry in 0..entries {
        all[entry as usize % usize::from(count)].entries += 1;
    }
    let (mut cycle, mut last) = (0, 0);
    while all.iter().any(|line| line.entries > 0) {
        for line in all.iter_mut().filter(|line| line.entries > 0) {
            if line.products == 0 {
                line.products = d.into();
            }
            if line.bytes == 0 {
                line.bytes = line.products.min(macs);
            }
            line.writing = line.writing.saturating_sub(port);
            let passed = line.bytes.min(port);
            line.bytes -= passed;
            line.products -= passed;
            last = cycle + 1;
            if line.products == 0 {
                line.entries -= 1;
                assert_eq!(
                    line.writing, 0,
                    "a result of two bytes is written while the next is made"
                );
                line.writing = 2;
            }
        }
        cycle += 1;
    }
    last
}

/// Groups of lines that take queries in order, each when it is free; every step brings `macs`
/// features of each line through its port, and is taken for each pass over the features. Returns
/// the cycle after the last step.
fn step_groups(queries: &[u32], d: u16, count: u16, macs: u32, port: u32) -> u64 {
    let parts = u32::from(d).div_ceil(macs);
    let each = parts.min(count.into());
    let mut groups = vec![0u32; usize::from(count) / each as usize];
    let mut waiting = queries.iter();
    let mut cycle = 0;
    loop {
        for left in groups.iter_mut().filter(|left| **left == 0) {
            if let Some(query) = waiting.next() {
                // Lines of a pass that have no part wait for those that have.
                let cycles_of_a_step = macs.min(d.into()).div_ceil(port);
                *left = (*query).max(1) * parts.div_ceil(each) * cycles_of_a_step;
            }
        }
        if groups.iter().all(|left| *left == 0) {
            return cycle;
        }
        groups.iter_mut().for_each(|left| *left = left.saturating_sub(1));
        cycle += 1;
    }
}

proptest! {
    #[test]
    fn scores_equal_lines_stepped_cycle_by_cycle(
        entries in 1u32..200, d in 1u16..40, count in 1u16..=64, macs in 1u32..12, port in 2u32..12,
    ) {
        let mut machine = vitcod();
        (machine.lines.macs, machine.lines.port_bytes) = (macs, port);
        prop_assert_eq!(
            cost(&scores(entries, d, count).into(), &machine).cycles,
            step_dealt(entries, d, count, macs, port)
        );
    }

    #[test]
    fn products_equal_groups_stepped_cycle_by_cycle(
        queries in prop::collection::vec(0u32..20, 1..60), d in 1u16..80, count in 1u16..=64, macs in 1u32..12, port in 1u32..12,
    ) {
        let mut machine = vitcod();
        (machine.lines.macs, machine.lines.port_bytes) = (macs, port);
        let steps = LineGroups::new(d, count, macs).busiest(queries.iter().copied());
        prop_assert_eq!(
            cost(&product(steps as u32, d, count).into(), &machine).cycles,
            step_groups(&queries, d, count, macs, port)
        );
    }

    /// What the closed form takes for the bytes of queries is at least what the lines of each round
    /// need.
    #[test]
    fn queries_are_shared_within_a_round(rows in prop::collection::vec(0u32..40, 30), count in 1u16..=64) {
        let entries: u32 = rows.iter().sum();
        prop_assume!(entries > 0);
        let of_entry: Vec<usize> =
            rows.iter().enumerate().flat_map(|(query, own)| (0..*own).map(move |_| query)).collect();
        let needed: usize = of_entry
            .chunks(count.into())
            .map(|round| round.chunk_by(|a, b| a == b).count())
            .sum();
        let d = 8;
        let cost = cost(&scores(entries, d, count).into(), &vitcod());
        let queries = cost.sram.read[Data::Activations as usize] / u64::from(d) - u64::from(entries);
        prop_assert!(needed as u64 <= queries && queries <= u64::from(entries).min(needed as u64 + 30));
    }
}
