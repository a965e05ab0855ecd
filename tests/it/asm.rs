//! Texts of `tests/asm`, one case per file: what they assemble to, or the mistakes, each stated on
//! its line as `; error: message`. `cargo bless --test it asm` writes the snapshots.

use std::fs;

use vitcod_isa::asm::{Assembly, AssemblyError};
use vitcod_isa::program::Program;
use vitcod_testing::stated::{assert_stated, stated};

fn parse(text: &str) -> Result<Assembly, AssemblyError> {
    Assembly::parse(text, &|name| Err(format!("there is no file {name}")))
}

/// Asserts that a program is the same after its text, and its text after the file of its program.
fn assert_survives(program: &Program) {
    let text = program.listing().to_string();
    let assembled = parse(&text).unwrap().program;
    assert_eq!(assembled, *program);
    let loaded = Program::from_bytes(assembled.to_bytes().unwrap().into()).unwrap();
    assert_eq!(loaded.listing().to_string(), text);
}

#[test]
fn texts() {
    insta::glob!("../asm", "*.s", |path| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        match parse(&text).and_then(|assembly| assembly.check().map(|()| assembly.program)) {
            Ok(program) => {
                assert_eq!(stated(&text), []);
                assert_survives(&program);
                insta::assert_snapshot!(program.listing());
            }
            Err(problems) => {
                assert_stated(name, &text, &problems);
                insta::assert_snapshot!(problems.render(name, &text));
            }
        }
    });
}
