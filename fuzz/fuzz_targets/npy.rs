//! A `.npy` file is an array of numbers or an error, and masks or an error; masks survive their
//! file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vitcod_compiler::masks::{Masks, Polarity};

/// The reader of the command line, which is no library.
#[allow(dead_code, reason = "a part of it is fuzzed")]
#[path = "../../src/npy.rs"]
mod npy;

/// What it reads files by.
mod files {
    use std::path::Path;

    pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(path)?)
    }
}

fuzz_target!(|bytes: &[u8]| {
    match npy::decode(bytes) {
        Err(error) => drop(format!("{error:#}")),
        Ok(array) => assert!(array.len() <= bytes.len()),
    }
    for polarity in [None, Some(Polarity::KeptIsTrue), Some(Polarity::PrunedIsTrue)] {
        match Masks::from_npy(bytes, polarity) {
            Err(error) => drop(error.to_string()),
            Ok(masks) => {
                let again = masks.to_npy(Polarity::PrunedIsTrue).expect("one array was read");
                assert_eq!(
                    Masks::from_npy(&again, Some(Polarity::PrunedIsTrue)).expect("it was written"),
                    masks
                );
            }
        }
    }
});
