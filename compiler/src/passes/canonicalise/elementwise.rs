//! Elementwise functions, sums, and factors.

use super::constants::PerElement;
use super::view::View;
use super::{Canonicaliser, Meaning, unexpected};
use crate::ir::{BinaryFn, OpData, OpKind, UnaryFn, Value};
use crate::passes::error::Unsupported;

impl<'a> Canonicaliser<'a> {
    pub(super) fn unary(&mut self, f: UnaryFn, x: &Meaning) -> Result<Meaning, Unsupported> {
        let Meaning::View(view) = x else { return Err(unexpected(x, "tokens")) };
        if f == UnaryFn::Neg {
            return Ok(Meaning::View(view.times(-1.0)));
        }
        if let UnaryFn::Log | UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Round | UnaryFn::Sign = f {
            let found = format!("{} of computed numbers", f.name());
            return Err(Unsupported::new(found, "a function that is finite and continuous"));
        }
        let view = self.builder.whole(view)?;
        let matrix = self.builder.unary(f, view.matrix)?;
        Ok(Meaning::View(View { matrix, ..view }))
    }

    pub(super) fn binary(
        &mut self,
        f: BinaryFn,
        op: &OpData,
        operands: &[Meaning],
    ) -> Result<Meaning, Unsupported> {
        let [a, b] = op.operands[..] else {
            return Err(Unsupported::new("missing operands", "two operands"));
        };
        match (&operands[0], &operands[1]) {
            (Meaning::View(x), Meaning::View(y)) => {
                let (x, y) = (self.aligned(op, x)?, self.aligned(op, y)?);
                self.combine(f, &x, &y)
            }
            (Meaning::View(x), Meaning::Constant) => {
                let x = self.aligned(op, x)?;
                self.with_constant(f, &x, b, false)
            }
            (Meaning::Constant, Meaning::View(x)) => {
                let x = self.aligned(op, x)?;
                self.with_constant(f, &x, a, true)
            }
            (Meaning::Scores(scores), Meaning::Constant) => {
                self.scores_with_constant(f, scores, b, false)
            }
            (Meaning::Constant, Meaning::Scores(scores)) => {
                self.scores_with_constant(f, scores, a, true)
            }
            (Meaning::Scores(scores), Meaning::Flags(flags))
            | (Meaning::Flags(flags), Meaning::Scores(scores)) => {
                self.scores_of_keys(f, scores, flags)
            }
            (Meaning::Flags(flags), Meaning::Constant) => {
                self.flags_with_constant(f, op, flags, b, false)
            }
            (Meaning::Constant, Meaning::Flags(flags)) => {
                self.flags_with_constant(f, op, flags, a, true)
            }
            (Meaning::Constant, other) | (other, _) => Err(unexpected(other, "tokens")),
        }
    }

    /// The operand with the shape of the result: with additional dimensions of extent 1, or
    /// repeated.
    fn aligned(&mut self, op: &OpData, x: &View) -> Result<View, Unsupported> {
        let result = &self.source.ty(op.results[0]).shape;
        match x.reshaped(result) {
            Some(aligned) => Ok(aligned),
            None => self.builder.expanded(x, result),
        }
    }

    /// Sum or difference of two tensors, or a product that is HardSwish.
    fn combine(&mut self, f: BinaryFn, x: &View, y: &View) -> Result<Meaning, Unsupported> {
        if f == BinaryFn::Mul
            && let Some(product) = self.gated(x, y)?.or(self.gated(y, x)?)
        {
            return Ok(Meaning::View(product));
        }
        let y = match f {
            BinaryFn::Add => y.clone(),
            BinaryFn::Sub => y.times(-1.0),
            _ => {
                return Err(Unsupported::new(
                    format!("{} of two computed tensors", f.name()),
                    "their sum or difference",
                ));
            }
        };
        let (mut x, mut y) = (self.builder.whole(x)?, self.builder.whole(&y)?);
        if x.dims != y.dims {
            (x, y) = (self.builder.in_order(&x)?, self.builder.in_order(&y)?);
        }
        if x.dims != y.dims {
            return Err(Unsupported::new(
                format!(
                    "tensors of shapes {:?} and {:?} with different layouts",
                    x.shape(),
                    y.shape()
                ),
                "the same tokens and channels in both",
            ));
        }
        let matrix =
            self.builder.push(OpKind::Binary { f: BinaryFn::Add }, &[x.matrix, y.matrix])?;
        Ok(Meaning::View(View { matrix, ..x }))
    }

    /// HardSwish as exporters write it below opset 14: `x` times `gate` if that is HardSigmoid of
    /// `x`.
    fn gated(&mut self, x: &View, gate: &View) -> Result<Option<View>, Unsupported> {
        let of = self
            .builder
            .producer(gate.matrix)
            .filter(|op| op.kind == OpKind::Unary { f: UnaryFn::HardSigmoid });
        let Some(op) = of else { return Ok(None) };
        let x = self.builder.whole(x)?;
        if op.operands[0] != x.matrix || x.dims != gate.dims {
            return Ok(None);
        }
        let matrix =
            self.builder.replace(&op, OpKind::Unary { f: UnaryFn::HardSwish }, &[x.matrix])?;
        Ok(Some(View { matrix, factor: gate.factor, ..x }))
    }

    /// A function of a tensor and a constant. `swapped`: the constant is the first operand.
    fn with_constant(
        &mut self,
        f: BinaryFn,
        x: &View,
        constant: Value,
        swapped: bool,
    ) -> Result<Meaning, Unsupported> {
        let factor = self.number(constant)?;
        let view = match (f, factor, swapped) {
            (BinaryFn::Mul, Some(factor), _) => x.times(factor),
            (BinaryFn::Div, Some(divisor), false) if divisor != 0.0 => x.times(1.0 / divisor),
            (BinaryFn::Mul, None, _) => self.scaled(x, constant, f64::from)?,
            (BinaryFn::Div, None, false) => self.scaled(x, constant, |x| 1.0 / f64::from(x))?,
            (BinaryFn::Add, ..) => self.shifted(x, constant, 1.0)?,
            (BinaryFn::Sub, _, false) => self.shifted(x, constant, -1.0)?,
            (BinaryFn::Sub, _, true) => self.shifted(&x.times(-1.0), constant, 1.0)?,
            (BinaryFn::Pow, Some(1.0), false) => x.clone(),
            _ => {
                let order = if swapped { "a constant and tokens" } else { "tokens and a constant" };
                return Err(Unsupported::new(
                    format!("{} of {order}", f.name()),
                    "a sum, or a factor",
                ));
            }
        };
        // The consumer applies the factor where that is cheapest. A sum must be able to rely on a
        // finite one.
        if view.factor.is_finite() {
            Ok(Meaning::View(view))
        } else {
            Err(Unsupported::new(format!("a factor of {}", view.factor), "a finite factor"))
        }
    }

    /// `x` plus `sign` times a constant.
    fn shifted(&mut self, x: &View, constant: Value, sign: f32) -> Result<View, Unsupported> {
        let view = self.builder.whole(x)?;
        let addend = self.per_element(&view, constant)?.map(|x| sign * x);
        let matrix = self.builder.add_constant(view.matrix, &addend, self.name(constant))?;
        Ok(View { matrix, ..view })
    }

    /// Multiplies `x` by `factor` of each element of a constant.
    fn scaled(
        &mut self,
        x: &View,
        constant: Value,
        factor: impl Fn(f32) -> f64,
    ) -> Result<View, Unsupported> {
        let view = self.builder.whole(x)?;
        match self.per_element(&view, constant)? {
            PerElement::Columns(factors) => {
                let factors: Vec<f64> = factors.into_iter().map(factor).collect();
                let matrix = self.builder.scaled(view.matrix, factors, self.name(constant))?;
                Ok(View { matrix, ..view })
            }
            PerElement::Matrix(_) => {
                Err(Unsupported::new("another factor for each token", "a factor per channel"))
            }
        }
    }

    /// The number of a constant whose elements are all equal, if they are.
    fn number(&mut self, constant: Value) -> Result<Option<f64>, Unsupported> {
        self.builder.check_size(&[self.source.ty(constant).elements()])?;
        let elements = self.source.const_f32(constant).unwrap_or_default();
        let first = elements.first().copied();
        let uniform = elements.iter().all(|x| Some(*x) == first);
        Ok(first.filter(|_| uniform).map(f64::from))
    }

    fn name(&self, constant: Value) -> &'a str {
        self.source.constant(constant).map_or("", |constant| &constant.name)
    }

    fn per_element(&mut self, view: &View, constant: Value) -> Result<PerElement, Unsupported> {
        let ty = self.source.ty(constant);
        let elements = self
            .source
            .const_f32(constant)
            .ok_or_else(|| Unsupported::new(format!("a constant {ty}"), "a float constant"))?;
        let numbers = PerElement::of(&elements, &ty.shape, view, self.builder.left())?;
        self.builder.charge(numbers.len())?;
        Ok(numbers)
    }
}
