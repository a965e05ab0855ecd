//! Runs of programs, with what the host computes before and after them.

use std::fmt;
use std::time::Instant;

use anyhow::Context as _;
use ndarray::{ArrayD, ArrayViewD};
use serde::Serialize;
use vitcod_compiler::host::{self, Division, Host, Tensor, Tensors};
use vitcod_compiler::ir::{Elem, Graph};
use vitcod_isa::program::Program;
use vitcod_runtime::{BeyondRange, EmulatorDevice, Model, Output};

/// What the host computes of a program's model, if anything.
pub(crate) fn host(program: &Program) -> anyhow::Result<Option<Host>> {
    Ok(program.host.as_ref().map(Host::load).transpose()?)
}

/// One line about the division of a model.
pub(crate) fn summary(division: &Division) -> String {
    format!(
        "the host computes {} in float; {:.2} % of the model's multiplications are on the machine",
        division.counts(),
        100.0 * division.products.share()
    )
}

/// A run of a model.
pub(crate) struct Run<'a> {
    /// The inputs of the machine, by name.
    pub(crate) inputs: Vec<(&'a str, ArrayD<f32>)>,
    /// The outputs of the machine.
    pub(crate) outputs: Vec<Output>,
    /// The outputs of a model of which the host computes parts.
    pub(crate) hosted: Vec<HostOutput>,
    pub(crate) beyond_range: Vec<BeyondRange>,
    /// What the host did, if anything.
    pub(crate) work: Option<HostWork>,
}

/// An output of a model of which the host computes parts.
pub(crate) struct HostOutput {
    pub(crate) name: String,
    pub(crate) array: ArrayD<f32>,
    /// Whether its elements are integers.
    pub(crate) is_integer: bool,
}

/// What the host did for one item.
#[derive(Serialize)]
pub(crate) struct HostWork {
    operations_before: usize,
    operations_after: usize,
    /// Bytes that pass between its parts and the machine, as float32.
    crossing_bytes: u64,
    /// The measured time; it depends on the computer.
    seconds: f64,
}

/// Runs a model on items of its inputs, by name.
pub(crate) fn run<'a>(
    model: &'a Model,
    host: Option<&Host>,
    inputs: Vec<(&'a str, ArrayD<f32>)>,
) -> anyhow::Result<Run<'a>> {
    let mut session = model.open(&EmulatorDevice)?;
    let Some(host) = host else {
        let outputs = session.run(&views(&inputs))?;
        let beyond_range = session.beyond_range().to_vec();
        return Ok(Run { inputs, outputs, hosted: Vec::new(), beyond_range, work: None });
    };
    let started = Instant::now();
    let mut items = items(host, &inputs)?;
    let mut spent = started.elapsed();
    let of_machine = model.inputs().iter().map(|binding| {
        let name = binding.name.as_str();
        let array = host::stacked(&items, name);
        Ok((name, array.with_context(|| format!("nothing computes the machine's input {name:?}"))?))
    });
    let inputs: Vec<(&str, ArrayD<f32>)> = of_machine.collect::<anyhow::Result<_>>()?;
    let outputs = session.run(&views(&inputs))?;
    let started = Instant::now();
    for (binding, output) in model.outputs().iter().zip(&outputs) {
        let array = output.to_f32();
        let shape: Vec<usize> = binding.shape.iter().map(|extent| *extent as usize).collect();
        // An output of one item may have no axis to divide.
        let each = array.len() / items.len();
        let elements: Vec<f32> = array.into_iter().collect();
        for (i, tensors) in items.iter_mut().enumerate() {
            let item = elements[i * each..(i + 1) * each].to_vec();
            tensors.insert(output.name.clone(), ArrayD::from_shape_vec(shape.clone(), item)?);
        }
    }
    items.iter_mut().try_for_each(|tensors| host.run_after(tensors))?;
    let of_model = host.outputs.iter().map(|Tensor { name, ty, .. }| {
        let array = host::stacked(&items, name);
        let array = array.with_context(|| format!("nothing computes output {name:?}"))?;
        Ok(HostOutput { name: name.clone(), array, is_integer: ty.elem == Elem::I64 })
    });
    let hosted = of_model.collect::<anyhow::Result<Vec<HostOutput>>>()?;
    spent += started.elapsed();
    let operations = |part: &Option<Graph>| part.as_ref().map_or(0, |part| part.order.len());
    let work = HostWork {
        operations_before: operations(&host.before),
        operations_after: operations(&host.after),
        crossing_bytes: host.crossing_bytes(),
        seconds: spent.as_secs_f64() / items.len() as f64,
    };
    let beyond_range = session.beyond_range().to_vec();
    Ok(Run { inputs, outputs, hosted, beyond_range, work: Some(work) })
}

/// The tensors before the machine of each item.
fn items(host: &Host, inputs: &[(&str, ArrayD<f32>)]) -> anyhow::Result<Vec<Tensors>> {
    let in_order = host.inputs.iter().map(|Tensor { name, .. }| {
        let given = inputs.iter().find(|(given, _)| given == name);
        let (_, array) = given.with_context(|| format!("no --input is given for {name:?}"))?;
        Ok(array.view())
    });
    Ok(host.items(&in_order.collect::<anyhow::Result<Vec<_>>>()?)?)
}

/// Inputs as a session takes them.
pub(crate) fn views<'a>(
    inputs: &'a [(&'a str, ArrayD<f32>)],
) -> Vec<(&'a str, ArrayViewD<'a, f32>)> {
    inputs.iter().map(|(name, array)| (*name, array.view())).collect()
}

impl fmt::Display for HostWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostWork { operations_before, operations_after, crossing_bytes, seconds } = self;
        write!(
            f,
            "host: {operations_before} operations before the machine, {operations_after} after; \
             {crossing_bytes} B cross (float32); {:.3} ms measured",
            1e3 * seconds
        )
    }
}
