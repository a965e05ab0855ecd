//! What each instruction touches, worked out by hand for the instructions of `instr/golden.txt`.

use super::*;
use crate::instr::Instr;
use crate::instr::tests::golden;

/// The operation of the case with that mnemonic.
fn case(mnemonic: &str) -> Op {
    let mut cases = golden().into_iter().map(|(_, word)| Instr::decode(&word).unwrap().0.op);
    cases.find(|op| op.spec().mnemonic == mnemonic).unwrap()
}

/// `mode operand space:base bytes [x count@stride ...] /align` for each access.
fn describe(op: impl Into<Op>) -> Vec<String> {
    let accesses = accesses(&op.into()).into_iter();
    let describe = |Access { operand, space, mode, region, align }| {
        let (mode, space) =
            (format!("{mode:?}").to_lowercase(), format!("{space:?}").to_lowercase());
        let mut text = format!("{mode} {operand} {space}:{:#x} {}", region.base, region.bytes);
        for (count, stride) in
            [(region.inner, region.inner_stride), (region.outer, region.outer_stride)]
        {
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
        [
            "write dst sram:0x12345 192 x 2@256 /1",
            "read src dram:0x123456789a 64 x 3@192 x 2@12608 /1"
        ]
    );
}

#[test]
fn store() {
    assert_eq!(
        describe(case("store")),
        [
            "read src sram:0x400 4096 x 65535@1 /1",
            "write dst dram:0xff00000000 4096 x 65535@4294967295 /1"
        ]
    );
}

#[test]
fn gather() {
    // Any row below the limit may be read: 197 rows of 48 bytes side by side.
    assert_eq!(
        describe(case("gather")),
        [
            "write dst sram:0x100 48 x 10@64 /1",
            "read src dram:0x20000 9456 /1",
            "read index sram:0x80 20 /2"
        ]
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
    assert_eq!(
        describe(Matmul { out: Width::I32, ..matmul }),
        [a, b, acc, wide],
        "neither bias nor scale"
    );
    let fresh = Matmul { out: Width::I32, accumulate: false, ..matmul };
    assert_eq!(describe(fresh), [a, b, params, wide], "the bias");
    let narrow = Matmul { out: Width::I8, accumulate: false, ..matmul };
    assert_eq!(describe(narrow), [a, b, params, "write dst sram:0x5000 64 x 197@128 /1"]);
    let windows = Matmul {
        more_runs: 2,
        k: 9,
        run_stride: 678,
        a_stride: 6,
        b_stride: 27,
        m: 2,
        n: 4,
        ..narrow
    };
    assert_eq!(
        describe(windows)[..2],
        ["read a sram:0x1000 9 x 3@678 x 2@6 /1", "read b sram:0x2000 108 /1"]
    );
}

#[test]
fn sddmm() {
    let Op::Sddmm(sddmm) = case("sddmm") else { unreachable!() };
    let (q, k, dst) =
        ("read q sram:0x10 64 /1", "read k sram:0x20 64 x 2@4 /1", "write dst sram:0xfffffe 4 /2");
    // Any key below the limit may be read; a byte holds the two bits of the row.
    let (any, index, mask) = (
        "read k sram:0x20 64 x 57072@4 /1",
        "read index sram:0x123456 4 /2",
        "read mask sram:0x789abc 1 /1",
    );
    assert_eq!(describe(sddmm), [q, any, "write max sram:0x30 2 /2", dst, index, mask]);
    let biased = Sddmm { biased: true, bias: crate::instr::Sram(0x40), m: 3, n: 17, ..sddmm };
    assert_eq!(describe(biased)[6], "read bias sram:0x40 102 /2");
    let plain = Sddmm { fresh: false, indexed: false, masked: false, ..sddmm };
    assert_eq!(describe(plain), [q, k, "update max sram:0x30 2 /2", dst]);
    let tall = Sddmm { m: 3, n: 17, indexed: false, ..sddmm };
    assert_eq!(describe(tall)[4], "read mask sram:0x789abc 9 /1", "three bytes a row");
}

#[test]
fn sddmm_list() {
    // 500 of 3 * 197 queries.
    let Op::SddmmList(list) = case("sddmm_list") else { unreachable!() };
    let (rows, tokens) = ("read rows sram:0x111214 3000 /2", "read tokens sram:0x212223 65539 /1");
    let (q, k) = ("read q sram:0x313233 37824 /1", "read k sram:0x414243 192 x 200@194 /1");
    let (max, dst) = ("write max sram:0x515254 1182 /2", "write dst sram:0x616264 149130 /2");
    assert_eq!(describe(list), [rows, tokens, q, k, max, dst]);
}

#[test]
fn softmax_list() {
    let Op::SoftmaxList(softmax) = case("softmax_list") else { unreachable!() };
    let (rows, src) = ("read rows sram:0x10 600 /2", "read src sram:0x20 132102 /2");
    let (max, other) = ("read max sram:0x30 1182 /2", "read other_max sram:0x40 1182 /2");
    let (sum, dst) = ("write sum sram:0x50 400 /4", "write dst sram:0x60 66051 /1");
    assert_eq!(describe(softmax), [rows, src, max, other, sum, dst]);
    assert_eq!(describe(SoftmaxList { both: false, ..softmax }), [rows, src, max, sum, dst]);
}

#[test]
fn spmm_list() {
    let Op::SpmmList(spmm) = case("spmm_list") else { unreachable!() };
    let list = [
        "read rows sram:0x111214 3000 /2",
        "read tokens sram:0x212223 65539 /1",
        "read p sram:0x313233 74565 /1",
        "read sum sram:0x414244 2000 /4",
    ];
    // 3 heads of 197 queries and 64 features.
    let block = ["read block_sum sram:0x515254 2364 /4", "read acc sram:0x616264 768 x 197@776 /4"];
    let (v, dst) =
        ("read v sram:0x717273 192 x 200@194 /1", "write dst sram:0x818283 192 x 197@515 /1");
    assert_eq!(describe(spmm), [&list[..], &block, &[v, dst]].concat());
    let alone = SpmmList { accumulate: false, ..spmm };
    assert_eq!(describe(alone), [&list[..], &[v, dst]].concat());
}

#[test]
fn softmax() {
    let Op::Softmax(softmax) = case("softmax") else { unreachable!() };
    let (src, max) = ("read src sram:0x10 130560 /2", "read max sram:0x20 512 /2");
    let dst = "write dst sram:0x50 255 x 256@260 /1";
    assert_eq!(
        describe(softmax),
        [src, max, "read other_max sram:0x30 512 /2", "update sum sram:0x40 1024 /4", dst]
    );
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
    assert_eq!(
        describe(wide),
        [p, v, "write dst sram:0x60 36 x 7@13 /4"],
        "nothing is divided yet"
    );
}

#[test]
fn layernorm() {
    // A header of 16 bytes and 48 channels of 8.
    assert_eq!(
        describe(case("layernorm")),
        [
            "read src sram:0x10 6240 /2",
            "read params sram:0x20 400 /8",
            "write dst sram:0x30 96 x 65@98 /2"
        ]
    );
}

#[test]
fn add() {
    assert_eq!(
        describe(case("add")),
        [
            "read a sram:0x10 6240 /2",
            "read b sram:0x20 96 x 65@98 /2",
            "write dst sram:0x30 96 x 65@100 /2"
        ]
    );
}

#[test]
fn interpolate() {
    assert_eq!(
        describe(case("interpolate")),
        [
            "read src sram:0x10 96 x 65@98 /2",
            "read table sram:0x20 514 /2",
            "write dst sram:0x30 48 x 65@50 /1"
        ]
    );
}

#[test]
fn lut() {
    assert_eq!(
        describe(case("lut")),
        [
            "read src sram:0x10 48 x 65@49 /1",
            "read table sram:0x20 256 /1",
            "write dst sram:0x30 48 x 65@50 /1"
        ]
    );
}

#[test]
fn encode_and_decode() {
    // 6 x 12 weights and 6 channels of 12 bytes; 12 x 6 weights and 12 channels.
    assert_eq!(
        describe(case("encode")),
        [
            "read src sram:0x10 151296 /1",
            "read params sram:0x20 144 /4",
            "write dst sram:0x30 75648 /1"
        ]
    );
    assert_eq!(
        describe(case("decode")),
        [
            "read src sram:0x10 75648 /1",
            "read params sram:0x20 216 /4",
            "write dst sram:0x30 151296 /1"
        ]
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
        let op = Instr::decode(&word).unwrap().0.op;
        for access in accesses(&op) {
            assert!(op.spec().fields.iter().any(|field| field.name == access.operand), "{op}");
        }
    }
}
