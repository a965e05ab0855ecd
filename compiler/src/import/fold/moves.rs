//! Evaluates operations that move elements, on bytes.

use bytes::Bytes;

use crate::ir::{OpKind, TensorType};

/// Evaluates an operation on constants, given as shapes and bytes; `ty` is the type of the result.
/// The indices of a gather must be in range.
pub(super) fn evaluate(kind: &OpKind, ty: &TensorType, operands: &[(&[usize], &[u8])]) -> Bytes {
    let width = ty.elem.bytes();
    if ty.elements() == 0 {
        return Bytes::new();
    }
    let (shape, bytes) = operands[0];
    let strides = strides(shape);
    match kind {
        OpKind::Transpose { perm } => {
            let strides: Vec<usize> = perm.iter().map(|axis| strides[*axis]).collect();
            pick(bytes, width, 0, &ty.shape, &strides)
        }
        OpKind::Slice { axis, start, stride, .. } => {
            let offset = start * strides[*axis];
            let mut strides = strides;
            strides[*axis] *= stride;
            pick(bytes, width, offset, &ty.shape, &strides)
        }
        OpKind::Expand { .. } => {
            let missing = ty.rank() - shape.len();
            let repeated = |i: usize| i < missing || shape[i - missing] == 1;
            let strides: Vec<usize> = (0..ty.rank())
                .map(|i| if repeated(i) { 0 } else { strides[i - missing] })
                .collect();
            pick(bytes, width, 0, &ty.shape, &strides)
        }
        OpKind::Concat { axis } => {
            let outer: usize = ty.shape[..*axis].iter().product();
            let mut joined = Vec::with_capacity(ty.bytes());
            for i in 0..outer {
                for (_, part) in operands {
                    let block = part.len() / outer;
                    joined.extend_from_slice(&part[i * block..(i + 1) * block]);
                }
            }
            joined.into()
        }
        OpKind::Gather { axis } => {
            let outer: usize = shape[..*axis].iter().product();
            let block = strides[*axis] * width;
            let mut picked = Vec::with_capacity(ty.bytes());
            for i in 0..outer {
                for index in operands[1].1.as_chunks().0 {
                    let start = (i * shape[*axis] + i64::from_le_bytes(*index) as usize) * block;
                    picked.extend_from_slice(&bytes[start..start + block]);
                }
            }
            picked.into()
        }
        _ => unreachable!("only operations that move elements are evaluated here"),
    }
}

/// Strides of a contiguous tensor, in elements.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Selects elements of `width` bytes, beginning at `offset`, with `strides` between neighbours of
/// each axis, in the order of `shape`, which has no extent 0.
fn pick(bytes: &[u8], width: usize, offset: usize, shape: &[usize], strides: &[usize]) -> Bytes {
    match width {
        4 => pick_chunks::<4>(bytes, offset, shape, strides),
        8 => pick_chunks::<8>(bytes, offset, shape, strides),
        _ => unreachable!("constants of an imported graph are f32 or i64"),
    }
}

fn pick_chunks<const N: usize>(
    bytes: &[u8],
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Bytes {
    let source: &[[u8; N]] = bytes.as_chunks().0;
    let mut picked = Vec::with_capacity(shape.iter().product());
    let (inner, inner_stride) =
        (shape.last().copied().unwrap_or(1), strides.last().copied().unwrap_or(0));
    let outer = shape.len().saturating_sub(1);
    let mut place = vec![0; outer];
    let mut start = offset;
    loop {
        picked.extend((0..inner).map(|i| source[start + i * inner_stride]));
        // Advance to the next row: increment the last outer axis that is not at its end.
        let Some(axis) = (0..outer).rev().find(|axis| place[*axis] + 1 < shape[*axis]) else {
            break;
        };
        place[axis] += 1;
        start += strides[axis];
        for reset in axis + 1..outer {
            start -= place[reset] * strides[reset];
            place[reset] = 0;
        }
    }
    picked.into_flattened().into()
}
