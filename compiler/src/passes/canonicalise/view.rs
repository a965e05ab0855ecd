//! Tensors of any rank as views of matrices.
//!
//! However an exporter reshapes, transposes, slices and gathers between two computations, each
//! element of the tensor lies at one position of a matrix of tokens x channels, and each dimension
//! walks its rows or columns regularly. A [`View`] describes these walks, so that such a chain
//! needs no operations: the matrix is derived from the view when a computation needs it.

use crate::ir::Value;

/// What a step along a dimension moves along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Rows: tokens.
    Row,
    /// Columns: channels.
    Column,
}

/// A regular walk: `extent` positions, `stride` rows or columns apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) axis: Axis,
    pub(super) extent: usize,
    pub(super) stride: usize,
}

/// A tensor whose elements are elements of a matrix.
///
/// Dimension `d` is a list of walks, outermost first: its index, in mixed radix over their extents,
/// states the position in each. The form is canonical: each walk has at least two positions, and
/// adjacent walks that one walk can express are merged. Dimensions of extent 1 are empty lists, and
/// equal layouts have equal lists.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// The matrix, in the canonical graph.
    pub(super) matrix: Value,
    /// Row of the first element.
    pub(super) row: usize,
    /// Column of the first element.
    pub(super) column: usize,
    /// The dimensions, outermost first.
    pub(super) dims: Vec<Vec<Walk>>,
    /// The tensor is the matrix elements multiplied by this factor.
    pub(super) factor: f64,
    /// The int8 step at which the model itself quantises the tensor.
    pub(super) step: Option<f64>,
}

impl View {
    /// The matrix as a tensor of this shape in row-major order. The first `split` dimensions walk
    /// its rows, the others its columns.
    pub(super) fn row_major(matrix: Value, shape: &[usize], split: usize) -> View {
        let dims = (0..shape.len())
            .map(|d| {
                let (axis, inner) = if d < split {
                    (Axis::Row, &shape[d + 1..split])
                } else {
                    (Axis::Column, &shape[d + 1..])
                };
                walks([Walk { axis, extent: shape[d], stride: inner.iter().product() }])
            })
            .collect();
        View { matrix, row: 0, column: 0, dims, factor: 1.0, step: None }
    }

    /// The tensor multiplied by a number.
    pub(super) fn times(&self, factor: f64) -> View {
        View {
            factor: self.factor * factor,
            step: self.step.map(|step| step * factor.abs()),
            ..self.clone()
        }
    }

    /// The tensor without its factor.
    pub(super) fn unscaled(&self) -> View {
        View { factor: 1.0, ..self.times(1.0 / self.factor) }
    }

    /// The tensor with permuted dimensions.
    pub(super) fn transposed(&self, perm: &[usize]) -> View {
        View { dims: perm.iter().map(|d| self.dims[*d].clone()).collect(), ..self.clone() }
    }

    /// The tensor with another shape of as many elements; `None` if a dimension would divide a walk
    /// unevenly.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Option<View> {
        let mut rest = walks(self.dims.iter().flatten().copied());
        rest.reverse();
        let mut dims = Vec::with_capacity(shape.len());
        for extent in shape {
            let mut need = *extent;
            let mut dim = Vec::new();
            while need > 1 {
                let walk = rest.pop()?;
                if need.is_multiple_of(walk.extent) {
                    need /= walk.extent;
                    dim.push(walk);
                } else if walk.extent.is_multiple_of(need) {
                    let inner = walk.extent / need;
                    dim.push(Walk { extent: need, stride: walk.stride * inner, ..walk });
                    rest.push(Walk { extent: inner, ..walk });
                    need = 1;
                } else {
                    return None;
                }
            }
            dims.push(walks(dim));
        }
        rest.is_empty().then(|| View { dims, ..self.clone() })
    }

    /// `len` positions along a dimension, `stride` apart, beginning at `start`; `None` if they are
    /// not a regular walk. They must lie within the dimension.
    pub(super) fn sliced(
        &self,
        dim: usize,
        start: usize,
        len: usize,
        stride: usize,
    ) -> Option<View> {
        let mut view = self.clone();
        let mut outer = Vec::new();
        let mut inner = view.dims[dim].clone();
        let (mut start, mut len) = (start, len);
        while inner.len() > 1 {
            let walk = inner.remove(0);
            let block: usize = inner.iter().map(|walk| walk.extent).product();
            let last = start + (len - 1) * stride;
            if start / block == last / block {
                view.move_by(walk.axis, start / block * walk.stride);
                start %= block;
            } else if stride == 1 && start.is_multiple_of(block) && len.is_multiple_of(block) {
                view.move_by(walk.axis, start / block * walk.stride);
                outer.push(Walk { extent: len / block, ..walk });
                (start, len) = (0, block);
            } else {
                return None;
            }
        }
        if let [walk] = inner[..] {
            view.move_by(walk.axis, start * walk.stride);
            outer.push(Walk { extent: len, stride: walk.stride * stride, ..walk });
        }
        view.dims[dim] = walks(outer);
        Some(view)
    }

    fn move_by(&mut self, axis: Axis, distance: usize) {
        match axis {
            Axis::Row => self.row += distance,
            Axis::Column => self.column += distance,
        }
    }

    /// Extents of the dimensions.
    pub(super) fn shape(&self) -> Vec<usize> {
        self.dims.iter().map(|dim| dim.iter().map(|walk| walk.extent).product()).collect()
    }

    /// The walks of all dimensions in the order of the tensor, along rows and along columns.
    pub(super) fn split(&self) -> [Vec<Walk>; 2] {
        [Axis::Row, Axis::Column]
            .map(|axis| walks(self.dims.iter().flatten().filter(|walk| walk.axis == axis).copied()))
    }

    /// As [`View::split`], but in the order of the matrix.
    pub(super) fn sorted(&self) -> [Vec<Walk>; 2] {
        self.split().map(|mut list| {
            list.sort_by_key(|walk| std::cmp::Reverse(walk.stride));
            walks(list)
        })
    }
}

/// Normalises a list of walks to the canonical form of [`View`].
pub(super) fn walks(list: impl IntoIterator<Item = Walk>) -> Vec<Walk> {
    let mut merged: Vec<Walk> = Vec::new();
    for walk in list.into_iter().filter(|walk| walk.extent != 1) {
        match merged.last_mut() {
            Some(outer) if outer.axis == walk.axis && outer.stride == walk.extent * walk.stride => {
                *outer = Walk { extent: outer.extent * walk.extent, ..walk };
            }
            _ => merged.push(walk),
        }
    }
    merged
}

/// The positions that nested walks visit, beginning at `first`.
pub(super) fn places(first: usize, list: &[Walk]) -> Vec<usize> {
    list.iter().fold(vec![first], |outer, walk| {
        outer
            .iter()
            .flat_map(|place| (0..walk.extent).map(move |i| place + i * walk.stride))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use cranelift_entity::EntityRef as _;
    use proptest::prelude::*;

    use super::*;

    /// Row and column of each element of a view, in row-major order.
    fn elements(view: &View) -> Vec<(usize, usize)> {
        view.dims.iter().flatten().fold(vec![(view.row, view.column)], |outer, walk| {
            let step = |(row, column): (usize, usize), i: usize| match walk.axis {
                Axis::Row => (row + i * walk.stride, column),
                Axis::Column => (row, column + i * walk.stride),
            };
            outer
                .into_iter()
                .flat_map(|place| (0..walk.extent).map(move |i| step(place, i)))
                .collect()
        })
    }

    /// A tensor element by element: its shape, and the position of each element.
    struct Explicit {
        shape: Vec<usize>,
        elements: Vec<(usize, usize)>,
    }

    impl Explicit {
        /// The elements at these indices of the old tensor.
        fn picked(
            &self,
            shape: Vec<usize>,
            old_index: impl Fn(&[usize]) -> Vec<usize>,
        ) -> Explicit {
            let count: usize = shape.iter().product();
            let elements = (0..count)
                .map(|flat| {
                    let mut rest = flat;
                    let mut index: Vec<usize> = shape
                        .iter()
                        .rev()
                        .map(|extent| (rest % extent, rest /= extent).0)
                        .collect();
                    index.reverse();
                    let old = old_index(&index)
                        .iter()
                        .zip(&self.shape)
                        .fold(0, |flat, (i, extent)| flat * extent + i);
                    self.elements[old]
                })
                .collect();
            Explicit { shape, elements }
        }
    }

    /// All shapes with as many elements that merge or split adjacent dimensions of `shape`.
    fn reshapes(shape: &[usize]) -> Vec<Vec<usize>> {
        let mut shapes = Vec::new();
        for d in 0..shape.len() {
            for divisor in (1..=shape[d]).filter(|divisor| shape[d].is_multiple_of(*divisor)) {
                let mut split = shape.to_vec();
                split.splice(d..=d, [shape[d] / divisor, divisor]);
                shapes.push(split);
            }
            if d > 0 {
                let mut merged = shape.to_vec();
                merged.splice(d - 1..=d, [shape[d - 1] * shape[d]]);
                shapes.push(merged);
            }
        }
        shapes
    }

    proptest! {
        #[test]
        fn views_follow_every_chain(
            rows in 1usize..9, columns in 1usize..13, steps in prop::collection::vec((0u8..4, any::<u32>(), any::<u32>()), 1..10)
        ) {
            let mut view = View::row_major(Value::new(0), &[rows, columns], 1);
            let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).collect();
            let mut explicit = Explicit { shape: vec![rows, columns], elements: places };
            for (step, a, b) in steps {
                let (a, b) = (a as usize, b as usize);
                let rank = explicit.shape.len();
                let (next, expected) = match step {
                    0 => {
                        let mut perm: Vec<usize> = (0..rank).collect();
                        perm.swap(a % rank, b % rank);
                        let shape = perm.iter().map(|d| explicit.shape[*d]).collect();
                        // A swap is its own inverse.
                        let picked = explicit.picked(shape, |index| perm.iter().map(|d| index[*d]).collect());
                        (Some(view.transposed(&perm)), picked)
                    }
                    1 => {
                        let d = a % rank;
                        let extent = explicit.shape[d];
                        let start = b % extent;
                        let stride = 1 + b / extent % 2;
                        let len = 1 + (a / rank) % (extent - start).div_ceil(stride);
                        let mut shape = explicit.shape.clone();
                        shape[d] = len;
                        let picked = explicit.picked(shape, |index| {
                            let mut index = index.to_vec();
                            index[d] = start + index[d] * stride;
                            index
                        });
                        (view.sliced(d, start, len, stride), picked)
                    }
                    _ if rank < 6 => {
                        let shapes = reshapes(&explicit.shape);
                        let shape = shapes[a % shapes.len()].clone();
                        let elements = explicit.elements.clone();
                        (view.reshaped(&shape), Explicit { shape, elements })
                    }
                    _ => continue,
                };
                // There is no view if a walk would be divided unevenly.
                let Some(next) = next else { continue };
                prop_assert_eq!(next.shape(), &expected.shape[..]);
                prop_assert_eq!(elements(&next), &expected.elements[..]);
                (view, explicit) = (next, expected);
            }
        }
    }

    #[test]
    fn heads_merge_into_channels_again() {
        let tokens = View::row_major(Value::new(0), &[1, 5, 6], 2);
        let heads = tokens.reshaped(&[1, 5, 2, 3]).unwrap().transposed(&[0, 2, 1, 3]);
        assert_eq!(heads.shape(), [1, 2, 5, 3]);
        assert_eq!(heads.reshaped(&[2, 15]).unwrap().reshaped(&[1, 2, 5, 3]).unwrap(), heads);
        assert_eq!(heads.transposed(&[0, 2, 1, 3]).reshaped(&[1, 5, 6]).unwrap(), tokens);
        assert_eq!(heads.reshaped(&[3, 10]), None);
    }
}
