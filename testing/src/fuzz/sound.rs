//! Properties of every program of valid form, and of every program that the verifier accepts.

use std::sync::Arc;

use vitcod_emulator::execute::Reason;
use vitcod_emulator::{Emulator, Fault, Memory};
use vitcod_isa::asm::Assembly;
use vitcod_isa::program::Program;
use vitcod_report::RunText;

/// The most bytes of a memory, and cycles of a run, for which programs are executed.
const LIMIT: u64 = 1 << 20;
/// Asserts that a program of valid form is the same after a round trip through its file and its
/// text.
pub fn assert_round_trips(program: &Program) {
    if let Ok(bytes) = program.to_bytes() {
        assert_eq!(Program::from_bytes(bytes.into()).as_ref(), Ok(program), "the file");
        let text = program.listing().to_string();
        let again = Assembly::parse(&text, &|name| Err(format!("there is no {name}")));
        let again =
            again.unwrap_or_else(|problems| panic!("{}", problems.render("listing", &text)));
        assert_eq!(again.program, *program, "the text");
        assert_eq!(again.program.listing().to_string(), text, "the text's text");
    }
}

/// Asserts that a program which the verifier accepts does not leave its memories, and gives the
/// same bits in any order of execution.
pub fn assert_runs_the_same_in_any_order(program: Program, seed: u64) {
    let too_large =
        program.header.dram_bytes > LIMIT || u64::from(program.machine.sram.bytes) > LIMIT;
    if too_large {
        return;
    }
    let program = Arc::new(program);
    let mut emulator = Emulator::new(Arc::clone(&program)).expect("accepted programs end");
    if emulator.timing().total() > LIMIT {
        return;
    }
    let _ = RunText(&emulator.report()).to_string();
    let mut run = |seed: Option<u64>| -> Result<Vec<u8>, Fault> {
        let mut memory = Memory::new(&program).expect("it is small");
        match seed {
            None => emulator.run(&mut memory)?,
            Some(seed) => emulator.run_in_random_order(&mut memory, seed)?,
        }
        Ok(memory.dram().to_vec())
    };
    match run(None) {
        Ok(expected) => {
            assert_eq!(run(Some(seed)).as_ref(), Ok(&expected), "other bits in another order")
        }
        // Invalid parameters, indices or lists: the verifier does not check data.
        Err(fault) => assert!(
            !matches!(
                fault.reason,
                Reason::OutOfBounds { .. }
                    | Reason::Misaligned(_)
                    | Reason::Overlap { .. }
                    | Reason::Constant(_)
            ),
            "the verifier accepted {fault}"
        ),
    }
}
