//! The same float function with other channels: factors and offsets that exact rewrites move
//! between parameters, as trained models have them.

use vitcod_compiler::ir::{Graph, Op, OpKind, Value};
use vitcod_support::random::SplitMix64;

/// The factors of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factors {
    /// Powers of two from 2^-6 to 2^6, so that the float function stays the same to the bit.
    PowersOfTwo,
    /// Any from 10^-2 to 10^2. Keys are also shifted, by up to 10.
    Any,
}

/// A copy of a canonical graph with seeded factors of the channels of normalised tokens, of values
/// and of queries and keys. Only the linear layers that read them may read these tensors.
pub fn rescaled(graph: &Graph, factors: Factors, seed: u64) -> Graph {
    let mut rescaled = Rescaled { graph: graph.clone(), random: SplitMix64::new(seed), factors };
    for op in &graph.order {
        let data = graph.op(*op);
        match data.kind {
            OpKind::LayerNorm { .. } => {
                let drawn = rescaled.draw(data.results[0]);
                rescaled.rows(*op, &drawn, 1.0);
                rescaled.readers(data.results[0], &drawn);
            }
            OpKind::Attention { .. } => {
                let [q, k, v] = [0, 1, 2].map(|i| graph.producer(data.operands[i]).unwrap().0);
                let drawn = rescaled.draw(data.operands[1]);
                rescaled.rows(q, &drawn, 1.0);
                rescaled.rows(k, &drawn, -1.0);
                if factors == Factors::Any {
                    let shift = rescaled.draw(data.operands[1]);
                    rescaled.update(k, 2, |i, bias| bias + shift[i].log10() * 5.0);
                }
                let drawn = rescaled.draw(data.operands[2]);
                rescaled.rows(v, &drawn, 1.0);
                rescaled.readers(data.results[0], &drawn);
            }
            _ => {}
        }
    }
    rescaled.graph.compacted()
}

/// A copy of a canonical graph for an image whose channels are divided by seeded factors, and the
/// factors. Only patches that linear layers read may read the image.
pub fn rescaled_image(graph: &Graph, factors: Factors, seed: u64) -> (Graph, Vec<f64>) {
    let mut rescaled = Rescaled { graph: graph.clone(), random: SplitMix64::new(seed), factors };
    let mut drawn = Vec::new();
    for data in graph.order.iter().map(|op| graph.op(*op)) {
        match data.kind {
            OpKind::Pixels { .. } => drawn = rescaled.draw(data.results[0]),
            OpKind::Patches { .. } => {
                let inverse: Vec<f64> = drawn.iter().map(|factor| 1.0 / factor).collect();
                rescaled.readers(data.results[0], &inverse);
            }
            _ => {}
        }
    }
    (rescaled.graph.compacted(), drawn)
}

struct Rescaled {
    graph: Graph,
    random: SplitMix64,
    factors: Factors,
}

impl Rescaled {
    /// A factor for each channel of a matrix.
    fn draw(&mut self, value: Value) -> Vec<f64> {
        let (_, channels) = self.graph.ty(value).matrix();
        let mut factor = || {
            let bits = self.random.bits();
            match self.factors {
                Factors::PowersOfTwo => 2f64.powi((bits % 13) as i32 - 6),
                Factors::Any => 10f64.powf((bits >> 11) as f64 / (1u64 << 53) as f64 * 4.0 - 2.0),
            }
        };
        (0..channels).map(|_| factor()).collect()
    }

    /// Multiplies the channels of a result by a power of their factors.
    fn rows(&mut self, op: Op, factors: &[f64], power: f64) {
        let width = self.graph.ty(self.graph.op(op).operands[1]).elements() / factors.len();
        self.update(op, 1, |i, x| x * factors[i / width].powf(power));
        self.update(op, 2, |i, x| x * factors[i].powf(power));
    }

    /// Divides the weights of all readers of a tensor by the factors of its channels.
    fn readers(&mut self, value: Value, factors: &[f64]) {
        for reader in self.graph.uses()[value].clone() {
            assert!(matches!(self.graph.op(reader).kind, OpKind::Linear {}), "a linear layer");
            self.update(reader, 1, |i, x| x / factors[i % factors.len()]);
        }
    }

    fn update(&mut self, op: Op, parameter: usize, change: impl Fn(usize, f64) -> f64) {
        let old = self.graph.op(op).operands[parameter];
        let elements = self.graph.const_f32(old).expect("a constant parameter").into_iter();
        let elements: Vec<f32> =
            elements.enumerate().map(|(i, x)| change(i, x.into()) as f32).collect();
        let shape = self.graph.ty(old).shape.clone();
        self.graph.op_mut(op).operands[parameter] = self.graph.add_f32("", shape, &elements);
    }
}
