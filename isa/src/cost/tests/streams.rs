//! Softmax and vector units, stepped cycle by cycle: each cycle takes a word of elements, and a
//! word ends with its row.

use proptest::prelude::*;

use super::vitcod;
use crate::cost::cost;
use crate::cost::lists::softmax_limits;
use crate::instr::table::{Add, Interpolate, LayerNorm, Lut, Softmax, SoftmaxList};
use crate::instr::{Engine, Entries, Op, ScoreShift, Shift, Sram, Width};

/// Cycles in which a unit takes rows of elements, some at a time.
fn step(rows: impl IntoIterator<Item = u32>, per_cycle: u32) -> u64 {
    let mut cycle = 0;
    for mut left in rows {
        while left > 0 {
            left -= left.min(per_cycle);
            cycle += 1;
        }
    }
    cycle
}

const HERE: Sram = Sram(0);

fn rowwise(m: u16, n: u16) -> [Op; 5] {
    let [narrow, wide] = [n.into(), 2 * u32::from(n)];
    let softmax = Softmax {
        engine: Engine::Sparser,
        fresh: true,
        both: false,
        minifloat: false,
        shift: ScoreShift(0),
        src: HERE,
        max: HERE,
        other_max: HERE,
        sum: HERE,
        dst: HERE,
        m,
        n,
        src_stride: wide,
        dst_stride: narrow,
    };
    let norm = LayerNorm {
        out: Width::I8,
        src: HERE,
        params: HERE,
        dst: HERE,
        m,
        n,
        src_stride: wide,
        dst_stride: narrow,
    };
    let lut =
        Lut { src: HERE, table: HERE, dst: HERE, m, n, src_stride: narrow, dst_stride: narrow };
    let add = Add {
        narrow: false,
        a: HERE,
        b: HERE,
        dst: HERE,
        m,
        n,
        a_scale: 1,
        b_scale: 1,
        shift: Shift(0),
        a_stride: wide,
        b_stride: wide,
        dst_stride: wide,
    };
    let (table, src_stride, dst_stride) = (HERE, wide, narrow);
    let interpolate = Interpolate { src: HERE, table, dst: HERE, m, n, src_stride, dst_stride };
    [softmax.into(), norm.into(), lut.into(), add.into(), interpolate.into()]
}

proptest! {
    #[test]
    fn rows_and_lists(m in 1u16..20, n in 1u16..100, scores in 1u32..20, elements in 1u32..40, fill in 0u32..20) {
        let mut machine = vitcod();
        (machine.softmax.scores_per_cycle, machine.softmax.fill_cycles) = (scores, fill);
        (machine.vector.elements_per_cycle, machine.vector.fill_cycles) = (elements, fill);
        for op in rowwise(m, n) {
            let per_cycle = if matches!(op, Op::Softmax(_)) { scores } else { elements };
            let cost = cost(&op, &machine);
            prop_assert_eq!(cost.cycles, step(std::iter::repeat_n(u32::from(n), m.into()), per_cycle), "{}", op);
            prop_assert_eq!((cost.latency, cost.elements), (fill.into(), u64::from(m) * u64::from(n)), "{}", op);
        }
        // A list is one long row.
        let entries = u32::from(m) * u32::from(n);
        let list = SoftmaxList { entries: Entries(entries), ..SoftmaxList::ZERO };
        prop_assert_eq!(softmax_limits(&list, &[], &machine), step([entries], scores));
    }
}
