//! The reference of the instruction set, `docs/isa.md`: generated from the instruction table, the
//! effects and the module documentation, so that it always agrees with them.
//!
//! A test compares the file with [`render`]; `cargo bless` makes it write the file instead.

mod samples;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::effects::Access;
use crate::instr::{FieldSpec, Spec, TABLE, Unit, UnitSet};
use samples::Touch;

/// The reference, in Markdown.
fn render() -> String {
    let mut text = String::from(
        "# The ViTCoD instruction set\n\n\
         This file is generated from the crate `vitcod-isa`; `cargo bless` writes it.\n",
    );
    text += &section("Encoding", &quote(include_str!("../instr/mod.rs"), Some("Encoding")));
    text += &section(
        "Synchronisation",
        &quote(include_str!("../instr/mod.rs"), Some("Synchronisation")),
    );
    text += &section("Units", &units());
    text += &section("Types of operands", &types());
    text += &section(
        "Operands in memory",
        &quote(include_str!("../effects/mod.rs"), Some("Operands in memory")),
    );
    text += &section("Notation", &quote(include_str!("../instr/table.rs"), Some("Notation")));
    text += &section("Lists", &quote(include_str!("../lists/mod.rs"), Some("Lists")));
    text += "\n## Instructions\n";
    for spec in TABLE {
        text += &instruction(spec);
    }
    text += &section("Timing", &quote(include_str!("../cost/mod.rs"), None));
    text += &section("Timing with banks", &quote(include_str!("../cost/banked.rs"), None));
    text += &section("Streams of words", &quote(include_str!("../cost/streams.rs"), None));
    text += &section("Cycles of lists", &quote(include_str!("../cost/lists.rs"), None));
    text += &section("Clock of lists", &quote(include_str!("../lists/clock.rs"), None));
    text
}

fn section(title: &str, body: &str) -> String {
    format!("\n## {title}\n\n{}\n", body.trim_end())
}

/// A part of the module documentation of a source file: the section with this heading, or the text
/// before all headings.
fn quote(source: &str, heading: Option<&str>) -> String {
    let doc = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    let is_heading = |line: &&str| line.starts_with("# ");
    let lines: Vec<&str> = match heading {
        None => doc.take_while(|line| !is_heading(line)).collect(),
        Some(heading) => {
            let rest = doc.skip_while(|line| line.strip_prefix("# ") != Some(heading)).skip(1);
            rest.take_while(|line| !is_heading(line)).collect()
        }
    };
    plain(lines.join("\n").trim())
}

/// Removes links that only rustdoc resolves.
fn plain(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`").replace("`crate::", "`")
}

fn units() -> String {
    let mut text = String::from("| bit | unit | what it is | instructions |\n|---|---|---|---|\n");
    for unit in Unit::ALL {
        let executes = |spec: &&'static Spec| samples::units(spec).contains(unit);
        let instructions: Vec<_> =
            TABLE.iter().filter(executes).map(|spec| format!("`{}`", spec.mnemonic)).collect();
        let (bit, doc) = (unit.index(), unit.doc().trim());
        writeln!(text, "| {bit} | `{unit}` | {doc} | {} |", instructions.join(", "))
            .expect("a string grows");
    }
    text
}

fn types() -> String {
    let types: BTreeSet<_> = TABLE
        .iter()
        .flat_map(|spec| spec.fields)
        .map(|field| (field.meaning, field.width))
        .collect();
    let mut text = String::from(
        "Integers are unsigned. Where only some patterns have a meaning, a word with another one is no instruction.\n\n\
         | type | bits |\n|---|---|\n",
    );
    for (meaning, width) in types {
        writeln!(text, "| {meaning} | {width} |").expect("a string grows");
    }
    text
}

fn instruction(spec: &'static Spec) -> String {
    let Spec { opcode, mnemonic, doc, fields } = spec;
    let mut text = format!("\n### `{mnemonic}`\n\n{}\n\nOpcode `{opcode:#04x}`", joined(doc));
    let units = samples::units(spec);
    let units = if fields.is_empty() {
        "all units together".to_owned()
    } else if units == UnitSet::ALL {
        "any one unit".to_owned()
    } else {
        units.iter().map(|unit| format!("`{unit}`")).collect::<Vec<_>>().join(" or ")
    };
    writeln!(text, "; executed by {units}.").expect("a string grows");
    if !fields.is_empty() {
        text += "\n| operand | bits | type | meaning |\n|---|---|---|---|\n";
        for FieldSpec { name, doc, forms, meaning, default, .. } in *fields {
            let widths: Vec<_> = forms.widths().iter().map(u32::to_string).collect();
            let widths = widths.join(", ");
            let default = default.map(|bits| format!(" {bits} if left out.")).unwrap_or_default();
            writeln!(text, "| `{name}` | {widths} | {meaning} | {}{default} |", joined(doc))
                .expect("a string grows");
        }
    }
    text + &effects(spec)
}

/// Joins the lines of a doc comment.
fn joined(doc: &[&str]) -> String {
    plain(&doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "))
}

/// Describes the memory accesses of the instruction.
fn effects(spec: &'static Spec) -> String {
    let touches = samples::touches(spec);
    if touches.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n| operand | access | memory | aligned to | where |\n|---|---|---|---|---|\n",
    );
    for Touch { access: Access { operand, mode, space, align, .. }, condition } in touches {
        let (mode, space) =
            (format!("{mode:?}").to_lowercase(), format!("{space:?}").to_lowercase());
        writeln!(text, "| `{operand}` | {mode} | {space} | {align} | {condition} |")
            .expect("a string grows");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    #[test]
    fn docs_isa_md_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/isa.md");
        let manual = super::render();
        if env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
            fs::write(&path, manual).unwrap();
        } else {
            let file = fs::read_to_string(&path).unwrap_or_default();
            assert!(file == manual, "docs/isa.md is not current: cargo bless");
        }
    }

    #[test]
    fn every_quoted_section_is_there() {
        let manual = super::render();
        let sections: Vec<&str> = manual.split("\n## ").skip(1).collect();
        assert!(sections.iter().all(|section| section.lines().count() > 3), "{manual}");
        assert!(!manual.contains("[`"), "a link that only rustdoc resolves");
    }
}
