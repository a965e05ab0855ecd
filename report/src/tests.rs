//! Texts of small programs.

use std::sync::Arc;

use vitcod_emulator::Emulator;
use vitcod_emulator::report::{Queries, Report};
use vitcod_emulator::scratchpad::MemoryPlan;
use vitcod_isa::program::Program;
use vitcod_isa::testing::{program, two_engines, two_layers};

use crate::{RunText, ScratchpadText};

fn report(program: Program) -> Report {
    Emulator::new(Arc::new(program)).unwrap().report()
}

fn plan(program: Program) -> MemoryPlan {
    let emulator = Emulator::new(Arc::new(program)).unwrap();
    MemoryPlan::new(emulator.program(), emulator.timing())
}

#[test]
fn run() {
    insta::assert_snapshot!(RunText(&report(two_layers())));
}

#[test]
fn run_on_two_engines_with_decisions() {
    let queries = Queries { sparser_read_bytes: 12_608, forwarded_bytes: 12_544 };
    insta::assert_snapshot!(RunText(&Report { queries, ..report(two_engines()) }));
}

#[test]
fn a_machine_that_says_nothing_of_energy_has_no_column_of_it() {
    let mut program = two_layers();
    program.machine.energy = None;
    let text = RunText(&report(program)).to_string();
    assert!(text.contains("not stated by the machine") && !text.contains("nJ"), "{text}");
}

#[test]
fn scratchpad() {
    insta::assert_snapshot!(ScratchpadText(&plan(two_layers())));
}

#[test]
fn the_scratchpad_of_a_program_that_touches_nothing() {
    assert!(ScratchpadText(&plan(program([], &[]))).to_string().contains("most in use"));
}
