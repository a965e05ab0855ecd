//! Folds mixtures of heads into the linear layer before them.

use crate::ir::{Graph, Op, OpKind, Value};

/// `x -> weights x + bias`, across heads.
#[derive(Clone, Debug, PartialEq)]
struct Mix {
    heads_in: usize,
    /// One row for each result head.
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Mix {
    /// The function of a `mix_heads` with constant parameters.
    fn of(graph: &Graph, op: Op) -> Mix {
        let data = graph.op(op);
        let OpKind::MixHeads { heads_in, .. } = data.kind else {
            unreachable!("chains hold mix_heads")
        };
        Mix {
            heads_in,
            weights: graph.const_f64(data.operands[1]).unwrap_or_default(),
            bias: graph.const_f64(data.operands[2]).unwrap_or_default(),
        }
    }

    /// The composition: first `self`, then `next`.
    fn then(&self, next: &Mix) -> Mix {
        let weights = combined(&next.weights, next.heads_in, &self.weights, self.heads_in);
        let moved = combined(&next.weights, next.heads_in, &self.bias, 1);
        let bias = moved.iter().zip(&next.bias).map(|(x, b)| x + b).collect();
        Mix { heads_in: self.heads_in, weights, bias }
    }
}

/// Folds `projection` and `coders` into one linear layer, which replaces the last coder in
/// `folded`. `graph` holds the original operations; `folded` is a copy in which other chains may be
/// folded already.
///
/// The new parameters are `W' = (M ⊗ I) W` and `b' = (M ⊗ I) b + c ⊗ 1`, where `x -> M x + c` is
/// the composition of the coders. They are computed in f64 and rounded once. All parameters must be
/// constant.
pub(super) fn fold(graph: &Graph, folded: &mut Graph, projection: Op, coders: &[Op]) {
    let Some((last, first)) = coders.split_last() else { return };
    let mix =
        first.iter().rev().fold(Mix::of(graph, *last), |mix, op| Mix::of(graph, *op).then(&mix));

    let linear = graph.op(projection);
    let [x, w, b] = linear.operands[..] else { unreachable!("a linear layer has three operands") };
    let (channels, depth) = graph.ty(w).matrix();
    let features = channels / mix.heads_in;
    let weights = combined(
        &mix.weights,
        mix.heads_in,
        &graph.const_f64(w).unwrap_or_default(),
        features * depth,
    );
    let mut bias =
        combined(&mix.weights, mix.heads_in, &graph.const_f64(b).unwrap_or_default(), features);
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

fn floats(reals: &[f64]) -> Vec<f32> {
    reals.iter().map(|x| *x as f32).collect()
}
