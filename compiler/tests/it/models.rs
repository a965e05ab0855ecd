//! Exported models from file to quantised graph, against what ONNX Runtime computes from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use rayon::prelude::*;
use vitcod_compiler::autoencoder::{Choice, Form, pca, place};
use vitcod_compiler::calibration::Calibration;
use vitcod_compiler::frontend::{Options, import_file, import_model};
use vitcod_compiler::import::{ImportOptions, import};
use vitcod_compiler::interp::{FloatInterpreter, Noise, QuantisedInterpreter, Tensor, sqnr_db};
use vitcod_compiler::ir::{Graph, GraphOutput, OpKind, text};
use vitcod_compiler::masks::{Mask, Masks, Polarity};
use vitcod_compiler::onnx::{self, Attribute, DataType, Model};
use vitcod_compiler::passes::{self, Context, Level, Module};
use vitcod_compiler::quantise::{needs_samples, quantise};
use vitcod_compiler::tiled::{Scheduled, Tiled};
use vitcod_isa::asm::Sections;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::SavedIr;
use vitcod_testing::files::file;
use vitcod_testing::shortened::shortened;

fn npy(path: &Path) -> ArrayD<f32> {
    let floats = ndarray_npy::read_npy(path);
    let read = floats.or_else(|_| {
        ndarray_npy::read_npy(path).map(|integers: ArrayD<i64>| integers.mapv(|x| x as f32))
    });
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The graph of a file, imported and canonical.
fn graphs(path: &Path) -> (Graph, Graph) {
    let model = onnx::load(path).unwrap_or_else(|error| panic!("{error}"));
    let imported = import(&model, &ImportOptions::default())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    imported.verify().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let canonical = passes::run_on_graph(&imported, passes::CANONICALISE, &Context::default())
        .unwrap_or_else(|error| panic!("{}: {error}\n{imported}", path.display()));
    (imported, canonical)
}

fn float(graph: &Graph, input: ArrayViewD<'_, f32>) -> ArrayD<f32> {
    let mut outputs = FloatInterpreter::new(graph).unwrap().run(&[input]).unwrap();
    assert_eq!(outputs.len(), 1);
    outputs.remove(0)
}

/// The largest difference in units of the reference's standard deviation.
fn error(reference: &ArrayD<f32>, result: &ArrayD<f32>) -> f32 {
    assert_eq!(reference.shape(), result.shape());
    let largest = (reference - result).iter().fold(0f32, |max, x| max.max(x.abs()));
    assert!(!result.iter().any(|x| x.is_nan()));
    largest / reference.std(0.0)
}

/// What a quantised graph of one input and output gives, in real numbers.
fn quantised(graph: &Graph, input: ArrayViewD<'_, f32>) -> ArrayD<f32> {
    all_quantised(graph, &[input]).remove(0)
}

/// What a quantised graph gives, in real numbers.
fn all_quantised(graph: &Graph, inputs: &[ArrayViewD<'_, f32>]) -> Vec<ArrayD<f32>> {
    let interpreter = QuantisedInterpreter::new(graph).unwrap();
    let inputs = graph.inputs.iter().zip(inputs);
    let inputs: Vec<Tensor> =
        inputs.map(|(input, x)| Tensor::of_input(graph, input.value, x).unwrap()).collect();
    let outputs = graph.outputs.iter().zip(interpreter.run(&inputs).unwrap());
    let real = |(output, tensor): (&GraphOutput, Tensor)| {
        tensor.dequantise(graph.ty(output.value).step.unwrap(), &output.shape).unwrap()
    };
    outputs.map(real).collect()
}

/// The inputs or outputs of a model in `tests/models`, by name; only where there are several do the
/// files' names say which.
fn tensors<'a>(
    model: &str,
    what: &str,
    names: impl ExactSizeIterator<Item = &'a String>,
) -> Vec<ArrayD<f32>> {
    let single = names.len() == 1;
    names
        .map(|name| {
            npy(&path(
                model,
                &if single { format!("{what}.npy") } else { format!("{name}.{what}.npy") },
            ))
        })
        .collect()
}

/// Names of the models in `tests/models`.
fn names() -> Vec<String> {
    let files = std::fs::read_dir(file("tests/models")).unwrap();
    let names = files.filter_map(|file| {
        Some(file.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() >= 56);
    names
}

fn path(name: &str, suffix: &str) -> PathBuf {
    file("tests/models").join(format!("{name}.{suffix}"))
}

#[test]
fn every_export_computes_what_onnx_runtime_does() {
    for name in names().into_iter().filter(|name| !is_quantised(name)) {
        let (imported, canonical) = graphs(&path(&name, "onnx"));
        let inputs = tensors(&name, "in", imported.inputs.iter().map(|input| &input.name));
        let references = tensors(&name, "out", imported.outputs.iter().map(|output| &output.name));
        let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
        let errors = [&imported, &canonical].map(|graph| {
            let outputs = FloatInterpreter::new(graph).unwrap().run(&views).unwrap();
            let errors =
                references.iter().zip(&outputs).map(|(reference, output)| error(reference, output));
            errors.fold(0f32, f32::max)
        });
        let calibration = Calibration::run(&canonical, &views).unwrap();
        let integers =
            quantise(&canonical, &calibration).unwrap_or_else(|error| panic!("{name}: {error}"));
        integers.verify().unwrap();
        let results = all_quantised(&integers, &views);
        let sqnr = references.iter().zip(&results).map(|(reference, result)| {
            sqnr_db(reference.as_slice().unwrap(), result.as_slice().unwrap())
        });
        let sqnr = sqnr.fold(f64::INFINITY, f64::min);
        println!("{name}: errors {errors:?}, {sqnr:.1} dB");
        // The runtime rounds to 16 bits at every operator.
        let tolerance = if name.contains("half") { 1e-2 } else { 1e-4 };
        assert!(errors.iter().all(|error| *error < tolerance), "{name}: {errors:?}");
        assert!(sqnr >= 20.0, "{name}: {sqnr} dB");
    }
}

/// Whether a model was quantised by ONNX Runtime.
fn is_quantised(name: &str) -> bool {
    name.contains(".qdq_")
}

/// Quantised models: all rounding as in the file against ONNX Runtime, their weights without it
/// against ONNX Runtime, and our integers, which nothing calibrates, against the quantised and the
/// float model.
#[test]
fn quantised_exports_bring_their_own_steps() {
    let names: Vec<String> = names().into_iter().filter(|name| is_quantised(name)).collect();
    assert_eq!(names.len(), 3);
    let db = |reference: &ArrayD<f32>, found: &ArrayD<f32>| {
        sqnr_db(reference.as_slice().unwrap(), found.as_slice().unwrap())
    };
    for name in names {
        let (imported, canonical) = graphs(&path(&name, "onnx"));
        let [input, rounded, real] =
            ["in.npy", "out.npy", "real.npy"].map(|suffix| npy(&path(&name, suffix)));
        let unquantised = npy(&path(name.split_once(".qdq_").unwrap().0, "out.npy"));
        assert!(!needs_samples(&canonical), "{name}: {canonical}");
        let integers = quantise(&canonical, &Calibration::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        integers.verify().unwrap();
        let result = quantised(&integers, input.view());
        let found = [
            db(&rounded, &float(&imported, input.view())),
            db(&real, &float(&canonical, input.view())),
            db(&rounded, &result),
            db(&unquantised, &result),
            db(&unquantised, &rounded),
        ];
        println!("{name}: {found:.1?} dB");
        // The runtime's own results may differ in single roundings between its versions.
        assert!(found[0] > 40.0 && found[1] > 100.0, "{name}: {found:?} dB");
        assert!(found[2] > 25.0 && found[3] > 30.0, "{name}: {found:?} dB");
    }
}

#[test]
fn one_model_has_one_canonical_form() {
    let mut forms: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
    for name in names() {
        let counts = graphs(&path(&name, "onnx")).1.operator_counts();
        let model = name.split('.').next().unwrap().to_owned();
        let first = forms.entry(model).or_insert_with(|| counts.clone());
        assert_eq!(*first, counts, "{name}");
    }
    assert_eq!(forms.len(), 10);
}

/// What every attention of a graph adds to its scores.
fn biases(graph: &Graph) -> Vec<(Vec<usize>, Vec<f32>)> {
    let attentions = graph
        .order
        .iter()
        .map(|op| graph.op(*op))
        .filter(|data| matches!(data.kind, OpKind::Attention { .. }));
    attentions
        .map(|data| {
            (graph.ty(data.operands[3]).shape.clone(), graph.const_f32(data.operands[3]).unwrap())
        })
        .collect()
}

/// Masks from a file on a model without any are the same masks baked into that model.
#[test]
fn masks_from_a_file_compute_what_baked_ones_do() {
    let options = ImportOptions::default();
    for (masked, plain) in [
        ("vit.legacy.unfused.op17.masked", "vit.legacy.unfused.op17"),
        ("vit.dynamo.unfused.op20.masked", "vit.dynamo.fused.op18"),
    ] {
        let heads = |(shape, bias): (Vec<usize>, Vec<f32>)| {
            assert_eq!(shape, [3, 17, 17]);
            let head = |head: usize| {
                Mask::from_fn(17, 17, |query, key| bias[(head * 17 + query) * 17 + key] == 0.0)
            };
            (0..3).map(head).collect()
        };
        let baked = import_model(
            &path(masked, "onnx"),
            &options,
            Options { all_rows: true, ..Options::default() },
        )
        .unwrap()
        .graph;
        let masks = Masks::new(biases(&baked).into_iter().map(heads).collect()).unwrap();
        assert!((0.5..0.8).contains(&masks.sparsity()));
        let bytes = masks.to_npy(Polarity::PrunedIsTrue).unwrap();
        let read = Masks::from_npy(&bytes, None).unwrap();
        let graph = import_model(
            &path(plain, "onnx"),
            &options,
            Options { masks: Some(&read), ..Options::default() },
        )
        .unwrap()
        .graph;

        // Of the last layer only the class token's row is computed, which keeps everything.
        let rows: Vec<_> = biases(&graph)
            .into_iter()
            .map(|(shape, bias)| (shape, bias.contains(&f32::NEG_INFINITY)))
            .collect();
        assert_eq!(rows, [(vec![3, 17, 17], true), (vec![3, 1, 17], false)]);
        let (input, reference) = (npy(&path(masked, "in.npy")), npy(&path(masked, "out.npy")));
        assert!(error(&reference, &float(&graph, input.view())) < 1e-4);
        let calibrated = |graph: &Graph| {
            let calibration = Calibration::run(graph, &[input.view()]).unwrap();
            quantised(&quantise(graph, &calibration).unwrap(), input.view())
        };
        let (from_file, baked) = (calibrated(&graph), calibrated(&graphs(&path(masked, "onnx")).1));
        assert!(sqnr_db(reference.as_slice().unwrap(), from_file.as_slice().unwrap()) > 28.0);
        assert!(sqnr_db(baked.as_slice().unwrap(), from_file.as_slice().unwrap()) > 30.0);
    }
}

#[test]
fn masks_of_another_model_are_refused() {
    let heads = vec![Mask::from_fn(6, 6, |_, _| true); 3];
    let masks = Masks::new(vec![heads.clone(), heads]).unwrap();
    let model = path("vit.legacy.unfused.op17", "onnx");
    let error = import_model(
        &model,
        &ImportOptions::default(),
        Options { masks: Some(&masks), ..Options::default() },
    )
    .unwrap_err()
    .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "masks: the masks do not match the model:");
    assert!(lines[1].starts_with("/blocks/blocks.0/attn/"), "{error}");
    assert!(lines[2].ends_with(
        "layer 1: masks of shape [3, 6, 6]: expected [heads, queries, keys] = [3, 17, 17]"
    ));
}

#[test]
fn the_digits_example() {
    let folder = file("examples/digits");
    let canonical = import_file(&folder.join("digits.onnx"), &ImportOptions::default()).unwrap();
    let images = npy(&folder.join("test_images.npy"));
    let logits = npy(&folder.join("expected_logits.npy"));
    let calibration = npy(&folder.join("calibration.npy"));
    let integers =
        quantise(&canonical, &Calibration::run(&canonical, &[calibration.view()]).unwrap())
            .unwrap();
    let (mut agree, mut noise) = (0, Noise::default());
    const IMAGES: usize = 50;
    for item in 0..IMAGES {
        let slice = Slice::from(item..item + 1);
        let (input, reference) =
            (images.slice_axis(Axis(0), slice), logits.slice_axis(Axis(0), slice).into_owned());
        assert!(error(&reference, &float(&canonical, input.view())) < 1e-4);
        let result = quantised(&integers, input.view());
        agree += usize::from(best(&reference) == best(&result));
        noise = noise.and(Noise::of(&reference, &result));
    }
    assert!(agree * 100 >= IMAGES * 97, "{agree} of {IMAGES} predictions agree");
    assert!(noise.sqnr_db() >= 25.0, "{} dB", noise.sqnr_db());
}

/// All test images: quantisation costs at most half a point of what is right.
#[test]
fn predictions_of_the_digits_example() {
    let folder = file("examples/digits");
    let canonical = import_file(&folder.join("digits.onnx"), &ImportOptions::default()).unwrap();
    let images = npy(&folder.join("test_images.npy"));
    let logits = npy(&folder.join("expected_logits.npy"));
    let labels = npy(&folder.join("test_labels.npy"));
    let calibration = npy(&folder.join("calibration.npy"));
    let integers =
        quantise(&canonical, &Calibration::run(&canonical, &[calibration.view()]).unwrap())
            .unwrap();
    let item = |array: &ArrayD<f32>, item: usize| {
        array.slice_axis(Axis(0), Slice::from(item..item + 1)).into_owned()
    };
    let results: Vec<ArrayD<f32>> = (0..labels.len())
        .into_par_iter()
        .map(|i| quantised(&integers, item(&images, i).view()))
        .collect();
    let (mut right, mut noise) = ([0i32; 2], Noise::default());
    for (i, (label, result)) in labels.iter().zip(&results).enumerate() {
        let reference = item(&logits, i);
        right[0] += i32::from(best(&reference) == *label as usize);
        right[1] += i32::from(best(result) == *label as usize);
        noise = noise.and(Noise::of(&reference, result));
    }
    println!(
        "{right:?} of {} right in float and in integers, {:.1} dB",
        labels.len(),
        noise.sqnr_db()
    );
    assert!(
        right[0] > 480 && (right[0] - right[1]).abs() * 200 <= labels.len() as i32,
        "{right:?}"
    );
    assert!(noise.sqnr_db() >= 25.0, "{} dB", noise.sqnr_db());
}

#[test]
fn auto_encoders_of_the_digits_example() {
    let folder = file("examples/digits");
    let masks = Masks::from_npy(&std::fs::read(folder.join("masks90.npy")).unwrap(), None).unwrap();
    let file = folder.join("digits_sparse90_ae.onnx");
    let graph = import_model(
        &file,
        &ImportOptions::default(),
        Options { masks: Some(&masks), ..Options::default() },
    )
    .unwrap()
    .graph;
    let counts = graph.operator_counts();
    // Four layers, an encoder and a decoder on Q and on K of each.
    assert_eq!((counts["attention"], counts["mix_heads"]), (4, 16));
    // Projections of Q, K and V, that of the output, two of the MLP; patches and classifier. Of the
    // sums, the residual ones and that of the positions are left: biases are part of what they
    // follow.
    assert_eq!((counts["linear"], counts["binary"]), (4 * 6 + 2, 4 * 2 + 1));

    let images = npy(&folder.join("test_images.npy"));
    let logits = npy(&folder.join("expected_logits_sparse90.npy"));
    let calibration = npy(&folder.join("calibration.npy"));
    let machine = Machine::preset("vitcod").unwrap();
    const IMAGES: usize = 50;
    for form in Form::ALL {
        let (placed, decisions) = place(&graph, &machine, Choice::Always(form)).unwrap();
        assert!(decisions.len() == 4 && decisions.iter().all(|decision| decision.form == form));
        let integers =
            quantise(&placed, &Calibration::run(&placed, &[calibration.view()]).unwrap()).unwrap();
        let (mut agree, mut noise) = (0, Noise::default());
        for item in 0..IMAGES {
            let slice = Slice::from(item..item + 1);
            let (input, reference) =
                (images.slice_axis(Axis(0), slice), logits.slice_axis(Axis(0), slice).into_owned());
            assert!(error(&reference, &float(&placed, input.view())) < 1e-4);
            let result = quantised(&integers, input.view());
            agree += usize::from(best(&reference) == best(&result));
            noise = noise.and(Noise::of(&reference, &result));
        }
        println!(
            "{form}: {agree} of {IMAGES} predictions agree, {} dB, {:?}",
            noise.sqnr_db(),
            decisions[0].estimates
        );
        assert!(noise.sqnr_db() >= 25.0, "{form}: {} dB", noise.sqnr_db());
        assert!(agree * 100 >= IMAGES * 95, "{form}: {agree} of {IMAGES} predictions agree");
    }
}

#[test]
fn principal_components_of_the_digits_example() {
    let folder = file("examples/digits");
    let graph = import_file(&folder.join("digits.onnx"), &ImportOptions::default()).unwrap();
    let calibration = npy(&folder.join("calibration.npy"));
    let image =
        npy(&folder.join("test_images.npy")).slice_axis(Axis(0), Slice::from(..1)).into_owned();
    let reference = float(&graph, image.view());
    let (whole, errors) = pca(&graph, &[calibration.view()], 3).unwrap();
    assert!(
        errors.len() == 4
            && errors.iter().all(|error| error.q.relative < 1e-12 && error.k.relative < 1e-12)
    );
    assert!(error(&reference, &float(&whole, image.view())) < 1e-4);
    let (compressed, errors) = pca(&graph, &[calibration.view()], 2).unwrap();
    errors.iter().for_each(|error| println!("{error:?}"));
    assert_eq!(compressed.operator_counts()["mix_heads"], 16);
    assert!(errors.iter().all(|error| (0.0..1.0 / 3.0).contains(&error.q.relative)), "{errors:?}");
}

#[test]
fn the_text_of_a_tiny_model() {
    let name = "vit.dynamo.fused.op20.default";
    let canonical = graphs(&path(name, "onnx")).1;
    insta::assert_snapshot!("canonical", canonical);
    let calibration = Calibration::run(&canonical, &[npy(&path(name, "in.npy")).view()]).unwrap();
    insta::assert_snapshot!(
        "quantised",
        shortened(&quantise(&canonical, &calibration).unwrap().to_string())
    );
}

/// Imports a model that was changed, and canonicalises what can be imported: either may fail,
/// neither may panic.
fn survives(model: &Model) {
    if let Ok(graph) = import(model, &ImportOptions::default()) {
        graph.verify().unwrap();
        if let Ok(graph) = passes::run_on_graph(&graph, passes::CANONICALISE, &Context::default()) {
            graph.verify().unwrap();
        }
    }
}

const HOSTILE: [i64; 8] = [i64::MIN, -7, -1, 0, 1, 3, 1 << 33, i64::MAX];

#[test]
fn hostile_numbers_are_refused_or_imported() {
    for name in [
        "vit.legacy.fused.op14",
        "vit.dynamo.unfused.op20.batch",
        "vit.legacy.unfused.op17.sim",
        "vitcod.legacy.unfused.op17",
    ] {
        let model = onnx::load(&path(name, "onnx")).unwrap();
        let mut sites = 0;
        let mut try_all = |change: &dyn Fn(&mut Model, i64)| {
            sites += 1;
            for number in HOSTILE {
                let mut changed = model.clone();
                change(&mut changed, number);
                survives(&changed);
            }
        };
        for (key, tensor) in &model.graph.initializers {
            for index in 0..tensor.to_i64().map_or(0, |elements| elements.len()) {
                try_all(&|model, number| {
                    let tensor = model.graph.initializers.get_mut(key).unwrap();
                    *tensor = with_integer(tensor, index, number);
                });
            }
        }
        for (node, data) in model.graph.nodes.iter().enumerate() {
            for (key, attribute) in &data.attributes {
                let count = match attribute {
                    Attribute::Int(_) => 1,
                    Attribute::Ints(elements) => elements.len(),
                    Attribute::Tensor(tensor) => {
                        tensor.to_i64().map_or(0, |elements| elements.len())
                    }
                    _ => 0,
                };
                for index in 0..count {
                    try_all(&|model, number| match model.graph.nodes[node]
                        .attributes
                        .get_mut(key)
                        .unwrap()
                    {
                        Attribute::Int(element) => *element = number,
                        Attribute::Ints(elements) => elements[index] = number,
                        Attribute::Tensor(tensor) => *tensor = with_integer(tensor, index, number),
                        _ => unreachable!("counted as no integers"),
                    });
                }
            }
        }
        assert!(sites > 50, "{name}: {sites}");
    }
}

/// A tensor of 64-bit integers with another element.
fn with_integer(tensor: &onnx::Tensor, index: usize, element: i64) -> onnx::Tensor {
    let mut elements = tensor.to_i64().unwrap();
    elements[index] = element;
    let data: Vec<u8> = elements.into_iter().flat_map(i64::to_le_bytes).collect();
    onnx::Tensor::new(DataType::I64, tensor.dims().to_vec(), data.into()).unwrap()
}

#[test]
fn exchanged_operands_are_refused_or_imported() {
    for name in ["vit.legacy.fused.op14", "vit.dynamo.fused.op18", "vitcod.dynamo.unfused.op20"] {
        let model = onnx::load(&path(name, "onnx")).unwrap();
        let mut known: Vec<String> = model.graph.initializers.keys().cloned().collect();
        known.push("x".to_owned());
        for (index, node) in model.graph.nodes.iter().enumerate() {
            for operand in 0..node.inputs.len() {
                // A stride that is no divisor of anything reaches operands of all kinds.
                for other in known
                    .iter()
                    .skip((index * 7 + operand) % 13)
                    .step_by(13)
                    .map(Some)
                    .chain([None])
                {
                    let mut changed = model.clone();
                    changed.graph.nodes[index].inputs[operand] = other.cloned();
                    survives(&changed);
                }
            }
            known.extend(node.outputs.iter().flatten().cloned());
        }
    }
}

/// The index of the largest element.
fn best(logits: &ArrayD<f32>) -> usize {
    let indexed = logits.iter().enumerate();
    indexed.max_by(|a, b| a.1.total_cmp(b.1)).expect("there are logits").0
}

/// A module, read from its text.
fn reread(module: &Module) -> Module {
    const SIDE: &str = "side";
    let sections = || Sections::Side(SIDE.to_owned());
    let of_tasks = |image, ir: &Option<SavedIr>| Bytes::from(Sections::side(image, ir.as_ref()));
    match module {
        Module::Graph(graph) => {
            let mut side = Vec::new();
            let constants = text::Constants::File { name: SIDE, bytes: &mut side };
            let written = text::print(&graph.compacted(), constants);
            let side = Bytes::from(side);
            Module::Graph(text::parse(&written, &mut |_| Ok(side.clone())).unwrap())
        }
        Module::Tiled(tiled) => {
            let side = of_tasks(&tiled.image, &tiled.ir);
            Module::Tiled(Tiled::parse(&tiled.text(sections()), &|_| Ok(side.clone())).unwrap())
        }
        Module::Scheduled(scheduled) => {
            let side = of_tasks(&scheduled.tiled.image, &scheduled.tiled.ir);
            let again = Scheduled::parse(&scheduled.text(sections()), &|_| Ok(side.clone()));
            Module::Scheduled(again.unwrap())
        }
        Module::Program(program) => Module::Program(program.clone()),
    }
}

/// The text of each level of every model goes on to the same next level, up to the program.
#[test]
fn every_level_of_every_model_goes_on_from_its_text() {
    let machine = Machine::preset("vitcod").unwrap();
    names().par_iter().for_each(|name| {
        let context = Context { machine: Some(&machine), ..Context::default() };
        let model = onnx::load(&path(name, "onnx")).unwrap();
        let module = Module::Graph(import(&model, &ImportOptions::default()).unwrap());
        let to = |module: Module, level: Level| {
            let names = passes::pipeline(module.level(), level, &context);
            passes::run(module, &names, &context, |_, _| {}).unwrap()
        };
        let mut module = module;
        for level in Level::ALL.into_iter().skip(1) {
            // If each level's text gives the next level, each gives the program.
            let again = to(reread(&module), level);
            module = to(module, level);
            assert_eq!(module.to_string(), again.to_string(), "{name}: {level}");
            if let (Module::Program(program), Module::Program(again)) = (&module, &again) {
                assert_eq!(program.to_bytes().unwrap(), again.to_bytes().unwrap(), "{name}");
            }
        }
    });
}
