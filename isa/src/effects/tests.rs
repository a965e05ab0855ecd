//! What each instruction touches, worked out by hand for the instructions of `instr/golden.txt`.

use super::*;
use crate::instr::Instr;
use crate::instr::tests::golden;

/// The operation of the case with that mnemonic.
fn case(mnemonic: &str) -> Op {
    let mut cases = golden().into_iter().map(|(_, word)| Instr::decode(&word).unwrap().op);
    cases.find(|op| op.spec().mnemonic == mnemonic).unwrap()
}

/// `mode operand space:base bytes [x count@stride ...] /align` for each access.
fn describe(op: impl Into<Op>) -> Vec<String> {
    let accesses = accesses(&op.into()).into_iter();
    let describe = |Access { operand, space, mode, region, align }| {
        let (mode, space) = (format!("{mode:?}").to_lowercase(), format!("{space:?}").to_lowercase());
        let mut text = format!("{mode} {operand} {space}:{:#x} {}", region.base, region.bytes);
        for (count, stride) in [(region.inner, region.inner_stride), (region.outer, region.outer_stride)] {
            if count > 1 {
                text += &format!(" x {count}@{stride}");
            }
        }
        format!("{text} /{align}")
    };
    accesses.map(describe).collect()
}

#[test]
fn load() {
    // Three runs of 64 bytes, 64 apart, are one of 192 bytes.
    assert_eq!(
        describe(case("load")),
        ["write dst sram:0x12345 192 x 2@256 /1", "read src dram:0x123456789a 64 x 3@192 x 2@12608 /1"]
    );
}

#[test]
fn store() {
    assert_eq!(
        describe(case("store")),
        ["read src sram:0x400 4096 x 65535@1 /1", "write dst dram:0xff00000000 4096 x 65535@4294967295 /1"]
    );
}

#[test]
fn gather() {
    // Any row below the limit may be read: 197 rows of 48 bytes side by side.
    assert_eq!(
        describe(case("gather")),
        ["write dst sram:0x100 48 x 10@64 /1", "read src dram:0x20000 9456 /1", "read index sram:0x80 20 /2"]
    );
}

#[test]
fn matmul() {
    let Op::Matmul(matmul) = case("matmul") else { unreachable!() };
    let (a, b) = ("read a sram:0x1000 37824 /1", "read b sram:0x2000 192 x 64@200 /1");
    let params = "read params sram:0x3000 768 /4";
    let acc = "read acc sram:0x4000 50432 /4";
    assert_eq!(describe(matmul), [a, b, params, acc, "write dst sram:0x5000 25216 /2"]);

    let wide = "write dst sram:0x5000 256 x 197@128 /4";
    assert_eq!(describe(Matmul { out: Width::I32, ..matmul }), [a, b, acc, wide], "neither bias nor scale");
    let fresh = Matmul { out: Width::I32, accumulate: false, ..matmul };
    assert_eq!(describe(fresh), [a, b, params, wide], "the bias");
    let narrow = Matmul { out: Width::I8, accumulate: false, ..matmul };
    assert_eq!(describe(narrow), [a, b, params, "write dst sram:0x5000 64 x 197@128 /1"]);
}

#[test]
fn sddmm() {
    let Op::Sddmm(sddmm) = case("sddmm") else { unreachable!() };
    let (q, k, dst) = ("read q sram:0x10 64 /1", "read k sram:0x20 64 x 2@4 /1", "write dst sram:0xfffffe 4 /2");
    assert_eq!(describe(sddmm), [q, k, "write max sram:0x30 2 /2", dst]);
    assert_eq!(describe(Sddmm { fresh: false, ..sddmm }), [q, k, "update max sram:0x30 2 /2", dst]);
}

#[test]
fn softmax() {
    let Op::Softmax(softmax) = case("softmax") else { unreachable!() };
    let (src, max) = ("read src sram:0x10 130560 /2", "read max sram:0x20 512 /2");
    let dst = "write dst sram:0x50 255 x 256@260 /1";
    assert_eq!(describe(softmax), [src, max, "read other_max sram:0x30 512 /2", "update sum sram:0x40 1024 /4", dst]);
    let alone = Softmax { both: false, fresh: true, ..softmax };
    assert_eq!(describe(alone), [src, max, "write sum sram:0x40 1024 /4", dst]);
}

#[test]
fn spmm() {
    let Op::Spmm(spmm) = case("spmm") else { unreachable!() };
    let (p, v) = ("read p sram:0x10 8 x 7@10 /1", "read v sram:0x20 9 x 8@11 /1");
    let (sum, other) = ("read sum sram:0x30 28 /4", "read other_sum sram:0x40 28 /4");
    let dst = "write dst sram:0x60 9 x 7@13 /1";
    assert_eq!(describe(spmm), [p, v, sum, other, dst]);
    let acc = "read acc sram:0x50 36 x 7@12 /4";
    assert_eq!(describe(Spmm { both: false, accumulate: true, ..spmm }), [p, v, sum, acc, dst]);
    let wide = Spmm { out: Width::I32, ..spmm };
    assert_eq!(describe(wide), [p, v, "write dst sram:0x60 36 x 7@13 /4"], "nothing is divided yet");
}

#[test]
fn layernorm() {
    // A header of 16 bytes and 48 channels of 8.
    assert_eq!(
        describe(case("layernorm")),
        ["read src sram:0x10 6240 /2", "read params sram:0x20 400 /8", "write dst sram:0x30 3120 /1"]
    );
}

#[test]
fn add() {
    assert_eq!(
        describe(case("add")),
        ["read a sram:0x10 6240 /2", "read b sram:0x20 96 x 65@98 /2", "write dst sram:0x30 96 x 65@100 /2"]
    );
}

#[test]
fn lut() {
    assert_eq!(
        describe(case("lut")),
        ["read src sram:0x10 48 x 65@49 /1", "read table sram:0x20 256 /1", "write dst sram:0x30 48 x 65@50 /1"]
    );
}

#[test]
fn encode_and_decode() {
    // 6 x 12 weights and 6 channels of 12 bytes; 12 x 6 weights and 12 channels.
    assert_eq!(
        describe(case("encode")),
        ["read src sram:0x10 151296 /1", "read params sram:0x20 144 /4", "write dst sram:0x30 75648 /1"]
    );
    assert_eq!(
        describe(case("decode")),
        ["read src sram:0x10 75648 /1", "read params sram:0x20 216 /4", "write dst sram:0x30 151296 /1"]
    );
}

#[test]
fn synchronisation_touches_nothing() {
    for mnemonic in ["sync", "barrier", "halt"] {
        assert!(accesses(&case(mnemonic)).is_empty());
    }
}

#[test]
fn accesses_are_named_after_operands() {
    for (_, word) in golden() {
        let op = Instr::decode(&word).unwrap().op;
        for access in accesses(&op) {
            assert!(op.spec().fields.iter().any(|field| field.name == access.operand), "{op}");
        }
    }
}
