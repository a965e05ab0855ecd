use vitcod_isa::instr::table::{Add, Load, Store};
use vitcod_isa::instr::{Dram, Sram, Traffic};
use vitcod_isa::machine::Machine;

use super::*;
use crate::codegen::schedule::prefetch::tests::task;
use crate::tiled::{Addresses, Buffer, Tasks};

/// `tiles` times: two loads, their sum, a store. Each tile has buffers of its own.
fn sums(tiles: u64, bytes: u32) -> Tasks {
    let mut tasks = Tasks::default();
    for tile in 0..tiles {
        let [a, b, sum]: [Buffer; 3] =
            std::array::from_fn(|_| tasks.buffers.push(u64::from(bytes)));
        let dram = |index: u64| Dram((3 * tile + index) * u64::from(bytes));
        let traffic = Traffic::Activations;
        let add = Add { m: 1, n: (bytes / 2) as u16, a_scale: 1, b_scale: 1, ..Add::ZERO };
        tasks.tasks.extend([
            task(Load::contiguous(Sram(0), dram(0), bytes, traffic), &[a]),
            task(Load::contiguous(Sram(0), dram(1), bytes, traffic), &[b]),
            task(add, &[a, b, sum]),
            task(Store::contiguous(dram(2), Sram(0), bytes, traffic), &[sum]),
        ]);
    }
    tasks
}

/// The best schedule on `vitcod` with a scratchpad of some bytes.
fn search(candidates: &[(u64, &Tasks)], sram: u32) -> Option<Found> {
    let mut machine = Machine::preset("vitcod").unwrap();
    machine.sram.bytes = sram;
    let candidates: Vec<Candidate<'_>> = candidates
        .iter()
        .map(|(weighted_cycles, tasks)| Candidate { weighted_cycles: *weighted_cycles, tasks })
        .collect();
    run(&candidates, &machine)
}

#[test]
fn every_order_is_tried_with_every_budget() {
    let tasks = sums(4, 64);
    let found = search(&[(1, &tasks)], 1 << 16).unwrap();
    assert_eq!((found.tried, found.timed), (14, 14));
    let found = search(&[(1, &tasks), (2, &tasks)], 1 << 16).unwrap();
    assert_eq!((found.candidate, found.tried, found.timed), (0, 28, 28));
}

#[test]
fn the_best_program_wins_whatever_the_estimates() {
    let (short, long) = (sums(4, 64), sums(8, 64));
    let found = search(&[(1, &long), (1000, &short)], 1 << 16).unwrap();
    assert_eq!(found.candidate, 1);
    let alone = search(&[(1, &long)], 1 << 16).unwrap();
    assert!(found.energy_delay < alone.energy_delay);
}

#[test]
fn larger_budgets_are_skipped_after_one_that_found_no_placement() {
    let (fits, does_not) = (sums(2, 64), sums(2, 128));
    assert!(search(&[(1, &does_not)], 256).is_none());
    // Both orders of the first candidate fail with budgets of 90, 82, 70, 50 and 0 %. Those of 96
    // and 100 % come after that of 90 % and are skipped.
    let found = search(&[(1, &does_not), (2, &fits)], 256).unwrap();
    assert_eq!((found.candidate, found.tried - found.timed), (1, 10));
}

#[test]
fn large_programs_are_not_searched_for_ever() {
    let tasks = sums(600, 64);
    let candidates: Vec<(u64, &Tasks)> = (1..=4).map(|estimate| (estimate, &tasks)).collect();
    let found = search(&candidates, 1 << 16).unwrap();
    // 2400 tasks: 13 attempts order 30000 of them, and there are at least 16 attempts.
    assert_eq!(found.tried, 16);
}

/// Code as text: each instruction with the units that it waits for and those that it signals.
fn tokens(tasks: &Tasks, addresses: &[u32]) -> String {
    let mut placed = Addresses::new();
    tasks.buffers.keys().zip(addresses).for_each(|(buffer, at)| placed[buffer] = *at);
    let line = |instr: vitcod_isa::instr::Instr| {
        let units = |set: vitcod_isa::instr::UnitSet| {
            let names: Vec<String> = set.iter().map(|unit| unit.to_string()).collect();
            names.join(" ")
        };
        let text = instr.op.to_string();
        let mnemonic = text.split_whitespace().next().unwrap_or_default();
        format!(
            "{mnemonic}: waits for [{}], signals [{}]\n",
            units(instr.wait),
            units(instr.signal)
        )
    };
    with_tokens(tasks, &placed).into_iter().map(line).collect()
}

#[test]
fn a_reader_waits_for_the_writer_and_for_nothing_that_is_known() {
    insta::assert_snapshot!(tokens(&sums(1, 64), &[0, 64, 128]));
}

#[test]
fn a_load_into_bytes_in_use_waits_for_their_reader() {
    // The second tile has the bytes of the first.
    insta::assert_snapshot!(tokens(&sums(2, 64), &[0, 64, 128, 0, 64, 128]));
}

#[test]
fn tiles_with_bytes_of_their_own_do_not_wait_for_each_other() {
    insta::assert_snapshot!(tokens(&sums(2, 64), &[0, 64, 128, 192, 256, 320]));
}
