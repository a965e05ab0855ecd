//! The attention core: the workload that the authors' simulator of ViTCoD models.
//!
//! [`attention_core`] is the attention of every layer alone, in integers. Queries, keys and values
//! are inputs of the graph in DRAM, and results are stored there; layers are not connected. With
//! the auto-encoder, queries and keys are compressed inputs and are decoded. Properties that depend
//! only on the mask, above all timing, are those of a model with these layers.
//!
//! Values stay in the useful range of every operation. For inputs of mean 0 and standard deviation
//! 1 ([`seeded_noise`](crate::calibration::seeded_noise)), int8 covers four standard deviations,
//! decoders preserve the standard deviation, scores have a standard deviation of 1 before the
//! softmax, and results, which are averages of values, have the step of the values.

use vitcod_isa::numerics::{ProbabilityFormat, SCORE_UNITS_PER_NAT, Scale};
use vitcod_isa::operands::{Channel, autoencoder_bytes, autoencoder_channels_at};

use crate::ir::layout::{Mask, mask_operand};
use crate::ir::{Elem, Graph, OpKind, Stage, TensorType, Value};
use crate::masks::Masks;
use vitcod_support::random::SplitMix64;

/// Real value of a step of every int8 tensor: 127 steps are about four standard deviations.
const STEP: f64 = 1.0 / 32.0;

/// The most features of a head: the number of products that an accumulator can sum.
pub const MAX_HEAD_DIM: usize = vitcod_isa::numerics::max_accumulation_depth(8, 8) as usize;

/// The parameters of the attention core that a mask does not state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionCore {
    /// Features of a head.
    pub head_dim: usize,
    /// Heads of compressed queries and keys; `None` without an auto-encoder.
    pub compressed_heads: Option<usize>,
    /// Whether probabilities are minifloats, where a row has few enough keys for them.
    pub minifloat: bool,
    /// Seed of the decoders' weights and biases.
    pub seed: u64,
}

/// Why an attention core cannot be generated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// The number of features is 0 or exceeds the limit.
    #[error("a head dimension of {0}: expected 1 to {MAX_HEAD_DIM}")]
    HeadDim(usize),
    /// The number of compressed heads is 0 or exceeds the number of heads.
    #[error(
        "layer {layer}: {compressed} compressed heads for {heads} heads: expected 1 to {heads}"
    )]
    CompressedHeads {
        /// The first such layer.
        layer: usize,
        /// Number of heads of the layer.
        heads: usize,
        /// Heads after compression.
        compressed: usize,
    },
}

/// The quantised graph of the attention of every layer.
///
/// Layer `i`, of `h` heads with `m` queries and `n` keys of `d` features, reads the inputs
/// `layers.i.q` `i8[m, h*d]` and `layers.i.k` `i8[n, h*d]`, which have `e*d` columns if there are
/// `e` compressed heads, and `layers.i.v` `i8[n, h*d]`. Its output is `layers.i.out` `i8[m, h*d]`.
/// Its nodes are `layers.i.decode_q`, `layers.i.decode_k` and `layers.i.attention`. The attention
/// has no mask if the layer's masks keep everything.
///
/// # Errors
/// The head dimension is 0 or too large, or there are no compressed heads or more than heads.
pub fn attention_core(masks: &Masks, core: AttentionCore) -> Result<Graph, WorkloadError> {
    check(masks, core)?;
    let mut builder = Builder {
        graph: Graph::new("attention core", Stage::Quantised),
        random: SplitMix64::new(core.seed),
    };
    for (layer, heads) in masks.layers().iter().enumerate() {
        builder.layer(layer, heads, core);
    }
    Ok(builder.graph)
}

/// Checks that there is such an attention core.
///
/// # Errors
/// As [`attention_core`].
pub fn check(masks: &Masks, core: AttentionCore) -> Result<(), WorkloadError> {
    let AttentionCore { head_dim, compressed_heads, .. } = core;
    if !(1..=MAX_HEAD_DIM).contains(&head_dim) {
        return Err(WorkloadError::HeadDim(head_dim));
    }
    for (layer, heads) in masks.layers().iter().enumerate() {
        if let Some(compressed) =
            compressed_heads.filter(|compressed| !(1..=heads.len()).contains(compressed))
        {
            return Err(WorkloadError::CompressedHeads { layer, heads: heads.len(), compressed });
        }
    }
    Ok(())
}

struct Builder {
    graph: Graph,
    random: SplitMix64,
}

impl Builder {
    fn layer(
        &mut self,
        layer: usize,
        masks: &[Mask],
        AttentionCore { head_dim, compressed_heads, minifloat, .. }: AttentionCore,
    ) {
        let heads = masks.len();
        let (queries, keys) = (masks[0].queries(), masks[0].keys());
        let name = |part: &str| format!("layers.{layer}.{part}");
        let inputs = [("q", queries), ("k", keys)].map(|(part, tokens)| {
            let columns = compressed_heads.unwrap_or(heads) * head_dim;
            (part, self.graph.add_input(name(part), activation([tokens, columns])))
        });
        let v = self.graph.add_input(name("v"), activation([keys, heads * head_dim]));
        let [q, k] = inputs.map(|(part, x)| match compressed_heads {
            Some(compressed) => self.decode(&name(&format!("decode_{part}")), x, compressed, heads),
            None => x,
        });

        let nodes = [self.graph.add_node(name("attention"))];
        let to_score = STEP * STEP * (head_dim as f64).powf(-0.5) * SCORE_UNITS_PER_NAT;
        let kind = OpKind::Sddmm { heads, scale: scale(to_score), windows: 1 };
        let mut operands = vec![q, k];
        if masks.iter().any(|mask| mask.kept() < mask.entries()) {
            let (ty, bytes) = mask_operand(masks.iter());
            operands.push(self.graph.add_const(name("mask"), ty, bytes));
        }
        let scores = TensorType::new(Elem::I16, [heads, queries, keys]);
        let scores = self.graph.push_typed(kind, &operands, vec![scores], &nodes);
        let fits = keys <= ProbabilityFormat::Minifloat.max_keys() as usize;
        let elem = if minifloat && fits { Elem::E3m5 } else { Elem::I8 };
        let soft = [
            TensorType::new(elem, [heads, queries, keys]),
            TensorType::new(Elem::U32, [heads, queries]),
        ];
        let soft =
            self.graph.push_typed(OpKind::QSoftmax { shift: 0 }, &scores, soft.to_vec(), &nodes);
        let (kind, shape) =
            (OpKind::Spmm { scale: Scale::ONE, windows: 1 }, [queries, heads * head_dim]);
        let out =
            self.graph.push_typed(kind, &[soft[0], soft[1], v], vec![activation(shape)], &nodes)[0];
        self.graph.add_output(name("out"), out, shape);
    }

    /// Decodes compressed heads with random weights: their signs are random, their magnitudes
    /// between 1/4 and all of the largest, and biases at most a quarter of the standard deviation.
    fn decode(&mut self, name: &str, x: Value, heads_in: usize, heads_out: usize) -> Value {
        let (tokens, columns) = self.graph.ty(x).matrix();
        let mut bytes = Vec::with_capacity(autoencoder_bytes(heads_in, heads_out));
        let mut channels = Vec::with_capacity(heads_out * Channel::BYTES);
        for _ in 0..heads_out {
            let weights: Vec<i8> = (0..heads_in).map(|_| self.weight()).collect();
            let norm = weights.iter().map(|weight| f64::from(*weight).powi(2)).sum::<f64>().sqrt();
            let bias = (self.uniform() * 0.25 * norm / STEP).round() as i32;
            bytes.extend(weights.iter().map(|weight| *weight as u8));
            channels.extend(Channel { bias, scale: scale(1.0 / norm) }.to_bytes());
        }
        bytes.resize(autoencoder_channels_at(heads_in, heads_out), 0);
        bytes.extend(channels);
        let node = self.graph.add_node(name);
        let params = self.graph.add_const(
            format!("{name}.params"),
            TensorType::new(Elem::Byte, [bytes.len()]),
            bytes,
        );
        let ty = activation([tokens, columns / heads_in * heads_out]);
        self.graph.push_typed(
            OpKind::Decode { heads_in, heads_out },
            &[x, params],
            vec![ty],
            &[node],
        )[0]
    }

    /// A random number in [-1, 1).
    fn uniform(&mut self) -> f64 {
        (self.random.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn weight(&mut self) -> i8 {
        let uniform = self.uniform();
        (uniform.signum() * (32.0 + 95.0 * uniform.abs())).round() as i8
    }
}

fn activation(shape: [usize; 2]) -> TensorType {
    TensorType::quantised(Elem::I8, shape, STEP)
}

/// A multiplier between 2^-32 and 2^31.
fn scale(value: f64) -> Scale {
    Scale::from_f64(value).expect("the multiplier is in range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::seeded_noise;
    use crate::interp::{QuantisedInterpreter, Tensor};

    const TINY: AttentionCore =
        AttentionCore { head_dim: 16, compressed_heads: None, minifloat: true, seed: 1 };

    /// Two layers of three heads; a third of the entries is kept.
    fn masks(queries: usize, keys: usize) -> Masks {
        let head = |shift| {
            Mask::from_fn(queries, keys, |query, key| (query + key + shift) % 3 == 0 || key == 0)
        };
        Masks::new(vec![(0..3).map(head).collect(); 2]).unwrap()
    }

    fn run(graph: &Graph) -> Vec<Tensor> {
        graph.verify().unwrap();
        let inputs: Vec<Tensor> = seeded_noise(graph, 1, 3)
            .iter()
            .zip(&graph.inputs)
            .map(|(x, input)| Tensor::quantise(&x.view(), graph.ty(input.value)).unwrap())
            .collect();
        QuantisedInterpreter::new(graph).unwrap().run(&inputs).unwrap()
    }

    /// Root of the mean square, and the share of elements at the ends of their range.
    fn spread<T: Copy + Into<f64>>(elements: &[T], end: f64) -> (f64, f64) {
        let count = elements.len() as f64;
        let square: f64 = elements.iter().map(|x| (*x).into().powi(2)).sum();
        (
            (square / count).sqrt(),
            elements.iter().filter(|x| (**x).into().abs() >= end).count() as f64 / count,
        )
    }

    #[test]
    fn numbers_stay_in_the_useful_range() {
        for compressed_heads in [None, Some(2), Some(3)] {
            for head_dim in [1, 16, 64] {
                let core = AttentionCore { head_dim, compressed_heads, ..TINY };
                let graph = attention_core(&masks(40, 40), core).unwrap();
                for output in run(&graph) {
                    let Tensor::I8(output) = output else { panic!("{output:?}") };
                    let (deviation, saturated) = spread(&output, 127.0);
                    assert!(
                        (4.0..32.0).contains(&deviation) && saturated < 0.01,
                        "{core:?}: {deviation}, {saturated}"
                    );
                }
                // The scores themselves: a graph that ends with those of layer 0.
                let mut graph = graph;
                let scores = *graph
                    .order
                    .iter()
                    .find(|op| graph.op(**op).kind.mnemonic() == "sddmm")
                    .unwrap();
                let scores = graph.op(scores).results[0];
                let shape = graph.ty(scores).shape.clone();
                graph.outputs.clear();
                graph.add_output("scores", scores, shape);
                let Tensor::I16(scores) = run(&graph).remove(0) else {
                    panic!("scores are 16 bits")
                };
                let kept: Vec<i16> =
                    scores.into_iter().filter(|score| *score != i16::MIN).collect();
                let (deviation, saturated) = spread(&kept, 32_767.0);
                assert!(
                    (200.0..800.0).contains(&deviation) && saturated == 0.0,
                    "{core:?}: {deviation}, {saturated}"
                );
            }
        }
    }

    #[test]
    fn layers_are_named_and_may_be_rectangular() {
        let core = AttentionCore { compressed_heads: Some(2), ..TINY };
        let graph = attention_core(&masks(7, 9), core).unwrap();
        graph.verify().unwrap();
        let names: Vec<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(
            names,
            ["layers.0.q", "layers.0.k", "layers.0.v", "layers.1.q", "layers.1.k", "layers.1.v"]
        );
        let shapes: Vec<_> =
            graph.inputs[..3].iter().map(|input| graph.ty(input.value).matrix()).collect();
        assert_eq!(shapes, [(7, 32), (9, 32), (9, 48)]);
        assert_eq!(
            (&graph.outputs[1].name, &graph.outputs[1].shape),
            (&"layers.1.out".to_owned(), &vec![7, 48])
        );
        let nodes: Vec<&str> = graph.nodes().map(|(_, name)| name).collect();
        assert_eq!(nodes[..3], ["layers.0.decode_q", "layers.0.decode_k", "layers.0.attention"]);
        assert!(graph.describe(graph.order[2]).starts_with("layers.0.attention"));
    }

    #[test]
    fn masks_that_keep_everything_are_none() {
        let all = Masks::new(vec![vec![Mask::from_fn(4, 5, |_, _| true); 2]]).unwrap();
        let graph = attention_core(&all, TINY).unwrap();
        assert_eq!(graph.op(graph.order[0]).operands.len(), 2);
        let graph = attention_core(&masks(4, 5), TINY).unwrap();
        assert_eq!(graph.op(graph.order[0]).operands.len(), 3);
    }

    #[test]
    fn what_makes_no_core_is_refused() {
        let core = |core| attention_core(&masks(4, 4), core).map(|_| ()).unwrap_err();
        for head_dim in [0, MAX_HEAD_DIM + 1] {
            assert_eq!(core(AttentionCore { head_dim, ..TINY }), WorkloadError::HeadDim(head_dim));
        }
        for compressed in [0, 4] {
            let error = core(AttentionCore { compressed_heads: Some(compressed), ..TINY });
            assert_eq!(error, WorkloadError::CompressedHeads { layer: 0, heads: 3, compressed });
        }
    }
}
