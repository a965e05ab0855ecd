//! Samples: the items that they hold, and noise in their place.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};
use vitcod_support::random::SplitMix64;

use crate::interp::InterpError;
use crate::ir::{Elem, Graph, GraphInput, OpKind, TensorType, Value};

/// A graph, or a model of which the host computes parts.
pub trait Inputs {
    /// The inputs in order: names, and types with shapes in the model.
    fn inputs(&self) -> Vec<(&str, TensorType)>;
}

impl Inputs for Graph {
    fn inputs(&self) -> Vec<(&str, TensorType)> {
        let inputs = self.inputs.iter().map(|GraphInput { name, value, shape, .. }| {
            (name.as_str(), TensorType::new(self.ty(*value).elem, &shape[..]))
        });
        inputs.collect()
    }
}

/// The items of samples; an item has one array per input.
///
/// # Errors
/// The samples are not items of the model's inputs, or their numbers differ.
pub(crate) fn items<'a>(
    model: &impl Inputs,
    samples: &'a [ArrayViewD<'_, f32>],
) -> Result<Vec<Vec<ArrayViewD<'a, f32>>>, InterpError> {
    let inputs = model.inputs();
    if samples.len() != inputs.len() {
        let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
        return Err(InterpError::InputCount {
            expected: inputs.len(),
            found: samples.len(),
            names: names.join(", "),
        });
    }
    let mut common = None;
    for ((name, ty), sample) in inputs.into_iter().zip(samples) {
        let items = match (&ty.shape[..], sample.shape()) {
            ([extent, item @ ..], [found, rest @ ..])
                if *extent > 0 && item == rest && found.is_multiple_of(*extent) =>
            {
                found / extent
            }
            _ => 0,
        };
        if items == 0 || *common.get_or_insert(items) != items {
            return Err(InterpError::Samples {
                name: name.to_owned(),
                expected: ty,
                found: TensorType::f32(sample.shape()).to_string(),
                items: common,
            });
        }
    }
    // A graph without inputs has one item.
    let items = common.unwrap_or(1);
    let part = |sample: &'a ArrayViewD<'_, f32>, item| {
        let extent = sample.shape()[0] / items;
        sample.slice_axis(Axis(0), Slice::from(item * extent..(item + 1) * extent))
    };
    Ok((0..items).map(|item| samples.iter().map(|sample| part(sample, item)).collect()).collect())
}

/// The noise that stands in for samples of a canonical graph: at least 4 items, and up to 128 of a
/// small model, whose few tokens say little about the ranges of channels.
pub fn stand_in(graph: &Graph) -> Vec<ArrayD<f32>> {
    noise(graph, stand_in_items(graph))
}

/// The number of items of [`stand_in`].
pub fn stand_in_items(graph: &Graph) -> usize {
    /// Products of the linear layers in all items, beyond which more items take too long.
    const MOST_PRODUCTS: usize = 1 << 28;
    let linear = graph.order.iter().filter(|op| matches!(graph.op(**op).kind, OpKind::Linear {}));
    let products = linear.map(|op| graph.products(*op)).fold(1, usize::saturating_add);
    (MOST_PRODUCTS / products).clamp(4, 128)
}

/// Up to `most` items on which a model is judged: of the samples, spread over them, because they
/// may be sorted; or, without samples, of noise other than that of [`stand_in`].
///
/// # Errors
/// The samples are not items of the graph's inputs, or their numbers differ.
pub fn some_items(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
    most: usize,
) -> Result<Vec<ArrayD<f32>>, InterpError> {
    const SEED: u64 = 1;
    match samples {
        Some(samples) => spread(graph, samples, most),
        None => Ok(seeded_noise(graph, most, SEED)),
    }
}

/// Up to `most` items, spread over the samples.
///
/// # Errors
/// The samples are not items of the model's inputs, or their numbers differ.
pub fn spread(
    model: &impl Inputs,
    samples: &[ArrayD<f32>],
    most: usize,
) -> Result<Vec<ArrayD<f32>>, InterpError> {
    let views: Vec<ArrayViewD<'_, f32>> = samples.iter().map(|sample| sample.view()).collect();
    let items = items(model, &views)?.len();
    let number = items.min(most.max(1));
    let some: Vec<usize> = (0..number).map(|i| i * items / number).collect();
    Ok(selected(model, samples, &some))
}

/// Samples of which some are held back: for each input an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Divided {
    /// Those that calibrate what is measured.
    pub calibrating: Vec<ArrayD<f32>>,
    /// Those on which it is measured.
    pub held_back: Vec<ArrayD<f32>>,
}

/// Holds samples back, so that accuracy can be measured on others than those that calibrate: one
/// item in eight, up to [`MOST_HELD_BACK`], spread over them. `None` if there are fewer than
/// [`FEWEST_TO_DIVIDE`].
///
/// # Errors
/// The samples are not items of the graph's inputs, or their numbers differ.
pub fn hold_back(
    model: &impl Inputs,
    samples: &[ArrayD<f32>],
) -> Result<Option<Divided>, InterpError> {
    let views: Vec<ArrayViewD<'_, f32>> = samples.iter().map(|sample| sample.view()).collect();
    let all = items(model, &views)?.len();
    if all < FEWEST_TO_DIVIDE {
        return Ok(None);
    }
    let number = (all / 8).min(MOST_HELD_BACK);
    let held: Vec<usize> = (0..number).map(|i| (2 * i + 1) * all / (2 * number)).collect();
    let others: Vec<usize> = (0..all).filter(|item| !held.contains(item)).collect();
    let [calibrating, held_back] = [&others, &held].map(|items| selected(model, samples, items));
    Ok(Some(Divided { calibrating, held_back }))
}

/// The most samples that are held back.
pub const MOST_HELD_BACK: usize = 8;

/// With fewer samples than these, none is held back.
pub const FEWEST_TO_DIVIDE: usize = 16;

/// Some items of samples.
fn selected(model: &impl Inputs, samples: &[ArrayD<f32>], items: &[usize]) -> Vec<ArrayD<f32>> {
    let chosen = |((_, ty), sample): ((&str, TensorType), &ArrayD<f32>)| {
        let rows = ty.shape.first().copied().unwrap_or(1);
        let rows: Vec<usize> =
            items.iter().flat_map(|item| item * rows..(item + 1) * rows).collect();
        sample.select(Axis(0), &rows)
    };
    model.inputs().into_iter().zip(samples).map(chosen).collect()
}

/// Noise in place of samples: [`seeded_noise`] with seed 0.
pub fn noise(graph: &Graph, items: usize) -> Vec<ArrayD<f32>> {
    seeded_noise(graph, items, 0)
}

/// `items` items of noise for each input, determined by the seed.
pub fn seeded_noise(graph: &Graph, items: usize, seed: u64) -> Vec<ArrayD<f32>> {
    let inputs =
        graph.inputs.iter().map(|input| (input.shape.clone(), Numbers::of(graph, input.value)));
    noise_of(inputs, items, seed)
}

/// The kind of numbers that an input holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    /// Real numbers: noise has mean 0 and standard deviation 1.
    Real,
    /// The numbers of an image whose channels have offsets with this mean: noise has that mean and
    /// half of it as standard deviation, as photographs have.
    Around(f32),
    /// Row numbers of a table with this many rows: noise names any of them.
    Rows(usize),
    /// 0 and 1, a mask of keys: noise keeps the first key and three quarters of the others.
    Flags {
        /// Whether 1 prunes a key.
        inverted: bool,
    },
}

impl Numbers {
    /// The kind of an input of a graph.
    pub fn of(graph: &Graph, input: Value) -> Numbers {
        match (graph.ty(input).elem, graph.table_rows(input)) {
            (Elem::I64 | Elem::U16, Some(rows)) => Numbers::Rows(rows),
            (Elem::I64 | Elem::U16 | Elem::Byte, _) => {
                Numbers::Flags { inverted: graph.is_inverted(input) }
            }
            _ => Numbers::of_image(&graph.image(input).unwrap_or_default().offsets),
        }
    }

    /// The kind of an image whose channels have these offsets.
    pub fn of_image(offsets: &[f32]) -> Numbers {
        let mean = offsets.iter().sum::<f32>() / offsets.len().max(1) as f32;
        if mean == 0.0 { Numbers::Real } else { Numbers::Around(mean) }
    }
}

/// `items` items of noise for inputs of these shapes and kinds, as in [`seeded_noise`].
pub fn noise_of(
    inputs: impl IntoIterator<Item = (Vec<usize>, Numbers)>,
    items: usize,
    seed: u64,
) -> Vec<ArrayD<f32>> {
    let mut random = SplitMix64::new(seed);
    let array = |(mut shape, numbers): (Vec<usize>, Numbers)| {
        let each = shape.iter().product::<usize>();
        if let Some(extent) = shape.first_mut() {
            *extent *= items;
        }
        let mut place = 0..;
        let mut number = || {
            let mut below =
                |count: usize| ((u128::from(random.bits()) * count as u128) >> 64) as usize;
            match numbers {
                Numbers::Real => random.normal() as f32,
                Numbers::Around(mean) => mean + 0.5 * mean * random.normal() as f32,
                Numbers::Rows(rows) => below(rows) as f32,
                Numbers::Flags { inverted } => {
                    let keeps = place.next().is_none_or(|place| place % each == 0) || below(4) > 0;
                    f32::from(keeps != inverted)
                }
            }
        };
        ArrayD::from_shape_simple_fn(IxDyn(&shape), &mut number)
    };
    inputs.into_iter().map(array).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Stage;

    #[test]
    fn one_sample_in_eight_is_held_back() {
        let mut graph = Graph::new("test", Stage::Canonical);
        graph.add_input("x", TensorType::f32([2, 1]));
        let divided = |items: usize| {
            let numbers = (0..2 * items).map(|i| i as f32).collect();
            let samples = ArrayD::from_shape_vec(IxDyn(&[2 * items, 1]), numbers).unwrap();
            let Divided { calibrating, held_back } = hold_back(&graph, &[samples]).unwrap()?;
            let numbers = |arrays: &[ArrayD<f32>]| arrays[0].iter().copied().collect::<Vec<_>>();
            Some((numbers(&calibrating), numbers(&held_back)))
        };
        assert_eq!(divided(15), None);
        let (calibrating, held_back) = divided(16).unwrap();
        assert_eq!(held_back, [8.0, 9.0, 24.0, 25.0]);
        assert_eq!(calibrating.len(), 28);
        assert!(!calibrating.contains(&8.0) && calibrating.contains(&10.0));
        assert_eq!(divided(1000).unwrap().1.len(), 2 * MOST_HELD_BACK);
    }

    #[test]
    fn noise_is_normal_and_always_the_same() {
        let mut graph = Graph::new("test", Stage::Canonical);
        graph.add_input("x", TensorType::f32([1, 50_000]));
        graph.add_input("y", TensorType::f32([2]));
        let noise = noise(&graph, 4);
        assert_eq!((noise[0].shape(), noise[1].shape()), (&[4, 50_000][..], &[8][..]));
        let moment =
            |power| noise[0].iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / 200_000.0;
        assert!(
            moment(1).abs() < 0.01
                && (moment(2) - 1.0).abs() < 0.01
                && (moment(4) - 2.9).abs() < 0.1
        );
        let [kept, pruned] = [false, true]
            .map(|inverted| noise_of([(vec![1, 50], Numbers::Flags { inverted })], 2, 0));
        assert_eq!(kept[0], pruned[0].mapv(|x| 1.0 - x));
        assert_eq!((kept[0][[0, 0]], kept[0][[1, 0]]), (1.0, 1.0));
        // The published first output of SplitMix64 from seed 0 is e220a8397b1dcdaf.
        let first: u64 = [0xe220_a839_7b1d_cdaf_u64, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
            .into_iter()
            .chain([0xf88b_b8a8_724c_81ec, 0x1b39_896a_51a8_749b, 0x53cb_9f0c_747e_a2ea])
            .map(|bits: u64| (bits >> 32) + (bits & 0xffff_ffff))
            .sum();
        assert_eq!(noise[0][[0, 0]], (first as f64 / 4_294_967_296.0 - 6.0) as f32);
    }
}
