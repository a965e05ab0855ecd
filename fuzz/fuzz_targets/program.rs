//! A file is a program or an error; the verifier judges any program; what it accepts runs.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vitcod_fuzz::{assert_round_trips, assert_runs_the_same_in_any_order};
use vitcod_isa::check::check;
use vitcod_isa::program::Program;

fuzz_target!(|bytes: &[u8]| {
    match Program::from_bytes(Bytes::copy_from_slice(bytes)) {
        Err(error) => drop(error.to_string()),
        Ok(program) => {
            assert_round_trips(&program);
            match check(&program) {
                Err(error) => drop(error.to_string()),
                Ok(()) => assert_runs_the_same_in_any_order(program, bytes.len() as u64),
            }
        }
    }
});
