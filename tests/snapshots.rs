//! What the compiler makes of small exported models, pass by pass: snapshots to be read and compared.

#[path = "common/shortened.rs"]
mod shortened;

use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use shortened::{shortened, shortened_tasks};
use vitcod_compiler::codegen;
use vitcod_compiler::import::{self, ImportOptions};
use vitcod_compiler::ir::Stage;
use vitcod_compiler::masks::{Mask, Masks};
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context, Level, Module};
use vitcod_compiler::split::GlobalTokens;
use vitcod_isa::machine::Machine;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name)
}

/// A model at the end of a level, with its own input as calibration. With a `name` the text after every pass is a snapshot; after
/// a pass that changes nothing there is none.
fn passed(name: Option<&str>, model: &str, to: impl Into<Level>, masks: Option<&Masks>) -> Module {
    let imported =
        import::import(&onnx::load(&file(&format!("{model}.onnx"))).unwrap(), &ImportOptions::default()).unwrap();
    let machine = Machine::preset("vitcod").unwrap();
    let samples: [ArrayD<f32>; 1] = [ndarray_npy::read_npy(file(&format!("{model}.in.npy"))).unwrap()];
    let context = Context {
        masks,
        machine: Some(&machine),
        samples: Some(&samples),
        globals: GlobalTokens::Above(8),
        ..Context::default()
    };
    let mut before = imported.to_string();
    let names = passes::pipeline(Stage::Imported, to, &context);
    let result = passes::run(imported.into(), &names, &context, |pass, module| {
        let text = module.to_string();
        if let Some(name) = name.filter(|_| text != before) {
            let text = match module {
                Module::Graph(graph) if graph.stage.is_float() => text.clone(),
                Module::Graph(_) => shortened(&text),
                _ => shortened_tasks(&text),
            };
            insta::assert_snapshot!(format!("{name}_{}", pass.name), text);
        }
        before = text;
    });
    result.unwrap()
}

#[test]
fn every_pass_on_a_dense_model() {
    let module = passed(Some("dense"), "vit.legacy.unfused.op17", Level::Scheduled, None);
    assert_eq!(module.level(), Level::Scheduled);
}

/// The model of the authors, with auto-encoders; masks keep the class token, the diagonal and its neighbours.
#[test]
fn every_pass_on_a_sparse_model() {
    let head = |head: usize| Mask::from_fn(17, 17, move |i, j| j == 0 || i.abs_diff(j) <= head);
    let masks = Masks::new(vec![(0..3).map(head).collect(); 2]).unwrap();
    let module = passed(Some("sparse"), "vitcod.legacy.unfused.op17", Level::Scheduled, Some(&masks));
    assert!(module.to_string().contains("sddmm_list"));
}

#[test]
fn listing() {
    let program = codegen::compile(
        passed(None, "vit.legacy.unfused.op17", Stage::Quantised, None).graph().unwrap(),
        &Machine::preset("vitcod").unwrap(),
        codegen::Options::default(),
    )
    .unwrap();
    insta::assert_snapshot!(program.listing().with_constants_in("vit.vitcod"));
}
