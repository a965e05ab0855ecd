//! The verifier of the invariants of [`crate::ir`].
//!
//! It does not check the elements of constants (except their number, and the patterns of split
//! attention, on which types depend) or compare steps with calibration.

use std::collections::{BTreeMap, BTreeSet};

use vitcod_isa::numerics::MAX_SCORE_SHIFT;
use vitcod_support::problems::{Collector, Problems};

use super::infer::{count, result_elem, result_shape};
use super::layout::{Patterns, ProductParts};
use super::{Elem, Graph, Op, OpData, OpKind, Stage, TensorType, Value, ValueDef};

/// The violated invariants of a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {stage} graph is malformed:\n{defects}")]
pub struct VerifyError {
    /// Stage of the graph.
    pub stage: Stage,
    /// The violations, in order of the graph.
    pub defects: Problems<Defect>,
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {message}")]
pub struct Defect {
    /// The entity that violates it.
    pub place: Place,
    /// The entity as messages name it.
    pub subject: String,
    /// What was found and what was expected.
    pub message: String,
}

/// The entity of a [`Defect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A value.
    Value(Value),
    /// An operation.
    Op(Op),
    /// The i-th output of the graph.
    Output(usize),
}

impl Graph {
    /// Checks the invariants of the graph's stage.
    ///
    /// # Errors
    /// All violated invariants.
    pub fn verify(&self) -> Result<(), VerifyError> {
        let mut defects = Collector::new();
        let mut report = |place: Place, subject: String, message: String| {
            defects.push(|| Defect { place, subject, message })
        };
        let mut defined = vec![false; self.value_count()];
        for (value, data) in self.values() {
            if let ValueDef::Input(_) | ValueDef::Const(_) = data.def {
                defined[value.as_u32() as usize] = true;
            }
            let mut report = |message| report(Place::Value(value), value.to_string(), message);
            let bytes = count(&data.ty.shape)
                .and_then(|elements| elements.checked_mul(data.ty.elem.bytes()));
            match (self.constant(value), bytes) {
                (_, None) => report(format!("{} has too many elements", data.ty)),
                (Some(constant), Some(bytes)) if constant.bytes.len() != bytes => {
                    report(format!("{} takes {bytes} bytes, not {}", data.ty, constant.bytes.len()))
                }
                _ => {}
            }
            if let ValueDef::Input(i) = data.def
                && let shape = &self.inputs[i].shape
                && !fits(shape, &data.ty)
            {
                report(format!("{} does not match the shape {shape:?} in the model", data.ty));
            }
            let mask = match self.stage {
                Stage::Imported => None,
                Stage::Canonical => Some(Elem::I64),
                Stage::Quantised | Stage::Split => Some(Elem::Byte),
            };
            if self.is_inverted(value) && mask != Some(data.ty.elem) {
                report(format!("{} is inverted, expected a mask of keys", data.ty));
            }
            if data.ty.step.is_some_and(|step| !(step.is_finite() && step > 0.0)) {
                report(format!("{} has no usable step", data.ty));
            }
        }
        for op in &self.order {
            if !self.has_op(*op) {
                report(Place::Op(*op), op.to_string(), "does not exist".to_owned());
                continue;
            }
            let data = self.op(*op);
            let mut report = |message| {
                report(Place::Op(*op), format!("{op} ({})", data.kind.mnemonic()), message)
            };
            if !data.kind.stages().contains(&self.stage) {
                report(format!("not an operation of the {} stage", self.stage));
            }
            let unknown: Vec<&Value> = data
                .operands
                .iter()
                .filter(|v| !self.has_value(**v) || !defined[v.as_u32() as usize])
                .collect();
            if !unknown.is_empty() {
                report(format!("{unknown:?} are used before they are defined"));
            } else if !data.kind.takes(data.operands.len())
                || data.results.len() != data.kind.results()
            {
                report(format!(
                    "{} operands and {} results",
                    data.operands.len(),
                    data.results.len()
                ));
            } else if let Err(message) = self.check_types(data) {
                report(message);
            }
            for result in &data.results {
                if self.has_value(*result) {
                    defined[result.as_u32() as usize] = true;
                }
            }
        }
        // The runtime divides an image once for all its readers.
        let mut normalised: BTreeMap<Value, (bool, &[Value])> = BTreeMap::new();
        for op in self.order.iter().filter(|op| self.has_op(**op)) {
            let data = self.op(*op);
            let (OpKind::Pixels { last }, [image, rest @ ..]) = (&data.kind, &data.operands[..])
            else {
                continue;
            };
            let own = (*last, rest);
            if *normalised.entry(*image).or_insert(own) != own {
                let message = format!("{image} has another layout, factors or offsets elsewhere");
                let name = format!("{op} ({})", data.kind.mnemonic());
                report(Place::Op(*op), name, message);
            }
        }
        // The runtime transposes planes, so that no operation can read them.
        let mut planes: BTreeSet<Value> = BTreeSet::new();
        for op in self.order.iter().filter(|op| self.has_op(**op)) {
            let data = self.op(*op);
            for operand in data.operands.iter().filter(|operand| planes.contains(*operand)) {
                let message = format!("{operand} is an image by planes, which only outputs are");
                report(Place::Op(*op), format!("{op} ({})", data.kind.mnemonic()), message);
            }
            if let OpKind::Planes { .. } = data.kind {
                planes.extend(&data.results);
            }
        }
        for (i, output) in self.outputs.iter().enumerate() {
            let mut report =
                |message| report(Place::Output(i), format!("output {:?}", output.name), message);
            if !self.has_value(output.value) || !defined[output.value.as_u32() as usize] {
                report(format!("{} is not defined", output.value));
            } else if count(&output.shape) != Some(self.ty(output.value).elements()) {
                report(format!("{} is not {:?}", self.ty(output.value), output.shape));
            }
        }
        defects.finish().map_err(|defects| VerifyError { stage: self.stage, defects })
    }

    fn check_types(&self, data: &OpData) -> Result<(), String> {
        let kind = &data.kind;
        let operands: Vec<&TensorType> = data.operands.iter().map(|v| self.ty(*v)).collect();
        let results: Vec<&TensorType> = data.results.iter().map(|v| self.ty(*v)).collect();
        let inferred = result_shape(kind, &operands)?;
        if inferred != results[0].shape {
            return Err(format!("result {} should have shape {inferred:?}", results[0]));
        }
        if let (OpKind::Embed {}, [_, rows]) = (kind, &data.operands[..])
            && self.is_inverted(*rows)
        {
            return Err(format!("the row numbers {rows} are inverted, expected a mask of keys"));
        }
        if let (OpKind::Pixels { .. }, [image, factors, rest @ ..]) = (kind, &data.operands[..]) {
            let factors = self.const_f32(*factors).unwrap_or_default();
            if factors.is_empty() || !factors.iter().all(|x| x.is_normal() && *x > 0.0) {
                return Err("the factors of channels should be constants above 0".to_owned());
            }
            let finite = |offsets: &Value| {
                self.const_f32(*offsets)
                    .is_some_and(|numbers| numbers.iter().all(|x| x.is_finite()))
            };
            if !rest.iter().all(finite) {
                return Err("the offsets of channels should be finite constants".to_owned());
            }
            if !matches!(self.def(*image), ValueDef::Input(_)) {
                return Err("only the channels of an input should be normalised".to_owned());
            }
        }
        if let OpKind::QSoftmax { shift }
        | OpKind::BlockSoftmax { shift }
        | OpKind::CscSoftmax { shift } = kind
            && *shift > MAX_SCORE_SHIFT
        {
            return Err(format!("a shift of scores of {shift}, expected 0 to {MAX_SCORE_SHIFT}"));
        }
        let elems: Vec<Elem> = operands.iter().map(|ty| ty.elem).collect();
        let fits = match kind {
            OpKind::QLinear {} => {
                elems == [Elem::I8, Elem::I8, Elem::Channel]
                    && matches!(results[0].elem, Elem::I8 | Elem::I16)
            }
            OpKind::QEmbed {} => {
                elems == [Elem::I16, Elem::U16]
                    && results[0].elem == Elem::I16
                    && results[0].step == operands[0].step
            }
            OpKind::QLayerNorm {} => {
                elems == [Elem::I16, Elem::Byte] && matches!(results[0].elem, Elem::I8 | Elem::I16)
            }
            OpKind::Lut { .. } => {
                matches!(elems[..], [Elem::I8 | Elem::I16, Elem::Byte])
                    && results[0].elem == Elem::I8
            }
            OpKind::Encode { .. } | OpKind::Decode { .. } => {
                elems == [Elem::I8, Elem::Byte] && results[0].elem == Elem::I8
            }
            OpKind::QAdd { .. } => {
                elems == [Elem::I16, Elem::I16] && matches!(results[0].elem, Elem::I8 | Elem::I16)
            }
            OpKind::Sddmm { .. } => {
                elems[..2] == [Elem::I8, Elem::I8]
                    && matches!(
                        elems[2..],
                        [] | [Elem::Byte] | [Elem::I16] | [Elem::Byte, Elem::I16]
                    )
                    && results[0].elem == Elem::I16
            }
            OpKind::QSoftmax { .. } => {
                elems == [Elem::I16]
                    && results[0].probabilities().is_some()
                    && *results[1] == TensorType::new(Elem::U32, &results[0].shape[..2])
            }
            OpKind::Spmm { .. } => {
                operands[0].probabilities().is_some()
                    && elems[1..] == [Elem::U32, Elem::I8]
                    && results[0].elem == Elem::I8
            }
            OpKind::BlockSddmm { heads, .. } | OpKind::CscSddmm { heads, .. } => {
                elems[..2] == [Elem::I8, Elem::I8]
                    && elems[2..].iter().all(|pattern| *pattern == Elem::Byte)
                    && results[0].elem == Elem::I16
                    && *results[1] == TensorType::new(Elem::I16, [*heads, operands[0].shape[0]])
            }
            OpKind::BlockSoftmax { .. } | OpKind::CscSoftmax { .. } => {
                elems[..2] == [Elem::I16, Elem::Byte]
                    && elems[2..].iter().all(|maxima| *maxima == Elem::I16)
                    && results[0].probabilities().is_some()
                    && *results[1] == TensorType::new(Elem::U32, &operands[2].shape[..])
            }
            OpKind::SplitSpmm { block, csc, .. } => {
                let mut parts = ProductParts::of(*block, *csc).iter();
                let fits = |i: usize, elem: Elem| elems[i] == elem;
                // Both parts have one format, that of the operand after the values.
                elems[0] == Elem::I8
                    && operands[1].probabilities().is_some()
                    && parts.all(|at| {
                        fits(at.probs, elems[1])
                            && fits(at.sums, Elem::U32)
                            && fits(at.pattern, Elem::Byte)
                    })
                    && results[0].elem == Elem::I8
            }
            OpKind::PickRows {} => {
                elems[0] == results[0].elem && operands[0].step == results[0].step
            }
            OpKind::Pixels { .. } | OpKind::Planes { .. } => {
                elems[0] == results[0].elem
                    && (elems[0] == Elem::F32 || operands[0].step == results[0].step)
            }
            OpKind::Patches { .. } | OpKind::Concat { .. } | OpKind::Slice { .. } => {
                // The step of a float tensor states what the model asked for; it is not an
                // invariant.
                let bound = results[0].elem != Elem::F32;
                operands
                    .iter()
                    .all(|ty| ty.elem == results[0].elem && (!bound || ty.step == results[0].step))
            }
            _ => results[0].elem == result_elem(kind, &operands),
        };
        if fits {
            Patterns::read(self, data).map(|_| ())
        } else {
            let names = |types: &[&TensorType]| {
                types.iter().map(|ty| ty.to_string()).collect::<Vec<_>>().join(", ")
            };
            Err(format!("invalid types {} -> {}", names(&operands), names(&results)))
        }
    }
}

/// Whether an input with this shape in the model can have a type: it has as many elements, or its
/// mask rows have enough bits.
fn fits(shape: &[usize], ty: &TensorType) -> bool {
    match (ty.elem, &ty.shape[..]) {
        (Elem::Byte, [_, bytes]) if *shape != ty.shape => {
            count(shape).is_some_and(|bits| bits.div_ceil(8) == *bytes)
        }
        _ => count(shape) == count(&ty.shape),
    }
}
