//! Calibration: the ranges of the values of a model.

use cranelift_entity::SecondaryMap;
use ndarray::{ArrayViewD, Ix2};
use rayon::prelude::*;

use super::{Range, items};
use crate::interp::{FloatInterpreter, InterpError};
use crate::ir::{Graph, Value};

/// Statistics of every input and result of a graph on samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    ranges: SecondaryMap<Value, Range>,
    /// Sums over the rows of every matrix, one for each column, and the number of rows.
    sums: SecondaryMap<Value, (Vec<f64>, usize)>,
}

impl Calibration {
    /// Items that run before their statistics are merged; each takes memory.
    const AT_ONCE: usize = 16;

    /// Runs a float graph on samples: for each input an array of one or more items along its first
    /// axis. Items run in parallel; the result does not depend on the number of threads.
    ///
    /// # Errors
    /// The samples are not items of the graph's inputs, their numbers differ, or the graph cannot
    /// be evaluated.
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
            // Sums of floats depend on their order: add them in the order of the items.
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

    /// The range of a value; empty for a constant.
    pub fn range(&self, value: Value) -> &Range {
        &self.ranges[value]
    }

    /// The mean of each column of a matrix; `None` for a value that calibration has not observed.
    pub fn means(&self, value: Value) -> Option<Vec<f64>> {
        let (sums, rows) = &self.sums[value];
        (*rows > 0).then(|| sums.iter().map(|sum| sum / *rows as f64).collect())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;
    use crate::ir::{OpKind, Stage, TensorType, UnaryFn};

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
            "samples of input \"z\": found f32[3], expected 2 items of f32[1] along the first axis"
        );
        assert!(matches!(Calibration::run(&graph, &[]), Err(InterpError::InputCount { .. })));
    }
}
