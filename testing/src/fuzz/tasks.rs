//! The text of tasks is a tiled or scheduled program or errors, and a program's text is that
//! program. Scheduling and emission preserve its results.

use super::sound::assert_runs_the_same_in_any_order;
use vitcod_compiler::codegen;
use vitcod_compiler::tiled::{Scheduled, Tiled};
use vitcod_emulator::{Memory, task_listing};
use vitcod_isa::asm::{Kind, Sections, TaskListing};

/// The most bytes of a memory and of constants, and the most tasks, for which programs are
/// executed.
const LIMIT: u64 = 1 << 16;

/// The contents of DRAM at the end, if every task can be executed.
fn run(tasks: &TaskListing) -> Option<Vec<u8>> {
    let mut memory = Memory::new(&tasks.program).expect("it is small");
    task_listing::run(tasks, &mut memory).ok()?;
    Some(memory.dram().to_vec())
}

fn assert_sound(scheduled: &Scheduled, seed: u64) {
    let text = scheduled.text(Sections::Inline);
    let again = Scheduled::parse(&text, &|name| Err(format!("there is no {name}")));
    assert_eq!(
        again.unwrap_or_else(|error| panic!("{}", error.render("printed", &text))),
        *scheduled
    );
    let program = codegen::emit(scheduled).expect("a verified schedule is a sound program");
    assert_runs_the_same_in_any_order(program, seed);
}

fn is_small(Tiled { header, machine, image, tasks, .. }: &Tiled) -> bool {
    let bytes = [
        header.dram_bytes,
        machine.sram.bytes.into(),
        image.len() as u64,
        tasks.tasks.len() as u64,
    ];
    bytes.into_iter().all(|bytes| bytes <= LIMIT)
}

/// The target.
pub fn check(text: &str) {
    let none = |name: &str| Err(format!("there is no {name}"));
    let seed = text.len() as u64;
    match Kind::of(text) {
        Some(Kind::Tiled) => match Tiled::parse(text, &none) {
            Err(problems) => drop(problems.render("fuzzed", text)),
            Ok(tiled) if is_small(&tiled) => {
                let printed = tiled.text(Sections::Inline);
                let again = Tiled::parse(&printed, &none);
                assert_eq!(
                    again.unwrap_or_else(|error| panic!("{}", error.render("printed", &printed))),
                    tiled
                );
                let expected = run(&tiled.task_listing());
                if let Ok(scheduled) = codegen::schedule(&tiled) {
                    scheduled.verify().expect("what is scheduled is verified");
                    assert_eq!(run(&scheduled.task_listing()), expected);
                    assert_sound(&scheduled, seed);
                }
            }
            Ok(_) => {}
        },
        Some(Kind::Scheduled) => match Scheduled::parse(text, &none) {
            Err(problems) => drop(problems.render("fuzzed", text)),
            Ok(scheduled) if is_small(&scheduled.tiled) => assert_sound(&scheduled, seed),
            Ok(_) => {}
        },
        _ => {}
    }
}
