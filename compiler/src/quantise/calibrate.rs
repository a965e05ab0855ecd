//! Calibration: which numbers occur in a model.

use cranelift_entity::SecondaryMap;
use ndarray::{ArrayD, ArrayViewD, Axis, Ix2, IxDyn, Slice};
use rayon::prelude::*;

use super::Range;
use crate::interp::{FloatInterpreter, InterpError};
use crate::ir::{Elem, Graph, GraphInput, TensorType, Value};
use vitcod_isa::random::Random;

/// What samples say of every input and result of a graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    ranges: SecondaryMap<Value, Range>,
    /// Sums over the rows of every matrix, one for each column, and the number of rows.
    sums: SecondaryMap<Value, (Vec<f64>, usize)>,
}

impl Calibration {
    /// Items that are run before what they gave is merged: it takes memory.
    const AT_ONCE: usize = 16;

    /// Runs a float graph on samples: for each input an array that holds one or more items along
    /// its first axis. Items run in parallel; the result does not depend on how many at a time.
    ///
    /// # Errors
    /// The samples are not items of the graph's inputs, equally many of each, or the graph cannot
    /// be run.
    pub fn run(graph: &Graph, samples: &[ArrayViewD<'_, f32>]) -> Result<Calibration, InterpError> {
        let interpreter = FloatInterpreter::new(graph)?;
        let mut all = Calibration::default();
        for items in items(graph, samples)?.chunks(Calibration::AT_ONCE) {
            let calibrations = items.into_par_iter().map(|inputs| {
                let mut calibration = Calibration::default();
                interpreter
                    .observe(inputs, &mut |value, tensor| calibration.see(value, &tensor))?;
                Ok(calibration)
            });
            // Sums of floats depend on their order, which is that of the items.
            let calibrations = calibrations.collect::<Result<Vec<_>, InterpError>>()?;
            calibrations.iter().for_each(|calibration| all.merge(calibration));
        }
        Ok(all)
    }

    fn see(&mut self, value: Value, tensor: &ArrayViewD<'_, f32>) {
        self.ranges[value] = Range::of(tensor);
        if let Ok(matrix) = tensor.view().into_dimensionality::<Ix2>() {
            let sums =
                matrix.rows().into_iter().fold(vec![0.0; matrix.ncols()], |mut sums, row| {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
                    sums
                });
            self.sums[value] = (sums, matrix.nrows());
        }
    }

    fn merge(&mut self, other: &Calibration) {
        for (value, range) in other.ranges.iter() {
            self.ranges[value] = std::mem::take(&mut self.ranges[value]).merge(range);
        }
        for (value, (sums, rows)) in other.sums.iter() {
            let (all, all_rows) = &mut self.sums[value];
            all.resize(sums.len(), 0.0);
            all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
            *all_rows += rows;
        }
    }

    /// The range of a value; that of no numbers for a constant.
    pub fn range(&self, value: Value) -> &Range {
        &self.ranges[value]
    }

    /// The mean of each column of a matrix; `None` for what calibration has not seen.
    pub fn means(&self, value: Value) -> Option<Vec<f64>> {
        let (sums, rows) = &self.sums[value];
        (*rows > 0).then(|| sums.iter().map(|sum| sum / *rows as f64).collect())
    }
}

/// The items that samples hold: of each its inputs.
///
/// # Errors
/// The samples are not items of the graph's inputs, equally many of each.
pub(crate) fn items<'a>(
    graph: &Graph,
    samples: &'a [ArrayViewD<'_, f32>],
) -> Result<Vec<Vec<ArrayViewD<'a, f32>>>, InterpError> {
    if samples.len() != graph.inputs.len() {
        return Err(InterpError::input_count(graph, samples.len()));
    }
    let mut common = None;
    for (GraphInput { name, value, shape }, sample) in graph.inputs.iter().zip(samples) {
        let items = match (&shape[..], sample.shape()) {
            ([extent, item @ ..], [found, rest @ ..])
                if *extent > 0 && item == rest && found.is_multiple_of(*extent) =>
            {
                found / extent
            }
            _ => 0,
        };
        if items == 0 || *common.get_or_insert(items) != items {
            return Err(InterpError::Samples {
                name: name.clone(),
                expected: TensorType::new(graph.ty(*value).elem, &shape[..]),
                found: TensorType::f32(sample.shape()).to_string(),
                items: common,
            });
        }
    }
    // A graph without inputs is its own only item.
    let items = common.unwrap_or(1);
    let part = |sample: &'a ArrayViewD<'_, f32>, item| {
        let extent = sample.shape()[0] / items;
        sample.slice_axis(Axis(0), Slice::from(item * extent..(item + 1) * extent))
    };
    Ok((0..items).map(|item| samples.iter().map(|sample| part(sample, item)).collect()).collect())
}

/// Noise in place of samples: [`seeded_noise`] of seed 0.
pub fn noise(graph: &Graph, items: usize) -> Vec<ArrayD<f32>> {
    seeded_noise(graph, items, 0)
}

/// `items` items of noise for each input, always the same for a seed.
pub fn seeded_noise(graph: &Graph, items: usize, seed: u64) -> Vec<ArrayD<f32>> {
    let inputs =
        graph.inputs.iter().map(|input| (input.shape.clone(), Numbers::of(graph, input.value)));
    noise_of(inputs, items, seed)
}

/// The numbers that an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Real ones: noise has mean 0 and standard deviation 1.
    Real,
    /// Rows of a table with so many: noise names any.
    Rows(usize),
    /// 0 and 1, a mask of keys: noise keeps the first and three quarters of the others.
    Flags,
}

impl Numbers {
    /// Those of an input of a graph.
    pub fn of(graph: &Graph, input: Value) -> Numbers {
        match (graph.ty(input).elem, graph.table_rows(input)) {
            (Elem::I64 | Elem::U16, Some(rows)) => Numbers::Rows(rows),
            (Elem::I64 | Elem::U16 | Elem::Byte, _) => Numbers::Flags,
            _ => Numbers::Real,
        }
    }
}

/// `items` items of noise for inputs of those shapes and numbers, as [`seeded_noise`] has it.
pub fn noise_of(
    inputs: impl IntoIterator<Item = (Vec<usize>, Numbers)>,
    items: usize,
    seed: u64,
) -> Vec<ArrayD<f32>> {
    let mut random = Random::new(seed);
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
                Numbers::Rows(rows) => below(rows) as f32,
                Numbers::Flags
                    if place.next().is_none_or(|place| place % each == 0) || below(4) > 0 =>
                {
                    1.0
                }
                Numbers::Flags => 0.0,
            }
        };
        ArrayD::from_shape_simple_fn(IxDyn(&shape), &mut number)
    };
    inputs.into_iter().map(array).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{OpKind, Stage, UnaryFn};

    fn graph() -> (Graph, Value, Value) {
        let mut graph = Graph::new("test", Stage::Canonical);
        let x = graph.add_input("x", TensorType::f32([2, 3]));
        let y = graph.push(OpKind::Unary { f: UnaryFn::Reciprocal }, &[x], &[]).unwrap();
        graph.add_output("y", y, [2, 3]);
        (graph, x, y)
    }

    #[test]
    fn ranges_cover_all_items() {
        let (graph, x, y) = graph();
        let mut samples = ArrayD::from_elem(IxDyn(&[6, 3]), 1.0);
        samples[[3, 1]] = -4.0;
        samples[[5, 2]] = 0.125;
        let calibration = Calibration::run(&graph, &[samples.view()]).unwrap();
        assert_eq!((calibration.range(x).largest(), calibration.range(y).largest()), (4.0, 8.0));
        assert_eq!(calibration.means(x), Some(vec![1.0, 1.0 / 6.0, 5.125 / 6.0]));
        samples[[0, 0]] = 0.0;
        samples[[0, 1]] = f32::NAN;
        let calibration = Calibration::run(&graph, &[samples.view()]).unwrap();
        assert_eq!(
            (calibration.range(x).largest(), calibration.range(y).largest()),
            (f64::INFINITY, f64::INFINITY)
        );
    }

    #[test]
    fn samples_must_be_items_of_the_inputs() {
        let (mut graph, ..) = graph();
        for shape in [&[3, 3][..], &[2, 4], &[0, 3], &[2, 3, 1], &[]] {
            let error =
                Calibration::run(&graph, &[ArrayD::zeros(IxDyn(shape)).view()]).unwrap_err();
            assert!(matches!(error, InterpError::Samples { .. }), "{error}");
        }
        graph.add_input("z", TensorType::f32([1]));
        let samples = [ArrayD::zeros(IxDyn(&[4, 3])), ArrayD::zeros(IxDyn(&[3]))];
        let samples = samples.each_ref().map(|sample| sample.view());
        let error = Calibration::run(&graph, &samples).unwrap_err();
        assert_eq!(
            error.to_string(),
            "samples of input \"z\": found f32[3], which are not 2 items of f32[1] along the first axis"
        );
        assert!(matches!(Calibration::run(&graph, &[]), Err(InterpError::InputCount { .. })));
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
        // The published first output of SplitMix64 from seed 0 is e220a8397b1dcdaf.
        let first: u64 = [0xe220_a839_7b1d_cdaf_u64, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
            .into_iter()
            .chain([0xf88b_b8a8_724c_81ec, 0x1b39_896a_51a8_749b, 0x53cb_9f0c_747e_a2ea])
            .map(|bits: u64| (bits >> 32) + (bits & 0xffff_ffff))
            .sum();
        assert_eq!(noise[0][[0, 0]], (first as f64 / 4_294_967_296.0 - 6.0) as f32);
    }
}
