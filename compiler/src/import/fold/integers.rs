//! Arithmetic on integers.

use bytes::Bytes;

use super::{Fault, elements, i64_bytes, moves};
use crate::ir::{BinaryFn, Graph, OpKind, TensorType, UnaryFn, Value};

/// Evaluates an operation on integer constants. Arithmetic wraps, as in ONNX Runtime.
pub(super) fn evaluate(
    graph: &Graph,
    kind: &OpKind,
    operands: &[Value],
    ty: &TensorType,
) -> Result<Bytes, Fault> {
    let not_folded =
        || Fault::mismatch("float operands", format!("{} of integers", kind.mnemonic()));
    match kind {
        OpKind::Unary { f: UnaryFn::Neg } => {
            Ok(i64_bytes(broadcast(graph, operands[0], ty).map(i64::wrapping_neg)))
        }
        OpKind::Binary { f } => {
            let [a, b] = [operands[0], operands[1]].map(|operand| broadcast(graph, operand, ty));
            let results = a.zip(b).map(|(a, b)| match f {
                BinaryFn::Add => Ok(a.wrapping_add(b)),
                BinaryFn::Sub => Ok(a.wrapping_sub(b)),
                BinaryFn::Mul => Ok(a.wrapping_mul(b)),
                BinaryFn::Div if b == 0 => Err(Fault::mismatch("divisors other than 0", "0")),
                BinaryFn::Div => Ok(a.wrapping_div(b)),
                BinaryFn::Max => Ok(a.max(b)),
                BinaryFn::Min => Ok(a.min(b)),
                BinaryFn::Pow => u32::try_from(b).map(|b| a.wrapping_pow(b)).map_err(|_| {
                    Fault::mismatch("exponents of integers from 0 to 2^32 - 1", b.to_string())
                }),
            });
            Ok(i64_bytes(results.collect::<Result<Vec<i64>, Fault>>()?))
        }
        _ => Err(not_folded()),
    }
}

/// The elements of a constant broadcast to the shape of a type.
fn broadcast(graph: &Graph, value: Value, ty: &TensorType) -> impl Iterator<Item = i64> {
    let shape = &graph.ty(value).shape;
    let bytes = match *shape == ty.shape {
        true => elements(graph, value).clone(),
        false => moves::evaluate(
            &OpKind::Expand { shape: ty.shape.clone() },
            ty,
            &[(shape, elements(graph, value))],
        ),
    };
    (0..ty.elements())
        .map(move |i| i64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * i + byte])))
}
