//! The parts of a model that the host computes in float, before and after the machine.
//!
//! A model has parts that no accelerator gains from: preprocessing, a softmax over classes, the
//! choice of the largest. [`divide()`] finds them in a graph of the imported stage; [`Host`] holds
//! them as graphs of that stage, is stored in programs, and runs them with the
//! [float interpreter](crate::interp::FloatInterpreter).
//!
//! Tensors pass from part to part by name. The inputs of the machine's program are inputs of the
//! model or results of the part before; the part after reads any of them, and outputs of the
//! machine.

mod divide;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD, Axis};
use serde::{Deserialize, Serialize};

pub use divide::{Division, HostNode, Place, Products, divide};
pub use saved::HostError;

use crate::calibration::{Inputs, items};
use crate::interp::{FloatInterpreter, InterpError};
use crate::ir::{Graph, TensorType};
use crate::quantise::accuracy::Output;

/// The parts of a model that the host computes.
#[derive(Clone, Debug)]
pub struct Host {
    /// The inputs of the model, one item each.
    pub inputs: Vec<Tensor>,
    /// The outputs of the model, one item each.
    pub outputs: Vec<Tensor>,
    /// The part before the machine, if there is one.
    pub before: Option<Graph>,
    /// The part after the machine, if there is one.
    pub after: Option<Graph>,
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Name in the model.
    pub name: String,
    /// Element type, and shape in the model.
    pub ty: TensorType,
    /// The ratio of signal to quantisation noise in decibels, against the float model, that the
    /// compiler measured on an output; omitted in the file if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_sqnr_db: Option<f64>,
}

/// The tensors of an item by name.
pub type Tensors = BTreeMap<String, ArrayD<f32>>;

impl Inputs for Host {
    fn inputs(&self) -> Vec<(&str, TensorType)> {
        self.inputs.iter().map(|input| (input.name.as_str(), input.ty.clone())).collect()
    }
}

impl Host {
    /// The tensors of each item of samples of the model's inputs: the inputs, and the results of
    /// the part before the machine.
    ///
    /// # Errors
    /// The samples are not items of the model's inputs, or their numbers differ.
    pub fn items(&self, samples: &[ArrayViewD<'_, f32>]) -> Result<Vec<Tensors>, InterpError> {
        let named = |item: Vec<ArrayViewD<'_, f32>>| {
            let names = self.inputs.iter().map(|input| input.name.clone());
            let mut tensors = names.zip(item.iter().map(|array| array.to_owned())).collect();
            self.run_before(&mut tensors)?;
            Ok(tensors)
        };
        items(self, samples)?.into_iter().map(named).collect()
    }

    /// The samples of the machine's inputs that follow from those of the model's.
    ///
    /// # Errors
    /// As [`Host::items`].
    pub fn before_machine(
        &self,
        machine: &Graph,
        samples: &[ArrayD<f32>],
    ) -> Result<Vec<ArrayD<f32>>, InterpError> {
        let views: Vec<ArrayViewD<'_, f32>> = samples.iter().map(|array| array.view()).collect();
        let items = self.items(&views)?;
        let inputs = machine.inputs.iter().map(|input| stacked(&items, &input.name));
        Ok(inputs.collect::<Option<_>>().expect("the machine reads what the host computes"))
    }

    /// Compares the model's outputs that follow from outputs of the machine, in float and in
    /// integers. `tensors` are those of the item before the machine.
    ///
    /// # Errors
    /// A tensor is missing or does not match.
    pub fn compared(
        &self,
        machine: &Graph,
        tensors: &Tensors,
        expected: &[ArrayD<f32>],
        found: &[ArrayD<f32>],
    ) -> Result<Vec<Output>, InterpError> {
        let of = |outputs: &[ArrayD<f32>]| {
            let names = machine.outputs.iter().map(|output| output.name.clone());
            let mut tensors = tensors.clone();
            tensors.extend(names.zip(outputs.iter().cloned()));
            self.run_after(&mut tensors)?;
            Ok(tensors)
        };
        let (expected, found) = (of(expected)?, of(found)?);
        let outputs = self.outputs.iter().filter_map(|Tensor { name, .. }| {
            Some(Output::of(name, expected.get(name)?, found.get(name)?, None))
        });
        Ok(outputs.collect())
    }

    /// Whether the part after the machine reads nothing but its outputs.
    pub fn needs_only(&self, machine: &Graph) -> bool {
        let outputs = |name: &str| machine.outputs.iter().any(|output| output.name == name);
        self.after.iter().flat_map(|part| &part.inputs).all(|input| outputs(&input.name))
    }

    /// Computes the part before the machine: adds its results to `tensors`, which hold the model's
    /// inputs.
    ///
    /// # Errors
    /// A tensor is missing or does not match.
    pub fn run_before(&self, tensors: &mut Tensors) -> Result<(), InterpError> {
        self.before.as_ref().map_or(Ok(()), |part| run(part, tensors))
    }

    /// Computes the part after the machine: adds its results to `tensors`, which hold the model's
    /// inputs, the results of the part before, and the outputs of the machine.
    ///
    /// # Errors
    /// A tensor is missing or does not match.
    pub fn run_after(&self, tensors: &mut Tensors) -> Result<(), InterpError> {
        self.after.as_ref().map_or(Ok(()), |part| run(part, tensors))
    }

    /// Bytes of the tensors that pass between host and machine or between the host's parts, as
    /// float32: what the part after reads, and what the part before computes.
    pub fn crossing_bytes(&self) -> u64 {
        let bytes = |ty: &TensorType| 4 * ty.elements() as u64;
        let of_before = self
            .before
            .iter()
            .flat_map(|part| part.outputs.iter().map(move |output| bytes(part.ty(output.value))));
        let of_after = self
            .after
            .iter()
            .flat_map(|part| part.inputs.iter().map(move |input| bytes(part.ty(input.value))));
        of_before.chain(of_after).sum()
    }
}

fn run(part: &Graph, tensors: &mut Tensors) -> Result<(), InterpError> {
    let missing = || InterpError::input_count(part, tensors.len());
    let inputs = part.inputs.iter().map(|input| Some(tensors.get(&input.name)?.view()));
    let inputs: Vec<ArrayViewD<'_, f32>> = inputs.collect::<Option<_>>().ok_or_else(missing)?;
    let results = FloatInterpreter::new(part)?.run(&inputs)?;
    let names = part.outputs.iter().map(|output| output.name.clone());
    tensors.extend(names.zip(results));
    Ok(())
}

/// The tensors of a name, stacked along the first axis as a batch, in which scalars get an axis.
/// `None` if an item lacks it.
pub fn stacked(items: &[Tensors], name: &str) -> Option<ArrayD<f32>> {
    if let [item] = items {
        return item.get(name).cloned();
    }
    let parts = items.iter().map(|tensors| {
        let tensor = tensors.get(name)?.view();
        Some(if tensor.ndim() == 0 { tensor.insert_axis(Axis(0)) } else { tensor })
    });
    let parts: Vec<ArrayViewD<'_, f32>> = parts.collect::<Option<_>>()?;
    ndarray::concatenate(Axis(0), &parts).ok()
}
