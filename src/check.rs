//! Compares emulated outputs with the quantised reference interpreter.

use std::fmt;

use anyhow::{Context as _, ensure};
use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use rayon::prelude::*;
use vitcod_compiler::interp::{QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::{Graph, GraphInput, SavedGraph};
use vitcod_isa::program::Program;
use vitcod_runtime::{Integers, Output};

/// The number of integers that were compared and are equal.
pub(crate) struct Agreement {
    /// Number of items.
    pub(crate) items: usize,
    /// Number of integers of all outputs.
    pub(crate) integers: usize,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreement { items, integers } = self;
        write!(
            f,
            "all {integers} integers of the outputs equal the reference interpreter's (items: {items})"
        )
    }
}

/// Compares the outputs of a run with the results of the program's saved graph on the same
/// inputs, integer by integer.
///
/// `inputs` and `outputs` are those of `vitcod_runtime::Session::run`, which has accepted the
/// inputs. Items run in parallel.
///
/// # Errors
/// The outputs differ (with the number of differences and the first one), or the program has no
/// graph or one that does not match.
pub(crate) fn compare(
    program: &Program,
    inputs: &[(&str, ArrayViewD<'_, f32>)],
    outputs: &[Output],
) -> anyhow::Result<Agreement> {
    let ir = program
        .ir
        .as_ref()
        .context("the program is stripped: it holds no saved graph to compare with")?;
    let graph = SavedGraph::load(ir, &program.image)?;
    let interpreter = QuantisedInterpreter::new(&graph)?;
    let inputs = in_order_of(&graph, inputs)?;
    let names = graph.outputs.iter().map(|output| &output.name);
    ensure!(
        names.eq(outputs.iter().map(|output| &output.name)),
        "the saved graph has not the program's outputs"
    );

    let items = items(program, outputs);
    let compared = (0..items).into_par_iter().map(|item| {
        let expected = interpreter.run(&quantised(&graph, &inputs, item, items)?)?;
        let mut compared = Compared::default();
        for ((output, expected), shape) in
            outputs.iter().zip(&expected).zip(graph.outputs.iter().map(|o| &o.shape))
        {
            let (emulated, expected) = (integers(output, item, items), of_tensor(expected));
            let sizes_agree = emulated.len() == expected.len();
            ensure!(
                sizes_agree,
                "output {:?} of the saved graph has not the program's size",
                output.name
            );
            compared.tensor(&emulated, &expected, |position| {
                format!("output {:?} of item {item} at {:?}", output.name, index(position, shape))
            });
        }
        Ok(compared)
    });
    let compared: Vec<Compared> = compared.collect::<anyhow::Result<_>>()?;
    let Compared { integers, different, first } =
        compared.into_iter().fold(Compared::default(), Compared::join);
    match first {
        None => Ok(Agreement { items, integers }),
        Some(first) => {
            anyhow::bail!(
                "{different} of {integers} integers differ from the reference interpreter's; the first: {first}"
            )
        }
    }
}

/// The result of some comparisons.
#[derive(Default)]
struct Compared {
    integers: usize,
    different: usize,
    /// The message about the first difference.
    first: Option<String>,
}

impl Compared {
    /// Compares a tensor; `place` names a position in it.
    fn tensor(&mut self, emulated: &[i64], expected: &[i64], place: impl Fn(usize) -> String) {
        self.integers += emulated.len();
        for (position, (emulated, expected)) in emulated.iter().zip(expected).enumerate() {
            if emulated != expected {
                self.different += 1;
                self.first.get_or_insert_with(|| {
                    format!("{} is {emulated}, expected {expected}", place(position))
                });
            }
        }
    }

    /// Merges these comparisons with later ones.
    fn join(self, later: Compared) -> Compared {
        Compared {
            integers: self.integers + later.integers,
            different: self.different + later.different,
            first: self.first.or(later.first),
        }
    }
}

/// The inputs in the order of the graph's.
fn in_order_of<'a>(
    graph: &Graph,
    inputs: &'a [(&str, ArrayViewD<'a, f32>)],
) -> anyhow::Result<Vec<&'a ArrayViewD<'a, f32>>> {
    let inputs = graph.inputs.iter().map(|GraphInput { name, .. }| {
        let input = inputs.iter().find(|(given, _)| given == name);
        input
            .map(|(_, array)| array)
            .with_context(|| format!("the saved graph has an input {name:?}, the program none"))
    });
    inputs.collect()
}

/// The number of items of a run.
fn items(program: &Program, outputs: &[Output]) -> usize {
    let counts = program.header.outputs.iter().zip(outputs).filter_map(|(binding, output)| {
        let elements = match &output.values {
            Integers::I8(values) => values.len(),
            Integers::I16(values) => values.len(),
        };
        elements.checked_div(usize::try_from(binding.elements()?).ok()?)
    });
    counts.min().unwrap_or(0)
}

/// The integers of one of `items` items of the inputs.
fn quantised(
    graph: &Graph,
    inputs: &[&ArrayViewD<'_, f32>],
    item: usize,
    items: usize,
) -> anyhow::Result<Vec<Tensor>> {
    let tensors = graph.inputs.iter().zip(inputs).map(|(GraphInput { name, value, .. }, array)| {
        let mut part = array.view();
        if array.ndim() > 0 {
            let rows = array.shape()[0] / items;
            part.slice_axis_inplace(Axis(0), Slice::from(item * rows..(item + 1) * rows));
        }
        Tensor::of_input(graph, *value, &part).with_context(|| {
            format!("input {name:?} of the saved graph has not the program's size")
        })
    });
    tensors.collect()
}

/// The integers of one of `items` items of an output.
fn integers(output: &Output, item: usize, items: usize) -> Vec<i64> {
    fn of_item<T: Copy + Into<i64>>(values: &ArrayD<T>, item: usize, items: usize) -> Vec<i64> {
        let each = values.len() / items;
        values.iter().skip(item * each).take(each).map(|x| (*x).into()).collect()
    }
    match &output.values {
        Integers::I8(values) => of_item(values, item, items),
        Integers::I16(values) => of_item(values, item, items),
    }
}

fn of_tensor(tensor: &Tensor) -> Vec<i64> {
    match tensor {
        Tensor::I8(values) => values.iter().map(|x| (*x).into()).collect(),
        Tensor::I16(values) => values.iter().map(|x| (*x).into()).collect(),
        Tensor::U16(values) => values.iter().map(|x| (*x).into()).collect(),
        Tensor::U32(values) => values.iter().map(|x| (*x).into()).collect(),
        Tensor::E3m5(values) | Tensor::Byte(values) => values.iter().map(|x| (*x).into()).collect(),
    }
}

/// The index by dimension of a position in row-major order.
fn index(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|extent| {
            let i = position % extent;
            position /= extent;
            i
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_and_the_first_is_named() {
        let mut compared = Compared::default();
        compared.tensor(&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 0, 0], |position| {
            format!("{:?}", index(position, &[2, 3]))
        });
        let none = Compared { integers: 4, ..Compared::default() };
        let Compared { integers, different, first } = none.join(compared);
        assert_eq!(
            (integers, different, first.as_deref()),
            (10, 2, Some("[1, 1] is 5, expected 0"))
        );
    }
}
