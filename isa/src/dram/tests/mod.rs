//! Commands whose clocks are worked out by hand on DDR4-2400, and a controller that is stepped
//! clock by clock.
//!
//! A burst that comes in clock 0 is in the queue from clock 1 on. Its row is open 17 clocks after
//! the activation, its data have moved 17 + 4 clocks after a read and 12 + 4 after a write.

mod stepped;

use proptest::prelude::*;

use super::bursts::{Request, What, bursts, of_region, of_row};
use super::channel::{Access, Channel, Direction, Target};
use super::memory::{FOLLOWED, Memory};
use super::{Ddr4, RowCounts};
use crate::effects::Region;
use crate::instr::table::Gather;
use crate::instr::{Dram, Sram};

use Direction::{Read, Write};

/// Serves bursts `(clock, group, bank of the group, row, direction)` on one channel; gives the
/// clocks of the reads and writes, and what they met.
fn columns(bursts: &[(u64, usize, usize, u64, Direction)]) -> (Vec<u64>, RowCounts) {
    let mut channel = Channel::new(&Ddr4::ddr4_2400());
    let mut counts = RowCounts::default();
    let columns = bursts.iter().map(|&(clock, group, bank, row, direction)| {
        let target = Target { group, bank: group * 4 + bank, row: Some(row) };
        let Access { column, data } = channel.access(clock, target, direction, &mut counts);
        assert_eq!(data, column + if direction == Read { 21 } else { 16 });
        column
    });
    (columns.collect(), counts)
}

fn counts(hits: u64, misses: u64, conflicts: u64, refreshes: u64) -> RowCounts {
    RowCounts { hits, misses, conflicts, refreshes }
}

#[test]
fn a_closed_row_is_activated() {
    // Activated in clock 1, read from 18 on.
    assert_eq!(columns(&[(0, 0, 0, 5, Read)]), (vec![18], counts(0, 1, 0, 0)));
}

#[test]
fn an_open_row_is_read_at_once() {
    // Within the bank group tCCD_L = 6 clocks apart, and later as soon as it is in the queue.
    let bursts = [(0, 0, 0, 5, Read), (0, 0, 0, 5, Read), (100, 0, 0, 5, Read)];
    assert_eq!(columns(&bursts), (vec![18, 24, 101], counts(2, 1, 0, 0)));
}

#[test]
fn another_row_is_closed_first() {
    // tRAS ends in clock 40, so the row is precharged then, activated in 57 and read in 74.
    let bursts = [(0, 0, 0, 5, Read), (0, 0, 0, 6, Read)];
    assert_eq!(columns(&bursts), (vec![18, 74], counts(0, 1, 1, 0)));
    // Long after tRAS it is precharged in 101.
    let bursts = [(0, 0, 0, 5, Read), (100, 0, 0, 6, Read)];
    assert_eq!(columns(&bursts), (vec![18, 135], counts(0, 1, 1, 0)));
    // A write's data end in 18 + 16 = 34, and tWR = 18 clocks later the row may be closed.
    let bursts = [(0, 0, 0, 5, Write), (0, 0, 0, 6, Read)];
    assert_eq!(columns(&bursts), (vec![18, 52 + 34], counts(0, 1, 1, 0)));
}

#[test]
fn bank_groups_take_turns_faster() {
    // Activations 4 clocks apart (tRRD_S), in one group 6 (tRRD_L).
    let bursts = [(0, 0, 0, 0, Read), (0, 1, 0, 0, Read), (0, 1, 1, 0, Read)];
    assert_eq!(columns(&bursts).0, [18, 22, 28]);
    // Open rows in different groups are read 4 clocks apart, in one group 6.
    let bursts = [
        (0, 0, 0, 0, Read),
        (0, 1, 0, 0, Read),
        (100, 0, 0, 0, Read),
        (100, 1, 0, 0, Read),
        (100, 1, 0, 0, Read),
    ];
    assert_eq!(columns(&bursts).0, [18, 22, 101, 105, 111]);
}

#[test]
fn four_rows_are_activated_in_a_window() {
    // Activations in 1, 5, 9, 13 and, tFAW = 26 clocks after the first, 27.
    let bursts: Vec<_> = (0..5).map(|n| (0, n % 4, n / 4, 0, Read)).collect();
    assert_eq!(columns(&bursts).0, [18, 22, 26, 30, 44]);
}

#[test]
fn the_bus_turns_around() {
    let open = |group| (0, group, 0, 0, Read);
    // From a read to a write 17 + 4 + 2 - 12 = 11 clocks.
    let bursts = [open(0), open(1), (100, 0, 0, 0, Read), (100, 1, 0, 0, Write)];
    assert_eq!(columns(&bursts).0, [18, 22, 101, 112]);
    // From a write to a read 12 + 4 + 3 = 19 clocks, in the same group 25.
    let bursts = [open(0), open(1), (100, 0, 0, 0, Write), (100, 1, 0, 0, Read)];
    assert_eq!(columns(&bursts).0, [18, 22, 101, 120]);
    let bursts = [open(0), (100, 0, 0, 0, Write), (100, 0, 0, 0, Read)];
    assert_eq!(columns(&bursts).0, [18, 101, 126]);
}

#[test]
fn a_refresh_closes_the_rows() {
    // Due in 9,360: rows are closed until 9,377, and banks are free after tRFC = 420, in 9,797.
    let bursts = [(0, 0, 0, 0, Read), (9359, 0, 0, 0, Read), (9360, 0, 0, 0, Read)];
    // The second read in 9,360 precedes the refresh, and its row is precharged in 9,369 (tRTP).
    let after = 9360 + 9 + 17 + 420 + 17;
    assert_eq!(columns(&bursts), (vec![18, 9360, after], counts(1, 2, 0, 1)));
    // Without it, the row is precharged when the refresh is due.
    let bursts = [(0, 0, 0, 0, Read), (9360, 0, 0, 0, Read)];
    assert_eq!(columns(&bursts).0, [18, 9360 + 17 + 420 + 17]);
    // A closed bank needs no precharge: the second refresh starts when it is due.
    let bursts = [(0, 0, 0, 0, Read), (2 * 9360 + 3, 0, 0, 0, Read)];
    assert_eq!(columns(&bursts), (vec![18, 2 * 9360 + 420 + 17], counts(0, 2, 0, 2)));
    // After long idleness the burst is late enough not to notice.
    let bursts = [(0, 0, 0, 0, Read), (1000 * 9360 + 500, 0, 0, 0, Read)];
    assert_eq!(columns(&bursts), (vec![18, 9_360_000 + 501 + 17], counts(0, 2, 0, 1000)));
}

#[test]
fn refreshes_that_are_late_follow_each_other() {
    // Rows of one bank, 56 clocks apart: the last is activated in 1 + 999 * 56 = 55,945.
    let bursts: Vec<_> = (0..1000).map(|row| (0, 0, 0, row, Read)).collect();
    let after = |clock: u64| {
        let (columns, counts) = columns(&[&bursts[..], &[(clock, 0, 0, 0, Read)]].concat());
        assert_eq!(columns[999], 55_945 + 17);
        (columns[1000], counts.refreshes)
    };
    // Closed in 55,945 + 39, it is ready for the first refresh 17 later.
    let ready = 55_945 + 39 + 17;
    assert_eq!(after(9360), (ready + 420 + 17, 1));
    assert_eq!(after(5 * 9360), (ready + 5 * 420 + 17, 5));
    // The sixth begins in 58,101, the seventh when it is due, after all others.
    assert_eq!(after(6 * 9360), (ready + 6 * 420 + 17, 6));
    assert_eq!(after(7 * 9360), (7 * 9360 + 420 + 17, 7));
}

fn read(base: u64, bytes: u64) -> Request {
    Request { direction: Read, what: What::Region(Region::contiguous(base, bytes)) }
}

#[test]
fn channels_are_served_at_once() {
    let mut memory = Memory::new(&Ddr4::ddr4_2400());
    let mut issued = Vec::new();
    let served = memory.serve(0, &read(0, 512), &mut |clock, at| issued.push((clock, at / 64)));
    // Eight bursts: two on each of four channels, in two bank groups.
    let expected = [0, 0, 0, 0, 4, 4, 4, 4].into_iter().zip(0..8);
    assert_eq!(issued, expected.collect::<Vec<_>>());
    assert_eq!((served.free, served.data), (5, 22 + 21));
    assert_eq!(served.rows, counts(0, 8, 0, 0));
    // The same rows again, for a transfer that comes at once: reads in 26 and 30.
    let served = memory.serve(0, &read(2048, 512), &mut |_, _| {});
    assert_eq!((served.free, served.data, served.rows), (13, 30 + 21, counts(8, 0, 0, 0)));
}

#[test]
fn a_full_queue_stops_the_interface() {
    let mut ddr4 = Ddr4::ddr4_2400();
    (ddr4.queue, ddr4.channels) = (2, 1);
    ddr4.mapping = "row:bank:group:column:channel".parse().unwrap();
    let mut clocks = Vec::new();
    let mut memory = Memory::new(&ddr4);
    memory.serve(0, &read(0, 256), &mut |clock, _| clocks.push(clock));
    // Reads in 18, 24, 30 and 36; the third burst waits for the first read, and so on.
    assert_eq!(clocks, [0, 4, 18, 24]);
}

#[test]
fn a_gather_gets_slots_for_the_worst_case() {
    let gather = Gather {
        dst: Sram(0),
        src: Dram(0),
        bytes: 192,
        rows: 2,
        limit: 100,
        src_stride: 192,
        dst_stride: 192,
        ..Gather::ZERO
    };
    let mut memory = Memory::new(&Ddr4::ddr4_2400());
    let mut issued = Vec::new();
    let request = Request { direction: Read, what: What::Rows(gather) };
    let served = memory.serve(0, &request, &mut |clock, at| issued.push((clock, at / 64)));
    // Each row: two bursts in rows of their own, tRAS + tRP apart, and one in the second's row.
    // Reads in 35, 91, 97, 147, 203 and 209; tRAS of the last row ends in 186 + 39.
    assert_eq!(served.rows, counts(2, 0, 4, 0));
    assert_eq!(served.data, 209 + 21);
    assert_eq!(served.free, 209 + 21);
    // Rows 0 and 50 take the place of those that only the run knows.
    assert_eq!(issued.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [0, 1, 2, 150, 151, 152]);
    // Then every row is unknown, and nothing of the gather is left to wait for.
    let served = memory.serve(0, &read(0, 64), &mut |_, _| {});
    assert_eq!((served.data, served.rows), (230 + 1 + 34 + 21, counts(0, 0, 1, 0)));
}

#[test]
fn a_transfer_without_end_takes_no_time_to_follow() {
    let mut memory = Memory::new(&Ddr4::ddr4_2400());
    let served = memory.serve(u64::MAX, &read(0, 1 << 40), &mut |_, _| {});
    assert_eq!(served.rows.bursts(), 1 << 34);
    let served = memory.serve(0, &read(0, 1 << 40), &mut |_, _| {});
    assert!(served.free >= 1 << 61);
}

#[test]
fn bursts_that_are_not_followed_get_slots() {
    let slow = Ddr4 { t_faw: 1000, ..Ddr4::ddr4_2400() };
    let gather = |bursts: u64| {
        let bytes = 64 * bursts as u32;
        let gather = Gather { bytes, rows: 3, limit: 1, src_stride: bytes, ..Gather::ZERO };
        let request = Request { direction: Read, what: What::Rows(gather) };
        let mut issued = 0;
        let served = Memory::new(&slow).serve(0, &request, &mut |_, _| issued += 1);
        assert_eq!(served.rows.bursts(), 3 * bursts);
        assert_eq!(issued, (3 * bursts).min(FOLLOWED));
        served
    };
    // 262,143 bursts are followed, and of 262,146 all but two.
    let (most, more) = (gather(FOLLOWED / 3), gather(FOLLOWED / 3 + 1));
    assert!((4000..5000).contains(&(more.free - most.free)));
    // A store of as many bursts and one more.
    let store = |bursts: u64| {
        let what = What::Region(Region::contiguous(0, 64 * bursts));
        Memory::new(&slow).serve(0, &Request { direction: Write, what }, &mut |_, _| ())
    };
    let (most, more) = (store(FOLLOWED), store(FOLLOWED + 1));
    assert_eq!(more.rows.bursts(), most.rows.bursts() + 1);
    assert!(more.free >= most.data + 2000);
}

#[test]
fn a_stream_reaches_most_of_the_peak() {
    let mut memory = Memory::new(&Ddr4::ddr4_2400());
    let served = memory.serve(0, &read(0, 8 << 20), &mut |_, _| {});
    // 131,072 bursts in as many clocks at the peak; refreshes cost 4.7 %.
    assert!((131_072..140_000).contains(&served.data), "{}", served.data);
    assert!(served.rows.hits > 129_000);
}

proptest! {
    #[test]
    fn bursts_are_those_that_are_paid(
        base in 0u64..500,
        (bytes, inner, outer) in (1u64..200, 1u64..5, 1u64..4),
        (inner_stride, outer_stride) in (0u64..300, 0u64..900),
        power in 3u32..8,
    ) {
        let region = Region { base, bytes, inner, inner_stride, outer, outer_stride }.merged();
        let burst = 1 << power;
        let all: Vec<u64> = of_region(region, burst).collect();
        prop_assert_eq!(all.len() as u64, bursts(region, burst));
        for (at, bytes) in region.runs() {
            for byte in at..at + bytes {
                prop_assert!(all.contains(&(byte / burst * burst)));
            }
        }
    }

    #[test]
    fn a_row_of_a_gather_has_no_more_bursts_than_are_paid(
        (src, stride) in (0u64..300, 0u32..300),
        (bytes, index) in (1u32..300, 0u64..50),
    ) {
        let gather = Gather { src: Dram(src), src_stride: stride, bytes, ..Gather::ZERO };
        let at = src + index * u64::from(stride);
        let region = Region::contiguous(at, bytes.into());
        prop_assert!(bursts(region, 64) <= of_row(&gather, 64));
    }
}
