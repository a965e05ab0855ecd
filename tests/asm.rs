//! Texts of `tests/asm`, one case per file: what they assemble to, or the mistakes, each stated on its line as `; error: message`.
//! Programs of `tests/run` that state what they compute: `; in NAME: integers`, `; out NAME: integers`.
//!
//! `cargo bless --test asm` writes the snapshots.

use std::fs;
use std::path::Path;

use ndarray::{Array1, ArrayD};
use vitcod_isa::asm::Assembly;
use vitcod_isa::program::Program;
use vitcod_runtime::{EmulatorDevice, Integers, Model};

/// A mistake: its line and its message.
type Mistake = (Option<usize>, String);

/// The program, or its mistakes as they are shown and one by one.
fn assemble(path: &Path) -> Result<Assembly, (String, Vec<Mistake>)> {
    let text = fs::read_to_string(path).unwrap();
    let assembly = Assembly::parse(&text, &|name| Err(format!("there is no file {name}")));
    assembly.and_then(|assembly| assembly.check().map(|()| assembly)).map_err(|error| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let lines = error.kept().iter().map(|problem| (problem.line(&text), problem.message.clone())).collect();
        (error.render(name, &text), lines)
    })
}

/// Asserts that a program is the same after its text, and its text after the file of its program.
fn assert_survives(program: &Program) {
    let text = program.listing().to_string();
    let assembled = Assembly::parse(&text, &|name| Err(format!("there is no file {name}"))).unwrap().program;
    assert_eq!(assembled, *program);
    let loaded = Program::from_bytes(assembled.to_bytes().unwrap().into()).unwrap();
    assert_eq!(loaded.listing().to_string(), text);
}

#[test]
fn texts() {
    insta::glob!("asm/*.s", |path| {
        let text = fs::read_to_string(path).unwrap();
        let stated: Vec<Mistake> = text
            .lines()
            .enumerate()
            .flat_map(|(index, line)| {
                line.split("; error: ").skip(1).map(move |error| (Some(index + 1), error.trim().to_owned()))
            })
            .collect();
        match assemble(path) {
            Ok(assembly) => {
                assert_eq!(stated, []);
                assert_survives(&assembly.program);
                insta::assert_snapshot!(assembly.program.listing());
            }
            Err((shown, found)) => {
                assert_eq!(found, stated, "{shown}");
                insta::assert_snapshot!(shown);
            }
        }
    });
}

#[test]
fn runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for path in cases {
        let text = fs::read_to_string(&path).unwrap();
        let stated = |kind: &str| -> Vec<(String, Vec<i32>)> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(kind)?.split_once(": "));
            lines
                .map(|(name, values)| (name.to_owned(), values.split(' ').map(|v| v.parse().unwrap()).collect()))
                .collect()
        };
        let assembly = assemble(&path).unwrap_or_else(|(shown, _)| panic!("{shown}"));
        assert_survives(&assembly.program);
        let inputs: Vec<(String, ArrayD<f32>)> = assembly
            .program
            .header
            .inputs
            .iter()
            .map(|binding| {
                let (_, values) = stated("; in ").into_iter().find(|(name, _)| *name == binding.name).unwrap();
                let values: Array1<f32> =
                    values.iter().map(|value| (f64::from(*value) * binding.step) as f32).collect();
                let shape: Vec<usize> = binding.shape.iter().map(|dim| *dim as usize).collect();
                (binding.name.clone(), values.into_shape_with_order(shape).unwrap())
            })
            .collect();
        let views: Vec<_> = inputs.iter().map(|(name, values)| (name.as_str(), values.view())).collect();
        let outputs = Model::new(assembly.program).unwrap().open(&EmulatorDevice).unwrap().run(&views).unwrap();
        let found: Vec<(String, Vec<i32>)> = outputs
            .into_iter()
            .map(|output| {
                let values = match output.values {
                    Integers::I8(values) => values.iter().map(|value| i32::from(*value)).collect(),
                    Integers::I16(values) => values.iter().map(|value| i32::from(*value)).collect(),
                };
                (output.name, values)
            })
            .collect();
        assert_eq!(found, stated("; out "), "{}", path.display());
    }
}
