//! Evaluates operations on constants at compile time, within a budget.
//!
//! Operations that move elements work on the bytes of any element type; integer arithmetic is here;
//! float arithmetic is that of the float interpreter.

mod integers;
mod moves;

use bytes::Bytes;

use super::MAX_RANK;
use super::error::Fault;
use crate::interp::{FloatInterpreter, InterpError};
use crate::ir::shared_bytes;
use crate::ir::{Elem, Graph, MAX_ACTIVATION_BYTES, OpKind, Stage, TensorType, Value, infer};
use crate::onnx::{Attribute, Model};

/// The remaining budget of an import.
///
/// The budget grows with the bytes of the model's parameters, so that a small file is cheap to
/// import whatever it contains.
#[derive(Debug)]
pub(super) struct Budget {
    /// Elements and multiplications evaluated at compile time.
    steps: usize,
    /// Bytes of constants.
    bytes: usize,
    /// Operations and operands of the graph.
    entries: usize,
}

impl Budget {
    /// The constant part: enough to compute a mask of 512 x 512 tokens in a hundred operations.
    const STEPS: usize = 1 << 25;

    /// Steps for each byte of a parameter: enough to convert it twice, transpose and scale it.
    const STEPS_PER_BYTE: usize = 8;

    /// The constant part.
    const BYTES: usize = 32 << 20;

    /// Bytes for each byte of a parameter: an 8-bit integer may be converted to 64 bits, then to a
    /// float, which is transposed and scaled.
    const BYTES_PER_BYTE: usize = 24;

    /// Ten times the operations and operands of the largest vision transformer in elementary
    /// operations.
    const ENTRIES: usize = 1 << 16;

    /// The budget for a model.
    pub(super) fn of(model: &Model) -> Budget {
        let attributes = model.graph.nodes.iter().flat_map(|node| node.attributes.values());
        let constants = attributes.filter_map(|attribute| match attribute {
            Attribute::Tensor(tensor) => Some(tensor),
            _ => None,
        });
        let tensors = model.graph.initializers.values().chain(constants);
        let parameters = shared_bytes::count(tensors.map(|tensor| &tensor.data()[..]));
        let allowed =
            |base: usize, per_byte: usize| base.saturating_add(parameters.saturating_mul(per_byte));
        Budget {
            steps: allowed(Budget::STEPS, Budget::STEPS_PER_BYTE),
            bytes: allowed(Budget::BYTES, Budget::BYTES_PER_BYTE),
            entries: Budget::ENTRIES,
        }
    }

    /// Charges steps of work.
    pub(super) fn charge(&mut self, steps: usize) -> Result<(), Fault> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.ok_or_else(|| exceeded(format!("{steps} elements"), self.steps))?;
        Ok(())
    }

    /// Charges the work and the memory of a new constant.
    pub(super) fn charge_constant(&mut self, ty: &TensorType) -> Result<(), Fault> {
        self.charge(ty.elements())?;
        let bytes = ty.elements().saturating_mul(ty.elem.bytes());
        let left = self.bytes.checked_sub(bytes);
        self.bytes =
            left.ok_or_else(|| exceeded(format!("{bytes} bytes of constants"), self.bytes))?;
        Ok(())
    }

    /// Charges an operation of the graph.
    pub(super) fn charge_operation(&mut self, operands: usize) -> Result<(), Fault> {
        let left = self.entries.checked_sub(1 + operands);
        self.entries = left.ok_or_else(|| {
            let expected = format!("at most {} operations and operands in all", Budget::ENTRIES);
            Fault::mismatch(
                expected,
                format!("an operation on {operands} operands, but only {} remain", self.entries),
            )
        })?;
        Ok(())
    }
}

fn exceeded(asked: String, left: usize) -> Fault {
    let found = format!("{asked}, but only {left} remain in the budget of this model");
    Fault::mismatch("less to compute at compile time", found)
}

/// The number of elements of a shape whose extents can be added and multiplied without overflow.
pub(super) fn count(shape: &[usize]) -> Result<usize, Fault> {
    let too_large = || {
        let shown = &shape[..shape.len().min(MAX_RANK)];
        Fault::mismatch(
            format!("at most {MAX_RANK} dimensions and 2^40 elements"),
            format!("{shown:?}"),
        )
    };
    // An empty tensor must not hide extents that overflow elsewhere.
    let extents =
        shape.iter().try_fold(1usize, |product, extent| product.checked_mul((*extent).max(1)));
    if shape.len() > MAX_RANK || extents.is_none_or(|extents| extents > 1 << 40) {
        return Err(too_large());
    }
    Ok(shape.iter().product())
}

/// Checks the shape of a computed tensor against the limits.
pub(super) fn check_activation(shape: &[usize]) -> Result<(), Fault> {
    match count(shape)? {
        0 => Err(Fault::mismatch(
            "computed tensors with extents of at least 1",
            format!("{shape:?}"),
        )),
        elements if elements > MAX_ACTIVATION_BYTES / Elem::F32.bytes() => Err(Fault::mismatch(
            format!("tensors of at most {MAX_ACTIVATION_BYTES} bytes"),
            TensorType::f32(shape).to_string(),
        )),
        _ => Ok(()),
    }
}

/// Checks that a shape has this many elements.
pub(super) fn check_count(shape: &[usize], elements: usize) -> Result<(), Fault> {
    match count(shape)? {
        found if found == elements => Ok(()),
        _ => Err(Fault::mismatch(format!("a shape of {elements} elements"), format!("{shape:?}"))),
    }
}

/// The type of an operation's result.
pub(super) fn result_type(
    graph: &Graph,
    kind: &OpKind,
    operands: &[Value],
) -> Result<TensorType, Fault> {
    let types: Vec<&TensorType> = operands.iter().map(|operand| graph.ty(*operand)).collect();
    let ty = infer::infer(kind, &types)?;
    count(&ty.shape)?;
    Ok(ty)
}

/// Evaluates an operation on constants; `ty` is the type of the result.
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
    budget.charge_constant(ty)?;
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
            let parts: Vec<(&[usize], &[u8])> = operands
                .iter()
                .map(|x| (&graph.ty(*x).shape[..], &elements(graph, *x)[..]))
                .collect();
            Ok(moves::evaluate(kind, ty, &parts))
        }
        _ if ty.elements() == 0 => Ok(Bytes::new()),
        _ if types.iter().any(|x| x.elements() == 0) => {
            Err(Fault::mismatch("operands with elements", "none"))
        }
        _ if types.iter().any(|x| x.elem != ty.elem) => Err(mixed()),
        _ if ty.elem == Elem::I64 => integers::evaluate(graph, kind, operands, ty),
        _ => floats(graph, budget, kind, operands, ty),
    }
}

/// The bytes of a constant.
fn elements(graph: &Graph, value: Value) -> &Bytes {
    &graph.constant(value).expect("folded operations have constant operands").bytes
}

/// Evaluates a float operation by the interpreter, as a graph of this operation alone.
fn floats(
    graph: &Graph,
    budget: &mut Budget,
    kind: &OpKind,
    operands: &[Value],
    ty: &TensorType,
) -> Result<Bytes, Fault> {
    // Work beyond one step for each element of the result.
    let first = graph.ty(operands[0]);
    let steps = match kind {
        OpKind::MatMul {} => ty.elements().saturating_mul(first.shape[first.rank() - 1]),
        OpKind::Conv { .. } => {
            ty.elements().saturating_mul(graph.ty(operands[1]).shape[1..].iter().product())
        }
        _ => operands.iter().map(|operand| graph.ty(*operand).elements()).sum(),
    };
    budget.charge(steps)?;
    let mut single = Graph::new("", Stage::Imported);
    let copies: Vec<Value> = operands
        .iter()
        .map(|operand| {
            single.add_const("", graph.ty(*operand).clone(), elements(graph, *operand).clone())
        })
        .collect();
    let failed =
        |error: InterpError| Fault::mismatch("an operation on constants", error.to_string());
    let result = single.push(kind.clone(), &copies, &[])?;
    single.add_output("", result, ty.shape.clone());
    let interpreter = FloatInterpreter::new(&single).map_err(failed)?;
    let tensors = interpreter.run(&[]).map_err(failed)?;
    Ok(f32_bytes(tensors.into_iter().flatten()))
}

/// The bytes of floats.
pub(super) fn f32_bytes(elements: impl IntoIterator<Item = f32>) -> Bytes {
    bytes(elements.into_iter().map(f32::to_le_bytes))
}

/// The bytes of integers.
pub(super) fn i64_bytes(elements: impl IntoIterator<Item = i64>) -> Bytes {
    bytes(elements.into_iter().map(i64::to_le_bytes))
}

fn bytes<const N: usize>(elements: impl Iterator<Item = [u8; N]>) -> Bytes {
    elements.collect::<Vec<[u8; N]>>().into_flattened().into()
}
