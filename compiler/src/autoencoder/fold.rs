//! Combinations of heads as part of the linear layer before them.

use crate::ir::{Graph, Op, OpKind, Value};

/// `x -> weights x + bias`, across heads.
#[derive(Clone, Debug, PartialEq)]
struct Mix {
    heads_in: usize,
    /// A row for each result head.
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Mix {
    /// What a `mix_heads` with constant parameters computes.
    fn of(graph: &Graph, op: Op) -> Mix {
        let data = graph.op(op);
        let OpKind::MixHeads { heads_in, .. } = data.kind else {
            unreachable!("chains hold mix_heads")
        };
        Mix {
            heads_in,
            weights: reals(graph, data.operands[1]),
            bias: reals(graph, data.operands[2]),
        }
    }

    /// First `self`, then `next`.
    fn then(&self, next: &Mix) -> Mix {
        let weights = combined(&next.weights, next.heads_in, &self.weights, self.heads_in);
        let moved = combined(&next.weights, next.heads_in, &self.bias, 1);
        let bias = moved.iter().zip(&next.bias).map(|(x, b)| x + b).collect();
        Mix { heads_in: self.heads_in, weights, bias }
    }
}

/// Lets the last of `coders`, operations of `graph`, compute in `folded`, a copy of it in which
/// others may be folded already, what `projection` and all coders do in `graph`, by one linear
/// layer: `W' = (M ⊗ I) W` and `b' = (M ⊗ I) b + c ⊗ 1`, where `x -> M x + c` is what the coders
/// do, in f64, rounded once.
///
/// All have constant parameters.
pub(super) fn fold(graph: &Graph, folded: &mut Graph, projection: Op, coders: &[Op]) {
    let Some((last, first)) = coders.split_last() else { return };
    let mix =
        first.iter().rev().fold(Mix::of(graph, *last), |mix, op| Mix::of(graph, *op).then(&mix));

    let linear = graph.op(projection);
    let [x, w, b] = linear.operands[..] else { unreachable!("a linear layer has three operands") };
    let (channels, depth) = graph.ty(w).matrix();
    let features = channels / mix.heads_in;
    let weights = combined(&mix.weights, mix.heads_in, &reals(graph, w), features * depth);
    let mut bias = combined(&mix.weights, mix.heads_in, &reals(graph, b), features);
    bias.iter_mut().enumerate().for_each(|(channel, bias)| *bias += mix.bias[channel / features]);

    let name = |value: Value| graph.constant(value).map_or("", |constant| &constant.name);
    let w = folded.add_f32(name(w), [bias.len(), depth], &floats(&weights));
    let b = folded.add_f32(name(b), [bias.len()], &floats(&bias));
    let mut nodes = linear.nodes.clone();
    for coder in coders {
        nodes.extend(&graph.op(*coder).nodes);
    }
    let data = folded.op_mut(*last);
    data.kind = OpKind::Linear {};
    data.operands = vec![x, w, b];
    data.nodes = nodes;
}

/// `weights[rows, inner] x[inner, columns]`, summed in order.
fn combined(weights: &[f64], inner: usize, x: &[f64], columns: usize) -> Vec<f64> {
    let mut y = Vec::with_capacity(weights.len() / inner * columns);
    for weights in weights.chunks(inner) {
        let start = y.len();
        y.resize(start + columns, 0.0);
        for (weight, i) in weights.iter().zip(0..) {
            let x = &x[i * columns..(i + 1) * columns];
            y[start..].iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
        }
    }
    y
}

fn reals(graph: &Graph, constant: Value) -> Vec<f64> {
    graph.const_f32(constant).into_iter().flatten().map(f64::from).collect()
}

fn floats(reals: &[f64]) -> Vec<f32> {
    reals.iter().map(|x| *x as f32).collect()
}
