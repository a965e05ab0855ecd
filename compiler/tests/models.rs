//! Exported models from file to quantised graph, against what ONNX Runtime computes from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use vitcod_compiler::frontend::import_file;
use vitcod_compiler::import::{ImportOptions, import};
use vitcod_compiler::interp::{FloatInterpreter, QuantisedInterpreter, Tensor, sqnr_db};
use vitcod_compiler::ir::Graph;
use vitcod_compiler::quantise::{Calibration, quantise};
use vitcod_compiler::{onnx, passes};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

fn npy(path: &Path) -> ArrayD<f32> {
    ndarray_npy::read_npy(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The graph of a file, imported and canonical.
fn graphs(path: &Path) -> (Graph, Graph) {
    let model = onnx::load(path).unwrap_or_else(|error| panic!("{error}"));
    let imported =
        import(&model, &ImportOptions::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    imported.verify().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let canonical = passes::run(&imported, passes::CANONICALISE, |_, _| {})
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

/// What a quantised graph gives, in real numbers.
fn quantised(graph: &Graph, input: ArrayViewD<'_, f32>) -> ArrayD<f32> {
    let interpreter = QuantisedInterpreter::new(graph).unwrap();
    let input = Tensor::quantise(&input, graph.ty(graph.inputs[0].1)).unwrap();
    let outputs = interpreter.run(&[input]).unwrap();
    let output = &graph.outputs[0];
    outputs[0].dequantise(graph.ty(output.value).step.unwrap(), &output.shape).unwrap()
}

/// Names of the models in `tests/models`.
fn names() -> Vec<String> {
    let files = std::fs::read_dir(repository().join("tests/models")).unwrap();
    let names = files.filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() >= 21);
    names
}

fn path(name: &str, suffix: &str) -> PathBuf {
    repository().join("tests/models").join(format!("{name}.{suffix}"))
}

#[test]
fn every_export_computes_what_onnx_runtime_does() {
    for name in names() {
        let (imported, canonical) = graphs(&path(&name, "onnx"));
        let (input, reference) = (npy(&path(&name, "in.npy")), npy(&path(&name, "out.npy")));
        let errors = [&imported, &canonical].map(|graph| error(&reference, &float(graph, input.view())));
        let calibration = Calibration::run(&canonical, &[input.view()]).unwrap();
        let integers = quantise(&canonical, &calibration).unwrap_or_else(|error| panic!("{name}: {error}"));
        integers.verify().unwrap();
        let result = quantised(&integers, input.view());
        let sqnr = sqnr_db(reference.as_slice().unwrap(), result.as_slice().unwrap());
        println!("{name}: errors {errors:?}, {sqnr:.1} dB");
        // The runtime rounds to 16 bits at every operator.
        let tolerance = if name.contains("half") { 1e-2 } else { 1e-4 };
        assert!(errors.iter().all(|error| *error < tolerance), "{name}: {errors:?}");
        assert!(sqnr >= 20.0, "{name}: {sqnr} dB");
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
    assert_eq!(forms.len(), 2);
}

#[test]
fn the_digits_example() {
    let folder = repository().join("examples/digits");
    let canonical = import_file(&folder.join("digits.onnx"), &ImportOptions::default()).unwrap();
    let images = npy(&folder.join("test_images.npy"));
    let logits = npy(&folder.join("expected_logits.npy"));
    let calibration = npy(&folder.join("calibration.npy"));
    let integers = quantise(&canonical, &Calibration::run(&canonical, &[calibration.view()]).unwrap()).unwrap();
    let mut agree = 0;
    const IMAGES: usize = 50;
    for item in 0..IMAGES {
        let slice = Slice::from(item..item + 1);
        let (input, reference) = (images.slice_axis(Axis(0), slice), logits.slice_axis(Axis(0), slice).into_owned());
        assert!(error(&reference, &float(&canonical, input.view())) < 1e-4);
        let result = quantised(&integers, input.view());
        agree += usize::from(best(&reference) == best(&result));
    }
    assert!(agree * 100 >= IMAGES * 97, "{agree} of {IMAGES} predictions agree");
}

/// The index of the largest element.
fn best(logits: &ArrayD<f32>) -> usize {
    let indexed = logits.iter().enumerate();
    indexed.max_by(|a, b| a.1.total_cmp(b.1)).expect("there are logits").0
}
