//! What the compiler makes of small exported models, pass by pass: snapshots to be read and
//! compared.

use ndarray::ArrayD;
use vitcod_compiler::import::{self, ImportOptions};
use vitcod_compiler::ir::Stage;
use vitcod_compiler::masks::{Mask, Masks};
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context, Level, Module};
use vitcod_compiler::split::GlobalTokens;
use vitcod_isa::machine::Machine;
use vitcod_testing::files::model;
use vitcod_testing::shortened::{shortened, shortened_tasks};

/// Snapshots of the text after every pass that changes something, up to the program, of a model
/// with its own input as calibration.
fn assert_passes(name: &str, export: &str, masks: Option<&Masks>) {
    let imported = import::import(
        &onnx::load(&model(&format!("{export}.onnx"))).unwrap(),
        &ImportOptions::default(),
    )
    .unwrap();
    let machine = Machine::preset("vitcod").unwrap();
    let samples: [ArrayD<f32>; 1] =
        [ndarray_npy::read_npy(model(&format!("{export}.in.npy"))).unwrap()];
    let context = Context {
        masks,
        machine: Some(&machine),
        samples: Some(&samples),
        globals: GlobalTokens::Above(8),
        ..Context::default()
    };
    let mut before = imported.to_string();
    let names = passes::pipeline(Stage::Imported, Level::Program, &context);
    passes::run(imported.into(), &names, &context, |pass, module| {
        let text = module.to_string();
        if text != before {
            let text = match module {
                // The numbers of a pass that runs samples depend on the processor in their last
                // bits.
                Module::Graph(graph) if graph.stage.is_float() && pass.prepares.is_none() => {
                    text.clone()
                }
                Module::Graph(_) => shortened(&text),
                _ => shortened_tasks(&text),
            };
            insta::assert_snapshot!(format!("{name}_{}", pass.name), text);
        }
        before = text;
    })
    .unwrap();
}

#[test]
fn every_pass_on_a_dense_model() {
    assert_passes("dense", "vit.legacy.unfused.op13", None);
}

/// The model of the authors, with auto-encoders; masks keep the class token, the diagonal and its
/// neighbours.
#[test]
fn every_pass_on_a_sparse_model() {
    let head = |head: usize| Mask::from_fn(17, 17, move |i, j| j == 0 || i.abs_diff(j) <= head);
    let masks = Masks::new(vec![(0..3).map(head).collect(); 2]).unwrap();
    assert_passes("sparse", "vitcod.legacy.unfused.op17", Some(&masks));
}
