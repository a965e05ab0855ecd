//! Elements of constants, computed at compile time.

use bytes::Bytes;

use super::view::{Axis, View, Walk};
use crate::passes::error::Unsupported;

/// Checks that a constant of this shape fits the remaining budget, and returns its number of
/// elements. A shape is only numbers in the file: a small file may state a huge one.
pub(super) fn check_size(extents: &[usize], left: usize) -> Result<usize, Unsupported> {
    crate::ir::infer::count(extents).filter(|count| *count <= left).ok_or_else(|| {
        let expected = format!("at most {left}, the remaining budget of this model");
        Unsupported::new(format!("a constant of {extents:?} elements"), expected)
    })
}

/// The elements of float data.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x))
}

/// Bytes of float elements.
pub(super) fn data(elements: impl IntoIterator<Item = f32>) -> Bytes {
    elements.into_iter().map(f32::to_le_bytes).collect::<Vec<[u8; 4]>>().into_flattened().into()
}

/// Transposes a matrix of 4-byte elements.
pub(super) fn transpose(bytes: &[u8], rows: usize, columns: usize) -> Bytes {
    /// Rows and columns of a square tile that fits the cache.
    const TILE: usize = 32;
    let elements: &[[u8; 4]] = bytes.as_chunks().0;
    let mut transposed = vec![[0; 4]; elements.len()];
    for row in (0..rows).step_by(TILE) {
        for column in (0..columns).step_by(TILE) {
            for r in row..rows.min(row + TILE) {
                for c in column..columns.min(column + TILE) {
                    transposed[c * rows + r] = elements[r * columns + c];
                }
            }
        }
    }
    Bytes::from(transposed.into_flattened())
}

/// `elements` of `shape` broadcast to `target` as in NumPy; `None` where they do not broadcast.
pub(super) fn broadcast(elements: &[f32], shape: &[usize], target: &[usize]) -> Option<Vec<f32>> {
    let strides = strides(shape, target)?;
    let offsets =
        target.iter().zip(strides).fold(vec![0], |outer: Vec<usize>, (extent, stride)| {
            outer.iter().flat_map(|offset| (0..*extent).map(move |i| offset + i * stride)).collect()
        });
    Some(offsets.into_iter().map(|offset| elements[offset]).collect())
}

/// The stride of a tensor of `shape` in each dimension of `target`; 0 where it is repeated.
fn strides(shape: &[usize], target: &[usize]) -> Option<Vec<usize>> {
    let missing = target.len().checked_sub(shape.len())?;
    let mut strides = vec![0; target.len()];
    let mut stride = 1;
    for d in (0..shape.len()).rev() {
        if shape[d] == target[missing + d] {
            strides[missing + d] = stride;
        } else if shape[d] != 1 {
            return None;
        }
        stride *= shape[d];
    }
    Some(strides)
}

/// A constant as an operand of elementwise operations on the matrix of a view.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PerElement {
    /// One number for each column.
    Columns(Vec<f32>),
    /// One number for each element.
    Matrix(Vec<f32>),
}

impl PerElement {
    /// Broadcasts a constant to the shape of a view that covers its matrix. `left` is the remaining
    /// budget in elements.
    pub(super) fn of(
        elements: &[f32],
        shape: &[usize],
        view: &View,
        left: usize,
    ) -> Result<PerElement, Unsupported> {
        let target = view.shape();
        let strides = strides(shape, &target).ok_or_else(|| {
            Unsupported::new(
                format!("a constant {shape:?}"),
                format!("one that broadcasts to {target:?}"),
            )
        })?;
        let mut rows = Vec::new();
        let mut columns = Vec::new();
        for (dim, stride) in view.dims.iter().zip(strides) {
            let mut stride = stride;
            for walk in dim.iter().rev() {
                let list = if walk.axis == Axis::Row { &mut rows } else { &mut columns };
                list.push((*walk, stride));
                stride *= walk.extent;
            }
        }
        let per_row = rows.iter().any(|(_, stride)| *stride != 0);
        if !per_row {
            rows.clear();
        }
        check_size(
            &rows.iter().chain(&columns).map(|(walk, _)| walk.extent).collect::<Vec<_>>(),
            left,
        )?;
        let (rows, columns) = (pairs(&rows), pairs(&columns));
        let width = columns.len();
        let mut result = vec![0.0; rows.len() * width];
        for (row, row_offset) in rows {
            for (column, offset) in &columns {
                result[row * width + column] = elements[row_offset + offset];
            }
        }
        Ok(if per_row { PerElement::Matrix(result) } else { PerElement::Columns(result) })
    }

    /// Applies `f` to every number.
    pub(super) fn map(self, f: impl Fn(f32) -> f32) -> PerElement {
        let apply = |numbers: Vec<f32>| numbers.into_iter().map(&f).collect();
        match self {
            PerElement::Columns(numbers) => PerElement::Columns(apply(numbers)),
            PerElement::Matrix(numbers) => PerElement::Matrix(apply(numbers)),
        }
    }

    /// The part for some rows of a matrix with `columns` columns.
    pub(super) fn rows(&self, start: usize, len: usize, columns: usize) -> PerElement {
        match self {
            PerElement::Columns(_) => self.clone(),
            PerElement::Matrix(numbers) => {
                PerElement::Matrix(numbers[start * columns..(start + len) * columns].to_vec())
            }
        }
    }

    /// The number for an element, given by its row-major index.
    pub(super) fn at(&self, index: usize) -> f32 {
        match self {
            PerElement::Columns(numbers) => numbers[index % numbers.len()],
            PerElement::Matrix(numbers) => numbers[index],
        }
    }

    /// How many numbers are stored.
    pub(super) fn len(&self) -> usize {
        match self {
            PerElement::Columns(numbers) | PerElement::Matrix(numbers) => numbers.len(),
        }
    }

    /// Whether every number is zero.
    pub(super) fn is_zero(&self) -> bool {
        match self {
            PerElement::Columns(numbers) | PerElement::Matrix(numbers) => {
                numbers.iter().all(|x| *x == 0.0)
            }
        }
    }
}

/// For every combination of steps, the row or column of the matrix and the offset into the
/// constant.
fn pairs(list: &[(Walk, usize)]) -> Vec<(usize, usize)> {
    list.iter().fold(vec![(0, 0)], |outer, (walk, stride)| {
        outer
            .iter()
            .flat_map(|(place, offset)| {
                (0..walk.extent).map(move |i| (place + i * walk.stride, offset + i * stride))
            })
            .collect()
    })
}
