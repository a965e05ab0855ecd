//! A word is an instruction or none; an instruction has one word.

use vitcod_isa::effects::accesses;
use vitcod_isa::instr::{Instr, WORD_BYTES, Word};

/// The target.
pub fn check(bytes: &[u8]) {
    for word in bytes.as_chunks::<WORD_BYTES>().0 {
        let word = Word(*word);
        match Instr::decode(&word) {
            Err(error) => drop(error.to_string()),
            Ok(instr) => {
                assert_eq!(instr.encode(), Ok(word));
                let _ = (instr.to_string(), accesses(&instr.op));
            }
        }
    }
}
