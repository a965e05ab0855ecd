//! Files of bytes but ONNX: masks, programs, the graphs that they hold.

use bytes::Bytes;
use vitcod_compiler::ir::{SAVED_VERSION, SavedGraph};
use vitcod_compiler::masks::Masks;
use vitcod_isa::check::check;
use vitcod_isa::instr::Instr;
use vitcod_isa::instr::table::Halt;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Header, Layer, Program, SavedIr};

use super::{Case, FILE};

fn masks(bytes: Vec<u8>) -> Result<usize, String> {
    Masks::from_npy(&bytes, None)
        .map(|masks| masks.layers().len())
        .map_err(|error| error.to_string())
}

fn program(bytes: Vec<u8>) -> Result<usize, String> {
    let program = Program::from_bytes(bytes.into()).map_err(|problems| problems.to_string())?;
    check(&program).map_err(|problems| problems.to_string())?;
    Ok(program.code.len())
}

fn saved(bytes: Vec<u8>) -> Result<usize, String> {
    let ir = SavedIr { graph: bytes.into(), constants: Bytes::from_static(&[0; 64]) };
    let graph =
        SavedGraph::load(&ir, &Bytes::from_static(&[0; 64])).map_err(|error| error.to_string())?;
    Ok(graph.order.len())
}

/// A `.npy` file of bool.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x02\x00", &(header.len() as u32).to_le_bytes()[..], header.as_bytes(), data]
        .concat()
}

fn bools(shape: &str, data: &[u8]) -> Vec<u8> {
    npy(&format!("{{'descr': '|b1', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

/// A program of nothing but `halt`, and what is made of it.
fn halts(halts: usize, change: impl FnOnce(&mut Program)) -> Vec<u8> {
    let mut program = Program {
        header: Header {
            name: "halt".to_owned(),
            dram_bytes: 64,
            inputs: Vec::new(),
            outputs: Vec::new(),
            layers: vec![layer()],
            decisions: Vec::new(),
        },
        machine: Machine::preset("vitcod").unwrap(),
        code: vec![Instr::new(Halt {}); halts],
        layer_of: vec![0; halts],
        buffers: Vec::new(),
        image: Bytes::from_static(&[0; 64]),
        ir: None,
        host: None,
    };
    change(&mut program);
    program.to_bytes().unwrap()
}

fn layer() -> Layer {
    Layer {
        name: String::new(),
        operation: String::new(),
        nodes: Vec::new(),
        needed_macs: u64::MAX,
        compulsory_bytes: u64::MAX,
    }
}

/// A program whose header has other digits in one place.
fn with_dram_bytes(digits: &str) -> Vec<u8> {
    let mut bytes =
        halts(1, |program| program.header.dram_bytes = 10u64.pow(digits.len() as u32 - 1));
    let old = format!("\"dram_bytes\":{}", 10u64.pow(digits.len() as u32 - 1));
    let at = bytes.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
    bytes[at + old.len() - digits.len()..][..digits.len()].copy_from_slice(digits.as_bytes());
    bytes
}

/// The JSON of a graph, between what comes before and after its body.
fn json(nodes: &str, inputs: &str, body: &str) -> Vec<u8> {
    format!("{{\"version\":{SAVED_VERSION},\"name\":\"a\",\"nodes\":[{nodes}],\"inputs\":[{inputs}],\"body\":[{body}],\"outputs\":[]}}")
        .into_bytes()
}

/// Copies of an item of a list, as many as leave room for the rest.
fn list(item: &str) -> String {
    let count = (FILE - 200) / (item.len() + 1);
    vec![item; count].join(",")
}

pub(super) fn cases() -> Vec<Case> {
    let i8s = |shape: &str| {
        format!("{{\"name\":\"x\",\"ty\":{{\"elem\":\"i8\",\"shape\":{shape},\"step\":1.0}}}}")
    };
    let half = FILE / 2 - 100;
    let masks = [
        ("mask: brackets", npy(&"[".repeat(FILE), &[]), "expected at most 10000"),
        (
            "mask: a shape without end",
            bools(&format!("({})", "1,".repeat(half)), &[]),
            "expected at most 10000",
        ),
        (
            "mask: an element type without end",
            npy(
                &format!(
                    "{{'descr': '{}', 'fortran_order': False, 'shape': (1,), }}",
                    "f".repeat(FILE - 200)
                ),
                &[],
            ),
            "expected at most 10000",
        ),
        (
            "mask: extents that overflow",
            bools("(1, 4294967296, 4294967296, 4294967296)", &[]),
            "expected [layers, heads",
        ),
        (
            "mask: extents beyond 64 bits",
            bools("(1, 1, 99999999999999999999, 1)", &[]),
            "the header is not a dictionary",
        ),
        ("mask: a negative extent", bools("(1, 1, -1, 1)", &[]), "the header is not a dictionary"),
        (
            "mask: a million heads",
            bools("(1, 1000000, 1, 1)", &[1; 1_000_000]),
            "8192 heads in all layers",
        ),
        (
            "mask: a million layers",
            bools("(1000000, 1, 1, 1)", &[1; 1_000_000]),
            "8192 heads in all layers",
        ),
        ("mask: less than it says", bools("(8, 8, 128, 128)", &[1; 1 << 19]), "has 524288 bytes"),
        (
            "mask: a header of 4 GiB",
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(),
            "expected at most 10000",
        ),
        (
            "mask: a header that is not all there",
            b"\x93NUMPY\x02\x00\x10\x27\x00\x00{".to_vec(),
            "it ends at byte 10012, the file at byte 13",
        ),
    ];
    let programs = [
        ("program: more halts than one", halts(FILE / 8 - 256, |_| {}), "halt before the end"),
        ("program: cut", halts(FILE / 8 - 256, |_| {})[..FILE / 2].to_vec(), "section header"),
        (
            "program: DRAM without end",
            with_dram_bytes("9223372036854775808"),
            "bytes of DRAM; addresses reach",
        ),
        ("program: DRAM beyond 64 bits", with_dram_bytes("99999999999999999999"), "expected u64"),
    ];
    let graphs = [
        ("saved: arrays in arrays", vec![b'['; FILE], "malformed"),
        ("saved: objects in objects", "{\"body\":".repeat(FILE / 8).into_bytes(), "malformed"),
        (
            "saved: a number without end",
            format!("{{\"name\":{}", "9".repeat(FILE - 10)).into_bytes(),
            "malformed",
        ),
        ("saved: an input without end", json("", &i8s("[1099511627776]"), ""), "take more than"),
        (
            "saved: an input that overflows",
            json("", &i8s("[9223372036854775808,2]"), ""),
            "no elements or too many",
        ),
        (
            "saved: an input of many dimensions",
            json("", &i8s(&format!("[{}]", list("2"))), ""),
            "no elements or too many",
        ),
        (
            "saved: an operation on itself",
            json(
                "",
                "",
                "{\"op\":{\"kind\":{\"q_softmax\":{\"shift\":0}},\"operands\":[0],\"results\":[{\"elem\":\"i8\",\"shape\":[1]}],\"nodes\":[]}}",
            ),
            "v0 is used before it is defined",
        ),
        (
            "saved: a constant beyond the image",
            json(
                "",
                "",
                "{\"const\":{\"name\":\"c\",\"ty\":{\"elem\":\"i8\",\"shape\":[1]},\"offset\":18446744073709551615}}",
            ),
            "exceeds the image",
        ),
    ];
    let refused = |name, bytes, message| Case::refused(name, bytes, message);
    let masks = masks.map(|(name, bytes, message)| refused(name, bytes, message).by(self::masks));
    let programs = programs.map(|(name, bytes, message)| refused(name, bytes, message).by(program));
    let graphs = graphs.map(|(name, bytes, message)| refused(name, bytes, message).by(saved));
    let accepted = [
        ("saved: many nodes", json(&list("\"\""), "", "")),
        ("saved: many inputs", json("", &list(&i8s("[1]")), "")),
    ];
    let accepted = accepted.map(|(name, bytes)| Case::accepted(name, bytes).by(saved));
    masks.into_iter().chain(programs).chain(graphs).chain(accepted).collect()
}
