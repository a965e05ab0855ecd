//! Recognises LayerNorm written as elementary operations, as exporters do below opset 17.

use super::pattern::{binary, nodes_between, unary};
use crate::ir::{BinaryFn, Graph, OpKind, UnaryFn, Value};

/// `gamma (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) + beta`.
struct Normalisation {
    x: Value,
    /// A constant factor of the numerator, `x - mean(x)`.
    gamma: Option<Value>,
    /// A constant addend that the pattern contains.
    beta: Option<Value>,
    /// The factor by which the LayerNorm's result is multiplied: 1 / sqrt(scale) of the
    /// [`Deviation`].
    factor: f64,
    eps: f64,
}

/// Replaces every normalisation over the last dimension that is written as elementary operations by
/// one `layer_norm`.
pub(super) fn run(graph: &Graph) -> Graph {
    let mut result = graph.clone();
    for id in &graph.order {
        let op = graph.op(*id);
        let Some(found) = op.results.first().and_then(|root| normalisation(graph, *root)) else {
            continue;
        };
        let Some(channels) = graph.ty(found.x).shape.last().copied() else { continue };
        let ones = || Some(vec![1.0; channels]);
        let Some(gamma) =
            found.gamma.map_or_else(ones, |gamma| per_channel(graph, gamma, channels))
        else {
            continue;
        };
        let zeros = || Some(vec![0.0; channels]);
        let Some(beta) = found.beta.map_or_else(zeros, |beta| per_channel(graph, beta, channels))
        else {
            continue;
        };
        let gamma: Vec<f32> =
            gamma.into_iter().map(|gamma| (f64::from(gamma) * found.factor) as f32).collect();
        let gamma = result.add_f32("", [channels], &gamma);
        let beta = result.add_f32("", [channels], &beta);
        let nodes = nodes_between(graph, found.x, op.results[0]);
        let op = result.op_mut(*id);
        op.kind = OpKind::LayerNorm { eps: found.eps };
        op.operands = vec![found.x, gamma, beta];
        op.nodes = nodes;
    }
    result.compacted()
}

/// A constant as one number for each channel; `None` if its shape is neither that nor one number.
fn per_channel(graph: &Graph, constant: Value, channels: usize) -> Option<Vec<f32>> {
    let shape = &graph.ty(constant).shape;
    let numbers = graph.const_f32(constant)?;
    match (numbers.len(), shape.last()) {
        (1, _) => Some(vec![numbers[0]; channels]),
        (n, Some(last)) if n == channels && *last == channels => Some(numbers),
        _ => None,
    }
}

/// Matches a normalisation whose result is `root`.
fn normalisation(graph: &Graph, root: Value) -> Option<Normalisation> {
    if let (BinaryFn::Add, a, b) = binary(graph, root)? {
        return expanded(graph, a, b).or_else(|| expanded(graph, b, a));
    }
    let (numerator, deviation) = match binary(graph, root)? {
        (BinaryFn::Div, numerator, deviation) => (numerator, Deviation::of(graph, deviation)?),
        (BinaryFn::Mul, a, b) => match inverse_square_root(graph, b) {
            Some(variance) => (a, Deviation::root_of(graph, variance)?),
            None => (b, Deviation::root_of(graph, inverse_square_root(graph, a)?)?),
        },
        _ => return None,
    };
    let (centred, gamma) = match binary(graph, numerator)? {
        (BinaryFn::Mul, gamma, centred) if graph.constant(gamma).is_some() => {
            (centred, Some(gamma))
        }
        (BinaryFn::Mul, centred, gamma) if graph.constant(gamma).is_some() => {
            (centred, Some(gamma))
        }
        _ => (numerator, None),
    };
    let (BinaryFn::Sub, x, mean) = binary(graph, centred)? else { return None };
    let mut kept = graph.ty(x).shape.clone();
    *kept.last_mut()? = 1;
    let is_mean = graph.ty(mean).shape == kept && mean_over_channels(graph, mean)? == x;
    let is_deviation = graph.ty(deviation.value).shape == kept
        && (deviation.squares(graph) == Some(centred)
            || is_difference(graph, deviation.mean, x, mean));
    (is_mean && is_deviation).then_some(Normalisation {
        x,
        gamma,
        beta: None,
        factor: deviation.scale.sqrt().recip(),
        eps: deviation.eps,
    })
}

/// Matches `x f + (beta - mean(x) f)`, the sum of a product and a difference, with the factor
/// `f = gamma / sqrt(mean((x - mean(x))^2) + eps)`, as Keras writes it.
fn expanded(graph: &Graph, product: Value, difference: Value) -> Option<Normalisation> {
    let (BinaryFn::Mul, a, b) = binary(graph, product)? else { return None };
    let (beta, negative) = match binary(graph, difference)? {
        (BinaryFn::Sub, beta, negative) if graph.constant(beta).is_some() => (beta, negative),
        (BinaryFn::Add, beta, other) if graph.constant(beta).is_some() => {
            (beta, negated(graph, other)?)
        }
        (BinaryFn::Add, other, beta) if graph.constant(beta).is_some() => {
            (beta, negated(graph, other)?)
        }
        _ => return None,
    };
    let (BinaryFn::Mul, c, d) = binary(graph, negative)? else { return None };
    let pairs = [(a, b, c, d), (a, b, d, c), (b, a, c, d), (b, a, d, c)];
    let (x, factor, mean, _) = pairs.into_iter().find(|(_, f, _, g)| f == g)?;
    let (root, gamma) = match binary(graph, factor) {
        Some((BinaryFn::Mul, a, gamma)) if graph.constant(gamma).is_some() => (a, Some(gamma)),
        Some((BinaryFn::Mul, gamma, b)) if graph.constant(gamma).is_some() => (b, Some(gamma)),
        Some((BinaryFn::Div, gamma, b)) if graph.constant(gamma).is_some() => {
            return divided(graph, x, mean, Deviation::of(graph, b)?, Some(gamma), beta);
        }
        _ => (factor, None),
    };
    let deviation = Deviation::root_of(graph, inverse_square_root(graph, root)?)?;
    divided(graph, x, mean, deviation, gamma, beta)
}

/// The normalisation of `x` if the mean and the deviation are its own.
fn divided(
    graph: &Graph,
    x: Value,
    mean: Value,
    deviation: Deviation,
    gamma: Option<Value>,
    beta: Value,
) -> Option<Normalisation> {
    let mut kept = graph.ty(x).shape.clone();
    *kept.last_mut()? = 1;
    let is_mean = graph.ty(mean).shape == kept && mean_over_channels(graph, mean)? == x;
    let of_centred = || match binary(graph, deviation.squares(graph)?)? {
        (BinaryFn::Sub, y, of_y) => Some(y == x && of_y == mean),
        _ => None,
    };
    let is_deviation = of_centred() == Some(true) || is_difference(graph, deviation.mean, x, mean);
    (is_mean && is_deviation).then(|| Normalisation {
        x,
        gamma,
        beta: Some(beta),
        factor: deviation.scale.sqrt().recip(),
        eps: deviation.eps,
    })
}

/// Returns `x` if `value` is `-x`.
fn negated(graph: &Graph, value: Value) -> Option<Value> {
    match unary(graph, value)? {
        (UnaryFn::Neg, x) => Some(x),
        _ => None,
    }
}

/// `sqrt(scale (mean + eps))`, where `mean` is the mean of squares.
struct Deviation {
    value: Value,
    mean: Value,
    scale: f64,
    eps: f64,
}

impl Deviation {
    /// Matches a root, or a root plus an epsilon. Such an epsilon is squared and added to the
    /// variance instead: this changes the divisor by less than epsilon, and not at all if the
    /// variance is 0; if the variance is large the change is negligible.
    fn of(graph: &Graph, value: Value) -> Option<Deviation> {
        if let Some((root, outside)) = sum_with_constant(graph, value) {
            let deviation = Deviation::root_of(graph, square_root(graph, root)?)?;
            return (outside >= 0.0 && deviation.eps == 0.0).then(|| Deviation {
                value,
                eps: outside * outside / deviation.scale,
                ..deviation
            });
        }
        let deviation = Deviation::root_of(graph, square_root(graph, value)?)?;
        Some(Deviation { value, ..deviation })
    }

    /// Matches `scale (mean + eps)` and returns its root.
    fn root_of(graph: &Graph, variance: Value) -> Option<Deviation> {
        let (spread, eps) = sum_with_constant(graph, variance).unwrap_or((variance, 0.0));
        let (mean, scale) = scaled(graph, spread);
        (scale > 0.0 && scale.is_finite()).then(|| Deviation {
            value: variance,
            mean,
            scale,
            eps: eps / scale,
        })
    }

    /// If `self` is `sqrt(mean(y))` with `y = x^2`, returns `x`.
    fn squares(&self, graph: &Graph) -> Option<Value> {
        square_of(graph, mean_over_channels(graph, self.mean)?)
    }
}

/// Returns `x` and the constant if `value` is their sum.
fn sum_with_constant(graph: &Graph, value: Value) -> Option<(Value, f64)> {
    let (BinaryFn::Add, a, b) = binary(graph, value)? else { return None };
    match graph.const_scalar(b) {
        Some(constant) => Some((a, constant.into())),
        None => Some((b, graph.const_scalar(a)?.into())),
    }
}

/// Returns `x` and its factor if `value` is `x` times constants, perhaps reshaped. An unbiased
/// variance has such a factor: its sum of squares is divided by n - 1.
fn scaled(graph: &Graph, mut value: Value) -> (Value, f64) {
    let mut factor = 1.0;
    loop {
        let scalar = |value| graph.const_scalar(value).map(f64::from);
        if let Some((_, op)) = graph.producer(value)
            && let OpKind::Reshape { .. } = op.kind
        {
            value = op.operands[0];
            continue;
        }
        (value, factor) = match binary(graph, value) {
            Some((BinaryFn::Mul, a, b)) if scalar(b).is_some() => {
                (a, factor * scalar(b).unwrap_or(1.0))
            }
            Some((BinaryFn::Mul, a, b)) if scalar(a).is_some() => {
                (b, factor * scalar(a).unwrap_or(1.0))
            }
            Some((BinaryFn::Div, a, b)) if scalar(b).is_some() => {
                (a, factor / scalar(b).unwrap_or(1.0))
            }
            _ => return (value, factor),
        };
    }
}

/// Returns `x` if `value` is its mean over the last dimension.
fn mean_over_channels(graph: &Graph, value: Value) -> Option<Value> {
    let (_, op) = graph.producer(value)?;
    let x = *op.operands.first()?;
    match &op.kind {
        OpKind::ReduceMean { axes, .. } => {
            (*axes == [graph.ty(x).rank().checked_sub(1)?]).then_some(x)
        }
        _ => None,
    }
}

/// Whether `variance` is `mean(x^2) - mean^2`, perhaps no less than 0.
fn is_difference(graph: &Graph, variance: Value, x: Value, mean: Value) -> bool {
    let inner = match (unary(graph, variance), binary(graph, variance)) {
        (Some((UnaryFn::Relu, inner)), _) => inner,
        (_, Some((BinaryFn::Max, a, b))) if graph.const_scalar(b) == Some(0.0) => a,
        (_, Some((BinaryFn::Max, a, b))) if graph.const_scalar(a) == Some(0.0) => b,
        _ => variance,
    };
    let Some((BinaryFn::Sub, squares, square)) = binary(graph, inner) else { return false };
    let of_squares = mean_over_channels(graph, squares).and_then(|y| square_of(graph, y));
    of_squares == Some(x) && square_of(graph, square) == Some(mean)
}

/// Returns `x` if `value` is `x^2`.
fn square_of(graph: &Graph, value: Value) -> Option<Value> {
    match binary(graph, value)? {
        (BinaryFn::Pow, x, exponent) if graph.const_scalar(exponent) == Some(2.0) => Some(x),
        (BinaryFn::Mul, a, b) if a == b => Some(a),
        _ => None,
    }
}

/// Returns `x` if `value` is `sqrt(x)`.
fn square_root(graph: &Graph, value: Value) -> Option<Value> {
    match unary(graph, value) {
        Some((UnaryFn::Sqrt, x)) => Some(x),
        Some(_) => None,
        None => power(graph, value, 0.5),
    }
}

/// Returns `x` if `value` is `1 / sqrt(x)`.
fn inverse_square_root(graph: &Graph, value: Value) -> Option<Value> {
    if let Some((UnaryFn::Reciprocal, root)) = unary(graph, value) {
        return square_root(graph, root);
    }
    match binary(graph, value)? {
        (BinaryFn::Div, one, root) if graph.const_scalar(one) == Some(1.0) => {
            square_root(graph, root)
        }
        _ => power(graph, value, -0.5),
    }
}

/// Returns `x` if `value` is `x^exponent`.
fn power(graph: &Graph, value: Value, exponent: f32) -> Option<Value> {
    match binary(graph, value)? {
        (BinaryFn::Pow, x, e) if graph.const_scalar(e) == Some(exponent) => Some(x),
        _ => None,
    }
}
