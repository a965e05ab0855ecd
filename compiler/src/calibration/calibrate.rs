//! Calibration: the ranges of the values of a model.

use std::f64::consts::{LN_2, LOG2_E};

use cranelift_entity::SecondaryMap;
use ndarray::{ArrayD, ArrayView1, ArrayView2, ArrayViewD, Ix2};
use rayon::prelude::*;
use vitcod_isa::numerics::{
    MAX_SCORE_SHIFT, PRUNED, ProbabilityFormat, SCORE_UNITS_PER_NAT, activation, quantise_i16,
    row_max, softmax_probs,
};

use super::{Range, items, stand_in};
use crate::interp::{FloatInterpreter, InterpError, Observed};
use crate::ir::layout::prunes;
use crate::ir::{Graph, OpData, OpKind, Value};

/// Statistics of every input and result of a graph on samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    ranges: SecondaryMap<Value, Range>,
    /// The columns of every matrix.
    columns: SecondaryMap<Value, Vec<Column>>,
    /// The scores of each attention, by its result.
    scores: SecondaryMap<Value, Scores>,
}

/// Statistics of the scores of an attention. Pruned ones do not count, nor do those that are so far
/// below the maximum of their row that they have no weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scores {
    /// The largest magnitude in nats.
    pub(crate) largest: f32,
    /// Sum of the squared weights of some rows.
    signal: f64,
    /// Sums of the squared errors that the weights have in each format of probabilities.
    noise: [f64; 2],
}

/// The formats whose errors are compared.
const FORMATS: [ProbabilityFormat; 2] = [ProbabilityFormat::Int8, ProbabilityFormat::Minifloat];

/// Rows of the scores of a head in whose weights errors are measured.
const MEASURED_ROWS: usize = 8;

/// The largest score in nats that int16 represents without a shift.
const MOST_NATS: f64 = i16::MAX as f64 / SCORE_UNITS_PER_NAT;

/// Statistics of a column of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column {
    least: f32,
    most: f32,
    sum: f64,
    squares: f64,
    count: usize,
    /// The standard deviation that the parameters lead to expect, if [few rows](FEW_ROWS) are
    /// observed; else 0.
    expected: f64,
}

/// Fewer rows than these, as those of the class token of some items, do not show the range of a
/// column.
const FEW_ROWS: usize = 64;

/// The standard deviations beside the mean that integers should cover.
const DEVIATIONS: f64 = 4.0;

impl Column {
    const EMPTY: Column = Column {
        least: f32::INFINITY,
        most: f32::NEG_INFINITY,
        sum: 0.0,
        squares: 0.0,
        count: 0,
        expected: 0.0,
    };

    /// The statistics of the columns of a matrix. Each statistic has a vector of its own while rows
    /// are read, so that the processor computes several columns at once.
    fn of_all(matrix: &ArrayView2<'_, f32>) -> Vec<Column> {
        let width = matrix.ncols();
        let (mut least, mut most) = (vec![f32::INFINITY; width], vec![f32::NEG_INFINITY; width]);
        let (mut sums, mut squares) = (vec![0f64; width], vec![0f64; width]);
        for row in matrix.rows() {
            let row = row.as_standard_layout();
            let Some(row) = row.as_slice() else { continue };
            least.iter_mut().zip(row).for_each(|(least, x)| *least = least.min(*x));
            most.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(*x));
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            let square = |x: f32| f64::from(x) * f64::from(x);
            squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += square(*x));
        }
        let count = matrix.nrows();
        let column = |i| {
            let (least, most, sum, squares) = (least[i], most[i], sums[i], squares[i]);
            Column { least, most, sum, squares, count, expected: 0.0 }
        };
        (0..width).map(column).collect()
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
        let expected = self.expected / factor;
        Column { least, most, sum, squares, count: self.count, expected }
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
        f64::from(self.most.max(-self.least)).max(self.mean().abs() + DEVIATIONS * self.deviation())
    }

    /// The smallest and the largest number; of few rows, also four standard deviations to both
    /// sides of the mean. Not finite if a number is not.
    pub(crate) fn span(&self) -> [f64; 2] {
        let [least, most] = [self.least, self.most].map(f64::from);
        if !self.sum.is_finite() {
            return [self.sum; 2];
        }
        if !self.has_few_rows() {
            return [least, most];
        }
        let (mean, reach) = (self.mean(), DEVIATIONS * self.deviation());
        [least.min(mean - reach), most.max(mean + reach)]
    }

    /// Whether so few rows were observed that they do not show the range.
    pub(crate) fn has_few_rows(&self) -> bool {
        self.count < FEW_ROWS
    }

    /// The standard deviation, observed or expected.
    pub(crate) fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self.mean_square() - mean * mean).max(0.0).sqrt().max(self.expected)
    }

    /// The mean of the squares.
    pub(crate) fn mean_square(&self) -> f64 {
        self.squares / self.count.max(1) as f64
    }

    /// The mean.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

impl Scores {
    fn see(&mut self, scores: &ArrayView2<'_, f32>) {
        for row in scores.rows() {
            let kept = || row.iter().filter(|score| score.is_finite() && !prunes(**score));
            let most = kept().copied().fold(f32::NEG_INFINITY, f32::max);
            // What is further below the row's maximum has no weight, saturated or not.
            let weighty = kept().filter(|score| f64::from(most - **score) <= MOST_NATS);
            self.largest = weighty.fold(self.largest, |largest, score| largest.max(score.abs()));
        }
        let step = scores.nrows().div_ceil(MEASURED_ROWS).max(1);
        scores.rows().into_iter().step_by(step).for_each(|row| self.measure(row));
    }

    /// Measures the errors of the weights of a row.
    fn measure(&mut self, row: ArrayView1<'_, f32>) {
        let most = row.iter().copied().filter(|score| !prunes(*score)).fold(f32::MIN, f32::max);
        if !most.is_finite() || prunes(most) {
            return;
        }
        // The octave of the maximum moves to 0, so that no score saturates that has a weight.
        let octave = (f64::from(most) * LOG2_E).floor() * LN_2;
        let score = |score: &f32| match prunes(*score) {
            true => PRUNED,
            false => quantise_i16((f64::from(*score) - octave) as f32, SCORE_UNITS_PER_NAT.recip())
                .max(PRUNED + 1),
        };
        let scores: Vec<i16> = row.iter().map(score).collect();
        let max = row_max(&scores);
        let weight = |score: i16| match score {
            PRUNED => 0.0,
            score => activation::exp((f64::from(score) - f64::from(max)) / SCORE_UNITS_PER_NAT),
        };
        let weights: Vec<f64> = scores.iter().map(|score| weight(*score)).collect();
        let total: f64 = weights.iter().sum();
        self.signal += weights.iter().map(|weight| (weight / total).powi(2)).sum::<f64>();
        for (format, noise) in FORMATS.iter().zip(&mut self.noise) {
            let mut bytes = vec![0; scores.len()];
            let sum = f64::from(softmax_probs(&scores, max, 0, *format, &mut bytes));
            let numbers = bytes.iter().map(|byte| f64::from(format.decode(*byte)));
            let errors = numbers.zip(&weights).map(|(p, weight)| p / sum - weight / total);
            *noise += errors.map(|error| error * error).sum::<f64>();
        }
    }

    /// The shift that represents the scores, with a quarter more range; `None` if none does.
    pub(crate) fn shift(&self) -> Option<u8> {
        let largest = f64::from(self.largest);
        (0..=MAX_SCORE_SHIFT).find(|shift| largest <= Scores::most_nats(*shift))
    }

    /// The largest score in nats that has a shift: that of int16, less a fifth.
    pub(crate) fn most_nats(shift: u8) -> f64 {
        const HEADROOM: f64 = 1.25;
        MOST_NATS * f64::from(1u32 << shift) / HEADROOM
    }

    /// The ratios of signal to noise of the weights in dB, as int8 and as minifloats; `None` if no
    /// row was measured.
    pub(crate) fn sqnr_db(&self) -> Option<[f64; 2]> {
        (self.signal > 0.0).then(|| self.noise.map(|noise| 10.0 * (self.signal / noise).log10()))
    }

    fn merge(&mut self, other: &Scores) {
        self.largest = self.largest.max(other.largest);
        self.signal += other.signal;
        self.noise.iter_mut().zip(other.noise).for_each(|(noise, other)| *noise += other);
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
        Calibration::observe(graph, samples, true)
    }

    /// [`Calibration::run`], of everything or of the columns only.
    fn observe(
        graph: &Graph,
        samples: &[ArrayViewD<'_, f32>],
        everything: bool,
    ) -> Result<Calibration, InterpError> {
        let interpreter = FloatInterpreter::new(graph)?;
        let mut all = Calibration::default();
        for items in items(graph, samples)?.chunks(Calibration::AT_ONCE) {
            let calibrations = items.into_par_iter().map(|inputs| {
                let mut calibration = Calibration::default();
                interpreter.observe_all(inputs, &mut |value, observed| match observed {
                    Observed::Tensor(tensor) => calibration.see(value, &tensor, everything),
                    Observed::Scores(scores) if everything => {
                        calibration.scores[value].see(&scores);
                    }
                    Observed::Scores(_) => {}
                })?;
                Ok(calibration)
            });
            // Sums of floats depend on their order: add them in the order of the items.
            let calibrations = calibrations.collect::<Result<Vec<_>, InterpError>>()?;
            calibrations.iter().for_each(|calibration| all.merge(calibration));
        }
        all.expect(graph);
        Ok(all)
    }

    /// Widens the ranges of computed 8-bit tensors of which few rows were observed: to four
    /// deviations beside the means of their columns, which parameters may lead to expect.
    /// [`Clipping::Max`](super::Clipping::Max) covers them; other methods weigh one number.
    fn expect(&mut self, graph: &Graph) {
        for op in &graph.order {
            let data = graph.op(*op);
            let result = data.results[0];
            if !(1..FEW_ROWS).contains(&self.rows(result)) {
                continue;
            }
            let Some(expected) = self.expected_deviations(graph, data) else { continue };
            let columns = &mut self.columns[result];
            columns.iter_mut().zip(expected).for_each(|(column, x)| column.expected = x);
            let reach = columns.iter().map(Column::reach).fold(0.0, f64::max);
            let range = std::mem::take(&mut self.ranges[result]);
            self.ranges[result] = range.merge(&Range::of(&[reach as f32]));
        }
    }

    /// The standard deviations that parameters lead to expect of the columns of a result: of a
    /// LayerNorm, whose rows have a variance of 1 before it scales them, and of a linear layer, if
    /// the columns of its operand are not correlated. Empty for other functions; `None` for
    /// operations that move numbers or write 16 bits.
    fn expected_deviations(&self, graph: &Graph, data: &OpData) -> Option<Vec<f64>> {
        match data.kind {
            OpKind::LayerNorm { .. } => {
                let scale = graph.const_f64(data.operands[1])?;
                Some(scale.iter().map(|gamma| gamma.abs()).collect())
            }
            OpKind::Linear {} => {
                let weights = graph.const_f64(data.operands[1])?;
                let operand = self.columns(data.operands[0]).unwrap_or_default();
                let squares: Vec<f64> = operand.iter().map(Column::mean_square).collect();
                let deviation = |row: &[f64]| {
                    let variances = row.iter().zip(&squares).map(|(w, square)| w * w * square);
                    variances.sum::<f64>().sqrt()
                };
                Some(weights.chunks(squares.len().max(1)).map(deviation).collect())
            }
            OpKind::Attention { .. }
            | OpKind::MixHeads { .. }
            | OpKind::ReduceMean { .. }
            | OpKind::Unary { .. }
            | OpKind::Table { .. } => Some(Vec::new()),
            _ => None,
        }
    }

    /// The scores of an attention, by its result.
    pub(crate) fn scores(&self, attended: Value) -> Scores {
        self.scores[attended]
    }

    /// The number of rows of a matrix that were observed.
    pub(crate) fn rows(&self, value: Value) -> usize {
        self.columns(value).map_or(0, |columns| columns[0].count)
    }

    /// [`Calibration::run`] on samples, or on [noise](stand_in) if there are none.
    ///
    /// # Errors
    /// As for [`Calibration::run`].
    pub fn run_or_noise(
        graph: &Graph,
        samples: Option<&[ArrayD<f32>]>,
    ) -> Result<Calibration, InterpError> {
        Calibration::observe_or_noise(graph, samples, true)
    }

    /// The statistics of columns alone, on samples or on noise.
    ///
    /// # Errors
    /// As for [`Calibration::run`].
    pub(crate) fn columns_or_noise(
        graph: &Graph,
        samples: Option<&[ArrayD<f32>]>,
    ) -> Result<Calibration, InterpError> {
        Calibration::observe_or_noise(graph, samples, false)
    }

    fn observe_or_noise(
        graph: &Graph,
        samples: Option<&[ArrayD<f32>]>,
        everything: bool,
    ) -> Result<Calibration, InterpError> {
        let noise = if samples.is_none() { stand_in(graph) } else { Vec::new() };
        let samples = samples.unwrap_or(&noise).iter().map(|array| array.view());
        Calibration::observe(graph, &samples.collect::<Vec<_>>(), everything)
    }

    fn see(&mut self, value: Value, tensor: &ArrayViewD<'_, f32>, everything: bool) {
        if everything {
            self.ranges[value] = match tensor.as_slice() {
                Some(numbers) => Range::of(numbers),
                None => Range::of(tensor),
            };
        }
        if let Ok(matrix) = tensor.view().into_dimensionality::<Ix2>() {
            self.columns[value] = Column::of_all(&matrix);
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
        for (value, scores) in other.scores.iter() {
            self.scores[value].merge(scores);
        }
    }

    /// The range of a value; empty for a constant. If few rows of a computed 8-bit tensor were
    /// observed, it contains what others are expected to reach.
    pub fn range(&self, value: Value) -> &Range {
        &self.ranges[value]
    }

    /// The mean of each column of a matrix; `None` for a value that calibration has not observed.
    pub fn means(&self, value: Value) -> Option<Vec<f64>> {
        self.columns(value).map(|columns| columns.iter().map(Column::mean).collect())
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
    use ndarray::{ArrayD, Axis, IxDyn, Slice};

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
        let mut samples = ArrayD::from_elem(IxDyn(&[64, 3]), 1.0);
        samples[[3, 1]] = -4.0;
        samples[[5, 2]] = 0.125;
        let calibration = Calibration::run(&graph, &[samples.view()]).unwrap();
        assert_eq!((calibration.range(x).largest(), calibration.range(y).largest()), (4.0, 8.0));
        assert_eq!(calibration.means(x), Some(vec![1.0, 59.0 / 64.0, 63.125 / 64.0]));
        // Few rows: the reciprocals may reach further.
        let few = samples.slice_axis(Axis(0), Slice::from(..4));
        let calibration = Calibration::run(&graph, &[few]).unwrap();
        assert_eq!(calibration.range(x).largest(), 4.0);
        let (mean, deviation) = ((3.0 - 0.25) / 4.0, 1.25 * 3f64.sqrt() / 4.0);
        assert!((calibration.range(y).largest() - (mean + 4.0 * deviation)).abs() < 1e-6);
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
