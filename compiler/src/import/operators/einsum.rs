//! Einsum, translated to a product of matrices.
//!
//! The labels of two operands fall into four kinds: those of a batch (in both operands and the
//! result), rows (only in the first operand), columns (only in the second) and the summed ones (in
//! both, not in the result). Transposing and reshaping the operands to `[batch.., rows, summed]`
//! and `[batch.., summed, columns]` makes the sum a matrix product.

use super::{Call, Translated};
use crate::ir::{BinaryFn, OpKind, Value};

/// A dimension: its label and its extent.
type Dim = (char, usize);

pub(super) fn einsum(call: &mut Call<'_>) -> Translated {
    let equation = call.node.string("equation")?.unwrap_or_default().replace(' ', "");
    let operands = call.operands()?;
    let (inputs, output) = labels(call, &equation, &operands)?;
    let mut terms = operands.into_iter().zip(inputs);
    let Some((mut x, mut of_x)) = terms.next() else {
        return Err(call.mismatch("operands", "none"));
    };
    let rest: Vec<(Value, Vec<Dim>)> = terms.collect();
    for (i, (y, of_y)) in rest.iter().enumerate() {
        // Labels that a later operand or the result needs are kept.
        let later = rest[i + 1..].iter().flat_map(|(_, labels)| labels.iter().map(|(l, _)| *l));
        let kept: Vec<char> = later.chain(output.iter().copied()).collect();
        (x, of_x) = product(call, (x, of_x), (*y, of_y.clone()), &kept)?;
    }
    (x, of_x) = summed(call, x, of_x, &output)?;
    let perm: Vec<usize> = output.iter().filter_map(|label| position(&of_x, *label)).collect();
    if perm.len() != output.len() || perm.len() != of_x.len() {
        return Err(unsupported(call, &equation));
    }
    Ok(vec![transposed(call, x, perm)?])
}

fn unsupported(call: &Call<'_>, equation: &str) -> Box<super::super::Problem> {
    call.attribute(
        "equation",
        "labels of the operands' dimensions, each once per operand, and those of the result",
        format!("{equation:?}"),
    )
}

/// The dimensions of each operand, and the labels of the result. An ellipsis stands for upper-case
/// labels from the end of the alphabet.
fn labels(
    call: &Call<'_>,
    equation: &str,
    operands: &[Value],
) -> Translated<(Vec<Vec<Dim>>, Vec<char>)> {
    let error = || unsupported(call, equation);
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation, None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != operands.len() {
        return Err(error());
    }
    let mut longest = 0;
    let mut inputs = Vec::with_capacity(terms.len());
    for (term, operand) in terms.into_iter().zip(operands) {
        let shape = call.shape(*operand);
        let hidden = shape.len().checked_sub(term.replace("...", "").chars().count());
        let hidden = hidden.filter(|hidden| *hidden < 8).ok_or_else(error)?;
        if hidden > 0 && !term.contains("...") {
            return Err(error());
        }
        longest = longest.max(hidden);
        let labels = term.replace("...", &ellipsis(hidden));
        let dims: Vec<Dim> = labels.chars().zip(shape.iter().copied()).collect();
        let repeated = |i: usize| position(&dims[..i], dims[i].0).is_some();
        let plain = dims.iter().all(|(label, _)| label.is_ascii_alphabetic());
        if !plain || dims.len() != shape.len() || (0..dims.len()).any(repeated) {
            return Err(error());
        }
        inputs.push(dims);
    }
    let output = match right {
        Some(right) => right.replace("...", &ellipsis(longest)).chars().collect(),
        // Without a result: the labels that occur once, sorted.
        None => {
            let all: Vec<char> = inputs.iter().flatten().map(|(label, _)| *label).collect();
            let once = |label: &char| all.iter().filter(|other| *other == label).count() == 1;
            let mut output: Vec<char> = all.iter().copied().filter(once).collect();
            output.sort_unstable();
            output
        }
    };
    let known = |label: &char| inputs.iter().any(|dims| position(dims, *label).is_some());
    if !output.iter().all(known) {
        return Err(error());
    }
    Ok((inputs, output))
}

fn ellipsis(hidden: usize) -> String {
    "STUVWXYZ".chars().skip(8 - hidden).collect()
}

fn position(dims: &[Dim], label: char) -> Option<usize> {
    dims.iter().position(|(other, _)| *other == label)
}

fn transposed(call: &mut Call<'_>, x: Value, perm: Vec<usize>) -> Translated<Value> {
    if perm.is_sorted() {
        return Ok(x);
    }
    call.emit(OpKind::Transpose { perm }, &[x])
}

/// Sums the dimensions whose labels are not kept.
fn summed(
    call: &mut Call<'_>,
    x: Value,
    dims: Vec<Dim>,
    kept: &[char],
) -> Translated<(Value, Vec<Dim>)> {
    let axes: Vec<usize> = (0..dims.len()).filter(|axis| !kept.contains(&dims[*axis].0)).collect();
    if axes.is_empty() {
        return Ok((x, dims));
    }
    let count: usize = axes.iter().map(|axis| dims[*axis].1).product();
    let rest = dims.iter().copied().filter(|(label, _)| kept.contains(label)).collect();
    let mean = call.emit(OpKind::ReduceMean { axes, keep: false }, &[x])?;
    let count = call.float_constant(&[], vec![count as f32])?;
    Ok((call.binary(BinaryFn::Mul, mean, count)?, rest))
}

/// The product of two operands, summed over the labels that are in both and not kept.
fn product(
    call: &mut Call<'_>,
    (a, of_a): (Value, Vec<Dim>),
    (b, of_b): (Value, Vec<Dim>),
    kept: &[char],
) -> Translated<(Value, Vec<Dim>)> {
    // Weights are the second operand of a product.
    let ((a, of_a), (b, of_b)) = match call.is_constant(a) && !call.is_constant(b) {
        true => ((b, of_b), (a, of_a)),
        false => ((a, of_a), (b, of_b)),
    };
    // What only one operand has and nothing needs is summed first.
    let needed = |others: &[Dim]| -> Vec<char> {
        kept.iter().copied().chain(others.iter().map(|(label, _)| *label)).collect()
    };
    let (a, of_a) = summed(call, a, of_a.clone(), &needed(&of_b))?;
    let (b, of_b) = summed(call, b, of_b, &needed(&of_a))?;
    let within = |dims: &[Dim], label: char| position(dims, label).is_some();
    let pick = |dims: &[Dim], holds: &dyn Fn(char) -> bool| -> Vec<Dim> {
        dims.iter().copied().filter(|(label, _)| holds(*label)).collect()
    };
    let batch = pick(&of_a, &|label| within(&of_b, label) && kept.contains(&label));
    let inner = pick(&of_a, &|label| within(&of_b, label) && !kept.contains(&label));
    let rows = pick(&of_a, &|label| !within(&of_b, label));
    let columns = pick(&of_b, &|label| !within(&of_a, label));
    let a = arranged(call, a, &of_a, &batch, [&rows, &inner])?;
    let b = arranged(call, b, &of_b, &batch, [&inner, &columns])?;
    let result = call.emit(OpKind::MatMul {}, &[a, b])?;
    let dims = [batch, rows, columns].concat();
    let shape: Vec<usize> = dims.iter().map(|(_, extent)| *extent).collect();
    Ok((call.reshape(result, &shape)?, dims))
}

/// An operand as `[batch.., first, second]`.
fn arranged(
    call: &mut Call<'_>,
    x: Value,
    dims: &[Dim],
    batch: &[Dim],
    [first, second]: [&[Dim]; 2],
) -> Translated<Value> {
    let order = batch.iter().chain(first).chain(second);
    let perm = order.filter_map(|(label, _)| position(dims, *label)).collect();
    let x = transposed(call, x, perm)?;
    let product = |dims: &[Dim]| -> usize { dims.iter().map(|(_, extent)| extent).product() };
    let mut shape: Vec<usize> = batch.iter().map(|(_, extent)| *extent).collect();
    shape.extend([product(first), product(second)]);
    call.reshape(x, &shape)
}
