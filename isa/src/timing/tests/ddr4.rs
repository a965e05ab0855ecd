//! Programs on DDR4 in detail. The clock of the memory has 12 periods in 5 cycles.

use proptest::prelude::*;

use super::{ended, programs, simulate, span};
use crate::dram::{Ddr4, RowCounts};
use crate::instr::table::Gather;
use crate::instr::{Dram, Instr, Op, Sram, Unit};
use crate::machine::Machine;
use crate::testing::{load, store, vitcod};
use crate::timing::{Timing, trace_bursts};

fn machine() -> Machine {
    let mut machine = vitcod();
    machine.dram.latency_cycles = 34;
    machine.dram.ddr4 = Some(Ddr4::ddr4_2400());
    machine
}

fn timing(code: &[Op]) -> Timing {
    let code: Vec<Instr> = code.iter().map(|op| Instr::new(*op)).collect();
    simulate(&ended(&code), &machine()).unwrap()
}

#[test]
fn a_load_frees_its_unit_before_its_data_have_moved() {
    // Eight bursts are accepted by clock 5, in cycle 2 1/12; their data have moved in clock 43, in
    // cycle 17 11/12.
    let timing = timing(&[load(0, 0, 512).into(), load(512, 2048, 512).into()]);
    assert_eq!(timing.spans()[0], span(0, 3, 18 + 34));
    // The second one begins at once; it leaves in clock 13, and its rows are open: clock 51.
    assert_eq!(timing.spans()[1], span(3, 6, 22 + 34));
    assert_eq!(timing.total(), 57);
    let rows = |index| *timing.rows(index).unwrap();
    assert_eq!(rows(0), RowCounts { misses: 8, ..RowCounts::default() });
    assert_eq!(rows(1), RowCounts { hits: 8, ..RowCounts::default() });
    assert_eq!(rows(2), RowCounts::default());
}

#[test]
fn loads_and_stores_share_the_interface() {
    let timing = timing(&[load(0, 0, 512).into(), store(0, 2048, 512).into()]);
    assert_eq!(timing.spans()[1].start, 3);
    assert_eq!(timing.unit(Unit::Store).channel, 3);
    // Reads in clocks 18 and 22 on each channel, so the writes may come in 33 and 37.
    assert_eq!(timing.spans()[1].completion, (37_u64 + 16).div_ceil(12) * 5 + 34 - 2);
}

#[test]
fn a_program_of_loads_waits_for_the_refreshes() {
    let code: Vec<Op> = (0..64).map(|n| load(0, n << 18, 1 << 18).into()).collect();
    let timing = timing(&code);
    let mut rows = RowCounts::default();
    (0..64).for_each(|index| rows.add(timing.rows(index).unwrap()));
    let cycles = timing.total();
    // 16 MiB take 109,227 cycles at the peak; each channel is refreshed every 3,900 cycles.
    assert!((109_227..117_000).contains(&cycles), "{cycles}");
    assert_eq!(rows.refreshes, 4 * (cycles / 3900));
    assert_eq!(rows.bursts(), 1 << 18);
}

#[test]
fn other_machines_count_no_rows() {
    let timing = simulate(&ended(&[Instr::new(load(0, 0, 64))]), &vitcod()).unwrap();
    assert_eq!(timing.rows(0), None);
}

#[test]
fn a_program_may_use_all_addresses() {
    let gather = Gather {
        src: Dram((1 << 40) - 1000),
        bytes: 10,
        rows: 3,
        limit: 3,
        src_stride: 10,
        dst_stride: 10,
        index: Sram(64),
        ..Gather::ZERO
    };
    let timing = timing(&[gather.into(), load(0, (1 << 40) - 64, 64).into()]);
    assert_eq!(timing.rows(0).unwrap().bursts(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_program_is_faster_than_the_data_buses(code in programs(), addresses in any::<u64>()) {
        let mut code = code;
        for (n, instr) in code.iter_mut().enumerate() {
            let at = addresses.rotate_left(n as u32 * 7) >> 24;
            match &mut instr.op {
                Op::Load(load) => load.src = Dram(at),
                Op::Store(store) => store.dst = Dram(at),
                _ => {}
            }
        }
        let machine = machine();
        let timing = simulate(&code, &machine).unwrap();
        let mut bursts = Vec::new();
        let traced = trace_bursts(&code, &machine, &mut |burst| bursts.push(burst)).unwrap();
        prop_assert_eq!(&timing, &traced);
        prop_assert!(bursts.is_sorted_by_key(|burst| burst.clock));
        let bytes: u64 = timing.costs().iter().map(|cost| cost.burst_bytes).sum();
        prop_assert_eq!(bytes, 64 * bursts.len() as u64);
        prop_assert!(machine.full_transfer_cycles(bytes) <= timing.total());
        for (index, cost) in timing.costs().iter().enumerate() {
            prop_assert_eq!(timing.rows(index).unwrap().bursts(), cost.burst_bytes / 64);
            let span = timing.spans()[index];
            prop_assert!(span.start < span.end && span.end <= span.completion);
        }
        for unit in Unit::ALL {
            let spent = timing.unit(unit);
            let waits = spent.token.iter().sum::<u64>() + spent.lines + spent.channel;
            let sum = spent.busy + waits + spent.barrier + spent.drained;
            prop_assert_eq!(sum, timing.total());
        }
    }

    #[test]
    fn a_trace_of_the_simple_channel_has_the_bursts_that_are_paid(code in programs()) {
        let mut bursts = Vec::new();
        let timing = trace_bursts(&code, &vitcod(), &mut |burst| bursts.push(burst)).unwrap();
        prop_assert_eq!(&timing, &simulate(&code, &vitcod()).unwrap());
        let bytes: u64 = timing.costs().iter().map(|cost| cost.burst_bytes).sum();
        prop_assert_eq!(bytes, 64 * bursts.len() as u64);
        // A burst takes as long as a clock of DDR4-2400 on four channels.
        prop_assert!(bursts.is_sorted_by(|a, b| a.clock < b.clock));
    }
}
