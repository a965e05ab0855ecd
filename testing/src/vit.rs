//! Vision transformers of any size with seeded weights, and their quantisation.

use ndarray::ArrayViewD;
use vitcod_compiler::calibration::{self, Calibration};
use vitcod_compiler::ir::{BinaryFn, Graph, OpKind, Stage, TensorType, UnaryFn, Value};
use vitcod_compiler::masks::{self, Mask, Masks};
use vitcod_compiler::quantise;
use vitcod_support::random::SplitMix64;

/// Extents of a vision transformer.
#[derive(Clone, Copy, Debug)]
pub struct Vit {
    /// Width and height of the image in pixels.
    pub image: usize,
    /// Width and height of a patch in pixels.
    pub patch: usize,
    /// Channels of the image.
    pub channels: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// Features between the layers of an MLP.
    pub hidden: usize,
    /// Blocks of attention and MLP.
    pub depth: usize,
    /// Logits.
    pub classes: usize,
    /// Whether all tokens are returned in addition to the logits, so that no row is dead.
    pub all_tokens: bool,
}

impl Vit {
    /// Number of tokens of attention, including the class token.
    pub fn tokens(&self) -> usize {
        (self.image / self.patch).pow(2) + 1
    }
}

/// A small one, with numbers of heads and tokens that are not powers of two.
pub const SMALL: Vit = Vit {
    image: 16,
    patch: 4,
    channels: 3,
    heads: 3,
    head_dim: 8,
    hidden: 48,
    depth: 2,
    classes: 10,
    all_tokens: false,
};

/// A random number in [-1, 1).
fn uniform(random: &mut SplitMix64) -> f32 {
    (random.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// A canonical graph with seeded weights.
pub fn vit(vit: Vit, seed: u64) -> Graph {
    let mut net = Weighted {
        graph: Graph::new("vit", Stage::Canonical),
        random: SplitMix64::new(seed),
        layer: String::new(),
    };
    let dim = vit.heads * vit.head_dim;
    let x = net.graph.add_input("x", TensorType::f32([1, vit.channels, vit.image, vit.image]));
    let side = vit.image / vit.patch;
    net.layer = "patch_embed".to_owned();
    let x = net.push(OpKind::Pixels { last: false }, &[x]);
    let patches = OpKind::Patches {
        map: [vit.image; 2],
        kernel: [vit.patch; 2],
        stride: [vit.patch; 2],
        pad: [0; 4],
    };
    let patches = net.push(patches, &[x]);
    let embedded = net.linear(patches, vit.channels * vit.patch * vit.patch, dim);
    let position = net.weights([side * side, dim], 0.5);
    let embedded = net.add(embedded, position);
    let class = net.weights([1, dim], 0.5);
    let mut stream = net.push(OpKind::Concat { axis: 0 }, &[class, embedded]);
    for block in 0..vit.depth {
        net.layer = format!("blocks.{block}.attn");
        let normed = net.norm(stream, dim);
        let [q, k, v] = [(); 3].map(|()| net.linear(normed, dim, dim));
        let kind = OpKind::Attention {
            heads: vit.heads,
            scale: (vit.head_dim as f64).powf(-0.5),
            windows: 1,
        };
        let attended = net.push(kind, &[q, k, v]);
        let projected = net.linear(attended, dim, dim);
        stream = net.add(stream, projected);
        net.layer = format!("blocks.{block}.mlp");
        let normed = net.norm(stream, dim);
        let hidden = net.linear(normed, dim, vit.hidden);
        let hidden = net.push(OpKind::Unary { f: UnaryFn::Gelu }, &[hidden]);
        let contracted = net.linear(hidden, vit.hidden, dim);
        stream = net.add(stream, contracted);
    }
    net.layer = "head".to_owned();
    let token = net.push(OpKind::Slice { axis: 0, start: 0, len: 1, stride: 1 }, &[stream]);
    let token = net.norm(token, dim);
    let logits = net.linear(token, dim, vit.classes);
    net.graph.add_output("logits", logits, [1, vit.classes]);
    if vit.all_tokens {
        net.graph.add_output("tokens", stream, [1, side * side + 1, dim]);
    }
    net.graph
}

struct Weighted {
    graph: Graph,
    random: SplitMix64,
    layer: String,
}

impl Weighted {
    fn weights(&mut self, shape: impl Into<Vec<usize>>, scale: f32) -> Value {
        let shape = shape.into();
        let elements: Vec<f32> =
            (0..shape.iter().product()).map(|_| uniform(&mut self.random) * scale).collect();
        self.graph.add_f32("", shape, &elements)
    }

    fn push(&mut self, kind: OpKind, operands: &[Value]) -> Value {
        let node = self.graph.add_node(format!("{}.{}", self.layer, kind.mnemonic()));
        self.graph.push(kind, operands, &[node]).unwrap()
    }

    fn linear(&mut self, x: Value, inputs: usize, outputs: usize) -> Value {
        let weights = self.weights([outputs, inputs], (3.0 / inputs as f32).sqrt());
        let bias = self.weights([outputs], 0.3);
        self.push(OpKind::Linear {}, &[x, weights, bias])
    }

    fn norm(&mut self, x: Value, dim: usize) -> Value {
        let (gamma, beta) = (self.weights([dim], 1.5), self.weights([dim], 0.3));
        self.push(OpKind::LayerNorm { eps: 1e-6 }, &[x, gamma, beta])
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        self.push(OpKind::Binary { f: BinaryFn::Add }, &[a, b])
    }
}

/// A canonical graph whose attention keeps the entries for which `kept(layer, head, query, key)`
/// holds.
pub fn masked(
    shape: Vit,
    seed: u64,
    mut kept: impl FnMut(usize, usize, usize, usize) -> bool,
) -> Graph {
    let tokens = shape.tokens();
    let layers = (0..shape.depth).map(|layer| {
        let head = |head| Mask::from_fn(tokens, tokens, |query, key| kept(layer, head, query, key));
        (0..shape.heads).map(head).collect()
    });
    let masks = Masks::new(layers.collect()).unwrap();
    masks::apply(&vit(shape, seed), &masks).unwrap()
}

/// Quantises a graph by one item of seeded noise.
pub fn quantised(graph: &Graph) -> Graph {
    quantised_by(graph, 1)
}

/// Quantises a graph on items of seeded noise, if the model does not state all its steps.
pub fn quantised_by(graph: &Graph, items: usize) -> Graph {
    let samples = match quantise::needs_samples(graph) {
        true => calibration::noise(graph, items),
        false => Vec::new(),
    };
    let samples: Vec<ArrayViewD<'_, f32>> = samples.iter().map(|sample| sample.view()).collect();
    let calibration = match samples[..] {
        [] => Calibration::default(),
        _ => Calibration::run(graph, &samples).unwrap(),
    };
    quantise::quantise(graph, &calibration).unwrap()
}
