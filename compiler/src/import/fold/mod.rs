//! Operations on constants, computed at compile time, and bounds on what may be computed.
//!
//! Operations that move elements work on the bytes of any element type; arithmetic on integers is here; arithmetic on
//! floats is the float interpreter's.

mod integers;
mod moves;

use bytes::Bytes;

use super::MAX_RANK;
use super::error::Fault;
use crate::interp::{FloatInterpreter, InterpError};
use crate::ir::{Elem, Graph, MAX_ACTIVATION_BYTES, OpKind, Stage, TensorType, Value, infer};
use crate::onnx::{Model, Tensor};

/// How many elements and multiplications may still be computed at compile time.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// Whatever the size of a model: ten times the largest weight of ViT-Huge.
    const BASE: usize = 1 << 26;

    /// For each element of a parameter: to convert it, transpose it and scale it.
    const PER_ELEMENT: usize = 3;

    /// The budget for a model.
    pub(super) fn of(model: &Model) -> Budget {
        let parameters: usize = model.graph.initializers.values().map(Tensor::elements).sum();
        Budget(parameters.saturating_mul(Budget::PER_ELEMENT).saturating_add(Budget::BASE))
    }

    pub(super) fn charge(&mut self, elements: usize) -> Result<(), Fault> {
        match self.0.checked_sub(elements) {
            Some(rest) => {
                self.0 = rest;
                Ok(())
            }
            None => Err(Fault::mismatch(
                "less to compute at compile time",
                format!("{elements} elements where {} are left of what is allowed for this model", self.0),
            )),
        }
    }
}

/// The number of elements of a shape that is small enough for extents to be added and multiplied.
pub(super) fn count(shape: &[usize]) -> Result<usize, Fault> {
    let too_large = || {
        let shown = &shape[..shape.len().min(MAX_RANK)];
        Fault::mismatch(format!("at most {MAX_RANK} dimensions and 2^40 elements"), format!("{shown:?}"))
    };
    // Empty tensors must not hide extents that overflow elsewhere.
    let extents = shape.iter().try_fold(1usize, |product, extent| product.checked_mul((*extent).max(1)));
    if shape.len() > MAX_RANK || extents.is_none_or(|extents| extents > 1 << 40) {
        return Err(too_large());
    }
    Ok(shape.iter().product())
}

/// Checks the shape of a tensor that the model computes.
pub(super) fn check_activation(shape: &[usize]) -> Result<(), Fault> {
    match count(shape)? {
        0 => Err(Fault::mismatch("extents of at least 1 in what is computed", format!("{shape:?}"))),
        elements if elements > MAX_ACTIVATION_BYTES / Elem::F32.bytes() => Err(Fault::mismatch(
            format!("tensors of at most {MAX_ACTIVATION_BYTES} bytes"),
            TensorType::f32(shape).to_string(),
        )),
        _ => Ok(()),
    }
}

/// Checks that a shape has so many elements.
pub(super) fn check_count(shape: &[usize], elements: usize) -> Result<(), Fault> {
    match count(shape)? {
        found if found == elements => Ok(()),
        _ => Err(Fault::mismatch(format!("a shape of {elements} elements"), format!("{shape:?}"))),
    }
}

/// The type of an operation's result.
pub(super) fn result_type(graph: &Graph, kind: &OpKind, operands: &[Value]) -> Result<TensorType, Fault> {
    let types: Vec<&TensorType> = operands.iter().map(|operand| graph.ty(*operand)).collect();
    let ty = infer::infer(kind, &types)?;
    count(&ty.shape)?;
    Ok(ty)
}

/// The elements of an operation's result, of type `ty`, where all operands are constants.
pub(super) fn evaluate(
    graph: &Graph,
    budget: &mut Budget,
    kind: &OpKind,
    operands: &[Value],
    ty: &TensorType,
) -> Result<Bytes, Fault> {
    if let OpKind::Reshape { .. } = kind {
        return Ok(elements(graph, operands[0]).clone());
    }
    budget.charge(ty.elements())?;
    let types: Vec<&TensorType> = operands.iter().map(|operand| graph.ty(*operand)).collect();
    let mixed = || {
        let types: Vec<String> = types.iter().map(ToString::to_string).collect();
        Fault::mismatch("operands of one element type", types.join(", "))
    };
    match kind {
        OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::Expand { .. }
        | OpKind::Concat { .. }
        | OpKind::Gather { .. } => {
            let moved = if let OpKind::Gather { .. } = kind { &types[..1] } else { &types[..] };
            if moved.iter().any(|moved| moved.elem != ty.elem) {
                return Err(mixed());
            }
            let parts: Vec<(&[usize], &[u8])> =
                operands.iter().map(|x| (&graph.ty(*x).shape[..], &elements(graph, *x)[..])).collect();
            Ok(moves::evaluate(kind, ty, &parts))
        }
        _ if ty.elements() == 0 => Ok(Bytes::new()),
        _ if types.iter().any(|x| x.elements() == 0) => Err(Fault::mismatch("operands with elements", "none")),
        _ if types.iter().any(|x| x.elem != ty.elem) => Err(mixed()),
        _ if ty.elem == Elem::I64 => integers::evaluate(graph, kind, operands, ty),
        _ => floats(graph, budget, kind, operands, ty),
    }
}

/// The bytes of a constant.
fn elements(graph: &Graph, value: Value) -> &Bytes {
    &graph.constant(value).expect("folded operations have constant operands").bytes
}

/// The result of an operation on floats, by a graph that is nothing else.
fn floats(
    graph: &Graph,
    budget: &mut Budget,
    kind: &OpKind,
    operands: &[Value],
    ty: &TensorType,
) -> Result<Bytes, Fault> {
    // What the result takes beyond one step for each of its elements.
    let first = graph.ty(operands[0]);
    let steps = match kind {
        OpKind::MatMul {} => ty.elements().saturating_mul(first.shape[first.rank() - 1]),
        OpKind::Conv { .. } => ty.elements().saturating_mul(graph.ty(operands[1]).shape[1..].iter().product()),
        _ => operands.iter().map(|operand| graph.ty(*operand).elements()).sum(),
    };
    budget.charge(steps)?;
    let mut single = Graph::new("", Stage::Imported);
    let copies: Vec<Value> = operands
        .iter()
        .map(|operand| single.add_const("", graph.ty(*operand).clone(), elements(graph, *operand).clone()))
        .collect();
    let failed = |error: InterpError| Fault::mismatch("an operation on constants", error.to_string());
    let result = single.push(kind.clone(), &copies, &[])?;
    single.add_output("", result, ty.shape.clone());
    let interpreter = FloatInterpreter::new(&single).map_err(failed)?;
    let tensors = interpreter.run(&[]).map_err(failed)?;
    Ok(f32_bytes(tensors.into_iter().flatten()))
}

/// The bytes of floats.
pub(super) fn f32_bytes(elements: impl IntoIterator<Item = f32>) -> Bytes {
    elements.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into()
}

/// The bytes of integers.
pub(super) fn i64_bytes(elements: impl IntoIterator<Item = i64>) -> Bytes {
    elements.into_iter().flat_map(i64::to_le_bytes).collect::<Vec<u8>>().into()
}
