//! A random program: the verifier says what an oracle says that compares each pair of accesses, and
//! what it accepts gives the same bits in any order of execution.

#![no_main]

#[allow(dead_code, reason = "a part of it is needed")]
#[path = "../../tests/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "a part of it is needed")]
#[path = "../../tests/common/oracle.rs"]
mod oracle;
#[path = "../../tests/common/random_program.rs"]
mod random_program;

use common::Random;
use libfuzzer_sys::fuzz_target;
use vitcod_fuzz::{assert_round_trips, assert_runs_the_same_in_any_order};
use vitcod_isa::check::check;

fuzz_target!(|seed: u64| {
    let program = random_program::program(&mut Random(seed));
    assert_round_trips(&program);
    let is_sound = oracle::races(&program.code).is_empty() && oracle::is_defined(&program);
    assert_eq!(check(&program).is_ok(), is_sound, "{}", program.listing());
    if is_sound {
        assert_runs_the_same_in_any_order(program, seed);
    }
});
