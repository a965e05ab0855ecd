//! Principal components: the best linear auto-encoder of samples.

use std::collections::BTreeMap;

use ndarray::{ArrayViewD, Ix2};
use rayon::prelude::*;
use serde::Serialize;

use super::jacobi::{Eigen, eigen};
use super::{AutoencoderError, OPERANDS, layer};
use crate::calibration::items;
use crate::interp::FloatInterpreter;
use crate::ir::{Graph, Op, OpKind, Stage, Value};

/// The most heads of a layer: four times those of ViT-Huge.
const MAX_HEADS: usize = 64;

/// The reconstruction error of a layer's auto-encoders on the samples that they were derived from,
/// before quantisation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PcaError {
    /// The first ONNX node of the layer's attention.
    pub layer: String,
    /// Of the queries.
    pub q: Reconstruction,
    /// Of the keys.
    pub k: Reconstruction,
}

/// The difference between `x` and `x'`, which is encoded and decoded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reconstruction {
    /// `||x - x'||^2 / ||x||^2`; 0 if all of `x` is 0.
    pub relative: f64,
    /// The mean of `(x - x')^2` over all elements: the reconstruction loss that the paper trains
    /// with.
    pub mse: f64,
}

/// Inserts auto-encoders of `heads_out` compressed heads on Q and K of every attention of a
/// canonical graph that has none, and returns their errors. An attention whose Q or K is a constant
/// or has an auto-encoder is unchanged.
///
/// The vectors across heads, one for each token, feature and sample, have a mean and a covariance.
/// The encoder's weights are the `heads_out` eigenvectors of largest eigenvalue, `z = V (x -
/// mean)`; the decoder's are their transposes, `x' = V^T z + mean`. No linear auto-encoder has a
/// smaller squared error on the samples; the error is the sum of the other eigenvalues.
///
/// Samples are items along the first axis of each input, as in calibration. They run in parallel;
/// sums are f64 and in the order of the items, so the result does not depend on the number of
/// threads. The result is compacted.
///
/// # Errors
/// The graph is not canonical; `heads_out` is 0 or exceeds the heads of a layer; a layer has more
/// than 64 heads; the graph cannot be evaluated on the samples, or Q or K is not finite on them.
pub fn pca(
    graph: &Graph,
    samples: &[ArrayViewD<'_, f32>],
    heads_out: usize,
) -> Result<(Graph, Vec<PcaError>), AutoencoderError> {
    if graph.stage != Stage::Canonical {
        return Err(AutoencoderError::Stage(graph.stage));
    }
    let layers = layers(graph, heads_out)?;
    let moments = collect(graph, samples, &layers)?;
    let mut errors = Vec::new();
    let mut coders: BTreeMap<Op, [Coder; 2]> = BTreeMap::new();
    for (Layer { op, heads, .. }, moments) in layers.iter().zip(&moments) {
        let name = layer(graph, *op);
        let fit = |operand: usize| {
            moments[operand].coder(*heads, heads_out).ok_or_else(|| AutoencoderError::NotFinite {
                layer: name.clone(),
                operand: OPERANDS[operand],
            })
        };
        let (q, k) = (fit(0)?, fit(1)?);
        errors.push(PcaError { layer: name, q: q.loss, k: k.loss });
        coders.insert(*op, [q, k]);
    }

    let mut coded = graph.clone();
    for op in std::mem::take(&mut coded.order) {
        for (operand, coder) in coders.get(&op).into_iter().flatten().enumerate() {
            let x = coded.op(op).operands[operand];
            let coder = coder.insert(&mut coded, op, x);
            coded.op_mut(op).operands[operand] = coder;
        }
        coded.order.push(op);
    }
    Ok((coded.compacted(), errors))
}

/// An attention without auto-encoders.
struct Layer {
    op: Op,
    heads: usize,
    /// Q and K.
    operands: [Value; 2],
}

fn layers(graph: &Graph, heads_out: usize) -> Result<Vec<Layer>, AutoencoderError> {
    let mut layers = Vec::new();
    for op in &graph.order {
        let data = graph.op(*op);
        let OpKind::Attention { heads, .. } = data.kind else { continue };
        let operands = [data.operands[0], data.operands[1]];
        let coded = |value: &Value| {
            graph
                .producer(*value)
                .is_some_and(|(_, producer)| matches!(producer.kind, OpKind::MixHeads { .. }))
        };
        if operands.iter().any(|value| coded(value) || graph.constant(*value).is_some()) {
            continue;
        }
        if !(1..=heads).contains(&heads_out) {
            return Err(AutoencoderError::CompressedHeads {
                layer: layer(graph, *op),
                asked: heads_out,
                heads,
            });
        }
        if heads > MAX_HEADS {
            return Err(AutoencoderError::TooManyHeads {
                layer: layer(graph, *op),
                heads,
                most: MAX_HEADS,
            });
        }
        layers.push(Layer { op: *op, heads, operands });
    }
    Ok(layers)
}

/// The moments of Q and K of every layer over all samples.
fn collect(
    graph: &Graph,
    samples: &[ArrayViewD<'_, f32>],
    layers: &[Layer],
) -> Result<Vec<[Moments; 2]>, AutoencoderError> {
    let mut observed: BTreeMap<Value, Vec<[usize; 2]>> = BTreeMap::new();
    for (i, layer) in layers.iter().enumerate() {
        for (operand, value) in layer.operands.iter().enumerate() {
            observed.entry(*value).or_default().push([i, operand]);
        }
    }
    let empty =
        || layers.iter().map(|layer| [0, 1].map(|_| Moments::new(layer.heads))).collect::<Vec<_>>();
    let interpreter = FloatInterpreter::new(graph)?;
    let items = items(graph, samples)?.into_par_iter().map(|inputs| {
        let mut moments = empty();
        interpreter.observe(&inputs, &mut |value, tensor| {
            for [layer, operand] in observed.get(&value).into_iter().flatten() {
                moments[*layer][*operand].observe(&tensor, layers[*layer].heads);
            }
        })?;
        Ok(moments)
    });
    let items = items.collect::<Result<Vec<_>, AutoencoderError>>()?;
    Ok(items.iter().fold(empty(), |mut sums, item| {
        sums.iter_mut()
            .flatten()
            .zip(item.iter().flatten())
            .for_each(|(sum, moments)| sum.add(moments));
        sums
    }))
}

/// Sums over vectors across heads.
#[derive(Clone, Debug)]
struct Moments {
    count: f64,
    sum: Vec<f64>,
    /// Sums of products of heads, row by row.
    products: Vec<f64>,
}

impl Moments {
    fn new(heads: usize) -> Moments {
        Moments { count: 0.0, sum: vec![0.0; heads], products: vec![0.0; heads * heads] }
    }

    /// Adds the vectors of a matrix, tokens x heads and their features.
    fn observe(&mut self, tensor: &ArrayViewD<'_, f32>, heads: usize) {
        let matrix =
            tensor.view().into_dimensionality::<Ix2>().expect("queries and keys are matrices");
        let features = matrix.ncols() / heads;
        let mut vector = vec![0.0; heads];
        for row in matrix.rows() {
            for feature in 0..features {
                vector
                    .iter_mut()
                    .enumerate()
                    .for_each(|(head, x)| *x = f64::from(row[head * features + feature]));
                self.sum.iter_mut().zip(&vector).for_each(|(sum, x)| *sum += x);
                for (products, x) in self.products.chunks_mut(heads).zip(&vector) {
                    products.iter_mut().zip(&vector).for_each(|(product, y)| *product += x * y);
                }
            }
        }
        self.count += (matrix.nrows() * features) as f64;
    }

    fn add(&mut self, other: &Moments) {
        self.count += other.count;
        self.sum.iter_mut().zip(&other.sum).for_each(|(sum, x)| *sum += x);
        self.products.iter_mut().zip(&other.products).for_each(|(sum, x)| *sum += x);
    }

    /// The best auto-encoder; `None` if a sum is not finite.
    fn coder(&self, heads: usize, compressed: usize) -> Option<Coder> {
        let count = self.count.max(1.0);
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / count).collect();
        let covariance: Vec<f64> = (0..heads * heads)
            .map(|at| self.products[at] / count - mean[at / heads] * mean[at % heads])
            .collect();
        if !covariance.iter().all(|x| x.is_finite()) {
            return None;
        }
        let (axes, lost) = {
            let mut axes = eigen(&covariance, heads);
            let lost = axes.split_off(compressed);
            (axes, lost)
        };
        // Rounding may make an eigenvalue of 0 negative.
        let loss: f64 = lost.iter().map(|axis| axis.value.max(0.0)).sum();
        let power = (0..heads).map(|head| self.products[head * heads + head]).sum::<f64>() / count;
        let loss = Reconstruction {
            relative: if power > 0.0 { loss / power } else { 0.0 },
            mse: loss / heads as f64,
        };
        Some(Coder { axes, mean, loss })
    }
}

/// The weights of an auto-encoder.
struct Coder {
    /// One for each compressed head.
    axes: Vec<Eigen>,
    mean: Vec<f64>,
    loss: Reconstruction,
}

impl Coder {
    /// Appends the encoder and decoder of `x`, named after `attention`, and returns the decoded
    /// value.
    fn insert(&self, graph: &mut Graph, attention: Op, x: Value) -> Value {
        let (heads, compressed) = (self.mean.len(), self.axes.len());
        let encoder: Vec<f32> =
            self.axes.iter().flat_map(|axis| &axis.vector).map(|x| *x as f32).collect();
        let decoder: Vec<f32> = (0..heads)
            .flat_map(|head| self.axes.iter().map(move |axis| axis.vector[head] as f32))
            .collect();
        let dot = |axis: &Eigen| {
            axis.vector.iter().zip(&self.mean).fold(0.0, |sum, (x, mean)| sum + x * mean)
        };
        let offset: Vec<f32> = self.axes.iter().map(|axis| -dot(axis) as f32).collect();
        let mean: Vec<f32> = self.mean.iter().map(|x| *x as f32).collect();

        let nodes = graph.op(attention).nodes.clone();
        let mut mix = |x, heads_in: usize, heads_out: usize, w: &[f32], b: &[f32]| {
            let w = graph.add_f32("", [heads_out, heads_in], w);
            let b = graph.add_f32("", [heads_out], b);
            graph
                .push(OpKind::MixHeads { heads_in, heads_out }, &[x, w, b], &nodes)
                .expect("the heads of attention fit")
        };
        let z = mix(x, heads, compressed, &encoder, &offset);
        mix(z, compressed, heads, &decoder, &mean)
    }
}
