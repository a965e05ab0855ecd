//! The error of quantisation, layer by layer: compares a canonical graph in float with its
//! quantised form on given inputs.
//!
//! For each input and result of the canonical graph:
//!
//! - *accumulated* noise: of the integer run against the float run, with the errors of all
//!   operations before;
//! - *local* noise: of the operation alone, on the operands of the float run rounded to their
//!   steps;
//! - *impact*, if requested: of all outputs if only this result has its local error and everything
//!   else is float. It shows which layer matters for the outputs; it takes about half a float run
//!   for each operation and item.
//!
//! Local errors of all operations take one run: once compared, every result is replaced by the
//! rounded float one. Both integer runs follow the float run operation by operation, so that its
//! tensors need not be kept.

use cranelift_entity::SecondaryMap;
use ndarray::{ArcArray, ArrayD, ArrayViewD, IxDyn};
use rayon::prelude::*;
use vitcod_isa::program::Decision;

use super::Quantised;
use crate::calibration::items;
use crate::interp::{
    FloatInterpreter, InterpError, Noise, QuantisedInterpreter, QuantisedRun, Tensor,
};
use crate::ir::{Elem, Graph, GraphInput, OpKind, TensorType, Value, ValueDef};

/// The error of quantisation.
#[derive(Clone, Debug)]
pub struct Accuracy {
    /// Number of items.
    pub items: usize,
    /// The inputs and results of the canonical graph that have an integer form, in execution order.
    pub layers: Vec<Layer>,
    /// The outputs in the model's order.
    pub outputs: Vec<Output>,
}

/// The error of an input or of an operation's result.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Name of the operation's ONNX node, or of the input; empty if there is none.
    pub node: String,
    /// The operation of the canonical graph, or `input`.
    pub operation: &'static str,
    /// Type of the integers.
    pub ty: TensorType,
    /// Noise with the errors of all operations before.
    pub accumulated: Noise,
    /// Noise of this operation alone.
    pub local: Noise,
    /// Noise of all outputs that this error alone causes.
    pub impact: Option<Noise>,
    /// Elements of the float run outside the range of the integers.
    pub saturated: u64,
    /// Number of elements of all items.
    pub elements: u64,
}

/// The error of an output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Name of the graph output.
    pub name: String,
    /// Difference between integer and float values.
    pub noise: Noise,
    /// The largest difference of an element.
    pub largest_error: f64,
    /// Predictions, if the output has the shape of logits: `[classes]` or `[1, classes]`.
    pub predictions: Option<Predictions>,
}

/// Agreement of predictions: the index of an item's largest element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Predictions {
    /// Items with the same prediction in float and integers.
    pub equal: usize,
    /// Items whose float prediction equals the label; 0 without labels.
    pub float_right: usize,
    /// Items whose integer prediction equals the label; 0 without labels.
    pub integers_right: usize,
}

/// Optional measurements.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Whether to measure the impact of each layer on the outputs.
    pub impact: bool,
    /// The correct class of each item.
    pub labels: Option<&'a [usize]>,
}

/// Compares a canonical graph with its quantised form on samples in the form of
/// [`Calibration::run`](crate::calibration::Calibration::run). Items run in parallel; the result
/// does not depend on the number of threads.
///
/// # Errors
/// The samples are not items of the graph's inputs, their number differs from that of the labels,
/// or a graph cannot be evaluated.
pub fn measure(
    graph: &Graph,
    quantised: &Quantised,
    samples: &[ArrayViewD<'_, f32>],
    options: Options<'_>,
) -> Result<Accuracy, InterpError> {
    let mut canonical = SecondaryMap::new();
    for (value, made) in quantised.integers.iter() {
        // A normalised image differs from its integers; its pixels do not.
        let is_normalised = graph.image(value).is_some_and(|image| image.is_normalised());
        made.iter().for_each(|made| canonical[*made] = Some(value).filter(|_| !is_normalised));
    }
    let mut limits = SecondaryMap::new();
    for data in graph.order.iter().map(|op| graph.op(*op)) {
        if let OpKind::Table { input_limit, .. } = data.kind
            && input_limit > 0.0
        {
            limits[data.operands[0]] = Some(input_limit as f32);
        }
    }
    let runs = Runs {
        graph,
        quantised,
        canonical,
        limits,
        float: FloatInterpreter::new(graph)?,
        integers: QuantisedInterpreter::new(&quantised.graph)?,
        options,
    };
    let items = items(graph, samples)?;
    if let Some(labels) = options.labels.filter(|labels| labels.len() != items.len()) {
        return Err(InterpError::Labels { items: items.len(), found: labels.len() });
    }
    let measured = items.par_iter().enumerate().map(|(item, inputs)| runs.item(item, inputs));
    let measured = measured.collect::<Result<Vec<Accuracy>, InterpError>>()?;
    // Sums of floats depend on their order: add them in the order of the items.
    Ok(measured.into_iter().reduce(Accuracy::and).expect("samples have an item"))
}

/// Samples, and what a canonical graph computes of them in float. Items run in parallel.
#[derive(Clone, Debug)]
pub struct Reference {
    samples: Vec<ArrayD<f32>>,
    /// The outputs of each item.
    outputs: Vec<Vec<ArrayD<f32>>>,
}

/// What follows from the outputs of an item: compares what the host computes of them. It gets the
/// number of the item, its outputs in float, and those in integers.
pub type Then<'a> =
    dyn Fn(usize, &[ArrayD<f32>], &[ArrayD<f32>]) -> Result<Vec<Output>, InterpError> + Sync + 'a;

/// The host computes nothing.
pub const NOTHING: &Then<'static> = &|_, _, _| Ok(Vec::new());

impl Reference {
    /// Runs the graph on samples.
    ///
    /// # Errors
    /// The samples are not items of the graph's inputs, or the graph cannot be evaluated.
    pub fn new(graph: &Graph, samples: Vec<ArrayD<f32>>) -> Result<Reference, InterpError> {
        let float = FloatInterpreter::new(graph)?;
        let views = views(&samples);
        let items = items(graph, &views)?;
        let outputs = items.par_iter().map(|inputs| float.run(inputs));
        let outputs = outputs.collect::<Result<_, InterpError>>()?;
        Ok(Reference { samples, outputs })
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.outputs.len()
    }

    /// Runs a graph of a later stage in integers, and compares the outputs, and behind them those
    /// that `then` returns.
    ///
    /// # Errors
    /// The samples are not items of the graph's inputs, or the graph cannot be evaluated.
    pub fn compare(&self, integers: &Graph, then: &Then<'_>) -> Result<Vec<Output>, InterpError> {
        let interpreter = QuantisedInterpreter::new(integers)?;
        let views = views(&self.samples);
        let items = items(integers, &views)?;
        let measured = items.par_iter().zip(&self.outputs).enumerate();
        let measured = measured.map(|(item, (inputs, expected))| {
            let found = dequantised(integers, &interpreter.run(&rounded(integers, inputs))?);
            let mut outputs = compared(integers, expected, &found, None);
            outputs.extend(then(item, expected, &found)?);
            Ok(outputs)
        });
        let measured = measured.collect::<Result<Vec<Vec<Output>>, InterpError>>()?;
        let and = |all: Vec<Output>, item: Vec<Output>| {
            all.into_iter().zip(item).map(|(all, item)| all.and(item)).collect()
        };
        Ok(measured.into_iter().reduce(and).expect("samples have an item"))
    }
}

fn views(samples: &[ArrayD<f32>]) -> Vec<ArrayViewD<'_, f32>> {
    samples.iter().map(|sample| sample.view()).collect()
}

/// The integers of the inputs of a quantised graph.
fn rounded(integers: &Graph, inputs: &[ArrayViewD<'_, f32>]) -> Vec<Tensor> {
    let inputs = integers.inputs.iter().zip(inputs).map(|(GraphInput { value, .. }, input)| {
        Tensor::of_input(integers, *value, input).expect("inputs are activations")
    });
    inputs.collect()
}

/// The real numbers of the outputs of an item.
fn dequantised(integers: &Graph, found: &[Tensor]) -> Vec<ArrayD<f32>> {
    let outputs = integers.outputs.iter().zip(found).map(|(output, found)| {
        let step = integers.ty(output.value).step;
        step.and_then(|step| found.dequantise(step, &output.shape))
            .expect("outputs are activations")
    });
    outputs.collect()
}

/// Compares the outputs of an item.
fn compared(
    integers: &Graph,
    expected: &[ArrayD<f32>],
    found: &[ArrayD<f32>],
    label: Option<usize>,
) -> Vec<Output> {
    let outputs = integers.outputs.iter().zip(found).zip(expected);
    outputs
        .map(|((output, found), expected)| Output::of(&output.name, expected, found, label))
        .collect()
}

/// The layers that are far less exact than the others, and those whose numbers exceed their range:
/// as decisions, with what to do. They mean little if the outputs are exact all the same: a tensor
/// that is nearly constant, as in models with random weights, may be lost without effect.
pub fn warnings(accuracy: &Accuracy) -> Vec<Decision> {
    /// Decibels below the median of the layers, and in all, at which a layer is far below.
    const FAR_BELOW_DB: f64 = 15.0;
    const LOW_DB: f64 = 25.0;
    /// The share of numbers beyond the range of which calibration has seen too little.
    const MANY_SATURATED: f64 = 0.01;
    let mut ratios: Vec<f64> = accuracy.layers.iter().map(|layer| layer.local.sqnr_db()).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    let warning = |layer: &Layer, chosen: String, reason: &str| {
        let layer = format!("{} {}", layer.operation, layer.node);
        Decision::new(layer.trim_end(), "warning", chosen, reason)
    };
    let of_layer = |layer: &Layer| {
        let ratio = layer.local.sqnr_db();
        let far_below = (ratio < median - FAR_BELOW_DB && ratio < LOW_DB).then(|| {
            warning(
                layer,
                format!("{ratio:.1} dB alone, the median of the layers is {median:.1}"),
                "`vitcod accuracy --impact` shows what it does to the outputs; a higher \
                 `--accuracy` or more samples may help",
            )
        });
        let share = layer.saturated as f64 / layer.elements.max(1) as f64;
        let saturated = (share > MANY_SATURATED).then(|| {
            warning(
                layer,
                format!("{:.2} % of its numbers are beyond the calibrated range", 100.0 * share),
                "calibrate on more samples, of the kind that the model will see",
            )
        });
        far_below.into_iter().chain(saturated)
    };
    accuracy.layers.iter().flat_map(of_layer).collect()
}

impl Accuracy {
    /// Merges the measurements of two sets of items.
    fn and(mut self, other: Accuracy) -> Accuracy {
        self.items += other.items;
        for (layer, other) in self.layers.iter_mut().zip(other.layers) {
            layer.accumulated = layer.accumulated.and(other.accumulated);
            layer.local = layer.local.and(other.local);
            layer.impact = layer.impact.zip(other.impact).map(|(a, b)| a.and(b));
            layer.saturated += other.saturated;
            layer.elements += other.elements;
        }
        let outputs = self.outputs.into_iter().zip(other.outputs);
        self.outputs = outputs.map(|(output, other)| output.and(other)).collect();
        self
    }
}

/// The state that all items share.
struct Runs<'g> {
    graph: &'g Graph,
    quantised: &'g Quantised,
    /// For each value of the quantised graph, the value of the canonical graph that it represents.
    canonical: SecondaryMap<Value, Option<Value>>,
    /// The magnitudes to which the inputs of tables saturate on purpose, because the function does
    /// not change beyond them. Saturation there is not noise.
    limits: SecondaryMap<Value, Option<f32>>,
    float: FloatInterpreter<'g>,
    integers: QuantisedInterpreter<'g>,
    options: Options<'g>,
}

/// Real numbers by value of the canonical graph.
type Reals = SecondaryMap<Value, Option<ArcArray<f32, IxDyn>>>;

impl Runs<'_> {
    fn item(&self, item: usize, inputs: &[ArrayViewD<'_, f32>]) -> Result<Accuracy, InterpError> {
        let integer_graph = &self.quantised.graph;
        let rounded = rounded(integer_graph, inputs);
        let mut followers = Followers {
            runs: self,
            own: self.integers.start(&rounded)?,
            restored: self.integers.start(&rounded)?,
            exact: SecondaryMap::new(),
            accumulated: SecondaryMap::new(),
            local: SecondaryMap::new(),
            alone: SecondaryMap::new(),
        };
        let mut layers: Vec<(Value, Layer)> = Vec::new();
        let mut known: Reals = SecondaryMap::new();
        let mut followed = Ok(());
        let expected = self.float.observe(inputs, &mut |value, x| {
            let x = x.to_owned().into_shared();
            if self.options.impact {
                known[value] = Some(x.clone());
            }
            let made = self.quantised.integers[value];
            let Some(made) = made.filter(|made| self.canonical[*made].is_some()) else { return };
            layers.push((value, self.layer(value, integer_graph.ty(made), &x)));
            if followed.is_ok() {
                followed = followers.follow(value, x);
            }
        })?;
        followed?;
        let found = followers.own.outputs()?;
        let Followers { accumulated, local, alone, .. } = followers;
        for (value, layer) in &mut layers {
            layer.accumulated = accumulated[*value];
            layer.local = local[*value];
            if let Some(alone) = &alone[*value] {
                let changed = self.float.rerun(&known, *value, alone)?;
                let noises =
                    expected.iter().zip(&changed).map(|(x, changed)| Noise::of(x, changed));
                layer.impact = noises.reduce(Noise::and);
            }
        }
        let layers = layers.into_iter().map(|(_, layer)| layer).collect();
        let label = self.options.labels.map(|labels| labels[item]);
        let found = dequantised(integer_graph, &found);
        let outputs = compared(integer_graph, &expected, &found, label);
        Ok(Accuracy { items: 1, layers, outputs })
    }

    /// The layer of a value that is `x` in float, before its noise is known.
    fn layer(&self, value: Value, ty: &TensorType, x: &ArcArray<f32, IxDyn>) -> Layer {
        let (node, operation) = self.name(value);
        Layer {
            node,
            operation,
            ty: ty.clone(),
            accumulated: Noise::default(),
            local: Noise::default(),
            impact: None,
            saturated: match self.limits[value] {
                Some(_) => 0,
                None => x.iter().filter(|x| is_beyond(**x, ty)).count() as u64,
            },
            elements: x.len() as u64,
        }
    }

    /// The noise of a value that is `expected` in float.
    fn noise(&self, value: Value, expected: &ArcArray<f32, IxDyn>, found: &ArrayD<f32>) -> Noise {
        match self.limits[value] {
            Some(limit) => Noise::of(&expected.mapv(|x| x.clamp(-limit, limit)), found),
            None => Noise::of(expected, found),
        }
    }

    /// The value of the canonical graph that an integer tensor represents, and its real numbers.
    fn reals(&self, made: Value, tensor: &Tensor) -> Option<(Value, ArrayD<f32>)> {
        let value = self.canonical[made]?;
        let step = self.quantised.graph.ty(made).step?;
        Some((value, tensor.dequantise(step, &self.graph.ty(value).shape)?))
    }

    /// The ONNX node or input that names a value, and its operation.
    fn name(&self, value: Value) -> (String, &'static str) {
        match self.graph.def(value) {
            ValueDef::Result(op, _) => {
                let data = self.graph.op(op);
                let node = data.nodes.first().map_or("", |node| self.graph.node(*node));
                (node.to_owned(), data.kind.mnemonic())
            }
            ValueDef::Input(i) => (self.graph.inputs[i].name.clone(), "input"),
            ValueDef::Const(_) => (String::new(), "constant"),
        }
    }
}

/// Two integer runs, operation by operation behind the float run.
struct Followers<'r> {
    runs: &'r Runs<'r>,
    /// The run on its own results.
    own: QuantisedRun<'r>,
    /// The run whose results are replaced by those of the float run, rounded.
    restored: QuantisedRun<'r>,
    /// What the float run has computed and the integer runs have not.
    exact: Reals,
    accumulated: SecondaryMap<Value, Noise>,
    local: SecondaryMap<Value, Noise>,
    /// The results of the restored run, if impacts are measured.
    alone: Reals,
}

impl Followers<'_> {
    /// Continues after the float run has computed `value`, up to the next result that it has yet to
    /// compute.
    fn follow(&mut self, value: Value, x: ArcArray<f32, IxDyn>) -> Result<(), InterpError> {
        let Followers { runs, own, restored, exact, accumulated, local, alone } = self;
        exact[value] = Some(x);
        loop {
            let upcoming = own.upcoming().to_vec();
            let values = upcoming.iter().filter_map(|made| runs.canonical[*made]);
            if upcoming.is_empty() || values.clone().any(|value| exact[value].is_none()) {
                return Ok(());
            }
            own.step(&mut |made, tensor| {
                if let Some((value, found)) = runs.reals(made, &tensor) {
                    let expected = exact[value].as_ref().expect("the float run is ahead");
                    accumulated[value] = runs.noise(value, expected, &found);
                }
                tensor
            })?;
            restored.step(&mut |made, tensor| {
                let Some((value, found)) = runs.reals(made, &tensor) else { return tensor };
                let expected = exact[value].as_ref().expect("the float run is ahead");
                local[value] = runs.noise(value, expected, &found);
                alone[value] = Some(found.into_shared()).filter(|_| runs.options.impact);
                let ty = runs.quantised.graph.ty(made);
                Tensor::quantise(&expected.view(), ty).expect("a tensor of real numbers")
            })?;
            values.for_each(|value| exact[value] = None);
        }
    }
}

impl Output {
    /// Merges the measurements of two sets of items.
    fn and(self, other: Output) -> Output {
        Output {
            noise: self.noise.and(other.noise),
            largest_error: self.largest_error.max(other.largest_error),
            predictions: self.predictions.zip(other.predictions).map(|(a, b)| Predictions {
                equal: a.equal + b.equal,
                float_right: a.float_right + b.float_right,
                integers_right: a.integers_right + b.integers_right,
            }),
            ..self
        }
    }

    /// Compares an output of an item.
    pub(crate) fn of(
        name: &str,
        expected: &ArrayD<f32>,
        found: &ArrayD<f32>,
        label: Option<usize>,
    ) -> Output {
        let differences = expected.iter().zip(found).map(|(r, x)| f64::from((r - x).abs()));
        let predictions = matches!(*expected.shape(), [classes] | [1, classes] if classes > 1)
            .then(|| {
                let (float, integers) = (largest(expected), largest(found));
                let right = |class| usize::from(label == Some(class));
                Predictions {
                    equal: usize::from(float == integers),
                    float_right: right(float),
                    integers_right: right(integers),
                }
            });
        Output {
            name: name.to_owned(),
            noise: Noise::of(expected, found),
            largest_error: differences.fold(0.0, f64::max),
            predictions,
        }
    }
}

/// Index of the largest element, the first of equal ones.
fn largest(x: &ArrayD<f32>) -> usize {
    let indexed = x.iter().enumerate();
    indexed.fold((0, f32::NEG_INFINITY), |best, (i, x)| if *x > best.1 { (i, *x) } else { best }).0
}

/// Whether a number is outside the range of the integers, apart from rounding.
fn is_beyond(x: f32, ty: &TensorType) -> bool {
    let [min, max] = match ty.elem {
        Elem::I8 => [i8::MIN.into(), i8::MAX.into()],
        _ => [i16::MIN, i16::MAX],
    };
    let steps = f64::from(x) / ty.step.unwrap_or(1.0);
    steps < f64::from(min) - 0.5 || steps > f64::from(max) + 0.5
}
