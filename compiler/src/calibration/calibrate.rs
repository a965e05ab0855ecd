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
    /// The columns of every matrix.
    columns: SecondaryMap<Value, Vec<Column>>,
}

/// Statistics of a column of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column {
    least: f32,
    most: f32,
    sum: f64,
    squares: f64,
    count: usize,
}

impl Column {
    const EMPTY: Column =
        Column { least: f32::INFINITY, most: f32::NEG_INFINITY, sum: 0.0, squares: 0.0, count: 0 };

    fn see(&mut self, x: f32) {
        self.least = self.least.min(x);
        self.most = self.most.max(x);
        self.sum += f64::from(x);
        self.squares += f64::from(x) * f64::from(x);
        self.count += 1;
    }

    fn merge(&mut self, other: &Column) {
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        self.sum += other.sum;
        self.squares += other.squares;
        self.count += other.count;
    }

    fn divided(&self, factor: f64) -> Column {
        let [least, most] = [self.least, self.most].map(|x| (f64::from(x) / factor) as f32);
        let (sum, squares) = (self.sum / factor, self.squares / (factor * factor));
        Column { least, most, sum, squares, count: self.count }
    }

    /// The middle between the smallest and the largest number; not finite if a number is not.
    pub(crate) fn middle(&self) -> f64 {
        if self.sum.is_finite() {
            f64::from(self.least).midpoint(self.most.into())
        } else {
            self.sum
        }
    }

    /// The magnitude that integers should cover; not finite if a number is not: the largest one,
    /// and at least that of four standard deviations beside the mean. Where tails are light,
    /// deviations compare columns better than their largest numbers, which depend on chance.
    pub(crate) fn reach(&self) -> f64 {
        if !self.sum.is_finite() {
            return f64::INFINITY;
        }
        let mean = self.mean();
        let deviation = (self.mean_square() - mean * mean).max(0.0).sqrt();
        f64::from(self.most.max(-self.least)).max(mean.abs() + 4.0 * deviation)
    }

    /// The number of rows.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The mean of the squares.
    pub(crate) fn mean_square(&self) -> f64 {
        self.squares / self.count.max(1) as f64
    }

    /// The mean.
    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
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
            let columns = &mut self.columns[value];
            columns.resize(matrix.ncols(), Column::EMPTY);
            for row in matrix.rows() {
                columns.iter_mut().zip(row).for_each(|(column, x)| column.see(*x));
            }
        }
    }

    fn merge(&mut self, other: &Calibration) {
        for (value, range) in other.ranges.iter() {
            self.ranges[value] = std::mem::take(&mut self.ranges[value]).merge(range);
        }
        for (value, columns) in other.columns.iter() {
            let all = &mut self.columns[value];
            all.resize(columns.len(), Column::EMPTY);
            all.iter_mut().zip(columns).for_each(|(all, column)| all.merge(column));
        }
    }

    /// The range of a value; empty for a constant.
    pub fn range(&self, value: Value) -> &Range {
        &self.ranges[value]
    }

    /// The mean of each column of a matrix; `None` for a value that calibration has not observed.
    pub fn means(&self, value: Value) -> Option<Vec<f64>> {
        self.columns(value).map(|columns| columns.iter().map(Column::mean).collect())
    }

    /// The smallest and the largest number of a matrix, and 0; `None` if it was not observed or a
    /// number is not finite.
    pub(crate) fn span(&self, value: Value) -> Option<[f64; 2]> {
        let columns = self.columns(value)?;
        let span = columns.iter().fold([0f32; 2], |[least, most], column| {
            [least.min(column.least), most.max(column.most)]
        });
        let is_finite = columns.iter().all(|column| column.sum.is_finite());
        is_finite.then_some(span.map(f64::from))
    }

    /// Divides the columns of a matrix, as if its values had been computed so.
    pub(crate) fn divide(&mut self, value: Value, factors: &[f64]) {
        let columns = self.columns[value].iter_mut().zip(factors.iter().cycle());
        columns.for_each(|(column, factor)| *column = column.divided(*factor));
    }

    /// The columns of a matrix; `None` for a value that calibration has not observed.
    pub(crate) fn columns(&self, value: Value) -> Option<&[Column]> {
        let columns = &self.columns[value];
        let is_observed = columns.first().is_some_and(|column| column.count > 0);
        is_observed.then_some(columns)
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
