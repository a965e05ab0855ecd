//! Integer inputs: row numbers for tables, and masks of keys.

use super::view::{Axis, View, Walk, walks};
use super::{Canonicaliser, Meaning, unexpected};
use crate::ir::layout::prunes;
use crate::ir::{BinaryFn, Conversion, Elem, OpData, OpKind, Value};
use crate::passes::error::Unsupported;

/// An addend of scores up to this value prunes, whatever the score: the exponential rounds to 0.
pub(super) const NEVER: f32 = -1e4;

/// A function of an integer input that has one value where the input's element is 0 and another
/// where it is not.
///
/// This describes functions of inputs that hold only 0 and 1. Inputs that hold row numbers are used
/// unchanged.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flags {
    /// Maps elements of the tensor to elements of the input, as if the input were one row. Walks of
    /// stride 0 repeat elements.
    pub(super) view: View,
    /// The value where the input is not 0.
    set: f32,
    /// The value where the input is 0.
    clear: f32,
    /// Whether this is the input itself, unchanged.
    is_input: bool,
}

impl Flags {
    /// The input itself.
    pub(super) fn of(input: Value, shape: &[usize]) -> Flags {
        Flags { view: View::row_major(input, shape, 0), set: 1.0, clear: 0.0, is_input: true }
    }

    /// With its elements rearranged as in `view`.
    pub(super) fn at(&self, view: View) -> Flags {
        Flags { view, ..self.clone() }
    }

    /// Applies `f` to both values.
    fn map(&self, f: impl Fn(f32) -> f32) -> Flags {
        Flags { view: self.view.clone(), set: f(self.set), clear: f(self.clear), is_input: false }
    }

    /// Broadcasts to a shape.
    pub(super) fn repeated(&self, shape: &[usize]) -> Result<Flags, Unsupported> {
        let from = self.view.shape();
        let unsupported = || {
            Unsupported::new(
                format!("an integer input {from:?} broadcast to {shape:?}"),
                "a shape to which it broadcasts",
            )
        };
        let missing = shape.len().checked_sub(from.len()).ok_or_else(unsupported)?;
        let mut dims = Vec::with_capacity(shape.len());
        for (d, extent) in shape.iter().enumerate() {
            let old = d.checked_sub(missing).map(|d| (&self.view.dims[d], from[d]));
            dims.push(match old {
                Some((dim, old)) if old == *extent => dim.clone(),
                None | Some((_, 1)) => {
                    walks([Walk { axis: Axis::Row, extent: *extent, stride: 0 }])
                }
                Some(_) => return Err(unsupported()),
            });
        }
        Ok(self.at(View { dims, ..self.view.clone() }))
    }

    /// Returns the input and how it is read if adding these values to scores of shape `scores`
    /// (queries and keys last) prunes exactly the keys at which the input is 0, or all others.
    pub(super) fn keys(&self, scores: &[usize]) -> Result<(Value, Read), Unsupported> {
        let read = match [self.set, self.clear] {
            [0.0, clear] if never(clear) => Read::Kept,
            [set, 0.0] if never(set) => Read::Pruned,
            [set, clear] => {
                return Err(Unsupported::new(
                    format!(
                        "{set} added to scores where an input is not 0, and {clear} where it is"
                    ),
                    "0 and -inf, or -inf and 0",
                ));
            }
        };
        let view = self.repeated(scores)?.view;
        let moves = |dim: &[Walk]| dim.iter().any(|walk| walk.stride != 0);
        match view.dims.split_last() {
            Some((keys, others))
                if !others.iter().any(|dim| moves(dim)) && is_whole(keys) && view.column == 0 =>
            {
                Ok((view.matrix, read))
            }
            _ => Err(Unsupported::new(
                "an input that is not a mask of keys",
                "one element for each key",
            )),
        }
    }
}

/// Whether an addend of scores prunes.
fn never(addend: f32) -> bool {
    prunes(addend) || addend <= NEVER
}

/// What an integer input states. An input states one thing only, because the runtime binds it once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Read {
    /// The rows of a table.
    Rows,
    /// The keys that count: those at which it is not 0.
    Kept,
    /// The keys that do not count: those at which it is not 0.
    Pruned,
}

impl Read {
    const fn name(self) -> &'static str {
        match self {
            Read::Rows => "row numbers",
            Read::Kept => "the keys that count",
            Read::Pruned => "the keys that do not count",
        }
    }
}

/// Whether a dimension walks consecutive elements, or a single one.
fn is_whole(dim: &[Walk]) -> bool {
    matches!(dim, [] | [Walk { axis: Axis::Column, stride: 1, .. }])
}

impl Canonicaliser<'_> {
    pub(super) fn convert(&mut self, to: Conversion, x: &Meaning) -> Result<Meaning, Unsupported> {
        match (to, x) {
            (Conversion::IsNan, Meaning::Probabilities(_)) => Ok(Meaning::NotNumbers),
            (Conversion::Float | Conversion::Integer, Meaning::Flags(flags)) => {
                Ok(Meaning::Flags(flags.map(f32::trunc)))
            }
            (Conversion::Truth, Meaning::Flags(flags)) => {
                Ok(Meaning::Flags(flags.map(|x| if x == 0.0 { 0.0 } else { 1.0 })))
            }
            (Conversion::IsNan, other) => Err(unexpected(other, "attention probabilities")),
            (_, other) => Err(unexpected(other, "integers of an input")),
        }
    }

    pub(super) fn select(
        &mut self,
        op: &OpData,
        operands: &[Meaning],
    ) -> Result<Meaning, Unsupported> {
        let shape = &self.source.ty(op.results[0]).shape;
        match operands {
            // Probabilities are always numbers, so the replacement for NaN is not used.
            [Meaning::NotNumbers, _, Meaning::Probabilities(scores)] => {
                let mut scores = scores.reshaped(shape)?;
                scores.nodes.extend(&op.nodes);
                Ok(Meaning::Probabilities(scores))
            }
            [Meaning::Flags(flags), Meaning::Constant, Meaning::Constant] => {
                let (x, y) = (self.uniform(op.operands[1])?, self.uniform(op.operands[2])?);
                Ok(Meaning::Flags(
                    flags.repeated(shape)?.map(|flag| if flag != 0.0 { x } else { y }),
                ))
            }
            // What an input prunes is added as well as put in place of the scores.
            [Meaning::Flags(flags), Meaning::Scores(scores), Meaning::Constant] => {
                let pruned = self.uniform(op.operands[2])?;
                let addends = flags.map(|flag| if flag != 0.0 { 0.0 } else { pruned });
                self.scores_of_keys(BinaryFn::Add, scores, &addends)
            }
            [Meaning::Flags(flags), Meaning::Constant, Meaning::Scores(scores)] => {
                let pruned = self.uniform(op.operands[1])?;
                let addends = flags.map(|flag| if flag != 0.0 { pruned } else { 0.0 });
                self.scores_of_keys(BinaryFn::Add, scores, &addends)
            }
            [Meaning::Constant, Meaning::Scores(scores), Meaning::Constant] => {
                self.masked_scores(op, scores, true, [op.operands[0], op.operands[2]])
            }
            [Meaning::Constant, Meaning::Constant, Meaning::Scores(scores)] => {
                self.masked_scores(op, scores, false, [op.operands[0], op.operands[1]])
            }
            [condition, x, y] => {
                let found = format!("{} and {}, by {}", x.name(), y.name(), condition.name());
                Err(Unsupported::new(
                    found,
                    "a number or another by an integer input, or probabilities that are numbers",
                ))
            }
            _ => Err(Unsupported::new("missing operands", "three operands")),
        }
    }

    /// A function of an integer input and a constant. `swapped`: the constant is the first operand.
    pub(super) fn flags_with_constant(
        &mut self,
        f: BinaryFn,
        op: &OpData,
        flags: &Flags,
        constant: Value,
        swapped: bool,
    ) -> Result<Meaning, Unsupported> {
        let number = self.uniform(constant)?;
        let function: fn(f32, f32) -> f32 = match f {
            BinaryFn::Add => |a, b| a + b,
            BinaryFn::Sub => |a, b| a - b,
            BinaryFn::Mul => |a, b| a * b,
            BinaryFn::Max => f32::max,
            BinaryFn::Min => f32::min,
            BinaryFn::Div | BinaryFn::Pow => {
                return Err(Unsupported::new(
                    format!("{} of an integer input", f.name()),
                    "sums, differences or products",
                ));
            }
        };
        let flags = flags.repeated(&self.source.ty(op.results[0]).shape)?;
        Ok(Meaning::Flags(
            flags.map(|x| if swapped { function(number, x) } else { function(x, number) }),
        ))
    }

    /// Notes how an integer input is read.
    pub(super) fn read(&mut self, input: Value, read: Read) -> Result<(), Unsupported> {
        let known = *self.reads[input].get_or_insert(read);
        if known != read {
            return Err(Unsupported::new(
                format!("an input that states {} and {}", known.name(), read.name()),
                "one of them; give the model an input for each",
            ));
        }
        self.builder.graph.set_inverted(input, read == Read::Pruned);
        Ok(())
    }

    /// The value of a constant whose elements are all equal.
    fn uniform(&mut self, constant: Value) -> Result<f32, Unsupported> {
        self.builder.charge(self.source.ty(constant).elements())?;
        let integers =
            || Some(self.source.const_i64(constant)?.into_iter().map(|x| x as f32).collect());
        let elements: Vec<f32> =
            self.source.const_f32(constant).or_else(integers).unwrap_or_default();
        match elements.split_first() {
            Some((first, rest)) if rest.iter().all(|x| x == first) => Ok(*first),
            _ => Err(Unsupported::new(
                format!("a constant {} of different numbers", self.source.ty(constant)),
                "one number",
            )),
        }
    }

    /// Looks up rows of a constant table by an input.
    pub(super) fn embed(
        &mut self,
        op: &OpData,
        operands: &[Meaning],
        axis: usize,
    ) -> Result<Meaning, Unsupported> {
        let [table, _] = op.operands[..] else {
            return Err(Unsupported::new("missing operands", "two operands"));
        };
        let (Meaning::Constant, Meaning::Flags(flags)) = (&operands[0], &operands[1]) else {
            return Err(Unsupported::new(
                format!("{} by an input", operands[0].name()),
                "rows of a constant table by an input",
            ));
        };
        let ty = self.source.ty(table);
        let &[rows, columns] = &ty.shape[..] else {
            return Err(Unsupported::new(format!("a table {ty}"), "a table of rows and columns"));
        };
        if axis != 0 || ty.elem != Elem::F32 {
            return Err(Unsupported::new(
                format!("axis {axis} of {ty} by an input"),
                "rows of a table of floats",
            ));
        }
        let whole = walks(flags.view.dims.iter().flatten().copied());
        let extent: usize = whole.iter().map(|walk| walk.extent).product();
        let all = is_whole(&whole) && extent == self.builder.graph.ty(flags.view.matrix).elements();
        if !flags.is_input || !all {
            return Err(Unsupported::new(
                "rows by a function of an input",
                "rows by an input as it is",
            ));
        }
        self.read(flags.view.matrix, Read::Rows)?;
        let table = self.builder.adopt(table, &[rows, columns])?;
        let matrix = self.builder.push(OpKind::Embed {}, &[table, flags.view.matrix])?;
        let shape = &self.source.ty(op.results[0]).shape;
        Ok(Meaning::View(View::row_major(matrix, shape, shape.len() - 1)))
    }
}
