//! Transfers, burst by burst: which aligned bursts a transfer touches is found byte by byte.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::vitcod;
use crate::cost::{Cost, cost};
use crate::instr::table::{Gather, Load, Store};
use crate::instr::{Dram, Sram, Traffic};

/// Runs of which those are one that follow each other without a gap.
fn joined(runs: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (at, bytes) in runs {
        match joined.last_mut() {
            Some((start, length)) if *start + *length == at => *length += bytes,
            _ => joined.push((at, bytes)),
        }
    }
    joined
}

/// Aligned bursts that runs touch, each on its own: the channel does not look back.
fn bursts(runs: &[(u64, u64)], burst: u64) -> u64 {
    let touched = |(at, bytes): &(u64, u64)| {
        (*at..at + bytes).map(|byte| byte / burst).collect::<BTreeSet<u64>>().len()
    };
    runs.iter().map(|run| touched(run) as u64).sum()
}

proptest! {
    #[test]
    fn loads_and_stores(
        at in 0u64..300, bytes in 1u32..150, (inner, inner_gap) in (1u16..6, prop_oneof![Just(0u32), 0u32..200]),
        (outer, outer_gap) in (1u16..6, prop_oneof![Just(0u32), 0u32..300]), power in 0u32..9,
    ) {
        let mut machine = vitcod();
        machine.dram.burst_bytes = 1 << power;
        let burst = u64::from(machine.dram.burst_bytes);
        let inner_stride = bytes + inner_gap;
        let outer_stride = inner_stride * u32::from(inner - 1) + bytes + outer_gap;
        let load = Load {
            dst: Sram(0),
            src: Dram(at),
            bytes,
            inner,
            outer,
            src_inner_stride: inner_stride,
            src_outer_stride: outer_stride,
            dst_inner_stride: bytes,
            dst_outer_stride: bytes * u32::from(inner),
            traffic: Traffic::Weights,
        };
        let store = Store {
            dst: Dram(at),
            src: Sram(0),
            bytes,
            inner,
            outer,
            src_inner_stride: bytes,
            src_outer_stride: bytes * u32::from(inner),
            dst_inner_stride: inner_stride,
            dst_outer_stride: outer_stride,
            traffic: Traffic::Outputs,
        };
        // The outer loop goes on where the inner one ended only if that is one run.
        let address = |i: u16, j: u16| at + u64::from(i) * u64::from(outer_stride) + u64::from(j) * u64::from(inner_stride);
        let of_inner = |i: u16| joined((0..inner).map(|j| (address(i, j), bytes.into())));
        let runs: Vec<(u64, u64)> = (0..outer).flat_map(of_inner).collect();
        let runs = if runs.len() == usize::from(outer) { joined(runs) } else { runs };
        let wanted = u64::from(bytes) * u64::from(inner) * u64::from(outer);
        let moved = bursts(&runs, burst) * burst;
        for Cost { dram_bytes, burst_bytes, latency, cycles, .. } in [cost(&load.into(), &machine), cost(&store.into(), &machine)] {
            prop_assert_eq!((dram_bytes, latency, cycles), (wanted, machine.dram.latency_cycles.into(), 0));
            prop_assert_eq!(burst_bytes, moved);
        }
    }

    /// A gather is charged before its indices are known: never less than what it moves, and exactly
    /// that where rows are aligned.
    #[test]
    fn gathers(
        at in 0u64..200, bytes in 1u32..150, gap in 0u32..100, indices in prop::collection::vec(0u16..50, 1..12), power in 0u32..8,
        aligned: bool,
    ) {
        let mut machine = vitcod();
        machine.dram.burst_bytes = 1 << power;
        let burst = u64::from(machine.dram.burst_bytes);
        let round = |bytes: u64| if aligned { bytes.next_multiple_of(burst) } else { bytes };
        let (src, stride) = (round(at), round(u64::from(bytes + gap)));
        let gather = Gather {
            dst: Sram(0),
            src: Dram(src),
            bytes,
            rows: indices.len() as u16,
            limit: 50,
            src_stride: stride as u32,
            dst_stride: bytes,
            index: Sram(0),
            traffic: Traffic::Activations,
        };
        // Each row is a transfer of its own.
        let moved: u64 =
            indices.iter().map(|index| bursts(&[(src + u64::from(*index) * stride, bytes.into())], burst) * burst).sum();
        let charged = cost(&gather.into(), &machine).burst_bytes;
        prop_assert!(moved <= charged && charged <= moved + burst * indices.len() as u64, "{} charged, {} moved", charged, moved);
        if aligned {
            prop_assert_eq!(charged, moved);
        }
    }
}
