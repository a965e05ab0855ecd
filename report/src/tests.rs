//! Texts of small programs.

use std::fmt::Write as _;
use std::sync::Arc;

use vitcod_emulator::Emulator;
use vitcod_emulator::report::{Queries, Report};
use vitcod_emulator::scratchpad::MemoryPlan;
use vitcod_isa::dram::Ddr4;
use vitcod_isa::program::Program;
use vitcod_isa::testing::{program, two_engines, two_layers};

use crate::dram_trace::{self, Format};
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

/// The program of two layers with its DRAM in detail.
fn with_ddr4() -> Program {
    let mut program = two_layers();
    program.machine.dram.ddr4 = Some(Ddr4::ddr4_2400());
    program
}

#[test]
fn a_machine_with_banks_has_a_table_of_rows() {
    insta::assert_snapshot!(RunText(&report(with_ddr4())));
}

#[test]
fn traces_of_bursts() {
    let text = |program: &Program, format| {
        let mut bytes = Vec::new();
        dram_trace::write(program, format, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let formats = [Format::Ramulator2, Format::Ramulator2Places, Format::Dramsim3, Format::Dramsys];
    let mut traces = String::new();
    for (name, program) in [("simple", two_layers()), ("DDR4", with_ddr4())] {
        for format in formats {
            let trace = text(&program, format);
            // 24 bursts of the load and 2 of the store.
            assert_eq!(trace.lines().count(), 26);
            let lines: Vec<&str> = trace.lines().collect();
            let shown = [&lines[..6], &["..."], &lines[23..]].concat().join("\n");
            let _ = writeln!(traces, "{name}, {format:?}:\n{shown}\n");
        }
    }
    insta::assert_snapshot!(traces);
}
