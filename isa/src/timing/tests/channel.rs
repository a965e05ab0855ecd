//! The DRAM channel, burst by burst: a channel that is stepped in fractions of a cycle, and serves
//! whoever asked first.
//!
//! A burst takes a whole number of ticks, of which a cycle has several, so that transfers begin and
//! end within cycles.

use std::collections::{BTreeSet, VecDeque};

use crate::instr::table::Gather;
use crate::instr::{Dram, Instr, Op, Sram, Traffic, Unit};
use proptest::prelude::*;

use super::{ended, simulate, span};
use crate::testing::{load, store, vitcod};
use crate::timing::Span;

/// Bytes of a burst.
const BURST: u64 = 64;

/// Ticks of a cycle and ticks that a burst takes; the first is the machine of the paper, with 153.6
/// bytes per cycle.
const SPEEDS: [(u64, u64); 6] = [(12, 5), (8, 5), (3, 4), (5, 2), (1, 1), (25, 16)];

/// A transfer that waits for the channel or is under way.
struct Transfer {
    index: usize,
    bursts: u64,
}

/// A unit, which transfers in the order of its instructions.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Transfer>,
    /// The tick from which it could start the next one.
    free: u64,
    completed: u64,
}

/// The bursts that a transfer touches, found byte by byte.
fn bursts(op: &Op) -> u64 {
    let of = |at: u64, bytes: u32| {
        (at..at + u64::from(bytes)).map(|byte| byte / BURST).collect::<BTreeSet<_>>().len() as u64
    };
    match op {
        Op::Load(load) => of(load.src.0, load.bytes),
        Op::Store(store) => of(store.dst.0, store.bytes),
        // Rows lie apart in whole bursts.
        Op::Gather(gather) => of(gather.src.0, gather.bytes) * u64::from(gather.rows),
        _ => unreachable!("there are only transfers"),
    }
}

fn stepped(code: &[Instr], (cycle, burst): (u64, u64), latency: u64) -> Vec<Span> {
    let mut units = [Queue::default(), Queue::default()];
    for (index, instr) in code.iter().enumerate() {
        let unit = usize::from(instr.op.units().contains(Unit::Store));
        units[unit].waiting.push_back(Transfer { index, bursts: bursts(&instr.op) });
    }
    let mut spans = vec![span(0, 0, 0); code.len()];
    // Who holds the channel, its first tick there, and the ticks left.
    let mut holder: Option<(usize, u64, u64)> = None;
    for tick in 0.. {
        if holder.is_none() {
            let asking =
                (0..2).filter(|unit| !units[*unit].waiting.is_empty() && units[*unit].free <= tick);
            holder = asking
                .min_by_key(|unit| units[*unit].free)
                .map(|unit| (unit, tick, units[unit].waiting[0].bursts * burst));
        }
        if let Some((unit, start, left)) = &mut holder {
            *left -= 1;
            if *left == 0 {
                let Queue { waiting, free, completed } = &mut units[*unit];
                let Some(Transfer { index, .. }) = waiting.pop_front() else { unreachable!() };
                // An instruction takes its unit for a cycle at least.
                *free = (tick + 1).max(*start + cycle);
                let end = free.div_ceil(cycle);
                *completed = (end + latency).max(*completed);
                spans[index] = span(start.div_ceil(cycle), end, *completed);
                holder = None;
            }
        }
        if units.iter().all(|unit| unit.waiting.is_empty()) {
            return spans;
        }
    }
    unreachable!()
}

fn transfer() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u64..300, 1u32..900).prop_map(|(at, bytes)| load(0, at, bytes).into()),
        4 => (0u64..300, 1u32..900).prop_map(|(at, bytes)| store(0, at, bytes).into()),
        1 => (1u32..300, 1u16..6).prop_map(|(bytes, rows)| {
            let src_stride = bytes.next_multiple_of(64);
            let traffic = Traffic::Inputs;
            let [dst, index] = [Sram(0), Sram(8192)];
            Gather { dst, src: Dram(128), bytes, rows, limit: 9, src_stride, dst_stride: bytes, index, traffic }.into()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn transfers_share_the_channel_to_the_tick(
        ops in prop::collection::vec(transfer(), 1..30), speed in prop::sample::select(SPEEDS.as_slice()), latency in 0u32..80,
    ) {
        let mut machine = vitcod();
        let (cycle, burst) = speed;
        machine.dram.bytes_per_cycle = (BURST * cycle) as f64 / burst as f64;
        machine.dram.latency_cycles = latency;
        let code: Vec<Instr> = ops.into_iter().map(Instr::new).collect();
        let timing = simulate(&ended(&code), &machine).unwrap();
        prop_assert_eq!(&timing.spans()[..code.len()], stepped(&code, speed, latency.into()));
        // What the channel carries takes as long as its bandwidth says, and no less.
        let ticks: u64 = code.iter().map(|instr| bursts(&instr.op) * burst).sum();
        prop_assert!(timing.total() * cycle >= ticks);
    }
}
