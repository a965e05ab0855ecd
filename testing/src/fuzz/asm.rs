//! Assembly is a program or errors, and a program's text is that program.

use super::sound::{assert_round_trips, assert_runs_the_same_in_any_order};
use vitcod_isa::asm::Assembly;

/// The target.
pub fn check(text: &str) {
    let parsed = Assembly::parse(text, &|name| Err(format!("there is no {name}")));
    match parsed.and_then(|assembly| {
        assert_round_trips(&assembly.program);
        assembly.check().map(|()| assembly)
    }) {
        Err(problems) => drop(problems.render("fuzzed", text)),
        Ok(assembly) => assert_runs_the_same_in_any_order(assembly.program, text.len() as u64),
    }
}
