//! Layers with auto-encoders, placed and made.

use ndarray::ArrayD;
use proptest::prelude::*;
use vitcod_isa::machine::Machine;
use vitcod_support::random::SplitMix64;

use super::{AutoencoderError, Choice, Decision, Form, PcaError, pca, place};
use crate::calibration::noise;
use crate::interp::FloatInterpreter;
use crate::ir::{Graph, Op, OpKind, Stage, TensorType, Value};

/// Tokens, inputs of the projections, heads, compressed heads, features of a head.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    m: usize,
    k: usize,
    h: usize,
    e: usize,
    d: usize,
}

const SMALL: Sizes = Sizes { m: 5, k: 7, h: 3, e: 2, d: 4 };
const DEIT_TINY: Sizes = Sizes { m: 197, k: 192, h: 3, e: 2, d: 64 };

/// A graph under construction, with its source of numbers.
struct Builder {
    graph: Graph,
    random: SplitMix64,
}

impl Builder {
    fn new(seed: u64) -> Builder {
        Builder { graph: Graph::new("test", Stage::Canonical), random: SplitMix64::new(seed) }
    }

    /// A constant of numbers from -1 to 1, or those of `scale` times as much.
    fn constant(&mut self, shape: &[usize], scale: f32) -> Value {
        let elements: Vec<f32> = (0..shape.iter().product())
            .map(|_| ((self.random.bits() >> 40) as f32 / 2f32.powi(23) - 1.0) * scale)
            .collect();
        self.graph.add_f32("", shape, &elements)
    }

    fn op(&mut self, kind: OpKind, operands: &[Value]) -> Value {
        let node = self.graph.add_node(format!("{}{}", kind.mnemonic(), self.graph.order.len()));
        self.graph.push(kind, operands, &[node]).unwrap()
    }

    fn linear(&mut self, x: Value, outputs: usize) -> Value {
        let (_, depth) = self.graph.ty(x).matrix();
        let (w, b) = (
            self.constant(&[outputs, depth], (depth as f32).sqrt().recip() * 1.7),
            self.constant(&[outputs], 0.5),
        );
        self.op(OpKind::Linear {}, &[x, w, b])
    }

    fn mix(&mut self, x: Value, heads_in: usize, heads_out: usize) -> Value {
        let scale = (heads_in as f32).sqrt().recip() * 1.7;
        let (w, b) =
            (self.constant(&[heads_out, heads_in], scale), self.constant(&[heads_out], 0.5));
        self.op(OpKind::MixHeads { heads_in, heads_out }, &[x, w, b])
    }

    fn coded(&mut self, x: Value, Sizes { h, e, .. }: Sizes) -> Value {
        let z = self.mix(x, h, e);
        self.mix(z, e, h)
    }

    fn attention(&mut self, [q, k, v]: [Value; 3], Sizes { h, d, .. }: Sizes) -> Value {
        self.op(
            OpKind::Attention { heads: h, scale: (d as f64).sqrt().recip(), windows: 1 },
            &[q, k, v],
        )
    }

    fn output(&mut self, value: Value) {
        let shape = self.graph.ty(value).shape.clone();
        self.graph.add_output("y", value, shape);
    }

    fn finish(self) -> Graph {
        self.graph.verify().unwrap();
        self.graph
    }
}

/// An attention layer; with auto-encoders on Q and K where `coded`.
fn layer(sizes: Sizes, coded: bool, seed: u64) -> Graph {
    let mut b = Builder::new(seed);
    let x = b.graph.add_input("x", TensorType::f32([sizes.m, sizes.k]));
    let [mut q, mut k, v] = [0; 3].map(|_| b.linear(x, sizes.h * sizes.d));
    if coded {
        [q, k] = [q, k].map(|x| b.coded(x, sizes));
    }
    let y = b.attention([q, k, v], sizes);
    b.output(y);
    b.finish()
}

fn vitcod() -> Machine {
    Machine::preset("vitcod-ideal").unwrap()
}

fn placed(graph: &Graph, choice: Choice) -> (Graph, Vec<Decision>) {
    let (placed, decisions) = place(graph, &vitcod(), choice).unwrap();
    placed.verify().unwrap();
    (placed, decisions)
}

fn outputs(graph: &Graph) -> Vec<ArrayD<f32>> {
    let inputs = noise(graph, 1);
    let inputs: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    FloatInterpreter::new(graph).unwrap().run(&inputs).unwrap()
}

/// The largest difference of outputs relative to the largest output.
fn difference(a: &Graph, b: &Graph) -> f32 {
    let largest = |x: &ArrayD<f32>| x.iter().fold(0f32, |max, x| max.max(x.abs()));
    let pairs = outputs(a).into_iter().zip(outputs(b));
    pairs.map(|(a, b)| largest(&(&a - &b)) / largest(&a)).fold(0.0, f32::max)
}

fn count(graph: &Graph, mnemonic: &str) -> usize {
    graph.operator_counts().get(mnemonic).copied().unwrap_or(0)
}

#[test]
fn each_form_has_its_operations() {
    let graph = layer(SMALL, true, 1);
    for (form, mixes) in [(Form::Apart, 4), (Form::FoldEncoder, 2), (Form::FoldBoth, 0)] {
        let (placed, decisions) = placed(&graph, Choice::Always(form));
        assert_eq!((count(&placed, "mix_heads"), count(&placed, "linear")), (mixes, 3), "{placed}");
        let [decision] = &decisions[..] else { panic!("{decisions:?}") };
        assert_eq!((decision.form, &decision.layer[..]), (form, "attention7"));
        assert!(
            decision.reason.starts_with("asked for; Q and K stay on chip"),
            "{}",
            decision.reason
        );
    }
    assert_eq!(placed(&layer(SMALL, false, 1), Choice::Auto).1, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn folding_keeps_the_function(
        m in 1usize..6, k in 1usize..9, h in 1usize..7, e in 1usize..7, d in 1usize..5, seed: u64, both: bool
    ) {
        let graph = layer(Sizes { m, k, h, e: e.min(h), d }, true, seed);
        let form = if both { Form::FoldBoth } else { Form::FoldEncoder };
        let difference = difference(&graph, &placed(&graph, Choice::Always(form)).0);
        prop_assert!(difference <= 1e-5, "{difference}");
    }
}

#[test]
fn the_cost_model_chooses() {
    // One of Q and K, by hand, on 64 lines of 8 MACs. Projection: 197 * 192 results are 591 rounds
    // of 192 / 8 cycles; compressed, 197 * 128 are 394. Encoder: 197 * 2 * 8 blocks of 8 features
    // are 50 rounds of 3 terms. Decoder: 197 * 3 * 8 are 74 of 2.
    let (whole, compressed, encode, decode) = (591 * 24, 394 * 24, 50 * 3, 74 * 2);
    let expected = [2 * (whole + encode + decode), 2 * (compressed + decode), 2 * whole];
    let graph = layer(DEIT_TINY, true, 2);
    let (folded, decisions) = placed(&graph, Choice::Auto);
    assert_eq!(decisions[0].estimates.map(|(_, estimate)| estimate.cycles), expected);
    assert_eq!(decisions[0].estimates.map(|(form, _)| form), Form::ALL);
    assert_eq!(decisions[0].form, Form::FoldEncoder);
    assert_eq!(decisions[0].reason, "fewest weighted cycles; Q and K stay on chip (50432 bytes)");
    assert_eq!(count(&folded, "mix_heads"), 2);

    // In half of this scratchpad, the compressed form fits and the other does not.
    let mut machine = vitcod();
    machine.sram.bytes = 2 * 50_432;
    let estimates = place(&graph, &machine, Choice::Auto).unwrap().1[0].estimates;
    let bytes = estimates.map(|(_, estimate)| estimate.dram_bytes);
    assert_eq!(bytes, [0, 0, 2 * 2 * 197 * 192]);
    // A unit waits for a quarter of the transfers, at 153.6 bytes a cycle.
    let waits = [0, 0, (2 * 2 * 197 * 192 * 10u64).div_ceil(1536) / 4];
    let cycles = estimates.map(|(_, estimate)| estimate.cycles);
    assert_eq!(cycles, std::array::from_fn(|form| expected[form] + waits[form]));
    machine.sram.bytes -= 2;
    let decision = &place(&graph, &machine, Choice::Always(Form::Apart)).unwrap().1[0];
    assert_eq!(decision.reason, "asked for; Q and K are stored in DRAM (50432 bytes)");
}

#[test]
fn what_cannot_be_folded_says_so() {
    let mut b = Builder::new(3);
    let x = b.graph.add_input("x", TensorType::f32([SMALL.m, SMALL.h * SMALL.d]));
    let projected = b.linear(x, SMALL.h * SMALL.d);
    let (q, k) = (b.coded(projected, SMALL), b.coded(x, SMALL));
    let y = b.attention([q, k, x], SMALL);
    b.output(y);
    b.output(projected);
    let graph = b.finish();
    for choice in [Choice::Auto, Choice::Always(Form::FoldBoth)] {
        let (placed, decisions) = placed(&graph, choice);
        assert_eq!(count(&placed, "mix_heads"), 4);
        assert_eq!(decisions[0].form, Form::Apart);
        assert_eq!(
            decisions[0].reason,
            "nothing can be folded; Q and K stay on chip (80 bytes); the encoder of Q stays: its input has other \
             readers; the encoder of K stays: its input is not the result of a linear layer"
        );
    }

    // One of the two.
    let mut graph = graph;
    graph.outputs.truncate(1);
    let (folded, decisions) = placed(&graph, Choice::Always(Form::FoldBoth));
    assert_eq!((count(&folded, "mix_heads"), decisions[0].form), (2, Form::FoldBoth));
    assert!(decisions[0].reason.contains("the encoder of K stays"), "{}", decisions[0].reason);
    assert!(difference(&graph, &folded) < 1e-5);
}

#[test]
fn an_auto_encoder_may_be_shared() {
    let mut b = Builder::new(4);
    let x = b.graph.add_input("x", TensorType::f32([SMALL.m, SMALL.h * SMALL.d]));
    let projected = b.linear(x, SMALL.h * SMALL.d);
    let both = b.coded(projected, SMALL);
    let first = b.attention([both, both, x], SMALL);
    let second = b.attention([both, first, x], SMALL);
    b.output(second);
    let graph = b.finish();
    for form in Form::ALL {
        let (folded, decisions) = placed(&graph, Choice::Always(form));
        assert_eq!(decisions.len(), 2);
        assert!(difference(&graph, &folded) < 1e-5);
    }
}

#[test]
fn other_stages_and_layers_without_cost_are_refused() {
    let quantised = Graph::new("test", Stage::Quantised);
    let stage = AutoencoderError::Stage(Stage::Quantised);
    assert_eq!(place(&quantised, &vitcod(), Choice::Auto).unwrap_err(), stage);
    assert_eq!(pca(&quantised, &[], 1).unwrap_err(), stage);
    let large = layer(Sizes { m: 70_000, k: 1, h: 2, e: 1, d: 1 }, true, 5);
    assert_eq!(
        place(&large, &vitcod(), Choice::Auto).unwrap_err().to_string(),
        "attention7: tokens: 70000, expected at most 65535"
    );
}

fn principal(graph: &Graph, heads_out: usize) -> Result<(Graph, Vec<PcaError>), AutoencoderError> {
    let samples = noise(graph, 3);
    let samples: Vec<_> = samples.iter().map(|sample| sample.view()).collect();
    pca(graph, &samples, heads_out)
}

/// The values of Q before and after its auto-encoder, of the samples of [`principal`].
fn reconstructed(graph: &Graph) -> [Vec<f32>; 2] {
    let is = |op: &&Op, mnemonic: &str| graph.op(**op).kind.mnemonic() == mnemonic;
    let attention = graph.op(*graph.order.iter().find(|op| is(op, "attention")).unwrap());
    let decoder = graph.producer(attention.operands[0]).unwrap().1;
    let encoder = graph.producer(decoder.operands[0]).unwrap().1;
    let mut found = [Vec::new(), Vec::new()];
    for item in noise(graph, 3)[0]
        .axis_chunks_iter(ndarray::Axis(0), graph.ty(graph.inputs[0].value).shape[0])
    {
        let mut observe = |value: Value, tensor: ndarray::ArrayViewD<'_, f32>| {
            for (found, wanted) in
                found.iter_mut().zip([encoder.operands[0], attention.operands[0]])
            {
                if value == wanted {
                    found.extend(tensor.iter());
                }
            }
        };
        FloatInterpreter::new(graph).unwrap().observe(&[item], &mut observe).unwrap();
    }
    found
}

#[test]
fn principal_components_lose_what_they_say() {
    let sizes = Sizes { m: 9, k: 12, h: 5, e: 0, d: 3 };
    let graph = layer(sizes, false, 6);
    let mut before = f64::INFINITY;
    for heads_out in 1..=5 {
        let (coded, errors) = principal(&graph, heads_out).unwrap();
        coded.verify().unwrap();
        assert_eq!(count(&coded, "mix_heads"), 4);
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.layer, "attention3");
        let [x, y] = reconstructed(&coded);
        let squares: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(x - y).powi(2)).sum();
        let power: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((error.q.relative - squares / power).abs() < 1e-6, "{error:?}");
        assert!((error.q.mse - squares / x.len() as f64).abs() < 1e-6, "{error:?}");
        assert!(error.q.relative < before && error.q.relative >= 0.0);
        before = error.q.relative;
        if heads_out == 5 {
            assert!(error.q.relative < 1e-12 && error.k.mse < 1e-12);
            assert!(difference(&graph, &coded) < 1e-5);
        }
    }
}

#[test]
fn heads_that_say_the_same_are_one() {
    // The second head is half the first plus 1: one principal component says all.
    let mut b = Builder::new(7);
    let x = b.graph.add_input("x", TensorType::f32([6, 4]));
    let w: Vec<f32> = [1.0, 0.5]
        .iter()
        .flat_map(|f| [1.0, -2.0, 0.5, 3.0, 0.0, 1.0, -1.0, 2.0].map(|x| x * f))
        .collect();
    let (w, bias) =
        (b.graph.add_f32("", [4, 4], &w), b.graph.add_f32("", [4], &[0.0, 0.0, 1.0, 1.0]));
    let q = b.op(OpKind::Linear {}, &[x, w, bias]);
    let y = b.op(OpKind::Attention { heads: 2, scale: 1.0, windows: 1 }, &[q, q, q]);
    b.output(y);
    let graph = b.finish();
    let (coded, errors) = principal(&graph, 1).unwrap();
    assert!(errors[0].q.relative < 1e-12 && errors[0].k == errors[0].q);
    assert!(difference(&graph, &coded) < 1e-5);
    // What has an auto-encoder keeps it.
    let (again, errors) = principal(&coded, 1).unwrap();
    assert_eq!((again.to_string(), errors), (coded.to_string(), vec![]));
}

#[test]
fn compressed_heads_are_1_to_heads() {
    let graph = layer(SMALL, false, 8);
    for (asked, message) in [(0, "no compressed heads"), (4, "4 compressed heads above 3 heads")] {
        let error = principal(&graph, asked).unwrap_err();
        assert_eq!(error.to_string(), format!("attention3: {message}; expected 1 to 3"));
    }
    let many = layer(Sizes { m: 1, k: 1, h: 65, e: 0, d: 1 }, false, 9);
    assert!(matches!(
        principal(&many, 1).unwrap_err(),
        AutoencoderError::TooManyHeads { heads: 65, .. }
    ));
    let infinite = ArrayD::from_elem(ndarray::IxDyn(&[SMALL.m, SMALL.k]), f32::INFINITY);
    assert!(matches!(
        pca(&graph, &[infinite.view()], 2).unwrap_err(),
        AutoencoderError::NotFinite { operand: "Q", .. }
    ));
    assert!(matches!(pca(&graph, &[], 2).unwrap_err(), AutoencoderError::Run(_)));
}
