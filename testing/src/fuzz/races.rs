//! A random program: the verifier agrees with an oracle that compares each pair of accesses, and
//! accepted programs give the same bits in any order of execution.

use super::sound::{assert_round_trips, assert_runs_the_same_in_any_order};
use vitcod_isa::check;
use vitcod_support::random::SplitMix64;

/// The target.
pub fn check(seed: u64) {
    let program = crate::program::program(&mut SplitMix64::new(seed));
    assert_round_trips(&program);
    let is_sound =
        crate::oracle::races(&program.code).is_empty() && crate::oracle::is_defined(&program);
    assert_eq!(check::check(&program).is_ok(), is_sound, "{}", program.listing());
    if is_sound {
        assert_runs_the_same_in_any_order(program, seed);
    }
}
