//! The tables of `docs/ir.md` and `docs/operators.md` are those of the compiler. `cargo bless`
//! writes them.

use std::fs;

use vitcod_compiler::import::{CONTRIBUTED, OPERATORS, OPSETS, Operator};
use vitcod_compiler::ir::{AttrSpec, OPERATIONS, Stage};
use vitcod_compiler::passes;
use vitcod_testing::files::file;

fn operations() -> String {
    let mut text = String::from(
        "| operation | stages | operands | results | attributes |\n|---|---|---|---|---|\n",
    );
    for spec in OPERATIONS {
        let stages =
            spec.stages.iter().map(|stage: &Stage| stage.name()).collect::<Vec<_>>().join(", ");
        let attrs: Vec<String> = spec
            .attrs
            .iter()
            .map(|attr| format!("`{}`: {}{}", attr.name, (attr.expected)(), default(attr)))
            .collect();
        let (mnemonic, operands, attrs) =
            (spec.mnemonic, spec.operands.replace('|', "or"), attrs.join("; "));
        text += &format!("| `{mnemonic}` | {stages} | {operands} | {} | {attrs} |\n", spec.results);
    }
    text
}

/// What an attribute is where the text does not say.
fn default(attr: &AttrSpec) -> String {
    attr.default.map_or_else(String::new, |default| format!(", {} by default", default()))
}

/// A text whose generated part of this name is `content`.
fn with_part(text: &str, name: &str, content: &str) -> String {
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&start).expect("the part starts");
    let (_, after) = rest.split_once("<!-- end -->").expect("the part ends");
    format!("{before}{start}{content}<!-- end -->{after}")
}

/// The operators of ONNX, as the importer states them.
fn operators() -> String {
    let mut text = format!(
        "Opsets {} to {} of `ai.onnx`; {} operators.\n\n| operator | since opset | operands | limits |\n|---|---|---|---|\n",
        OPSETS.start(),
        OPSETS.end(),
        OPERATORS.len()
    );
    for Operator { name, since, constant, limits, .. } in OPERATORS {
        // What came before the oldest opset has no number here.
        let since = if since == OPSETS.start() { String::new() } else { since.to_string() };
        let operands = if *constant { "known at compile time" } else { "any" };
        text += &format!("| `{name}` | {since} | {operands} | {limits} |\n");
    }
    text
}

/// The operators of ONNX Runtime.
fn contributed() -> String {
    let rows = CONTRIBUTED
        .iter()
        .map(|Operator { name, limits, .. }| format!("| `{name}` | {limits} |\n"));
    format!("| operator of `com.microsoft` | limits |\n|---|---|\n{}", rows.collect::<String>())
}

fn forms() -> String {
    let rows = passes::FORMS.iter().map(|(mnemonic, doc)| format!("| `{mnemonic}` | {doc} |\n"));
    format!("| operation | what is recognised |\n|---|---|\n{}", rows.collect::<String>())
}

/// Asserts that the generated parts of a page are these, or writes them.
fn assert_generated(page: &str, parts: &[(&str, String)]) {
    let path = file("docs").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let expected =
        parts.iter().fold(text.clone(), |text, (name, content)| with_part(&text, name, content));
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(text == expected, "docs/{page}: `cargo bless --test it docs` writes it");
    }
}

#[test]
fn the_tables_are_those_of_the_compiler() {
    assert_generated("ir.md", &[("operations", operations()), ("passes", passes::table())]);
    assert_generated(
        "operators.md",
        &[("operators", operators()), ("contributed", contributed()), ("forms", forms())],
    );
}
