//! The container against truncated, mutated and wrong files.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::instr::table::{Add, Halt};
use crate::instr::{Shift, Sram, Unit, UnitSet};

fn program() -> Program {
    let add = Add {
        narrow: false,
        a: Sram(0),
        b: Sram(64),
        dst: Sram(128),
        m: 2,
        n: 16,
        a_scale: 1,
        b_scale: 1,
        shift: Shift(1),
        a_stride: 32,
        b_stride: 32,
        dst_stride: 32,
    };
    let binding = |name: &str, address| Binding {
        name: name.to_owned(),
        shape: vec![2, 16],
        layout: Layout::RowMajor,
        element: Element::I16,
        // No decimal of 15 digits is this number.
        step: 0.1 + 0.2,
        factors: vec![],
        offsets: vec![],
        expected_sqnr_db: None,
        address,
    };
    Program {
        header: Header {
            name: "tiny".to_owned(),
            dram_bytes: 512,
            inputs: vec![binding("x", 256)],
            outputs: vec![binding("y", 320)],
            layers: vec![Layer {
                name: "/add".to_owned(),
                operation: "add".to_owned(),
                nodes: vec!["/add".to_owned(), "\"quoted\"\n".to_owned()],
                needed_macs: 0,
                compulsory_bytes: 128,
            }],
            decisions: vec![Decision {
                layer: "/add".to_owned(),
                subject: "place of the sum".to_owned(),
                chosen: "scratchpad".to_owned(),
                reason: "it fits".to_owned(),
                alternatives: vec![Alternative {
                    name: "DRAM".to_owned(),
                    cycles: 3,
                    dram_bytes: 128,
                }],
            }],
        },
        machine: Machine::preset("vitcod").unwrap(),
        code: vec![
            Instr { signal: UnitSet::from_iter([Unit::Store]), ..Instr::new(add) },
            Instr::new(Halt {}),
        ],
        layer_of: vec![0, 0],
        buffers: vec![Buffer { address: 64, bytes: 32, first: 0, last: 1 }],
        image: Bytes::from_iter(0..=255),
        ir: Some(SavedIr {
            graph: Bytes::from_static(b"{}"),
            constants: Bytes::from_static(b"only the IR"),
        }),
        host: Some(SavedIr {
            graph: Bytes::from_static(b"[]"),
            constants: Bytes::from_static(b"only the host"),
        }),
    }
}

fn written() -> Vec<u8> {
    program().to_bytes().unwrap()
}

/// The only place of `what` in the file.
fn place(bytes: &[u8], what: &[u8]) -> usize {
    let mut at =
        bytes.windows(what.len()).enumerate().filter(|(_, window)| *window == what).map(|(i, _)| i);
    let place = at.next().unwrap();
    assert_eq!(at.next(), None);
    place
}

fn error(bytes: Vec<u8>) -> String {
    Program::from_bytes(bytes.into()).unwrap_err().to_string()
}

#[test]
fn a_program_survives_its_bytes() {
    let bytes = written();
    assert_eq!(bytes, written());
    let mut stripped = program();
    (stripped.ir, stripped.buffers) = (None, Vec::new());
    let mut shared = program();
    shared.ir.as_mut().unwrap().constants = Bytes::new();
    for program in [program(), stripped, shared] {
        let bytes = program.to_bytes().unwrap();
        assert_eq!(Program::from_bytes(bytes.into()).unwrap(), program);
    }
}

#[test]
fn an_empty_program_has_a_file_form() {
    let mut empty = program();
    (empty.code, empty.layer_of, empty.image, empty.ir) = (vec![], vec![], Bytes::new(), None);
    assert_eq!(Program::from_bytes(empty.to_bytes().unwrap().into()).unwrap(), empty);
}

#[test]
fn a_program_without_decisions_does_not_mention_them() {
    let mut program = program();
    program.header.decisions.clear();
    let bytes = program.to_bytes().unwrap();
    assert!(!bytes.windows(9).any(|window| window == b"decisions"));
    assert_eq!(Program::from_bytes(bytes.into()).unwrap(), program);
}

#[test]
fn the_image_is_not_copied() {
    let bytes = Bytes::from(written());
    let program = Program::from_bytes(bytes.clone()).unwrap();
    assert!(bytes.as_ptr_range().contains(&program.image.as_ptr()));
    assert_eq!((program.image.as_ptr() as usize - bytes.as_ptr() as usize) % 64, 0);
}

#[test]
fn bytes_need_not_be_aligned() {
    let mut shifted = vec![0];
    shifted.extend(written());
    assert_eq!(Program::from_bytes(Bytes::from(shifted).slice(1..)).unwrap(), program());
}

#[test]
fn a_file_truncated_at_any_length_is_an_error() {
    let bytes = Bytes::from(written());
    for length in 0..bytes.len() {
        assert!(
            Program::from_bytes(bytes.slice(..length)).is_err(),
            "{length} of {} bytes",
            bytes.len()
        );
    }
}

#[test]
fn problems_are_located_and_reported_together() {
    let mut bytes = written();
    let text = place(&bytes, &program().code[0].encode().unwrap());
    // Padding of the first word, and units that do not exist in the second.
    let first = program().code[0].encode().unwrap().len();
    bytes[text + first - 1] = 1;
    bytes[text + first + 2] = 0x0f;
    let digest = place(&bytes, program().machine.digest().as_bytes());
    bytes[digest - 1] = b'x';
    let error = error(bytes);
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].starts_with(".vitcod.header+0x1d: "), "{error}");
    assert_eq!(lines[1], ".vitcod.text+0x0: instruction 0: add: bit 248 of the padding is set");
    let units = "field wait holds 0xf00; expected set of units";
    assert_eq!(lines[2], format!(".vitcod.text+0x20: instruction 1: halt: {units}"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn nothing_is_read_behind_a_word_without_a_length() {
    let mut bytes = written();
    let text = place(&bytes, &program().code[0].encode().unwrap());
    bytes[text] = 0xff;
    assert_eq!(
        error(bytes),
        ".vitcod.text+0x0: instruction 0: opcode 0xff is not in the instruction table"
    );
}

#[test]
fn a_wrong_digest_version_or_machine_number_is_an_error() {
    let bytes = written();

    let mut wrong = bytes.clone();
    let digest = place(&bytes, program().machine.digest().as_bytes());
    wrong[digest] ^= 1;
    assert!(error(wrong).starts_with(".vitcod.header+0x0: the digest is not that of the machine"));

    let mut wrong = bytes.clone();
    wrong[place(&bytes, b"{\"format\":8") + 10] = b'1';
    let message = "this program was made by another version of vitcod: compile the model again";
    assert_eq!(
        error(wrong),
        format!(".vitcod.header+0x0: {message} (its format is 1, this version reads 8)")
    );

    let mut wrong = bytes.clone();
    wrong[18..20].copy_from_slice(&62u16.to_le_bytes());
    assert_eq!(error(wrong), "ELF+0x0: an ELF file for machine 0x003e; a program has 0x5674");

    let mut wrong = bytes;
    wrong[5] = 2;
    assert_eq!(error(wrong), "ELF+0x0: not a little-endian ELF file");

    assert!(error(b"\x08\x09\x12\x00onnx".to_vec()).starts_with("ELF+0x0: not an ELF64 file"));
}

#[test]
fn missing_unknown_and_repeated_sections_are_named() {
    let bytes = written();
    let name = place(&bytes, b".vitcod.layer\0");

    let mut unknown = bytes.clone();
    unknown[name..name + 13].copy_from_slice(b".vitcod.lairs");
    assert_eq!(
        error(unknown),
        "ELF+0x0: section \".vitcod.lairs\" is unknown\nELF+0x0: section .vitcod.layer is missing"
    );

    let mut twice = bytes.clone();
    twice[name..name + 13].copy_from_slice(b".vitcod.image");
    assert_eq!(
        error(twice),
        "ELF+0x0: section .vitcod.image is there twice\nELF+0x0: section .vitcod.layer is missing"
    );

    let mut unowned = bytes.clone();
    let ir = place(&bytes, b".vitcod.ir\0");
    unowned[ir] = b'x';
    assert_eq!(error(unowned), "ELF+0x0: section .vitcod.ir.constants is there without .vitcod.ir");

    let mut foreign = bytes;
    foreign[name] = b'x';
    assert_eq!(error(foreign), "ELF+0x0: section .vitcod.layer is missing");
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let mut bad = program();
    bad.header.outputs[0].step = f64::NAN;
    assert!(matches!(bad.to_bytes(), Err(WriteError::Step { .. })));

    let mut bad = program();
    bad.layer_of.pop();
    assert_eq!(bad.to_bytes(), Err(WriteError::Layers { instructions: 2, layers: 1 }));

    let mut bad = program();
    bad.machine.lines.count = 0;
    assert!(matches!(bad.to_bytes(), Err(WriteError::Machine(_))));

    let mut bad = program();
    let crate::instr::Op::Add(add) = &mut bad.code[0].op else { unreachable!() };
    add.dst = Sram(1 << 24);
    assert_eq!(
        bad.to_bytes().unwrap_err().to_string(),
        "instruction 0: add: dst = sram:0x1000000 does not fit 24 bits"
    );
}

proptest! {
    /// Whatever is read from damaged files is a program: it has a file form that reads back the
    /// same.
    #[test]
    fn mutations_neither_panic_nor_yield_half_a_program(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = written();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(program) = Program::from_bytes(bytes.into()) {
            let again = Program::from_bytes(program.to_bytes().unwrap().into());
            prop_assert_eq!(again.unwrap(), program);
        }
    }

    #[test]
    fn noise_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Program::from_bytes(bytes.into()).is_err());
    }
}
