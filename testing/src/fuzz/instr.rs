//! A word is an instruction or none; an instruction has one word.

use vitcod_isa::effects::accesses;
use vitcod_isa::instr::{Instr, WORD_ALIGN, word_bytes};

/// The target.
pub fn check(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let behind = match Instr::decode(rest) {
            Err(error) => {
                drop(error.to_string());
                let length = word_bytes(rest).unwrap_or(WORD_ALIGN);
                rest.get(length..).unwrap_or_default()
            }
            Ok((instr, behind)) => {
                let word = instr.encode().expect("it was decoded");
                assert_eq!(*word, rest[..rest.len() - behind.len()]);
                let _ = (instr.to_string(), accesses(&instr.op));
                behind
            }
        };
        assert!(behind.len() < rest.len());
        rest = behind;
    }
}
