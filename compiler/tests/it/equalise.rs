//! Exact rewrites of channels: the float function stays, the integers do not depend on how factors
//! and offsets were divided between the parameters of a model.

use ndarray::{ArrayD, ArrayViewD, Axis};
use vitcod_compiler::calibration::{seeded_noise, stand_in};
use vitcod_compiler::interp::FloatInterpreter;
use vitcod_compiler::ir::{Graph, Op, OpKind, Stage, text};
use vitcod_compiler::passes::{Context, run_on_graph};
use vitcod_compiler::quantise::{self, Accuracy, Units, accuracy};
use vitcod_testing::rescaled::{Factors, rescaled, rescaled_image};
use vitcod_testing::vit::{SMALL, Vit, vit};

pub(super) const PASSES: [&str; 3] = ["centre-channels", "balance-channels", "fit-tables"];

fn equalised(graph: &Graph, samples: &[ArrayD<f32>]) -> Graph {
    let context = Context { samples: Some(samples), ..Context::default() };
    run_on_graph(graph, &PASSES, &context).unwrap()
}

fn views(samples: &[ArrayD<f32>]) -> Vec<ArrayViewD<'_, f32>> {
    samples.iter().map(|sample| sample.view()).collect()
}

/// The ratio of signal to quantisation noise in dB, over 32 inputs.
pub(super) fn sqnr(graph: &Graph, samples: &[ArrayD<f32>], inputs: &[ArrayD<f32>]) -> f64 {
    let (quantised, _) =
        quantise::calibrated(graph, Some(samples), quantise::Options::default()).unwrap();
    let options = accuracy::Options::default();
    let measured = accuracy::measure(graph, &quantised, &views(inputs), options).unwrap();
    measured.outputs[0].noise.sqnr_db()
}

#[test]
fn the_float_function_stays() {
    for seed in 0..4 {
        let graph = rescaled(&vit(SMALL, seed), Factors::Any, seed);
        let equalised = equalised(&graph, &stand_in(&graph));
        assert_eq!(equalised.stage, Stage::Canonical);
        assert_ne!(equalised.decisions, []);
        assert_same_function(&graph, &equalised);
    }
}

fn assert_same_function(before: &Graph, after: &Graph) {
    let inputs = seeded_noise(before, 1, 7);
    let [before, after] = [before, after]
        .map(|graph| FloatInterpreter::new(graph).unwrap().run(&views(&inputs)).unwrap().remove(0));
    let largest = before.iter().fold(0f32, |most, x| most.max(x.abs()));
    let error = before.iter().zip(&after).fold(0f32, |most, (x, y)| most.max((x - y).abs()));
    assert!(error <= 1e-5 * largest, "{error} of {largest}");
}

#[test]
fn rewritten_graphs_are_not_rewritten_again() {
    let graph = rescaled(&vit(SMALL, 1), Factors::Any, 1);
    let samples = stand_in(&graph);
    let once = equalised(&graph, &samples);
    assert_eq!(equalised(&once, &samples).to_string(), once.to_string());
}

#[test]
fn powers_of_two_leave_no_trace() {
    for seed in 0..4 {
        let graph = vit(SMALL, seed);
        let samples = stand_in(&graph);
        let quantised = |graph: &Graph| {
            let equalised = equalised(graph, &samples);
            let quantised =
                quantise::calibrated(&equalised, Some(&samples), quantise::Options::default());
            quantised.unwrap().0.graph
        };
        let other = rescaled(&graph, Factors::PowersOfTwo, seed);
        assert_ne!(graph.to_string(), other.to_string());
        let [left, right] = [&graph, &other].map(quantised);
        assert_eq!(left.to_string(), right.to_string());
    }
}

#[test]
fn other_factors_and_offsets_cost_at_most_a_decibel() {
    for seed in 0..6 {
        let graph = vit(SMALL, seed);
        let other = rescaled(&graph, Factors::Any, seed);
        let samples = stand_in(&graph);
        let inputs = seeded_noise(&graph, 32, 99);
        let [plain, untouched, equal] = [
            sqnr(&other, &samples, &inputs),
            sqnr(&equalised(&graph, &samples), &samples, &inputs),
            sqnr(&equalised(&other, &samples), &samples, &inputs),
        ];
        assert!(equal >= untouched - 1.0, "seed {seed}: {equal} dB, untouched {untouched} dB");
        assert!(plain < untouched - 6.0, "seed {seed}: {plain} dB without the passes");
    }
}

/// The images of samples with divided channels.
pub(super) fn divided(samples: &[ArrayD<f32>], factors: &[f64]) -> Vec<ArrayD<f32>> {
    let divide = |image: &ArrayD<f32>| {
        let mut image = image.clone();
        for (channel, factor) in image.axis_iter_mut(Axis(1)).zip(factors) {
            { channel }.mapv_inplace(|x| (f64::from(x) / factor) as f32);
        }
        image
    };
    samples.iter().map(divide).collect()
}

#[test]
fn units_of_image_channels_leave_no_trace() {
    let graph = vit(SMALL, 3);
    let samples = stand_in(&graph);
    let (other, factors) = rescaled_image(&graph, Factors::PowersOfTwo, 3);
    let other_samples = divided(&samples, &factors);
    let quantised = |graph: &Graph, samples: &[ArrayD<f32>]| {
        let equalised = equalised(graph, samples);
        let options = quantise::Options::default();
        quantise::calibrated(&equalised, Some(samples), options).unwrap().0.graph
    };
    let [left, right] =
        [quantised(&graph, &samples), quantised(&other, &other_samples)].map(|graph| {
            let image = graph.inputs[0].value;
            let factors = graph.image(image).unwrap().factors;
            let text = graph.to_string();
            // The factors that remain are those of the input.
            let lines: Vec<&str> =
                text.lines().filter(|line| !line.contains("const \"factors\"")).collect();
            (lines.join("\n"), factors)
        });
    assert_eq!(left.0, right.0);
    for ((left, right), factor) in left.1.iter().zip(&right.1).zip(&factors) {
        assert_eq!(f64::from(*left), f64::from(*right) * factor);
    }
}

#[test]
fn units_of_image_channels_cost_at_most_a_decibel() {
    for seed in 0..3 {
        let graph = vit(SMALL, seed);
        let (samples, inputs) = (stand_in(&graph), seeded_noise(&graph, 32, 99));
        let (other, factors) = rescaled_image(&graph, Factors::Any, seed);
        let [other_samples, other_inputs] = [&samples, &inputs].map(|x| divided(x, &factors));
        let [plain, untouched, equal] = [
            sqnr(&other, &other_samples, &other_inputs),
            sqnr(&equalised(&graph, &samples), &samples, &inputs),
            sqnr(&equalised(&other, &other_samples), &other_samples, &other_inputs),
        ];
        assert!(equal >= untouched - 1.0, "seed {seed}: {equal} dB, untouched {untouched} dB");
        assert!(plain < untouched - 2.0, "seed {seed}: {plain} dB without the passes");
    }
}

/// A block with LayerNorms behind the residual adds, which read them too, queries and keys with
/// auto-encoders, and ReLU.
const POST_NORM: &str = r#"graph "post-norm" canonical {
    v0 = input "x" : f32[6,8]
    v1 = const "gamma" : f32[8] = seed 1
    v2 = const "beta" : f32[8] = seed 2
    v3 = layer_norm(v0, v1, v2) {eps=0.001} @ n0
    v4 = const "wq" : f32[8,8] = seed 3
    v5 = const "bq" : f32[8] = seed 4
    v6 = linear(v3, v4, v5)
    v7 = const "wk" : f32[8,8] = seed 5
    v8 = const "bk" : f32[8] = seed 6
    v9 = linear(v3, v7, v8)
    v10 = const "encoder" : f32[1,2] = seed 7
    v11 = const "none" : f32[1] = [0]
    v12 = mix_heads(v9, v10, v11) {heads_in=2, heads_out=1}
    v13 = const "decoder" : f32[2,1] = seed 8
    v14 = const "nones" : f32[2] = [0, 0]
    v15 = mix_heads(v12, v13, v14) {heads_in=1, heads_out=2}
    v16 = const "wv" : f32[8,8] = seed 9
    v17 = linear(v3, v16, v8)
    v18 = attention(v6, v15, v17) {heads=2, scale=0.5} @ n1
    v19 = const "wo" : f32[8,8] = seed 10
    v20 = linear(v18, v19, v5)
    v21 = binary(v3, v20) {f=add}
    v22 = layer_norm(v21, v1, v2) {eps=0.001} @ n2
    v23 = slice(v22) {axis=0, start=1, len=3, stride=1}
    v24 = const "w1" : f32[12,8] = seed 11
    v25 = const "b1" : f32[12] = seed 12
    v26 = linear(v23, v24, v25)
    v27 = unary(v26) {f=relu} @ n3
    v28 = const "w2" : f32[8,12] = seed 13
    v29 = linear(v27, v28, v5)
    output "y" [3,8] = v29
    n0 = node "norm1"
    n1 = node "attention"
    n2 = node "norm2"
    n3 = node "relu"
}"#;

#[test]
fn every_site_keeps_the_float_function() {
    let graph = text::parse(POST_NORM, &mut |name| Err(format!("there is no {name}"))).unwrap();
    let equalised = equalised(&graph, &stand_in(&graph));
    assert_same_function(&graph, &equalised);
    // The residual add reads 16 bits of a LayerNorm, the linear layers 8: each has its own.
    assert_eq!(graph.operator_counts()["layer_norm"], 2);
    assert_eq!(equalised.operator_counts()["layer_norm"], 3);
    let decisions = equalised.decisions.iter().filter(|decision| decision.subject != "accuracy");
    let decisions: Vec<String> =
        decisions.map(|d| format!("{}: {}: {}", d.layer, d.subject, d.chosen)).collect();
    assert_eq!(
        decisions,
        [
            "attention: channel offsets of keys: moved",
            "attention: channel offsets of values: moved",
            "norm1: channel offsets of normalised tokens: moved",
            "norm2: channel offsets of normalised tokens: moved",
            "attention: channel factors of queries and keys: balanced",
            "attention: channel factors of values: balanced",
            "relu: channel factors of hidden units: balanced",
            "norm1: channel factors of normalised tokens: balanced",
            "norm2: channel factors of normalised tokens: balanced",
            "relu: range of the lookup table: fitted, one table",
        ]
    );
}

/// A hidden unit that reaches a hundred times further than the others.
const OUTLIER: &str = r#"graph "mlp" canonical {
    v0 = input "x" : f32[64,16]
    v1 = const "w1" : f32[48,16] = seed 1
    v2 = const "b1" : f32[48] = seed 2
    v3 = linear(v0, v1, v2)
    v4 = unary(v3) {f=gelu}
    v5 = const "w2" : f32[16,48] = seed 3
    v6 = const "b2" : f32[16] = seed 4
    v7 = linear(v4, v5, v6)
    output "y" [64,16] = v7
}"#;

#[test]
fn more_accuracy_takes_more_work() {
    let mut graph = text::parse(OUTLIER, &mut |name| Err(format!("there is no {name}"))).unwrap();
    let first = graph.order[0];
    let weights = graph.op(first).operands[1];
    let mut far = graph.const_f32(weights).unwrap();
    far[5 * 16..6 * 16].iter_mut().for_each(|w| *w *= 100.0);
    let far = graph.add_f32("w1", [48, 16], &far);
    graph.op_mut(first).operands[1] = far;
    let (samples, inputs) = (seeded_noise(&graph, 8, 1), seeded_noise(&graph, 8, 2));
    let fitted = |accuracy, units| {
        let options = quantise::Options { accuracy, units, ..quantise::Options::default() };
        let context = Context { samples: Some(&samples), quantise: options, ..Context::default() };
        let fitted = run_on_graph(&graph, &["fit-tables"], &context).unwrap();
        assert_same_function(&graph, &fitted);
        let channels = fitted.ty(fitted.op(fitted.order[0]).results[0]).shape[1];
        let wide = fitted
            .order
            .iter()
            .any(|op| matches!(fitted.op(*op).kind, OpKind::Table { wide: true, .. }));
        (sqnr(&fitted, &samples, &inputs), channels, wide)
    };
    let (fastest, channels, wide) = fitted(Accuracy::Fastest, Units::ALL);
    assert_eq!((channels, wide), (48, false));
    assert_eq!(fitted(Accuracy::Decibels(fastest.floor() - 2.0), Units::ALL).1, 48);
    let (exact, more_channels, _) = fitted(Accuracy::Exact, Units::ALL);
    assert!(exact > fastest + 3.0, "{exact} {fastest}");
    assert!(more_channels > 48, "{more_channels}");
    // Without the unit, copies alone.
    let (copied, more_channels, wide) =
        fitted(Accuracy::Exact, Units { interpolation: false, ..Units::ALL });
    assert!(copied > fastest && more_channels > 48 && !wide, "{fastest} {copied} {more_channels}");
}

#[test]
fn tables_of_16_bits_are_chosen_for_accuracy_and_machine() {
    let graph = vit(Vit { heads: 2, head_dim: 16, hidden: 128, ..SMALL }, 1);
    let samples = seeded_noise(&graph, 32, 1);
    let wide = |accuracy, interpolation| {
        let units = Units { interpolation, ..Units::ALL };
        let quantise = quantise::Options { accuracy, units, ..quantise::Options::default() };
        let context = Context { samples: Some(&samples), quantise, ..Context::default() };
        let fitted = run_on_graph(&graph, &PASSES, &context).unwrap();
        let is_wide = |op: &&Op| matches!(fitted.op(**op).kind, OpKind::Table { wide: true, .. });
        fitted.order.iter().filter(is_wide).count()
    };
    assert!(wide(Accuracy::Exact, true) > 0);
    assert_eq!(wide(Accuracy::Exact, false), 0);
    assert_eq!(wide(Accuracy::Fastest, true), 0);
    // The model has more than that.
    assert_eq!(wide(Accuracy::default(), true), 0);
}

/// The step of the result of a table: as fine as if only the numbers from the smallest to the
/// largest had integers, and 0 is one of them.
#[test]
fn results_of_tables_use_both_signs() {
    const TEXT: &str = r#"graph "mlp" canonical {
        v0 = input "x" : f32[8,4]
        v1 = const "w1" : f32[4,4] = seed 1
        v2 = const "b1" : f32[4] = seed 2
        v3 = linear(v0, v1, v2)
        v4 = unary(v3) {f=relu}
        v5 = const "w2" : f32[4,4] = seed 3
        v6 = linear(v4, v5, v2)
        output "y" [8,4] = v6
    }"#;
    let graph = text::parse(TEXT, &mut |name| Err(format!("there is no {name}"))).unwrap();
    let samples = stand_in(&graph);
    let context = Context { samples: Some(&samples), ..Context::default() };
    let centred = run_on_graph(&graph, &["fit-tables"], &context).unwrap();
    assert_same_function(&graph, &centred);
    let [plain, centred] = [&graph, &centred].map(|graph| {
        let options = quantise::Options::default();
        let (quantised, _) = quantise::calibrated(graph, Some(&samples), options).unwrap();
        let lut = quantised.graph.order.iter().map(|op| quantised.graph.op(*op));
        let lut = lut.clone().find(|data| matches!(data.kind, OpKind::Lut { .. })).unwrap();
        let table = quantised.graph.constant(lut.operands[1]).unwrap().bytes.clone();
        (quantised.graph.ty(lut.results[0]).step.unwrap(), table)
    });
    let ratio = plain.0 / centred.0;
    assert!((ratio - 2.0).abs() < 0.01, "{ratio}");
    // The non-positive half of the inputs has one result, at the other end of the integers.
    let least = centred.1.iter().map(|byte| *byte as i8).min().unwrap();
    assert_eq!(least, -127);
    assert_eq!(plain.1.iter().map(|byte| *byte as i8).min().unwrap(), 0);
}
