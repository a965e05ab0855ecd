//! Text and binary hold the same, for any program; and no text does harm. Cases are files of
//! `tests/asm`.

mod task_listing;

use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::dram::Ddr4;
use crate::instr::arbitrary::instr;
use crate::instr::field::MAX_SRAM;
use crate::machine::{Machine, PRESETS};
use crate::program::{
    Alternative, Binding, Buffer, Decision, Element, Header, Layer, Layout, SavedIr,
};

#[test]
fn the_parser_belongs_to_its_grammar() {
    let digest = format!("{:x}", Sha256::digest(include_str!("grammar.lalrpop")));
    let header = include_str!("grammar.rs").lines().nth(1).unwrap();
    assert!(header.ends_with(&digest), "cargo run --manifest-path parsergen/Cargo.toml");
}

fn no_files(name: &str) -> Result<Bytes, String> {
    Err(format!("cannot read {name}"))
}

fn parse(text: &str) -> Program {
    Assembly::parse(text, &no_files)
        .unwrap_or_else(|error| panic!("{}", error.render("text", text)))
        .program
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_.]{1,4}", "/blocks\\.[0-9]/[A-Z]", any::<String>()]
}

fn machine() -> impl Strategy<Value = Machine> {
    (0..PRESETS.len(), 0..3, 1..=256u32, 0.001..1e6f64, "[ -~]{1,64}").prop_map(
        |(preset, differs, lines, bandwidth, name)| {
            let mut machine = Machine::preset(PRESETS[preset].0).unwrap();
            if differs == 2 {
                machine = Machine { name, ..Machine::preset("vitcod").unwrap() };
                machine.dram.ddr4 = Some(Ddr4 { queue: lines, ..Ddr4::ddr4_2400() });
            } else if differs == 1 {
                (machine.lines.count, machine.dram.bytes_per_cycle, machine.name) =
                    (lines, bandwidth, name);
            }
            machine
        },
    )
}

/// Inputs, or outputs, of which the compiler may expect an accuracy.
fn bindings(are_outputs: bool) -> impl Strategy<Value = Vec<Binding>> {
    let element = prop_oneof![
        Just(Element::I8),
        Just(Element::I16),
        any::<u32>().prop_map(|below| Element::Row { below }),
        any::<(u32, bool)>().prop_map(|(rows, inverted)| Element::Bits { rows, inverted }),
    ];
    let step = any::<f64>().prop_filter("JSON has no others", |step| step.is_finite());
    let factor = any::<f32>().prop_filter("JSON has no others", |factor| factor.is_finite());
    let numbers = || prop::collection::vec(factor.clone(), 0..3);
    let address = prop_oneof![0..1u64 << 40, Just((1 << 40) - 1)];
    let binding = (
        name(),
        prop::collection::vec(any::<u64>(), 0..4),
        0..2usize,
        element,
        step,
        (numbers(), numbers()),
        address,
        prop::option::of(any::<f64>().prop_filter("JSON has no others", |x| x.is_finite())),
    )
        .prop_map(
            move |(name, shape, layout, element, step, (factors, offsets), address, expected)| {
                Binding {
                    name,
                    shape,
                    layout: Layout::ALL[layout],
                    element,
                    step,
                    factors,
                    offsets,
                    address,
                    expected_sqnr_db: expected.filter(|_| are_outputs),
                }
            },
        );
    prop::collection::vec(binding, 0..3)
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let layer = (name(), name(), prop::collection::vec(name(), 0..3), any::<u64>(), any::<u64>())
        .prop_map(|(name, operation, nodes, needed_macs, compulsory_bytes)| Layer {
            name,
            operation,
            nodes,
            needed_macs,
            compulsory_bytes,
        });
    prop::collection::vec(layer, 0..4)
}

fn decisions() -> impl Strategy<Value = Vec<Decision>> {
    let alternative = (name(), any::<u64>(), any::<u64>())
        .prop_map(|(name, cycles, dram_bytes)| Alternative { name, cycles, dram_bytes });
    let alternatives = prop::collection::vec(alternative, 0..3);
    let decision = (name(), name(), name(), name(), alternatives);
    let decision = decision.prop_map(|(layer, subject, chosen, reason, alternatives)| Decision {
        layer,
        subject,
        chosen,
        reason,
        alternatives,
    });
    prop::collection::vec(decision, 0..2)
}

/// Any program that has a file form, most of them without sense.
fn program() -> impl Strategy<Value = Program> {
    let header = (name(), any::<u64>(), bindings(false), bindings(true), layers(), decisions());
    let code = prop::collection::vec((instr(), prop_oneof![9 => 0..5u32, 1 => any::<u32>()]), 0..8);
    let bytes = || prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from);
    let saved = || {
        let graph = prop::option::of((bytes(), bytes()));
        graph.prop_map(|saved| saved.map(|(graph, constants)| SavedIr { graph, constants }))
    };
    let buffer = (0..MAX_SRAM, any::<u32>(), any::<u32>(), any::<u32>());
    let buffer =
        buffer.prop_map(|(address, bytes, first, last)| Buffer { address, bytes, first, last });
    let buffers = prop::collection::vec(buffer, 0..3);
    (header, machine(), code, buffers, bytes(), saved(), saved()).prop_map(
        |(header, machine, code, buffers, image, ir, host)| {
            let (name, dram_bytes, inputs, outputs, layers, decisions) = header;
            let (code, layer_of) = code.into_iter().unzip();
            let header = Header { name, dram_bytes, inputs, outputs, layers, decisions };
            Program { header, machine, code, layer_of, buffers, image, ir, host }
        },
    )
}

/// A text with a bit of everything.
const TEXT: &str = r#"
.program "sample" ; a comment
.machine vitcod lines.count=32 name="half" # another
.set d 16
.const table
    .i8 -1 2 0x7f
    .align 4
    .u16 65535
    .scale 0.5
.input x i8 [2, 16] step=0.5
.output "y\n" i16 [32] step=1e-3 at=dram:0x100
.buffer a 32
.buffer b 64 at=sram:0x1000
.layer head operation=add macs=3 nodes=["a", b]
    load dst=a src=x+16 bytes=d traffic=inputs signal=vector|load
    add a=a b=a dst=b m=1 n=d a_scale=1 b_scale=2 shift=1 a_stride=32 b_stride=32 dst_stride=0x20 wait=load
    halt
"#;

#[test]
fn names_places_and_values() {
    let program = parse(TEXT);
    assert_eq!(program.image[..], [0xff, 2, 0x7f, 0, 0xff, 0xff, 0, 0, 0, 0x40, 31, 0, 0, 0]);
    assert_eq!(program.machine.lines.count, 32);
    assert_eq!(program.header.inputs[0].address, 0x140);
    assert_eq!(program.header.dram_bytes, 0x160);
    assert_eq!(
        program.code[0].to_string(),
        "load dst=sram:0x0 src=dram:0x150 bytes=16 inner=1 outer=1 src_inner_stride=0 src_outer_stride=0 \
         dst_inner_stride=0 dst_outer_stride=0 traffic=inputs signal=load|vector"
    );
    assert_eq!(parse(&program.listing().to_string()), program);
}

#[test]
fn large_constants_are_in_the_program_file() {
    let mut program = parse(TEXT);
    program.image = Bytes::from(vec![7; 10_000]);
    program.ir =
        Some(SavedIr { graph: Bytes::from_static(b"{}"), constants: Bytes::from(vec![9; 5_000]) });
    let file = Bytes::from(program.to_bytes().unwrap());
    let text = program.listing().with_constants_in("p.vitcod").to_string();
    assert!(text.len() < 3000, "{text}");
    let files =
        |name: &str| if name == "p.vitcod" { Ok(file.clone()) } else { Err("none".to_owned()) };
    assert_eq!(Assembly::parse(&text, &files).unwrap().program, program);

    let message = |text: &str| Assembly::parse(text, &files).unwrap_err().kept()[0].message.clone();
    assert!(
        message(&text.replace("sha256=", "sha256=0")).starts_with("the digest of these bytes is ")
    );
    for name in ["../p.vitcod", "/etc/passwd", "..", ""] {
        let message = message(&text.replace("p.vitcod", name));
        assert_eq!(message, "expected the name of a file beside the text, without folder");
    }
    assert_eq!(message(&text.replace("p.vitcod", "q")), "none");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_local_rejects: 1 << 24, ..ProptestConfig::default() })]

    #[test]
    fn ten_thousand_random_programs_are_the_same_after_text_and_file(program in program()) {
        let text = program.listing().to_string();
        let assembled = parse(&text);
        prop_assert_eq!(&assembled, &program);
        let again = Program::from_bytes(assembled.to_bytes().unwrap().into()).unwrap();
        prop_assert_eq!(&again, &program);
        prop_assert_eq!(again.listing().to_string(), text);
    }
}

#[test]
fn work_is_bounded_by_the_text() {
    let texts = [
        "x\n".repeat(300_000),
        "x=1 ".repeat(300_000),
        "x ".repeat(300_000),
        format!("load {}", "dsst=1 ".repeat(200_000)),
        format!(".hex {}", "00".repeat(1 << 20)),
        format!(".input x i8 [{}1] step=1", "1,".repeat(300_000)),
        format!(".program \"{}", "\\u{41}".repeat(100_000)),
        format!(".layer a\n{}", "load dst=y\n".repeat(100_000)),
        (0..50_000).map(|i| format!(".set name{i} {i}\nload dst=name_{i}\n")).collect(),
        "[".repeat(500_000),
        "\"".repeat(500_000),
    ];
    // In a time that nobody notices, where anything quadratic would take minutes.
    for text in texts {
        if let Err(error) = Assembly::parse(&text, &no_files) {
            assert!(error.render("text", &text).len() < 1 << 20, "{text:.40}");
        }
    }
}

#[test]
fn a_line_has_a_greatest_length() {
    let text = format!(".program x\n.hex {}", "00 ".repeat(1 << 16));
    let error = Assembly::parse(&text, &no_files).unwrap_err();
    assert_eq!(error.kept()[0].message, "this line is too long");
    assert_eq!(error.kept()[0].line(&text), Some(2));
}

/// Replaces, removes and repeats pieces of a text.
fn damaged(text: &str, changes: &[(prop::sample::Index, prop::sample::Index, String)]) -> String {
    let mut text = text.to_owned();
    for (at, length, piece) in changes {
        let start = text.floor_char_boundary(at.index(text.len() + 1));
        let end = text.floor_char_boundary((start + length.index(12)).min(text.len()));
        text.replace_range(start..end.max(start), piece);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, max_local_rejects: 1 << 24, ..ProptestConfig::default() })]

    /// Whatever is read from a damaged text is a program: it has a text that reads back the same.
    #[test]
    fn damaged_texts_do_no_harm(
        program in program(),
        is_sample: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(),
            prop_oneof!["[ -~\n]{0,4}", Just("\"".to_owned()), Just(" 18446744073709551615".to_owned()),
                Just("at=dram:0xffffffffff".to_owned()), any::<String>()]), 1..6),
    ) {
        let text = if is_sample { TEXT.to_owned() } else { program.listing().to_string() };
        let text = damaged(&text, &changes);
        match Assembly::parse(&text, &no_files) {
            Ok(assembly) => {
                if let Err(error) = assembly.check() {
                    prop_assert!(!error.render("text", &text).is_empty());
                }
                prop_assert_eq!(parse(&assembly.program.listing().to_string()), assembly.program);
            }
            Err(error) => prop_assert!(!error.render("text", &text).is_empty()),
        }
    }

    #[test]
    fn noise_does_no_harm(text: String) {
        prop_assert!(Assembly::parse(&text, &no_files).is_err());
    }
}
