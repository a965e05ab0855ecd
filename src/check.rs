//! Emulated outputs against the quantised reference interpreter.

use std::fmt;

use anyhow::{Context as _, ensure};
use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use rayon::prelude::*;
use vitcod_compiler::interp::{QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::SavedGraph;
use vitcod_isa::program::Program;
use vitcod_runtime::{Integers, Output};

/// What a comparison found.
pub(crate) struct Comparison {
    /// Items that were run.
    pub(crate) items: usize,
    /// Integers that were compared.
    pub(crate) integers: usize,
    /// How many of them differ.
    pub(crate) different: usize,
    /// The first that does.
    pub(crate) first: Option<Difference>,
}

/// Two integers that should be equal.
pub(crate) struct Difference {
    output: String,
    item: usize,
    /// Index in the item's tensor, by dimension.
    index: Vec<usize>,
    emulated: i64,
    expected: i64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { output, item, index, emulated, expected } = self;
        write!(f, "output {output:?} of item {item} at {index:?} is {emulated}, and the interpreter says {expected}")
    }
}

/// Compares the outputs of a run with what the quantised graph in the program gives for the same inputs, integer by integer.
///
/// `inputs` and `outputs` are those of `runtime::Session::run`, which has accepted the inputs. Items run in parallel.
pub(crate) fn compare(
    program: &Program,
    inputs: &[(&str, ArrayViewD<'_, f32>)],
    outputs: &[Output],
) -> anyhow::Result<Comparison> {
    let ir = program.ir.as_ref().context("the program is stripped: it holds no quantised graph to compare with")?;
    let graph = SavedGraph::load(ir, &program.image)?;
    let interpreter = QuantisedInterpreter::new(&graph)?;

    let types = graph.inputs.iter().map(|(name, value)| {
        let given = inputs.iter().find(|(given, _)| given == name);
        let (_, array) =
            given.with_context(|| format!("the quantised graph has an input {name:?}, the program not"))?;
        Ok((name, array, graph.ty(*value)))
    });
    let types = types.collect::<anyhow::Result<Vec<_>>>()?;
    let names = graph.outputs.iter().map(|output| &output.name);
    ensure!(
        names.eq(outputs.iter().map(|output| &output.name)),
        "the quantised graph has other outputs than the program"
    );

    let items = items(program, inputs);
    let found = (0..items).into_par_iter().map(|item| {
        let inputs = types.iter().map(|(name, array, ty)| {
            Tensor::quantise(&part(array, item, items), ty)
                .with_context(|| format!("input {name:?} of the quantised graph is {ty}: not that of the program"))
        });
        let expected = interpreter.run(&inputs.collect::<anyhow::Result<Vec<_>>>()?)?;
        let mut found = Comparison { items: 1, integers: 0, different: 0, first: None };
        for ((output, expected), shape) in outputs.iter().zip(&expected).zip(graph.outputs.iter().map(|o| &o.shape)) {
            let emulated = integers(output, item, items);
            let expected = tensor_integers(expected);
            ensure!(
                emulated.len() == expected.len(),
                "output {:?} of the quantised graph is not as large as that of the program",
                output.name
            );
            found.integers += emulated.len();
            for (position, (emulated, expected)) in emulated.into_iter().zip(expected).enumerate() {
                if emulated != expected {
                    found.different += 1;
                    found.first.get_or_insert_with(|| Difference {
                        output: output.name.clone(),
                        item,
                        index: indices(position, shape),
                        emulated,
                        expected,
                    });
                }
            }
        }
        Ok(found)
    });
    let none = Comparison { items: 0, integers: 0, different: 0, first: None };
    let found: Vec<Comparison> = found.collect::<anyhow::Result<_>>()?;
    Ok(found.into_iter().fold(none, Comparison::join))
}

impl Comparison {
    /// This comparison and one of later items.
    fn join(self, later: Comparison) -> Comparison {
        Comparison {
            items: self.items + later.items,
            integers: self.integers + later.integers,
            different: self.different + later.different,
            first: self.first.or(later.first),
        }
    }
}

/// How many times the inputs hold what the program takes.
fn items(program: &Program, inputs: &[(&str, ArrayViewD<'_, f32>)]) -> usize {
    let items = program.header.inputs.iter().find_map(|binding| {
        let (_, array) = inputs.iter().find(|(name, _)| *name == binding.name)?;
        let (found, batch) = (array.shape().first()?, usize::try_from(*binding.shape.first()?).ok()?);
        found.checked_div(batch)
    });
    items.unwrap_or(1)
}

/// One of `items` equal parts along the first axis.
fn part<'a>(array: &'a ArrayViewD<'_, f32>, item: usize, items: usize) -> ArrayViewD<'a, f32> {
    if array.ndim() == 0 {
        return array.view();
    }
    let rows = array.shape()[0] / items;
    array.slice_axis(Axis(0), Slice::from(item * rows..(item + 1) * rows))
}

/// The integers of one item of an output.
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

fn tensor_integers(tensor: &Tensor) -> Vec<i64> {
    match tensor {
        Tensor::I8(values) => values.iter().map(|x| (*x).into()).collect(),
        Tensor::I16(values) => values.iter().map(|x| (*x).into()).collect(),
        Tensor::U32(values) => values.iter().map(|x| (*x).into()).collect(),
    }
}

/// The index by dimension of a position in row-major order.
fn indices(mut position: usize, shape: &[usize]) -> Vec<usize> {
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
