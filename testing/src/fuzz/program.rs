//! A file is a program or an error; the verifier judges any program; what it accepts runs.

use super::sound::{assert_round_trips, assert_runs_the_same_in_any_order};
use bytes::Bytes;
use vitcod_compiler::host::Host;
use vitcod_isa::check;
use vitcod_isa::program::Program;

/// The target.
pub fn check(bytes: &[u8]) {
    match Program::from_bytes(Bytes::copy_from_slice(bytes)) {
        Err(error) => drop(error.to_string()),
        Ok(program) => {
            assert_round_trips(&program);
            if let Some(saved) = &program.host {
                Host::load(saved).map_or_else(|error| drop(error.to_string()), drop);
            }
            match check::check(&program) {
                Err(error) => drop(error.to_string()),
                Ok(()) => assert_runs_the_same_in_any_order(program, bytes.len() as u64),
            }
        }
    }
}
