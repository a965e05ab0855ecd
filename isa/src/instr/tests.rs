//! The codec: words worked out by hand, and properties for every row of the table.

use proptest::prelude::*;

use super::*;

/// The cases of `golden.txt`: assembly and word.
pub(crate) fn golden() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let mut at = 0;
    for line in include_str!("golden.txt").lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if line.is_empty() {
            continue;
        }
        let Some(row) = line.strip_prefix("  ") else {
            cases.push((line.to_owned(), Vec::new()));
            at = 0;
            continue;
        };
        let (_, word) = cases.last_mut().unwrap();
        if let Some(bytes) = row.strip_prefix("= ") {
            assert_eq!(format!("{} bytes", word.len()), bytes, "{}", cases.last().unwrap().0);
            continue;
        }
        let (width, value) = row.trim().split_once(' ').unwrap();
        let (width, value) =
            (width.parse::<usize>().unwrap(), u64::from_str_radix(value, 16).unwrap());
        for bit in 0..width {
            word.resize((at / 8 + 1).max(word.len()), 0);
            word[at / 8] |= ((value >> bit & 1) as u8) << (at % 8);
            at += 1;
        }
    }
    cases
}

/// The only instruction of the bytes.
fn decode(bytes: &[u8]) -> Result<Instr, DecodeError> {
    let (instr, behind) = Instr::decode(bytes)?;
    assert_eq!(behind, [0; 0], "{instr}");
    Ok(instr)
}

#[test]
fn words_are_those_worked_out_independently() {
    for (text, word) in golden() {
        let instr = decode(&word).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(instr.to_string(), text);
        assert_eq!(*instr.encode().unwrap(), word, "{text}");
    }
}

#[test]
fn every_instruction_has_a_word_worked_out_independently() {
    let cases = golden();
    for spec in TABLE {
        assert!(cases.iter().any(|(_, word)| word[0] == spec.opcode), "{}", spec.mnemonic);
    }
}

#[test]
fn words_are_decoded_one_by_one_without_their_neighbours() {
    let words: Vec<Vec<u8>> = golden().into_iter().map(|(_, word)| word).collect();
    let (code, mut rest) = (words.concat(), 0);
    for word in &words {
        let (instr, behind) = Instr::decode(&code[rest..]).unwrap();
        assert_eq!(Ok(instr), decode(word));
        rest = code.len() - behind.len();
    }
    assert_eq!(rest, code.len());
}

#[test]
fn a_word_that_ends_early_is_no_instruction() {
    for (text, word) in golden() {
        for bytes in 0..word.len() {
            assert_eq!(
                Instr::decode(&word[..bytes]),
                Err(DecodeError::Truncated { bytes }),
                "{text}"
            );
        }
    }
}

/// A word of which one bit is changed.
fn flipped(word: &[u8], bit: usize) -> Vec<u8> {
    let mut word = word.to_vec();
    word[bit / 8] ^= 1 << (bit % 8);
    word
}

#[test]
fn padding_and_units_that_do_not_exist_are_rejected() {
    for (text, word) in golden() {
        let padding = word.len() * 8 - 8..word.len() * 8;
        // The last byte of these words is padding.
        if text.starts_with("load") || text.starts_with("gather") {
            for bit in padding {
                let error = decode(&flipped(&word, bit));
                let found =
                    matches!(error, Err(DecodeError::Padding { bit: b, .. }) if b as usize == bit);
                assert!(found, "{text}: {error:?}");
            }
        }
        for bit in (17..20).chain(29..32) {
            let error = decode(&flipped(&word, bit));
            assert!(matches!(error, Err(DecodeError::Field { .. })), "{text}");
        }
    }
    // Between the operands with one form and the others, and behind a word of 4 bytes and 4 bits.
    let padding = |mnemonic, bit| Err(DecodeError::Padding { mnemonic, bit });
    let word = |mnemonic: &str| {
        golden().into_iter().find(|(text, _)| text.starts_with(mnemonic)).unwrap().1
    };
    assert_eq!(decode(&flipped(&word("load"), 32 + 14 + 27)), padding("load", 73));
    for bit in 36..64 {
        assert_eq!(decode(&flipped(&word("sync"), bit)), padding("sync", bit as u32));
    }
}

#[test]
fn unknown_opcodes_are_rejected() {
    for opcode in 0..=u8::MAX {
        let mut word = [0; MAX_WORD_BYTES];
        word[0] = opcode;
        let known = TABLE.iter().any(|spec| spec.opcode == opcode);
        assert_eq!(Instr::decode(&word) == Err(DecodeError::Opcode(opcode)), !known);
    }
}

/// A `load` of 64 bytes: its forms begin at bit 32 with one bit for `src`, one for `bytes` and two
/// for each of the others; `dst` and `traffic` follow.
fn load_word(forms: u64, operands: &[u8]) -> Vec<u8> {
    let mut word = vec![1, 0, 0, 0];
    word.extend(&(forms | 3 << (14 + 24)).to_le_bytes()[..6]);
    word.extend(operands);
    word.resize(word.len().next_multiple_of(WORD_ALIGN), 0);
    word
}

#[test]
fn an_operand_has_the_shortest_form_that_holds_it() {
    let long = |field, bits| Err(DecodeError::Long { mnemonic: "load", field, bits });
    let text = |word: Vec<u8>| decode(&word).map(|instr| instr.to_string());
    let short = "load dst=sram:0x0 src=dram:0x10 bytes=64 inner=1 outer=1 src_inner_stride=0 \
                 src_outer_stride=0 dst_inner_stride=0 dst_outer_stride=0 traffic=inputs";
    assert_eq!(text(load_word(0, &[0x10, 0, 0, 64, 0])), Ok(short.to_owned()));
    // The address in 40 bits, bytes in 32.
    assert_eq!(text(load_word(1, &[0x10, 0, 0, 0, 0, 64, 0])), long("src", 0x10));
    assert!(text(load_word(1, &[0x10, 0, 0, 1, 0, 64, 0])).is_ok());
    assert_eq!(text(load_word(2, &[0x10, 0, 0, 64, 0, 0, 0])), long("bytes", 64));
    assert!(text(load_word(2, &[0x10, 0, 0, 64, 0, 1, 0])).is_ok());
    // The default of `inner` in 8 bits; 255 in 16.
    assert_eq!(text(load_word(1 << 2, &[0x10, 0, 0, 64, 0, 1])), long("inner", 1));
    assert!(text(load_word(1 << 2, &[0x10, 0, 0, 64, 0, 0])).is_ok());
    assert_eq!(text(load_word(2 << 2, &[0x10, 0, 0, 64, 0, 255, 0])), long("inner", 255));
    assert_eq!(text(load_word(2 << 2, &[0x10, 0, 0, 64, 0, 1, 0])), long("inner", 1));
    assert!(text(load_word(2 << 2, &[0x10, 0, 0, 64, 0, 0, 1])).is_ok());
    assert_eq!(
        text(load_word(3 << 2, &[0x10, 0, 0, 64, 0, 0, 1])),
        Err(DecodeError::Form { mnemonic: "load", field: "inner", code: 3 })
    );
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
    let add = golden().into_iter().find_map(|(_, word)| match decode(&word).unwrap().op {
        Op::Add(add) => Some(add),
        _ => None,
    });
    let instr = Instr::new(table::Add { a_scale: i32::MIN, b_scale: -1, ..add.unwrap() });
    assert_eq!(decode(&instr.encode().unwrap()), Ok(instr));
    assert!(instr.to_string().contains("a_scale=-2147483648 b_scale=-1"));
}

proptest! {
    // Few patterns of some fields are legal.
    #![proptest_config(ProptestConfig { cases: 4096, max_local_rejects: 1 << 20, ..ProptestConfig::default() })]

    #[test]
    fn an_instruction_is_decoded_from_its_word(
        instr in arbitrary::instr(),
        behind in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let word = instr.encode().unwrap();
        prop_assert_eq!(word[0], instr.op.spec().opcode);
        prop_assert_eq!(word.len() % WORD_ALIGN, 0);
        prop_assert!(word.len() <= instr.op.spec().max_word_bytes());
        let bytes = [&*word, &*behind].concat();
        prop_assert_eq!(word_bytes(&bytes), Ok(word.len()));
        prop_assert_eq!(Instr::decode(&bytes), Ok((instr, &*behind)));
    }

    #[test]
    fn the_text_of_a_field_has_its_bits(instr in arbitrary::instr()) {
        let (text, spec, bits) = (instr.to_string(), instr.op.spec(), instr.op.operands().unwrap());
        for ((operand, field), bits) in text.split(' ').skip(1).zip(spec.fields).zip(bits) {
            let (name, value) = operand.split_once('=').unwrap();
            prop_assert_eq!(name, field.name);
            prop_assert_eq!((field.parse)(value), Some(bits), "{}", operand);
        }
    }

    #[test]
    fn text_tells_instructions_apart(a in arbitrary::instr(), b in arbitrary::instr()) {
        prop_assert_eq!(a.to_string() == b.to_string(), a == b);
    }

    #[test]
    fn other_words_are_errors_or_their_own_encoding(
        instr in arbitrary::instr(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let word = instr.encode().unwrap();
        let mut bytes = word.to_vec();
        for flip in flips {
            bytes = flipped(&bytes, flip.index(word.len() * 8));
        }
        if let Ok((instr, behind)) = Instr::decode(&bytes) {
            prop_assert_eq!(&*instr.encode().unwrap(), &bytes[..bytes.len() - behind.len()]);
        }
    }

    #[test]
    fn noise_is_an_error_or_its_own_encoding(
        spec in arbitrary::spec(),
        mut bytes in prop::collection::vec(any::<u8>(), 1..80),
    ) {
        bytes[0] = spec.opcode;
        if let Ok((instr, behind)) = Instr::decode(&bytes) {
            prop_assert_eq!(&*instr.encode().unwrap(), &bytes[..bytes.len() - behind.len()]);
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
        proptest!(ProptestConfig::with_cases(64), |(instr in arbitrary::instr_of(spec))| {
            let word = instr.encode().unwrap();
            prop_assert_eq!(decode(&word).unwrap().op.spec().mnemonic, spec.mnemonic);
        });
    }
}
