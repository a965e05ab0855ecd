//! A `.npy` file is an array of numbers or an error, and masks or an error; masks survive their
//! file.

use vitcod_compiler::masks::{Masks, Polarity};
use vitcod_runtime::npy;

/// The target.
pub fn check(bytes: &[u8]) {
    match npy::decode(bytes) {
        Err(error) => drop(error.to_string()),
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
}
