//! Attention: products of queries and keys, softmax, and products with values.

use std::collections::BTreeSet;

use super::constants::{broadcast, data};
use super::flags::Flags;
use super::view::{Axis, View, Walk};
use super::{Canonicaliser, Meaning, unexpected};
use crate::ir::{BinaryFn, Node, OpData, OpKind, Value, infer};
use crate::passes::error::Unsupported;

/// `scale q k^T + bias` of each head.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    /// Queries `[windows * m, heads * d]`.
    q: Value,
    /// Keys `[windows * n, heads * d]`.
    k: Value,
    /// Number of attention windows.
    windows: usize,
    scale: f64,
    /// `[windows * heads, m, n]`.
    bias: Option<Vec<f32>>,
    /// The integer input that prunes keys, if there is one.
    keys: Option<Value>,
    /// Shape of the tensor: leading dimensions that enumerate windows and heads, then `m` and `n`.
    shape: Vec<usize>,
    /// The ONNX nodes that computed the scores.
    pub(super) nodes: BTreeSet<Node>,
}

impl Scores {
    /// The leading dimensions, `m` and `n`.
    fn extents(&self) -> (&[usize], usize, usize) {
        let [leading @ .., m, n] = &self.shape[..] else {
            unreachable!("made with two dimensions at least")
        };
        (leading, *m, *n)
    }

    /// Number of heads in all windows together.
    fn all_heads(&self) -> usize {
        self.extents().0.iter().product()
    }

    fn multiply(&mut self, factor: f64) -> Result<(), Unsupported> {
        let pruned = self.bias.iter().flatten().any(|bias| *bias == f32::NEG_INFINITY);
        if (self.keys.is_some() || pruned) && factor <= 0.0 {
            return Err(Unsupported::new(
                format!("masked scores times {factor}"),
                "a positive factor",
            ));
        }
        self.scale *= factor;
        if !self.scale.is_finite() {
            return Err(Unsupported::new(format!("a factor of {}", self.scale), "a finite factor"));
        }
        for bias in self.bias.iter_mut().flatten() {
            *bias = (f64::from(*bias) * factor) as f32;
        }
        Ok(())
    }

    /// Number of elements that a copy allocates.
    pub(super) fn size(&self) -> usize {
        self.bias.as_ref().map_or(0, Vec::len) + self.nodes.len()
    }

    /// Changes the leading dimensions; fails if `shape` does not end with `m` and `n`.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Result<Scores, Unsupported> {
        let (_, m, n) = self.extents();
        if shape.ends_with(&[m, n]) {
            return Ok(Scores { shape: shape.to_vec(), ..self.clone() });
        }
        Err(Unsupported::new(
            format!("attention scores {:?} reshaped to {shape:?}", self.shape),
            "queries and keys in the last two dimensions",
        ))
    }
}

impl Canonicaliser<'_> {
    /// `a b` of two computed tensors: queries and transposed keys.
    pub(super) fn scores(
        &mut self,
        op: &OpData,
        a: &View,
        b: &View,
    ) -> Result<Meaning, Unsupported> {
        let shape = self.source.ty(op.results[0]).shape.clone();
        let rank = shape.len();
        let leading = rank - 2;
        // Heads of one operand may serve several of the other.
        let broadcast = |last: [usize; 2]| [&shape[..leading], &last].concat();
        let (a_last, b_last) = (last_two(a), last_two(b));
        let (a, b) = match (a_last, b_last) {
            (Some(a_last), Some(b_last)) => {
                let to = [broadcast(a_last), broadcast(b_last)];
                (&self.builder.expanded(a, &to[0])?, &self.builder.expanded(b, &to[1])?)
            }
            _ => (a, b),
        };
        let same_heads = |view: &View| {
            view.shape().get(..leading) == Some(&shape[..leading]) && view.dims.len() == rank
        };
        if !(same_heads(a) && same_heads(b)) {
            return Err(Unsupported::new(
                format!("a product of tokens {:?} and {:?}", a.shape(), b.shape()),
                "queries and keys of the same heads",
            ));
        }
        let outer = window_dims(a, leading);
        if window_dims(b, leading) != outer {
            return Err(Unsupported::new(
                "queries and keys of different windows",
                "queries and keys of the same windows",
            ));
        }
        let windows = shape[..outer].iter().product();
        let windows_and = |last| (0..outer).chain([last]).collect::<Vec<_>>();
        let heads_and = |last| (outer..leading).chain([last]).collect::<Vec<_>>();
        let [a_tokens, b_tokens] = [windows_and(rank - 2), windows_and(rank - 1)];
        let q = self.builder.layout(&a.unscaled(), &a_tokens, &heads_and(rank - 1))?;
        let k = self.builder.layout(&b.unscaled(), &b_tokens, &heads_and(rank - 2))?;
        let scale = a.factor * b.factor;
        let nodes = op.nodes.iter().copied().collect();
        Ok(Meaning::Scores(Scores { q, k, windows, scale, bias: None, keys: None, shape, nodes }))
    }

    /// A function of scores and a constant. `swapped`: the constant is the first operand.
    pub(super) fn scores_with_constant(
        &mut self,
        f: BinaryFn,
        scores: &Scores,
        constant: Value,
        swapped: bool,
    ) -> Result<Meaning, Unsupported> {
        let mut result = scores.clone();
        result.nodes.extend(&self.builder.nodes);
        let factors = self.per_head_factors(scores, constant);
        match (f, self.source.const_scalar(constant).map(f64::from), swapped) {
            (BinaryFn::Mul, None, _) if let Some(factors) = &factors => {
                self.builder.multiply_heads(&mut result, factors)?;
            }
            (BinaryFn::Div, None, false) if let Some(factors) = &factors => {
                let factors: Vec<f64> = factors.iter().map(|factor| 1.0 / factor).collect();
                self.builder.multiply_heads(&mut result, &factors)?;
            }
            (BinaryFn::Mul, Some(factor), _) => result.multiply(factor)?,
            (BinaryFn::Div, Some(divisor), false) => result.multiply(1.0 / divisor)?,
            (BinaryFn::Add, ..) | (BinaryFn::Sub, _, false) => {
                let sign = if f == BinaryFn::Add { 1.0 } else { -1.0 };
                let (_, m, n) = scores.extents();
                self.builder.check_size(&[scores.all_heads(), m, n])?;
                let ty = self.source.ty(constant);
                let bias = self.source.const_f32(constant);
                let bias = bias
                    .and_then(|elements| broadcast(&elements, &ty.shape, &scores.shape))
                    .ok_or_else(|| {
                        Unsupported::new(
                            format!("a constant {ty}"),
                            format!("one that broadcasts to {:?}", scores.shape),
                        )
                    })?;
                let old = result.bias.take().unwrap_or_else(|| vec![0.0; bias.len()]);
                result.bias = Some(old.into_iter().zip(bias).map(|(a, b)| a + sign * b).collect());
            }
            _ => {
                let order = if swapped {
                    "a constant and attention scores"
                } else {
                    "attention scores and a constant"
                };
                return Err(Unsupported::new(
                    format!("{} of {order}", f.name()),
                    "a factor or a sum",
                ));
            }
        }
        Ok(Meaning::Scores(result))
    }

    /// The factor of each window's heads if a constant has one number for all scores of a head.
    fn per_head_factors(&self, scores: &Scores, constant: Value) -> Option<Vec<f64>> {
        let ty = self.source.ty(constant);
        let leading = match &ty.shape[..] {
            [leading @ .., 1, 1] => leading,
            _ => return None,
        };
        let (of_scores, ..) = scores.extents();
        let elements = self.source.const_f32(constant)?;
        let numbers = broadcast(&elements, leading, of_scores)?;
        Some(numbers.into_iter().map(f64::from).collect())
    }

    /// Scores where a constant condition is `kept`, and -inf elsewhere.
    pub(super) fn masked_scores(
        &mut self,
        op: &OpData,
        scores: &Scores,
        kept: bool,
        [condition, fill]: [Value; 2],
    ) -> Result<Meaning, Unsupported> {
        let shape = &self.source.ty(op.results[0]).shape;
        if infer::count(shape) != infer::count(&scores.shape) {
            return Err(Unsupported::new(
                format!("attention scores {:?} repeated to {shape:?}", scores.shape),
                "a condition that broadcasts to the scores",
            ));
        }
        let mut result = scores.reshaped(shape)?;
        result.nodes.extend(&op.nodes);
        let number = self.source.const_f32(fill).unwrap_or_default();
        if number.is_empty() || !number.iter().all(|x| *x <= super::flags::NEVER) {
            return Err(Unsupported::new(
                format!("attention scores replaced by {number:?}"),
                "-inf, or at most -10,000",
            ));
        }
        let (_, m, n) = scores.extents();
        self.builder.check_size(&[scores.all_heads(), m, n])?;
        let ty = self.source.ty(condition);
        let flags = self.source.const_i64(condition).unwrap_or_default();
        let flags: Vec<f32> = flags
            .into_iter()
            .map(|flag| if (flag != 0) == kept { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        let addends = broadcast(&flags, &ty.shape, shape).ok_or_else(|| {
            Unsupported::new(
                format!("a condition {ty}"),
                format!("one that broadcasts to {shape:?}"),
            )
        })?;
        let old = result.bias.take().unwrap_or_else(|| vec![0.0; addends.len()]);
        result.bias = Some(old.into_iter().zip(addends).map(|(a, b)| a + b).collect());
        Ok(Meaning::Scores(result))
    }

    /// Adds a function of an integer input to scores: it prunes keys.
    pub(super) fn scores_of_keys(
        &mut self,
        f: BinaryFn,
        scores: &Scores,
        flags: &Flags,
    ) -> Result<Meaning, Unsupported> {
        if f != BinaryFn::Add {
            return Err(Unsupported::new(
                format!("{} of attention scores and an input", f.name()),
                "a sum",
            ));
        }
        if scores.windows > 1 {
            return Err(Unsupported::new(
                format!("a mask of keys for attention in {} windows", scores.windows),
                "one window, or a mask that is a constant",
            ));
        }
        let (keys, read) = flags.keys(&scores.shape)?;
        self.read(keys, read)?;
        if scores.keys.is_some_and(|known| known != keys) {
            return Err(Unsupported::new("two masks of keys", "one input"));
        }
        let mut result = Scores { keys: Some(keys), ..scores.clone() };
        result.nodes.extend(&self.builder.nodes);
        Ok(Meaning::Scores(result))
    }

    pub(super) fn softmax(
        &mut self,
        op: &OpData,
        x: &Meaning,
        axis: usize,
    ) -> Result<Meaning, Unsupported> {
        let Meaning::Scores(scores) = x else { return Err(unexpected(x, "attention scores")) };
        if axis + 2 == scores.shape.len() {
            // The scores of keys and queries.
            let mut scores = self.builder.transposed_scores(scores)?;
            scores.nodes.extend(&op.nodes);
            return Ok(Meaning::Transposed(scores));
        }
        if axis + 1 != scores.shape.len() {
            return Err(Unsupported::new(
                format!("a softmax along axis {axis} of {:?}", scores.shape),
                "along the last axis",
            ));
        }
        let mut scores = scores.clone();
        scores.nodes.extend(&op.nodes);
        Ok(Meaning::Probabilities(scores))
    }

    /// Probabilities times values.
    pub(super) fn attention(
        &mut self,
        op: &OpData,
        scores: &Scores,
        v: &View,
    ) -> Result<Meaning, Unsupported> {
        let rank = v.dims.len();
        let [.., keys, features] = v.shape()[..] else {
            return Err(Unsupported::new("values without dimensions", "values of each key"));
        };
        // Heads of values may serve several heads.
        let repeated = [scores.extents().0, &[keys, features]].concat();
        let v = &match v.shape()[..rank - 2].iter().all(|extent| *extent == 1) {
            true if rank == repeated.len() => self.builder.expanded(v, &repeated)?,
            _ => v.clone(),
        };
        let (windows, all) = (scores.windows, scores.all_heads());
        let heads = all / windows;
        let (leading, m, n) = scores.extents();
        let outer = window_dims(v, rank.saturating_sub(2));
        let windows_of_v: usize = v.shape()[..outer].iter().product();
        if rank < 2
            || windows_of_v != windows
            || v.shape()[..rank - 2].iter().product::<usize>() != all
        {
            let found = format!("values {:?} for {windows} windows of {heads} heads", v.shape());
            return Err(Unsupported::new(found, "values of the same windows and heads"));
        }
        let rows: Vec<usize> = (0..outer).chain([rank - 2]).collect();
        let columns: Vec<usize> = (outer..rank - 2).chain([rank - 1]).collect();
        let values = self.builder.layout(&v.unscaled(), &rows, &columns)?;
        let (mut q, mut scale) = (scores.q, scores.scale);
        if scale < 0.0 {
            let width = self.builder.extents(q).1;
            q = self.builder.scaled(q, vec![-1.0; width], "")?;
            scale = -scale;
        }
        let mut operands = vec![q, scores.k, values];
        if let Some(bias) = &scores.bias {
            let of_window = heads * m * n;
            let alike = bias.chunks(of_window).all(|window| window == &bias[..of_window]);
            let bias = if alike { &bias[..of_window] } else { bias };
            let extents = [bias.len() / (m * n), m, n];
            operands.push(self.builder.make("", &extents, data(bias.iter().copied()))?);
        }
        operands.extend(scores.keys);
        self.builder.nodes = scores
            .nodes
            .iter()
            .chain(&op.nodes)
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let matrix = self.builder.push(OpKind::Attention { heads, scale, windows }, &operands)?;

        // Windows and tokens are rows, heads and features are columns. In the tensor, the
        // dimensions of heads come before those of tokens.
        let (features, count) = (v.shape()[rank - 1], leading.len());
        let mut outer = 0;
        while leading[..outer].iter().product::<usize>() < windows {
            outer += 1;
        }
        let (of_windows, of_heads) = leading.split_at(outer);
        if of_windows.iter().product::<usize>() != windows {
            let found =
                format!("{windows} windows and their heads in one of the dimensions {leading:?}");
            return Err(Unsupported::new(found, "windows and heads in dimensions of their own"));
        }
        let shape = [of_windows, &[m], of_heads, &[features]].concat();
        let perm: Vec<usize> =
            (0..outer).chain(outer + 1..=count).chain([outer, count + 1]).collect();
        let view = View::row_major(matrix, &shape, outer + 1).transposed(&perm);
        Ok(Meaning::View(View { factor: v.factor, ..view }))
    }
}

impl super::builder::Builder<'_> {
    /// Multiplies the scores of each head by its factor: the columns of its queries.
    fn multiply_heads(&mut self, scores: &mut Scores, factors: &[f64]) -> Result<(), Unsupported> {
        let heads = scores.all_heads() / scores.windows;
        let of_window = &factors[..heads];
        let finite = factors.iter().all(|factor| factor.is_finite());
        if !finite || factors.chunks(heads).any(|other| other != of_window) {
            return Err(Unsupported::new(
                "scores with other factors in each window",
                "one finite factor for each head",
            ));
        }
        let pruned = scores.bias.iter().flatten().any(|bias| *bias == f32::NEG_INFINITY);
        if (pruned || scores.keys.is_some()) && of_window.iter().any(|factor| *factor <= 0.0) {
            return Err(Unsupported::new(
                "masked scores times a factor below 0",
                "positive factors",
            ));
        }
        let width = self.extents(scores.q).1;
        let each = width / heads;
        self.charge(width)?;
        let columns = (0..width).map(|column| of_window[column / each]).collect();
        scores.q = self.scaled(scores.q, columns, "")?;
        let (_, m, n) = scores.extents();
        if let Some(bias) = &mut scores.bias {
            for (i, bias) in bias.iter_mut().enumerate() {
                *bias = (f64::from(*bias) * factors[i / (m * n)]) as f32;
            }
        }
        Ok(())
    }

    /// Scores with queries and keys exchanged.
    pub(super) fn transposed_scores(&mut self, scores: &Scores) -> Result<Scores, Unsupported> {
        if scores.keys.is_some() {
            return Err(Unsupported::new("masked scores transposed", "a mask added afterwards"));
        }
        let (leading, m, n) = scores.extents();
        let bias = scores.bias.as_ref().map(|bias| {
            let matrices = bias.chunks(m * n);
            let transposed = matrices.flat_map(|matrix| {
                (0..n).flat_map(move |key| (0..m).map(move |query| matrix[query * n + key]))
            });
            transposed.collect()
        });
        let mut result = Scores {
            q: scores.k,
            k: scores.q,
            bias,
            shape: [leading, &[n, m]].concat(),
            ..scores.clone()
        };
        result.nodes.extend(&self.nodes);
        Ok(result)
    }
}

/// The last two extents.
fn last_two(view: &View) -> Option<[usize; 2]> {
    let shape = view.shape();
    match shape[..] {
        [.., rows, columns] => Some([rows, columns]),
        _ => None,
    }
}

/// How many of the first `leading` dimensions are attention windows: those that walk rows.
fn window_dims(view: &View, leading: usize) -> usize {
    let rows = |dim: &Vec<Walk>| !dim.is_empty() && dim.iter().all(|walk| walk.axis == Axis::Row);
    view.dims[..leading].iter().rposition(rows).map_or(0, |last| last + 1)
}
