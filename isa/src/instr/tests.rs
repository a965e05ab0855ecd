//! The codec: words worked out by hand, and properties for every row of the table.

use proptest::prelude::*;

use super::*;

/// The cases of `golden.txt`: assembly and word.
pub(crate) fn golden() -> Vec<(String, Word)> {
    let mut cases: Vec<(String, Word)> = Vec::new();
    for line in include_str!("golden.txt").lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let Some(row) = line.strip_prefix("  ") else {
            if !line.is_empty() {
                cases.push((line.to_owned(), Word([0; WORD_BYTES])));
            }
            continue;
        };
        let (bit, value) = row.split_once(':').unwrap();
        let at = bit.trim().parse::<usize>().unwrap() / 8;
        let value = u32::from_str_radix(value.trim(), 16).unwrap();
        cases.last_mut().unwrap().1.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    cases
}

#[test]
fn words_are_those_worked_out_by_hand() {
    for (text, word) in golden() {
        let instr = Instr::decode(&word).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(instr.to_string(), text);
        assert_eq!(instr.encode().unwrap(), word, "{text}");
    }
}

#[test]
fn every_instruction_has_a_word_worked_out_by_hand() {
    let cases = golden();
    for spec in TABLE {
        assert!(cases.iter().any(|(_, word)| word.0[0] == spec.opcode), "{}", spec.mnemonic);
    }
}

#[test]
fn every_reserved_bit_is_rejected() {
    for (text, word) in golden() {
        let spec = TABLE.iter().find(|spec| spec.opcode == word.0[0]).unwrap();
        let used = |bit: u32| {
            bit < OPERAND_BIT
                || spec
                    .fields
                    .iter()
                    .any(|field| (field.bit..field.bit + field.width).contains(&bit))
        };
        for bit in (0..WORD_BITS).filter(|bit| !used(*bit)) {
            let mut word = word;
            word.set(bit, 1);
            assert_eq!(
                Instr::decode(&word),
                Err(DecodeError::Reserved { mnemonic: spec.mnemonic, bit }),
                "{text}"
            );
        }
        // Units that do not exist.
        for bit in (17..20).chain(29..32) {
            let mut word = word;
            word.set(bit, 1);
            assert!(matches!(Instr::decode(&word), Err(DecodeError::Field { .. })), "{text}");
        }
    }
}

#[test]
fn unknown_opcodes_are_rejected() {
    for opcode in 0..=u8::MAX {
        let mut word = Word([0; WORD_BYTES]);
        word.0[0] = opcode;
        let known = TABLE.iter().any(|spec| spec.opcode == opcode);
        assert_eq!(Instr::decode(&word) == Err(DecodeError::Opcode(opcode)), !known);
    }
}

#[test]
fn a_value_that_does_not_fit_is_not_encoded() {
    let sync = Instr {
        wait: UnitSet::EMPTY,
        signal: UnitSet::EMPTY,
        op: table::Sync { unit: Unit::Load }.into(),
    };
    assert!(sync.encode().is_ok());
    for lines in [
        LineSet { first: 0, count: 0 },
        LineSet { first: 0, count: 257 },
        LineSet { first: 1, count: 256 },
        LineSet { first: 256, count: 1 },
        LineSet { first: 256, count: 0 },
    ] {
        let encode = table::Encode {
            lines,
            src: Sram(0),
            params: Sram(0),
            dst: Sram(0),
            m: 1,
            d: 1,
            heads_in: 1,
            heads_out: 1,
            src_stride: 0,
            dst_stride: 0,
        };
        let error = Instr::new(encode).encode().unwrap_err();
        assert_eq!(
            error,
            EncodeError { mnemonic: "encode", field: "lines", value: lines.to_string(), width: 17 }
        );
    }
}

#[test]
fn multipliers_may_be_negative() {
    let add = golden().into_iter().find_map(|(_, word)| match Instr::decode(&word).unwrap().op {
        Op::Add(add) => Some(add),
        _ => None,
    });
    let instr = Instr::new(table::Add { a_scale: i32::MIN, b_scale: -1, ..add.unwrap() });
    assert_eq!(Instr::decode(&instr.encode().unwrap()).unwrap(), instr);
    assert!(instr.to_string().contains("a_scale=-2147483648 b_scale=-1"));
}

proptest! {
    // Few patterns of some fields are legal.
    #![proptest_config(ProptestConfig { cases: 4096, max_local_rejects: 1 << 20, ..ProptestConfig::default() })]

    #[test]
    fn legal_words_are_instructions_with_that_one_word(word in arbitrary::word()) {
        let instr = Instr::decode(&word).unwrap();
        prop_assert_eq!(instr.encode().unwrap(), word);
        prop_assert_eq!(instr.op.spec().opcode, word.0[0]);
        prop_assert_eq!(Instr::decode(&instr.encode().unwrap()).unwrap(), instr);
    }

    #[test]
    fn the_text_of_a_field_has_its_bits(instr in arbitrary::instr()) {
        let (text, word, spec) = (instr.to_string(), instr.encode().unwrap(), instr.op.spec());
        for (operand, field) in text.split(' ').skip(1).zip(spec.fields) {
            let (name, value) = operand.split_once('=').unwrap();
            prop_assert_eq!(name, field.name);
            prop_assert_eq!((field.parse)(value), Some(word.get(field.bit, field.width)), "{}", operand);
        }
    }

    #[test]
    fn text_tells_instructions_apart(a in arbitrary::instr(), b in arbitrary::instr()) {
        prop_assert_eq!(a.to_string() == b.to_string(), a == b);
    }

    #[test]
    fn other_words_are_errors_or_their_own_encoding(
        word in arbitrary::word(),
        flips in prop::collection::vec(0..WORD_BITS, 1..4),
    ) {
        let mut word = word;
        for bit in flips {
            word.0[bit as usize / 8] ^= 1 << (bit % 8);
        }
        if let Ok(instr) = Instr::decode(&word) {
            prop_assert_eq!(instr.encode().unwrap(), word);
        }
    }

    #[test]
    fn noise_is_an_error_or_its_own_encoding(spec in arbitrary::spec(), rest in any::<[u8; 32]>()) {
        let mut word = Word([0; WORD_BYTES]);
        word.0[..32].copy_from_slice(&rest);
        word.0[0] = spec.opcode;
        if let Ok(instr) = Instr::decode(&word) {
            prop_assert_eq!(instr.encode().unwrap(), word);
        }
    }
}

#[test]
fn defaults_are_legal() {
    for field in TABLE.iter().flat_map(|spec| spec.fields) {
        assert!(field.default.is_none_or(field.legal), "{}", field.name);
    }
}

#[test]
fn values_of_fields() {
    let parse = |mnemonic, field| {
        let spec = TABLE.iter().find(|spec| spec.mnemonic == mnemonic).unwrap();
        spec.fields.iter().find(|spec| spec.name == field).unwrap().parse
    };
    let (dst, m, lines, scale) = (
        parse("matmul", "dst"),
        parse("matmul", "m"),
        parse("matmul", "lines"),
        parse("sddmm", "scale"),
    );
    assert_eq!((dst("sram:0x10"), dst("sram:16")), (Some(16), Some(16)));
    assert_eq!(["16", "dram:16", "sram:0x1000000", "sram:-1", "sram:"].map(dst), [None; 5]);
    assert_eq!((m("65535"), m("0xff")), (Some(65535), Some(255)));
    assert_eq!(["65536", "-1", "+1", "0x", "0x+1", "", "1e3"].map(m), [None; 7]);
    assert_eq!(lines("1+2"), Some(0x201));
    assert_eq!(["1+0", "256+1", "255+2", "1", "1+2+3"].map(lines), [None; 5]);
    assert_eq!((scale("1.0"), scale("0")), (Some(30 << 31 | 1 << 30), Some(0)));
    assert_eq!(["-1", "nan", "inf", "1e10", "x"].map(scale), [None; 5]);
}

#[test]
fn the_table_is_decoded_by_opcode() {
    for spec in TABLE {
        proptest!(ProptestConfig::with_cases(64), |(word in arbitrary::word_of(spec))| {
            prop_assert_eq!(Instr::decode(&word).unwrap().op.spec().mnemonic, spec.mnemonic);
        });
    }
}
