//! Machines of `tests/toml`, one case per file: what the text says, or the mistakes, each stated on
//! its line as `# error: message`; those of the file as a whole are stated on its first line.
//! `cargo bless --test it toml` writes the snapshots.

use std::fs;

use vitcod_isa::machine::Machine;
use vitcod_testing::stated::{assert_stated, stated};

#[test]
fn texts() {
    insta::glob!("../toml", "*.toml", |path| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        match Machine::from_toml(&text) {
            Ok(machine) => {
                assert_eq!(stated(&text), []);
                insta::assert_snapshot!(machine.to_toml());
            }
            Err(problems) => {
                assert_stated(name, &text, &problems);
                insta::assert_snapshot!(problems.render(name, &text));
            }
        }
    });
}
