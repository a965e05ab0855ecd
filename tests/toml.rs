//! Machines of `tests/toml`, one case per file: what the text says, or the mistakes, each stated on its line as `# error: message`;
//! those of the file as a whole are stated on its first line. `cargo bless --test toml` writes the snapshots.

use std::fs;

use vitcod_isa::machine::Machine;

#[test]
fn texts() {
    insta::glob!("toml/*.toml", |path| {
        let text = fs::read_to_string(path).unwrap();
        let stated: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .flat_map(|(i, line)| line.split("# error: ").skip(1).map(move |error| (i + 1, error.trim())))
            .collect();
        match Machine::from_toml(&text) {
            Ok(machine) => {
                assert_eq!(stated, []);
                insta::assert_snapshot!(machine.to_toml());
            }
            Err(problems) => {
                let shown = problems.render(path.file_name().unwrap().to_str().unwrap(), &text);
                let found: Vec<(usize, &str)> = problems
                    .kept()
                    .iter()
                    .map(|problem| (problem.line(&text).unwrap_or(1), problem.message.as_str()))
                    .collect();
                assert_eq!(found, stated, "{shown}");
                insta::assert_snapshot!(shown);
            }
        }
    });
}
