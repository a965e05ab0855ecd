//! Binds inputs of a run to the inputs of the model.

use std::fmt;

use ndarray::{ArrayViewD, Axis, Dimension as _, Slice};
use vitcod_isa::numerics::{quantise_i8, quantise_i16};
use vitcod_isa::operands::mask_row;
use vitcod_isa::program::{Binding, Element};
use vitcod_support::problems::Collector;

use crate::error::{InputError, InputProblem};

/// The inputs of a run in the model's order. Each holds `items` items of the model's shape.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    tensors: Vec<(&'a Binding, ArrayViewD<'a, f32>)>,
    pub(crate) items: usize,
}

impl<'a> Inputs<'a> {
    pub(crate) fn bind(
        bindings: &'a [Binding],
        given: &[(&str, ArrayViewD<'a, f32>)],
    ) -> Result<Self, InputError> {
        let mut problems = Collector::new();
        for (name, _) in given {
            if !bindings.iter().any(|binding| binding.name == *name) {
                problems.push(|| InputProblem::Unknown((*name).to_owned()));
            }
        }
        let mut tensors = Vec::new();
        let mut first: Option<(&str, usize)> = None;
        for binding in bindings {
            let name = || binding.name.clone();
            let mut found = given.iter().filter(|(name, _)| *name == binding.name);
            let Some((_, tensor)) = found.next() else {
                problems.push(|| InputProblem::Missing(name()));
                continue;
            };
            if found.next().is_some() {
                problems.push(|| InputProblem::Repeated(name()));
            }
            let Some(items) = items(&binding.shape, tensor.shape()) else {
                problems
                    .push(|| InputProblem::Shape { name: name(), found: tensor.shape().to_vec() });
                continue;
            };
            let (first, first_items) = *first.get_or_insert((&binding.name, items));
            if items != first_items {
                problems.push(|| InputProblem::Items {
                    name: name(),
                    items,
                    first: first.to_owned(),
                    first_items,
                });
            }
            problems.extend(numbers(binding, tensor, items));
            tensors.push((binding, tensor.clone()));
        }
        problems.finish().map_err(|problems| InputError::new(problems, bindings))?;
        Ok(Inputs { tensors, items: first.map_or(1, |(_, items)| items) })
    }

    /// The inputs with numbers beyond the range for which the program was calibrated.
    pub(crate) fn beyond_range(&self) -> Vec<BeyondRange> {
        let beyond = self
            .tensors
            .iter()
            .map(|(binding, tensor)| BeyondRange::of(binding, tensor, self.items));
        beyond.flatten().collect()
    }

    /// The integers of one item, with the address of each tensor.
    pub(crate) fn quantised(&self, item: usize) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.tensors.iter().map(move |(binding, tensor)| {
            let mut part = tensor.view();
            if tensor.ndim() > 0 {
                let rows = tensor.shape()[0] / self.items;
                part.slice_axis_inplace(Axis(0), Slice::from(item * rows..(item + 1) * rows));
            }
            (binding.address, quantise(part, binding))
        })
    }
}

/// The numbers of an input that are beyond the range for which the program was calibrated. They
/// saturate.
#[derive(Clone, Debug, PartialEq)]
pub struct BeyondRange {
    /// Name of the input.
    pub input: String,
    /// How many numbers the input has.
    pub total: u64,
    /// How many of them are beyond the range.
    pub beyond: u64,
    /// The largest magnitude, as a multiple of the range.
    pub largest: f64,
}

impl BeyondRange {
    /// The numbers of an input beyond the range of its integers.
    fn of(binding: &Binding, tensor: &ArrayViewD<'_, f32>, items: usize) -> Option<BeyondRange> {
        let [least, most] = match binding.element {
            Element::I8 => [f64::from(i8::MIN), f64::from(i8::MAX)],
            Element::I16 => [f64::from(i16::MIN), f64::from(i16::MAX)],
            Element::Row { .. } | Element::Bits { .. } => return None,
        };
        let mut values: Vec<f32> = tensor.iter().copied().collect();
        let each = (values.len() / items.max(1)).max(1);
        values.chunks_mut(each).for_each(|item| binding.normalise(item));
        // What rounds to the last integer is within the range.
        let beyond = |x: &&f32| {
            let steps = f64::from(**x) / binding.step;
            steps < least - 0.5 || steps > most + 0.5
        };
        let count = values.iter().filter(beyond).count() as u64;
        let largest = values.iter().fold(0f32, |most, x| most.max(x.abs()));
        (count > 0).then(|| BeyondRange {
            input: binding.name.clone(),
            total: values.len() as u64,
            beyond: count,
            largest: f64::from(largest) / (most * binding.step),
        })
    }
}

impl fmt::Display for BeyondRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BeyondRange { input, total, beyond, largest } = self;
        write!(
            f,
            "input {input:?}: {:.2} % of the numbers are beyond the calibrated range, up to \
             {largest:.1} times as large, and saturate; compile with --calibration on samples like \
             these",
            100.0 * *beyond as f64 / *total as f64
        )
    }
}

/// The number of items in an array of shape `found`, along the first axis.
fn items(expected: &[u64], found: &[usize]) -> Option<usize> {
    let same = |(expected, found): (&u64, &usize)| *expected == *found as u64;
    if expected.len() != found.len() || !expected.iter().zip(found).skip(1).all(same) {
        return None;
    }
    match (expected.first(), found.first()) {
        (Some(batch), Some(rows)) => {
            let items = (*rows as u64).checked_div(*batch).filter(|items| *items > 0)?;
            (items * batch == *rows as u64).then_some(items as usize)
        }
        _ => Some(1),
    }
}

/// Checks the numbers of an input: row numbers and masks must be in range, others not NaN.
fn numbers(binding: &Binding, tensor: &ArrayViewD<'_, f32>, items: usize) -> Option<InputProblem> {
    let name = || binding.name.clone();
    let wrong = |fits: &dyn Fn(f32) -> bool, expected: String| {
        let (place, found) = tensor.indexed_iter().find(|(_, x)| !fits(**x))?;
        Some(InputProblem::Number {
            name: name(),
            found: *found,
            place: place.slice().to_vec(),
            expected,
        })
    };
    match binding.element {
        Element::I8 | Element::I16 => wrong(&|x| !x.is_nan(), "a number".to_owned()),
        Element::Row { below } => wrong(
            &|x| x.fract() == 0.0 && (0.0..below as f32).contains(&x),
            format!("the number of a row, from 0 to {}", below.saturating_sub(1)),
        ),
        Element::Bits { inverted, .. } => wrong(&|x| x == 0.0 || x == 1.0, "0 or 1".to_owned())
            .or_else(|| {
                let each = (tensor.len() / items).max(1);
                let flags: Vec<f32> = tensor.iter().copied().collect();
                let pruned = f32::from(inverted);
                let item = flags.chunks(each).position(|item| item.iter().all(|x| *x == pruned))?;
                Some(InputProblem::NoKey { name: name(), item, pruned })
            }),
    }
}

fn quantise(tensor: ArrayViewD<'_, f32>, binding: &Binding) -> Vec<u8> {
    let mut values: Vec<f32> = tensor.iter().copied().collect();
    binding.normalise(&mut values);
    let values = values.iter();
    let bytes = match binding.element {
        Element::I8 => values.map(|x| quantise_i8(*x, binding.step) as u8).collect(),
        Element::I16 => values.flat_map(|x| quantise_i16(*x, binding.step).to_le_bytes()).collect(),
        Element::Row { .. } => values.flat_map(|x| (*x as u16).to_le_bytes()).collect(),
        Element::Bits { rows, inverted } => {
            mask_row(values.map(|x| (*x != 0.0) != inverted)).repeat(rows as usize)
        }
    };
    binding.arranged(bytes)
}
