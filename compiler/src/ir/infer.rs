//! Result types of float operations, and the shape rules of all operations.

use vitcod_isa::operands::autoencoder_bytes;

use super::layout::{BlockKeys, Csc, Mask, ProductParts};
use super::{Conversion, Elem, OPERATIONS, OpKind, TensorType, table_bytes};

/// The most heads that an operation combines: the largest value of an instruction's field.
const MAX_HEADS: usize = u16::MAX as usize;

/// The operands of an operation are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{mnemonic}: {message}")]
pub struct InferError {
    /// The operation.
    pub mnemonic: &'static str,
    /// What was found and what was expected.
    pub message: String,
}

/// Infers the type of the only result of an imported or canonical operation.
///
/// # Errors
/// The operands are invalid, or the operation is quantised: the step of its result cannot be
/// inferred.
pub(crate) fn infer(kind: &OpKind, operands: &[&TensorType]) -> Result<TensorType, InferError> {
    let fail = |message: String| InferError { mnemonic: kind.mnemonic(), message };
    if !kind.takes(operands.len()) {
        return Err(fail(operand_count(kind, operands.len())));
    }
    result_shape(kind, operands)
        .map(|shape| TensorType::new(result_elem(kind, operands), shape))
        .map_err(fail)
}

/// The message for an operation with the wrong number of operands.
pub(super) fn operand_count(kind: &OpKind, found: usize) -> String {
    let spec = OPERATIONS.iter().find(|spec| spec.mnemonic == kind.mnemonic());
    let expected = spec.map_or("others", |spec| spec.operands);
    format!("{found} operands, expected {expected}")
}

/// The element type of the only result of an imported or canonical operation.
pub(super) fn result_elem(kind: &OpKind, operands: &[&TensorType]) -> Elem {
    match kind {
        OpKind::Convert { to: Conversion::Float } => Elem::F32,
        OpKind::Convert { .. } | OpKind::TopIndices { .. } => Elem::I64,
        OpKind::Select {} => operands[1].elem,
        _ => operands[0].elem,
    }
}

/// The shape of an operation's first result, or why the operands are invalid. Their number must be
/// right.
pub(super) fn result_shape(kind: &OpKind, operands: &[&TensorType]) -> Result<Vec<usize>, String> {
    shape(kind, operands)
        .map_err(|message| if message.is_empty() { unsupported(operands) } else { message })
}

fn unsupported(operands: &[&TensorType]) -> String {
    let types: Vec<String> = operands.iter().map(|ty| ty.to_string()).collect();
    format!("invalid operands {}", types.join(", "))
}

/// Whether groups of channels, none of them empty, make up the columns of a matrix.
fn divides(channels: &[usize], matrix: &[usize]) -> bool {
    let sum = channels.iter().try_fold(0usize, |sum, group| sum.checked_add(*group));
    matrix.len() == 2 && sum == Some(matrix[1]) && !channels.contains(&0)
}

/// As [`result_shape`]. An empty message stands for [`unsupported`].
fn shape(kind: &OpKind, operands: &[&TensorType]) -> Result<Vec<usize>, String> {
    let x = &operands[0].shape;
    let expect = |holds: bool| if holds { Ok(()) } else { Err(String::new()) };
    match kind {
        OpKind::Unary { .. } | OpKind::Convert { .. } => Ok(x.clone()),
        OpKind::Table { channels, .. } => {
            expect(operands[1].shape == [channels.len(), 4] && divides(channels, x))?;
            Ok(x.clone())
        }
        OpKind::Select {} => {
            expect(operands[0].elem == Elem::I64 && operands[1].elem == operands[2].elem)?;
            broadcast(&broadcast(x, &operands[1].shape)?, &operands[2].shape)
        }
        OpKind::Binary { .. } => {
            expect(operands[0].elem == operands[1].elem)?;
            broadcast(x, &operands[1].shape)
        }
        OpKind::FakeQuantise { scale, zero_point, min, max } => {
            let quantises = scale.is_finite() && *scale > 0.0 && (min..=max).contains(&zero_point);
            if !quantises {
                return Err(format!(
                    "scale {scale} and zero point {zero_point} among {min} to {max} do not define a quantisation"
                ));
            }
            Ok(x.clone())
        }
        OpKind::MatMul {} => {
            let y = &operands[1].shape;
            expect(x.len() >= 2 && y.len() >= 2 && x[x.len() - 1] == y[y.len() - 2])?;
            let mut shape = broadcast(&x[..x.len() - 2], &y[..y.len() - 2])?;
            shape.extend([x[x.len() - 2], y[y.len() - 1]]);
            Ok(shape)
        }
        OpKind::Conv { stride, pad, dilation, group } => {
            let w = &operands[1].shape;
            expect(
                x.len() == 4
                    && w.len() == 4
                    && *group > 0
                    && w[0].is_multiple_of(*group)
                    && Some(x[1]) == w[1].checked_mul(*group),
            )?;
            expect(operands.get(2).is_none_or(|b| b.shape == [w[0]]))?;
            let reach = |axis: usize| {
                w[2 + axis].checked_sub(1)?.checked_mul(dilation[axis])?.checked_add(1)
            };
            let (Some(height), Some(width)) = (reach(0), reach(1)) else {
                return Err(String::new());
            };
            Ok(vec![
                x[0],
                w[0],
                windows(x[2], [pad[0], pad[2]], height, stride[0])?,
                windows(x[3], [pad[1], pad[3]], width, stride[1])?,
            ])
        }
        OpKind::Pixels { last } => {
            expect(x.len() == 4 && x[0] == 1)?;
            let (channels, map) = if *last { (x[3], &x[1..3]) } else { (x[1], &x[2..]) };
            expect(operands[1..].iter().all(|numbers| numbers.shape == [channels]))?;
            Ok(vec![count(map).ok_or_else(String::new)?, channels])
        }
        OpKind::Planes { map } => {
            expect(x.len() == 2 && (1..=2).contains(&map.len()) && count(map) == Some(x[0]))?;
            Ok([&[1, x[1]], &map[..]].concat())
        }
        OpKind::Patches { map, kernel, stride, pad } => {
            expect(x.len() == 2 && count(map) == Some(x[0]))?;
            let down = windows(map[0], [pad[0], pad[2]], kernel[0], stride[0])?;
            let across = windows(map[1], [pad[1], pad[3]], kernel[1], stride[1])?;
            let product = |extents: &[usize]| count(extents).ok_or_else(String::new);
            Ok(vec![product(&[down, across])?, product(&[kernel[0], kernel[1], x[1]])?])
        }
        OpKind::Reshape { shape } => {
            if count(shape) == Some(operands[0].elements()) {
                Ok(shape.clone())
            } else {
                Err(format!("{} does not have the elements of {shape:?}", operands[0]))
            }
        }
        OpKind::Transpose { perm } => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            expect(sorted.into_iter().eq(0..x.len()))?;
            Ok(perm.iter().map(|axis| x[*axis]).collect())
        }
        OpKind::Concat { axis } => {
            expect(*axis < x.len())?;
            let mut shape = x.clone();
            for ty in &operands[1..] {
                expect(
                    ty.rank() == x.len() && (0..x.len()).all(|i| i == *axis || ty.shape[i] == x[i]),
                )?;
                shape[*axis] = shape[*axis].checked_add(ty.shape[*axis]).ok_or_else(String::new)?;
            }
            Ok(shape)
        }
        OpKind::Slice { axis, start, len, stride } => {
            let last = len.checked_sub(1).and_then(|n| n.checked_mul(*stride)?.checked_add(*start));
            if *axis >= x.len() || *stride == 0 || last.is_none_or(|last| last >= x[*axis]) {
                return Err(format!(
                    "{len} from {start} by {stride} along axis {axis} leave {}",
                    operands[0]
                ));
            }
            let mut shape = x.clone();
            shape[*axis] = *len;
            Ok(shape)
        }
        OpKind::Gather { axis } => {
            expect(*axis < x.len() && operands[1].elem == Elem::I64)?;
            Ok([&x[..*axis], &operands[1].shape, &x[axis + 1..]].concat())
        }
        OpKind::GatherElements { axis } => {
            let indices = &operands[1].shape;
            let fits = |i: usize| i == *axis || indices[i] <= x[i];
            expect(*axis < x.len() && operands[1].elem == Elem::I64 && indices.len() == x.len())?;
            expect((0..x.len()).all(fits))?;
            Ok(indices.clone())
        }
        OpKind::TopIndices { axis, count, .. } => {
            expect(operands[0].elem == Elem::F32 && *axis < x.len() && *count <= x[*axis])?;
            let mut shape = x.clone();
            shape[*axis] = *count;
            Ok(shape)
        }
        OpKind::PickRows {} => {
            let rows = &operands[1].shape;
            expect(x.len() == 2 && rows.len() == 2 && operands[1].elem == Elem::I64)?;
            Ok(vec![rows[0], rows[1].checked_mul(x[1]).ok_or_else(String::new)?])
        }
        OpKind::Expand { shape } => {
            let result = broadcast(x, shape)?;
            expect(result == *shape)?;
            Ok(result)
        }
        OpKind::Pad { axis, before, after } => {
            expect(*axis < x.len())?;
            let mut shape = x.clone();
            let sum = before.checked_add(*after).and_then(|sum| sum.checked_add(x[*axis]));
            shape[*axis] = sum.ok_or_else(String::new)?;
            Ok(shape)
        }
        OpKind::ReduceMean { axes, keep } | OpKind::ReduceMax { axes, keep } => {
            expect(axes.is_sorted_by(|a, b| a < b) && axes.iter().all(|axis| *axis < x.len()))?;
            let kept = x.iter().enumerate().filter_map(|(i, extent)| match axes.contains(&i) {
                true => keep.then_some(1),
                false => Some(*extent),
            });
            Ok(kept.collect())
        }
        OpKind::Softmax { axis } => {
            expect(*axis < x.len())?;
            Ok(x.clone())
        }
        OpKind::LayerNorm { .. } => {
            let channels = x.last().copied().ok_or_else(String::new)?;
            expect(operands[1].shape == [channels] && operands[2].shape == [channels])?;
            Ok(x.clone())
        }
        OpKind::Linear {} => {
            let w = &operands[1].shape;
            expect(x.len() == 2 && w.len() == 2 && x[1] == w[1] && operands[2].shape == [w[0]])?;
            Ok(vec![x[0], w[0]])
        }
        OpKind::Embed {} => {
            let indices = &operands[1];
            expect(x.len() == 2 && indices.rank() == 1 && indices.elem == Elem::I64)?;
            Ok(vec![indices.shape[0], x[1]])
        }
        OpKind::QLinear {} => {
            let w = &operands[1].shape;
            expect(x.len() == 2 && w.len() == 2 && x[1] == w[1] && operands[2].shape == [w[0]])?;
            Ok(vec![x[0], w[0]])
        }
        OpKind::Attention { heads, windows, .. } => {
            let (k, v) = (&operands[1].shape, &operands[2].shape);
            let [all, m, n] = scores(x, k, *heads, *windows)?;
            expect(v.len() == 2 && k[0] == v[0] && v[1].is_multiple_of(*heads))?;
            let (bias, keys) = match operands[3..] {
                [.., keys] if keys.elem == Elem::I64 => {
                    (&operands[3..operands.len() - 1], Some(keys))
                }
                _ => (&operands[3..], None),
            };
            let fits =
                |bias: &&TensorType| bias.shape == [*heads, m, n] || bias.shape == [all, m, n];
            expect(bias.len() <= 1 && bias.iter().all(fits))?;
            expect(keys.is_none_or(|keys| *windows == 1 && keys.shape == [n]))?;
            Ok(vec![x[0], v[1]])
        }
        OpKind::MixHeads { heads_in, heads_out } => {
            let shape = mixed(x, *heads_in, *heads_out)?;
            expect(
                operands[1].shape == [*heads_out, *heads_in] && operands[2].shape == [*heads_out],
            )?;
            Ok(shape)
        }
        OpKind::Encode { heads_in, heads_out } | OpKind::Decode { heads_in, heads_out } => {
            let shape = mixed(x, *heads_in, *heads_out)?;
            expect(operands[1].shape == [autoencoder_bytes(*heads_in, *heads_out)])?;
            Ok(shape)
        }
        OpKind::QEmbed {} => {
            let rows = &operands[1].shape;
            expect(x.len() == 2 && rows.len() == 2 && rows[0] == 1)?;
            Ok(vec![rows[1], x[1]])
        }
        OpKind::QLayerNorm {} => {
            expect(x.len() == 2)?;
            Ok(x.clone())
        }
        OpKind::Lut { channels } => {
            let each = table_bytes(operands[0].elem);
            let bytes = channels.len().max(1).checked_mul(each).ok_or_else(String::new)?;
            let divided = x.len() == 2 && (channels.is_empty() || divides(channels, x));
            expect(divided && operands[1].shape == [bytes])?;
            Ok(x.clone())
        }
        OpKind::QAdd { .. } => {
            expect(x.len() == 2 && *x == operands[1].shape)?;
            Ok(x.clone())
        }
        OpKind::Sddmm { heads, windows, .. } => {
            let [all, m, n] = scores(x, &operands[1].shape, *heads, *windows)?;
            let kept = [all, m, Mask::row_bytes(n)];
            let fits = |term: &&TensorType| match term.elem {
                Elem::I16 => term.shape == [all, m, n] || term.shape == [*heads, m, n],
                _ => term.shape == kept || *windows == 1 && term.shape == kept[1..],
            };
            expect(operands[2..].iter().all(fits))?;
            Ok(vec![all, m, n])
        }
        OpKind::QSoftmax { .. } => {
            expect(x.len() == 3)?;
            Ok(x.clone())
        }
        OpKind::Spmm { windows, .. } => {
            let (sums, v) = (&operands[1].shape, &operands[2].shape);
            expect(
                x.len() == 3
                    && *sums == x[..2]
                    && v.len() == 2
                    && *windows > 0
                    && x[0].is_multiple_of(*windows),
            )?;
            expect(
                Some(v[0]) == x[2].checked_mul(*windows) && v[1].is_multiple_of(x[0] / windows),
            )?;
            Ok(vec![x[1].checked_mul(*windows).ok_or_else(String::new)?, v[1]])
        }
        OpKind::BlockSddmm { heads, .. } => {
            let (k, mask) = (&operands[1].shape, &operands[3].shape);
            expect(
                x.len() == 2
                    && k.len() == 2
                    && x[1] == k[1]
                    && *heads > 0
                    && x[1].is_multiple_of(*heads),
            )?;
            expect(mask.len() == 1)?;
            Ok(vec![block_cells(*heads, x[0], operands[2])?])
        }
        OpKind::CscSddmm { heads, .. } => {
            let k = &operands[1].shape;
            expect(
                x.len() == 2
                    && k.len() == 2
                    && x[1] == k[1]
                    && *heads > 0
                    && x[1].is_multiple_of(*heads),
            )?;
            Ok(vec![csc_entries(*heads, k[0], operands[2])?])
        }
        OpKind::BlockSoftmax { .. } => {
            let maxima = &operands[2].shape;
            expect(
                maxima.len() == 2 && operands.get(3).is_none_or(|other| other.shape == *maxima),
            )?;
            expect(*x == [block_cells(maxima[0], maxima[1], operands[1])?])?;
            Ok(x.clone())
        }
        OpKind::CscSoftmax { .. } => {
            let (csc, maxima) = (&operands[1].shape, &operands[2].shape);
            expect(x.len() == 1 && csc.len() == 1 && maxima.len() == 2)?;
            expect(operands.get(3).is_none_or(|other| other.shape == *maxima))?;
            expect(Csc::keys_in(maxima[0], x[0], csc[0]).is_some())?;
            Ok(x.clone())
        }
        OpKind::SplitSpmm { heads, block, csc, .. } => {
            let parts = ProductParts::of(*block, *csc);
            expect(operands.len() == 1 + 3 * parts.iter().count())?;
            expect(x.len() == 2 && *heads > 0 && x[1].is_multiple_of(*heads))?;
            let sums = parts.iter().next().map_or(&[][..], |part| &operands[part.sums].shape);
            expect(
                sums.len() == 2
                    && sums[0] == *heads
                    && parts.iter().all(|part| operands[part.sums].shape == sums),
            )?;
            if let Some(part) = parts.block {
                expect(
                    operands[part.probs].shape
                        == [block_cells(*heads, sums[1], operands[part.pattern])?],
                )?;
            }
            if let Some(part) = parts.csc {
                expect(
                    operands[part.probs].shape
                        == [csc_entries(*heads, x[0], operands[part.pattern])?],
                )?;
            }
            Ok(vec![sums[1], x[1]])
        }
    }
}

/// The shape of the scores of queries `q` and keys `k`: heads of all attention windows, then
/// queries and keys of one window.
fn scores(q: &[usize], k: &[usize], heads: usize, windows: usize) -> Result<[usize; 3], String> {
    match (q, k) {
        ([m, c], [n, d])
            if c == d
                && heads > 0
                && c.is_multiple_of(heads)
                && windows > 0
                && m.is_multiple_of(windows)
                && n.is_multiple_of(windows) =>
        {
            Ok([windows.checked_mul(heads).ok_or_else(String::new)?, m / windows, n / windows])
        }
        _ => Err(String::new()),
    }
}

/// Cells of the dense blocks of heads with `queries` queries.
fn block_cells(heads: usize, queries: usize, keys: &TensorType) -> Result<usize, String> {
    let [bytes] = keys.shape[..] else { return Err(String::new()) };
    BlockKeys::columns_in(heads, bytes)
        .and_then(|columns| columns.checked_mul(queries))
        .ok_or_else(String::new)
}

/// Entries of a sparse pattern of heads with `keys` keys.
fn csc_entries(heads: usize, keys: usize, csc: &TensorType) -> Result<usize, String> {
    let [bytes] = csc.shape[..] else { return Err(String::new()) };
    Csc::nonzeros_in(heads, keys, bytes).ok_or_else(String::new)
}

/// The shape after `mix_heads` of `x` from `heads_in` to `heads_out` heads.
fn mixed(x: &[usize], heads_in: usize, heads_out: usize) -> Result<Vec<usize>, String> {
    for heads in [heads_in, heads_out] {
        if !(1..=MAX_HEADS).contains(&heads) {
            return Err(format!("{heads} heads; 1 to {MAX_HEADS} can be combined"));
        }
    }
    match x {
        [m, columns] if columns.is_multiple_of(heads_in) => {
            Ok(vec![*m, (columns / heads_in).checked_mul(heads_out).ok_or_else(String::new)?])
        }
        _ => Err(String::new()),
    }
}

/// The common shape to which both broadcast.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], i: usize| {
        if i + shape.len() < rank { 1 } else { shape[i + shape.len() - rank] }
    };
    (0..rank)
        .map(|i| match (extent(a, i), extent(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, other) | (other, 1) => Ok(other),
            _ => Err(format!("{a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// Positions of a window in a padded extent.
fn windows(extent: usize, pad: [usize; 2], window: usize, stride: usize) -> Result<usize, String> {
    let padded = extent.checked_add(pad[0]).and_then(|padded| padded.checked_add(pad[1]));
    match padded.and_then(|padded| padded.checked_sub(window)) {
        Some(room) if stride > 0 && window > 0 => Ok(room / stride + 1),
        _ => {
            Err(format!("a window of {window}, step {stride}, exceeds {extent} padded by {pad:?}"))
        }
    }
}

/// Number of elements of a shape, `None` on overflow.
pub fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent))
}
