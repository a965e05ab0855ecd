//! What exporters write, one small model for each idiom (`tests/idioms`), against what ONNX Runtime
//! computes from it.

use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use vitcod_compiler::frontend::{self, Imported, import_model};
use vitcod_compiler::host::Host;
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
    // Scalars cannot be joined.
    if let [item] = &items[..] {
        return item.clone();
    }
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

/// The tensors of an idiom.
struct Tensors {
    inputs: Vec<ArrayD<f32>>,
    outputs: Vec<ArrayD<f32>>,
}

fn tensors(name: &str, imported: &Graph) -> Tensors {
    let folder = file("tests/idioms");
    let read = |tensor: &str, what: &str| npy(&folder.join(format!("{name}.{tensor}.{what}.npy")));
    Tensors {
        inputs: imported.inputs.iter().map(|input| read(&input.name, "in")).collect(),
        outputs: imported.outputs.iter().map(|output| read(&output.name, "out")).collect(),
    }
}

/// How results differ from ONNX Runtime's; `None` if their ratio of signal to noise is large
/// enough.
fn too_far(results: &[ArrayD<f32>], outputs: &[ArrayD<f32>], least: f64) -> Option<String> {
    results.iter().zip(outputs).find_map(|(result, output)| {
        if result.shape() != output.shape() {
            return Some(format!("shape {:?}, not {:?}", result.shape(), output.shape()));
        }
        let ratio = ratio(output, result);
        (ratio < least).then(|| format!("{ratio:.1} dB"))
    })
}

/// Why a model is not what ONNX Runtime computes; `None` if it is.
fn difference(name: &str) -> Option<String> {
    let model = onnx::load(&file("tests/idioms").join(format!("{name}.onnx")));
    let imported = match import(&model.unwrap(), &ImportOptions::default()) {
        Ok(imported) => imported,
        Err(error) => return Some(error.to_string()),
    };
    let context = Context::default();
    // Models that state integers are rounded otherwise by ONNX Runtime.
    let integers = ["quantised_", "qlinear_", "dynamic_quant"].iter().any(|x| name.starts_with(x));
    let least = if integers { 20.0 } else { 100.0 };
    let Tensors { inputs, outputs } = tensors(name, &imported);
    if let Some(difference) = too_far(&float(&imported, &inputs), &outputs, least) {
        return Some(format!("imported: {difference}"));
    }
    let (canonical, host) = if name.starts_with("host_") {
        match with_host(name) {
            Ok((canonical, host)) => (canonical, Some(host)),
            Err(error) => return Some(error),
        }
    } else {
        match passes::run_on_graph(&imported, passes::CANONICALISE, &context) {
            Ok(canonical) => (canonical, None),
            Err(error) => return Some(error.to_string()),
        }
    };
    // What the host computes around the machine.
    let of_machine = match &host {
        Some(host) => host.before_machine(&canonical, &inputs).unwrap(),
        None => inputs.clone(),
    };
    let whole = |results: Vec<ArrayD<f32>>| match &host {
        Some(host) => after_machine(host, &canonical, &inputs, results),
        None => results,
    };
    let results = whole(float(&canonical, &of_machine));
    if let Some(difference) = too_far(&results, &outputs, least) {
        return Some(format!("canonical: {difference}"));
    }
    let (integers, _) = match calibrated(&canonical, Some(&of_machine), Options::default()) {
        Ok(quantised) => quantised,
        Err(error) => return Some(error.to_string()),
    };
    if let Err(error) = assert_bit_equal(&integers.graph, &Machine::preset("vitcod").unwrap()) {
        return Some(error.to_string());
    }
    let results = whole(quantised(&integers.graph, &of_machine));
    too_far(&results, &outputs, 20.0).map(|difference| format!("quantised: {difference}"))
}

/// The part of the machine, and those of the host.
fn with_host(name: &str) -> Result<(Graph, Host), String> {
    let path = file("tests/idioms").join(format!("{name}.onnx"));
    let options = frontend::Options::default();
    let Imported { graph, division } =
        import_model(&path, &ImportOptions::default(), options).map_err(|e| e.to_string())?;
    let division = division.ok_or("the machine computes all of it")?;
    Ok((graph, division.host))
}

/// The outputs of an item of a model, given those of the machine.
fn after_machine(
    host: &Host,
    machine: &Graph,
    inputs: &[ArrayD<f32>],
    results: Vec<ArrayD<f32>>,
) -> Vec<ArrayD<f32>> {
    let views: Vec<ArrayViewD<'_, f32>> = inputs.iter().map(|input| input.view()).collect();
    let mut tensors = host.items(&views).unwrap().remove(0);
    let names = machine.outputs.iter().map(|output| output.name.clone());
    tensors.extend(names.zip(results));
    host.run_after(&mut tensors).unwrap();
    host.outputs.iter().map(|output| tensors[&output.name].clone()).collect()
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
