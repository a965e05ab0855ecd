//! The tables of `docs/ir.md` are those of the compiler. `cargo bless` writes the file.

use std::fs;
use std::path::Path;

use vitcod_compiler::ir::{AttrSpec, OPERATIONS, Stage};
use vitcod_compiler::passes;

fn operations() -> String {
    let mut text = String::from("| operation | stages | operands | results | attributes |\n|---|---|---|---|---|\n");
    for spec in OPERATIONS {
        let stages = spec.stages.iter().map(|stage: &Stage| stage.name()).collect::<Vec<_>>().join(", ");
        let attrs: Vec<String> =
            spec.attrs.iter().map(|attr| format!("`{}`: {}{}", attr.name, (attr.expected)(), default(attr))).collect();
        let (mnemonic, operands, attrs) = (spec.mnemonic, spec.operands.replace('|', "or"), attrs.join("; "));
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

#[test]
fn the_tables_are_those_of_the_compiler() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ir.md");
    let text = fs::read_to_string(&path).unwrap();
    let expected = with_part(&text, "operations", &operations());
    let expected = with_part(&expected, "passes", &passes::table());
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(text == expected, "docs/ir.md: `cargo bless --test docs` writes it");
    }
}
