//! Reductions over axes.

use super::{Call, Translated};
use crate::ir::{BinaryFn, Elem, OpKind, UnaryFn, Value};

/// The axes that a node reduces, and whether they are kept with extent 1.
struct Axes {
    axes: Vec<usize>,
    keep: bool,
    /// The product of their extents.
    count: usize,
}

impl Axes {
    /// The axes of the node; `None` if there is nothing to reduce.
    fn of(call: &mut Call<'_>, x: Value, operand_since: i64) -> Translated<Option<Axes>> {
        let rank = call.ty(x).rank();
        let keep = call.int("keepdims", 1)? != 0;
        let axes = call.list("axes", 1, operand_since)?.unwrap_or_default();
        if axes.is_empty() && call.int("noop_with_empty_axes", 0)? != 0 {
            return Ok(None);
        }
        let axes = if axes.is_empty() { (0..rank).collect() } else { call.axes(&axes, rank)? };
        let count = axes.iter().map(|axis| call.shape(x)[*axis]).product();
        Ok(Some(Axes { axes, keep, count }))
    }

    /// The shape of the result for an operand of `shape`.
    fn shape(&self, shape: &[usize]) -> Vec<usize> {
        let extents = shape.iter().enumerate();
        let kept = extents.filter(|(axis, _)| self.keep || !self.axes.contains(axis));
        kept.map(|(axis, extent)| if self.axes.contains(&axis) { 1 } else { *extent }).collect()
    }

    /// For each element of an operand of `shape`, in row-major order, its element of the result.
    fn places(&self, shape: &[usize]) -> Vec<usize> {
        let mut places = vec![0];
        for (axis, extent) in shape.iter().enumerate() {
            let step = |place: &usize, i: usize| match self.axes.contains(&axis) {
                true => *place,
                false => place * extent + i,
            };
            places =
                places.iter().flat_map(|place| (0..*extent).map(move |i| step(place, i))).collect();
        }
        places
    }

    /// Reduces a constant.
    fn fold(&self, call: &mut Call<'_>, x: Value, f: &Fold) -> Translated<Value> {
        let from = call.shape(x).to_vec();
        let shape = self.shape(&from);
        let results: usize = shape.iter().product();
        if self.count == 0 && f.empty.is_none() {
            return Err(call.mismatch("elements", "none"));
        }
        let empty = f.empty.unwrap_or_default();
        if call.ty(x).elem == Elem::I64 {
            let elements = call.integers(x, "an operand")?;
            let mut sums = vec![None; results];
            for (element, place) in elements.into_iter().zip(self.places(&from)) {
                let so_far: &mut Option<i64> = &mut sums[place];
                *so_far = Some(so_far.map_or(element, |sum| (f.integers)(sum, element)));
            }
            let sums = sums.into_iter().map(|sum| sum.unwrap_or(empty));
            return call.integer_constant(&shape, sums);
        }
        let elements = call.floats(x, "an operand")?;
        let mut sums = vec![None; results];
        for (element, place) in elements.into_iter().zip(self.places(&from)) {
            let element = (f.before)(element.into());
            let so_far: &mut Option<f64> = &mut sums[place];
            *so_far = Some(so_far.map_or(element, |sum| (f.floats)(sum, element)));
        }
        let sums = sums.into_iter().map(|sum| sum.unwrap_or(empty as f64) as f32);
        call.float_constant(&shape, sums)
    }

    fn mean(&self, call: &mut Call<'_>, x: Value) -> Translated<Value> {
        call.emit(OpKind::ReduceMean { axes: self.axes.clone(), keep: self.keep }, &[x])
    }

    /// The mean times the number of elements.
    fn sum(&self, call: &mut Call<'_>, x: Value) -> Translated<Value> {
        let mean = self.mean(call, x)?;
        let count = call.float_constant(&[], vec![self.count as f32])?;
        call.binary(BinaryFn::Mul, mean, count)
    }
}

/// The reduction of a constant. Floats are reduced in f64.
struct Fold {
    /// The result for no elements, if there is one.
    empty: Option<i64>,
    integers: fn(i64, i64) -> i64,
    floats: fn(f64, f64) -> f64,
    /// Applied to each float.
    before: fn(f64) -> f64,
}

const SUM: Fold =
    Fold { empty: Some(0), integers: i64::wrapping_add, floats: |a, b| a + b, before: |x| x };

/// The minimum: the negative of the maximum of the negatives.
pub(super) fn reduce_min(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    if call.is_constant(x) {
        return folded(call, &Fold { empty: None, integers: i64::min, floats: f64::min, ..SUM });
    }
    let Some(Axes { axes, keep, .. }) = Axes::of(call, x, 18)? else { return Ok(vec![x]) };
    let negative = call.unary(UnaryFn::Neg, x)?;
    let largest = call.emit(OpKind::ReduceMax { axes, keep }, &[negative])?;
    Ok(vec![call.unary(UnaryFn::Neg, largest)?])
}

/// A reduction that only constants have.
fn folded(call: &mut Call<'_>, f: &Fold) -> Translated {
    let x = call.operand(0)?;
    if !call.is_constant(x) {
        return Err(call.mismatch("an operand known at compile time", call.describe(x)));
    }
    let Some(axes) = Axes::of(call, x, 18)? else { return Ok(vec![x]) };
    Ok(vec![axes.fold(call, x, f)?])
}

pub(super) fn reduce_prod(call: &mut Call<'_>) -> Translated {
    let (integers, floats) = (i64::wrapping_mul, |a, b| a * b);
    folded(call, &Fold { empty: Some(1), integers, floats, ..SUM })
}

pub(super) fn reduce_max(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let Some(axes) = Axes::of(call, x, 18)? else { return Ok(vec![x]) };
    if call.is_constant(x) {
        let f = Fold { empty: None, integers: i64::max, floats: f64::max, ..SUM };
        return Ok(vec![axes.fold(call, x, &f)?]);
    }
    let (axes, keep) = (axes.axes, axes.keep);
    Ok(vec![call.emit(OpKind::ReduceMax { axes, keep }, &[x])?])
}

/// The sum of branches that are stacked along the reduced axis.
fn branches(call: &mut Call<'_>, x: Value, axes: &Axes) -> Translated<Option<Value>> {
    let [axis] = axes.axes[..] else { return Ok(None) };
    let parts = match call.producer(x) {
        Some((OpKind::Concat { axis: joined }, parts))
            if *joined == axis && parts.iter().all(|part| call.shape(*part)[axis] == 1) =>
        {
            parts.to_vec()
        }
        _ => return Ok(None),
    };
    let shape = axes.shape(call.shape(x));
    let mut sum = call.reshape(parts[0], &shape)?;
    for part in &parts[1..] {
        let part = call.reshape(*part, &shape)?;
        sum = call.binary(BinaryFn::Add, sum, part)?;
    }
    Ok(Some(sum))
}

pub(super) fn reduce_mean(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let Some(axes) = Axes::of(call, x, 18)? else { return Ok(vec![x]) };
    if let Some(sum) = branches(call, x, &axes)? {
        return Ok(vec![call.scaled(sum, 1.0 / axes.count as f32)?]);
    }
    Ok(vec![axes.mean(call, x)?])
}

pub(super) fn reduce_sum(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let Some(axes) = Axes::of(call, x, 13)? else { return Ok(vec![x]) };
    if call.is_constant(x) {
        return Ok(vec![axes.fold(call, x, &SUM)?]);
    }
    if let Some(sum) = branches(call, x, &axes)? {
        return Ok(vec![sum]);
    }
    Ok(vec![axes.sum(call, x)?])
}

/// The sum of a function of the elements, and a function of that sum.
fn of_function(
    call: &mut Call<'_>,
    operand_since: i64,
    before: fn(&mut Call<'_>, Value) -> Translated<Value>,
    root: bool,
) -> Translated {
    let x = call.operand(0)?;
    let Some(axes) = Axes::of(call, x, operand_since)? else { return Ok(vec![x]) };
    let x = before(call, x)?;
    let sum = axes.sum(call, x)?;
    Ok(vec![if root { call.unary(UnaryFn::Sqrt, sum)? } else { sum }])
}

fn square(call: &mut Call<'_>, x: Value) -> Translated<Value> {
    call.binary(BinaryFn::Mul, x, x)
}

pub(super) fn reduce_l2(call: &mut Call<'_>) -> Translated {
    of_function(call, 18, square, true)
}

pub(super) fn reduce_sum_square(call: &mut Call<'_>) -> Translated {
    of_function(call, 18, square, false)
}

pub(super) fn reduce_l1(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    if call.ty(x).elem != Elem::F32 {
        return Err(call.mismatch("floats", call.describe(x)));
    }
    if !call.is_constant(x) {
        return of_function(call, 18, |call, x| call.unary(UnaryFn::Abs, x), false);
    }
    folded(call, &Fold { before: f64::abs, ..SUM })
}
