//! Masks on small canonical graphs.

use ndarray::{ArrayD, IxDyn};

use super::super::{Criterion, Mask, Masks, prune};
use super::{apply, prunes};
use crate::calibration::average_attention;
use crate::interp::FloatInterpreter;
use crate::ir::{Graph, OpKind, Stage, TensorType, Value};

const TOKENS: usize = 5;
const HEADS: usize = 2;
const INF: f32 = f32::INFINITY;

/// A graph of one attention after the other, each `[HEADS, TOKENS, TOKENS]` with its bias.
fn graph(biases: &[Option<Vec<f32>>]) -> Graph {
    let mut graph = Graph::new("test", Stage::Canonical);
    let mut x = graph.add_input("x", TensorType::f32([TOKENS, 6]));
    for (layer, bias) in biases.iter().enumerate() {
        let mut operands = vec![x; 3];
        operands
            .extend(bias.iter().map(|bias| graph.add_f32("baked", [HEADS, TOKENS, TOKENS], bias)));
        let node = graph.add_node(format!("/blocks.{layer}/attn"));
        x = graph
            .push(OpKind::Attention { heads: HEADS, scale: 0.7, windows: 1 }, &operands, &[node])
            .unwrap();
    }
    graph.add_output("y", x, [TOKENS, 6]);
    graph
}

/// The class token, the diagonal, and what `more` says of head, query and key.
fn layer(more: impl Fn(usize, usize, usize) -> bool) -> Vec<Mask> {
    let head =
        |head| Mask::from_fn(TOKENS, TOKENS, |q, k| q == 0 || k == 0 || q == k || more(head, q, k));
    (0..HEADS).map(head).collect()
}

fn all() -> Vec<Mask> {
    layer(|_, _, _| true)
}

fn problems(graph: &Graph, layers: Vec<Vec<Mask>>) -> Vec<String> {
    apply(graph, &Masks::new(layers).unwrap()).unwrap_err().problems.kept().to_vec()
}

/// The biases of a graph's attentions, in their order.
fn biases(graph: &Graph) -> Vec<Option<Vec<f32>>> {
    let ops = graph.order.iter().map(|op| graph.op(*op));
    let bias = |bias: &Value| graph.const_f32(*bias).unwrap();
    ops.map(|data| data.operands.get(3).map(bias)).collect()
}

#[test]
fn masks_are_biases() {
    let baked: Vec<f32> =
        (0..HEADS * TOKENS * TOKENS).map(|i| if i % 25 == 23 { -INF } else { i as f32 }).collect();
    let graph = graph(&[None, None, Some(baked.clone()), Some(baked.clone())]);
    let sparse = layer(|head, q, k| head == 1 && q == 2 && k == 3);
    let layers = vec![sparse.clone(), all(), sparse.clone(), all()];
    let masked = apply(&graph, &Masks::new(layers).unwrap()).unwrap();
    masked.verify().unwrap();
    let expected = |old: &dyn Fn(usize) -> f32| -> Vec<f32> {
        let at = |i: usize| sparse[i / 25].is_kept(i / 5 % 5, i % 5);
        (0..HEADS * TOKENS * TOKENS).map(|i| if at(i) { old(i) } else { -INF }).collect()
    };
    let found = biases(&masked);
    assert_eq!(
        found,
        [Some(expected(&|_| 0.0)), None, Some(expected(&|i| baked[i])), Some(baked.clone())]
    );
    assert_eq!(found[0].as_ref().unwrap()[25 + 13], 0.0);
    assert_eq!(found[0].as_ref().unwrap()[13], -INF);
}

#[test]
fn a_graph_that_keeps_everything_stays_as_it_is() {
    let graph = graph(&[None, Some(vec![0.5; HEADS * TOKENS * TOKENS])]);
    assert_eq!(
        apply(&graph, &Masks::new(vec![all(), all()]).unwrap()).unwrap().to_string(),
        graph.to_string()
    );
}

#[test]
fn numbers_that_prune() {
    assert!(prunes(-INF) && prunes(f32::MIN));
    assert!(![f32::MIN.next_up(), -1e30, 0.0, INF, f32::NAN].into_iter().any(prunes));
}

#[test]
fn layers_must_be_as_many() {
    let two = graph(&[None, None]);
    assert_eq!(
        problems(&two, vec![all()]),
        [
            "layers of masks: 1, attentions of the model: 2; the first without masks is /blocks.1/attn (op1 attention)"
        ]
    );
    assert_eq!(
        problems(&two, vec![all(), all(), all()]),
        [
            "layers of masks: 3, attentions of the model: 2; the last is /blocks.1/attn (op1 attention)"
        ]
    );
    assert_eq!(
        problems(&graph(&[]), vec![all()]),
        ["layers of masks: 1, attentions of the model: 0"]
    );
    let imported = Graph::new("test", Stage::Imported);
    assert_eq!(problems(&imported, vec![all()]), ["the graph is imported, not canonical"]);
}

#[test]
fn every_misfit_is_told_once() {
    let mut baked = vec![0.0; HEADS * TOKENS * TOKENS];
    // Head 1 has lost key 0 of row 3, and keeps its diagonal by a mask only if that is not pruned,
    // too.
    baked[25 + 15] = f32::MIN;
    baked[25 + 18] = -INF;
    let mut graph = graph(&[None, None, None, Some(baked)]);
    let variable = graph.add_input("bias", TensorType::f32([HEADS, TOKENS, TOKENS]));
    let x = graph.inputs[0].value;
    graph
        .push(OpKind::Attention { heads: HEADS, scale: 1.0, windows: 1 }, &[x, x, x, variable], &[])
        .unwrap();
    let sparse = layer(|_, _, _| false);
    let wide = vec![Mask::from_fn(TOKENS, 7, |_, _| true); HEADS];
    let tall = vec![Mask::from_fn(7, TOKENS, |_, _| true); HEADS];
    let expected = "expected [heads, queries, keys] = [2, 5, 5]";
    assert_eq!(
        problems(&graph, vec![vec![sparse[0].clone()], wide, tall, sparse.clone(), sparse]),
        [
            format!("/blocks.0/attn (op0 attention): layer 0: masks of shape [1, 5, 5]: {expected}"),
            format!("/blocks.1/attn (op1 attention): layer 1: masks of shape [2, 5, 7]: {expected}"),
            format!("/blocks.2/attn (op2 attention): layer 2: masks of shape [2, 7, 5]: {expected}"),
            "/blocks.3/attn (op3 attention): layer 3: head 1: row 3 is pruned entirely by its mask and the model's own"
                .to_owned(),
            "op4 (attention): layer 4: the bias of the scores is not a constant".to_owned(),
        ]
    );
}

/// Against the definition in f64, in which pruned entries are -inf.
#[test]
fn pruned_entries_have_probability_zero() {
    let masks = layer(|head, q, k| (head + q + 2 * k) % 3 == 0);
    let masked = apply(&graph(&[None]), &Masks::new(vec![masks.clone()]).unwrap()).unwrap();
    let x = ArrayD::from_shape_fn(IxDyn(&[TOKENS, 6]), |at| {
        ((at[0] * 6 + at[1]) * 37 % 31) as f32 / 10.0 - 1.5
    });
    let y = FloatInterpreter::new(&masked).unwrap().run(&[x.view()]).unwrap().remove(0);
    let real = |row: usize, column: usize| f64::from(x[[row, column]]);
    for (at, found) in y.indexed_iter() {
        let (query, head) = (at[0], at[1] / 3);
        let score = |key: usize| {
            let dot: f64 =
                (0..3).map(|f| real(query, head * 3 + f) * real(key, head * 3 + f)).sum();
            0.7 * dot + if masks[head].is_kept(query, key) { 0.0 } else { f64::NEG_INFINITY }
        };
        let sum: f64 = (0..TOKENS).map(|key| score(key).exp()).sum();
        let mean: f64 = (0..TOKENS).map(|key| score(key).exp() / sum * real(key, at[1])).sum();
        assert!((f64::from(*found) - mean).abs() < 1e-6, "{found} is not {mean}");
    }
    let maps = average_attention(&masked, &[x.view()]).unwrap();
    for ((head, query, key), probability) in maps[0].indexed_iter() {
        assert_eq!(
            *probability == 0.0,
            !masks[head].is_kept(query, key),
            "[{head}, {query}, {key}]"
        );
    }
}

/// What is pruned from a model with baked masks fits that model: the largest entry of a row is
/// never a pruned one.
#[test]
fn models_with_baked_masks_can_be_pruned_again() {
    let masks = layer(|head, q, k| (head + q + k) % 2 == 0);
    let baked =
        apply(&graph(&[None, None]), &Masks::new(vec![masks.clone(), masks.clone()]).unwrap())
            .unwrap();
    let samples = crate::calibration::noise(&baked, 3);
    let maps = average_attention(&baked, &[samples[0].view()]).unwrap();
    for criterion in [Criterion::Theta(1.0), Criterion::Theta(0.5), Criterion::Sparsity(0.3)] {
        let pruned = prune(&maps, criterion, 1).unwrap().masks;
        let twice = apply(&baked, &pruned).unwrap();
        let y = FloatInterpreter::new(&twice)
            .unwrap()
            .run(&[samples[0].slice(ndarray::s![..TOKENS, ..]).into_dyn()]);
        assert!(y.unwrap()[0].iter().all(|y| y.is_finite()));
        for (bias, heads) in biases(&twice).iter().zip(pruned.layers()) {
            for (i, bias) in bias.as_ref().unwrap().iter().enumerate() {
                let kept = [&masks, heads]
                    .into_iter()
                    .all(|masks| masks[i / 25].is_kept(i / 5 % 5, i % 5));
                assert_eq!(*bias, if kept { 0.0 } else { -INF });
            }
        }
    }
}
