//! What exporters write, one small model for each idiom (`tests/idioms`), against what ONNX Runtime
//! computes from it.

use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use vitcod_compiler::import::{ImportOptions, import};
use vitcod_compiler::interp::{FloatInterpreter, QuantisedInterpreter, Tensor, sqnr_db};
use vitcod_compiler::ir::Graph;
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context};
use vitcod_compiler::quantise::{Options, calibrated};
use vitcod_isa::machine::Machine;
use vitcod_testing::equal::assert_bit_equal;
use vitcod_testing::files::file;

/// An array of any element type as floats.
fn npy(path: &Path) -> ArrayD<f32> {
    let bytes = std::fs::read(path).unwrap();
    vitcod_runtime::npy::decode(&bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names() -> Vec<String> {
    let files = std::fs::read_dir(file("tests/idioms")).unwrap();
    let names = files.filter_map(|file| {
        Some(file.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() >= 100);
    names
}

/// The outputs of a graph, item by item if the arrays hold several.
fn float(graph: &Graph, inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    let interpreter = FloatInterpreter::new(graph).unwrap();
    by_item(graph, inputs, |views| interpreter.run(views).unwrap())
}

fn quantised(graph: &Graph, inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    let interpreter = QuantisedInterpreter::new(graph).unwrap();
    by_item(graph, inputs, |views| {
        let tensors = graph.inputs.iter().zip(views);
        let tensors: Vec<Tensor> =
            tensors.map(|(input, x)| Tensor::of_input(graph, input.value, x).unwrap()).collect();
        let outputs = graph.outputs.iter().zip(interpreter.run(&tensors).unwrap());
        let real = outputs.map(|(output, tensor)| {
            tensor.dequantise(graph.ty(output.value).step.unwrap(), &output.shape).unwrap()
        });
        real.collect()
    })
}

fn by_item(
    graph: &Graph,
    inputs: &[ArrayD<f32>],
    run: impl Fn(&[ArrayViewD<'_, f32>]) -> Vec<ArrayD<f32>>,
) -> Vec<ArrayD<f32>> {
    let rows = |i: usize| graph.inputs[i].shape.first().copied().unwrap_or(1);
    let items = inputs.first().map_or(1, |x| x.shape()[0] / rows(0));
    let items: Vec<Vec<ArrayD<f32>>> = (0..items)
        .map(|item| {
            let part = |(i, x): (usize, &ArrayD<f32>)| {
                let places: Vec<usize> = (item * rows(i)..(item + 1) * rows(i)).collect();
                x.select(Axis(0), &places)
            };
            let parts: Vec<ArrayD<f32>> = inputs.iter().enumerate().map(part).collect();
            run(&parts.iter().map(|part| part.view()).collect::<Vec<_>>())
        })
        .collect();
    (0..graph.outputs.len())
        .map(|output| {
            let parts: Vec<_> = items.iter().map(|item| item[output].view()).collect();
            concatenate(Axis(0), &parts).unwrap()
        })
        .collect()
}

fn ratio(reference: &ArrayD<f32>, result: &ArrayD<f32>) -> f64 {
    let elements = |x: &ArrayD<f32>| x.iter().copied().collect::<Vec<f32>>();
    sqnr_db(&elements(reference), &elements(result))
}

/// Why a model is not what ONNX Runtime computes; `None` if it is.
fn difference(name: &str) -> Option<String> {
    let folder = file("tests/idioms");
    let model = onnx::load(&folder.join(format!("{name}.onnx"))).map_err(|e| e.to_string());
    let imported =
        model.and_then(|m| import(&m, &ImportOptions::default()).map_err(|e| e.to_string()));
    let imported = match imported {
        Ok(imported) => imported,
        Err(error) => return Some(error),
    };
    let context = Context::default();
    let canonical = match passes::run_on_graph(&imported, passes::CANONICALISE, &context) {
        Ok(canonical) => canonical,
        Err(error) => return Some(error.to_string()),
    };
    let read = |tensor: &str, what: &str| npy(&folder.join(format!("{name}.{tensor}.{what}.npy")));
    let inputs: Vec<ArrayD<f32>> =
        imported.inputs.iter().map(|input| read(&input.name, "in")).collect();
    let outputs: Vec<ArrayD<f32>> =
        imported.outputs.iter().map(|output| read(&output.name, "out")).collect();
    // Models that state integers are rounded otherwise by ONNX Runtime.
    let integers = ["quantised_", "qlinear_", "dynamic_quant"].iter().any(|x| name.starts_with(x));
    let least = if integers { 20.0 } else { 100.0 };
    for (stage, results) in
        [("imported", float(&imported, &inputs)), ("canonical", float(&canonical, &inputs))]
    {
        for (result, output) in results.iter().zip(&outputs) {
            if result.shape() != output.shape() {
                let shapes = (result.shape(), output.shape());
                return Some(format!("{stage}: {shapes:?}"));
            }
            let ratio = ratio(output, result);
            if ratio < least {
                return Some(format!("{stage}: {ratio:.1} dB"));
            }
        }
    }
    let (integers, _) = match calibrated(&canonical, Some(&inputs), Options::default()) {
        Ok(quantised) => quantised,
        Err(error) => return Some(error.to_string()),
    };
    if let Err(error) = assert_bit_equal(&integers.graph, &Machine::preset("vitcod").unwrap()) {
        return Some(error.to_string());
    }
    let worst = quantised(&integers.graph, &inputs)
        .iter()
        .zip(&outputs)
        .map(|(result, output)| ratio(output, result))
        .fold(f64::INFINITY, f64::min);
    (worst < 20.0).then(|| format!("quantised: {worst:.1} dB"))
}

#[test]
fn every_idiom_means_what_onnx_runtime_computes() {
    let differences = names().into_iter().filter_map(|name| {
        let difference = difference(&name)?;
        Some(format!("{name}: {difference}"))
    });
    let differences: Vec<String> = differences.collect();
    assert!(differences.is_empty(), "{}\n{}", differences.len(), differences.join("\n"));
}
