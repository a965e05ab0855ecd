//! Column selections and column factors, folded into the constants of the producing operations.

use std::ops::Range;

use super::builder::{Builder, computed_parameter};
use super::column_map::{ColumnMap, per_head};
use super::constants::{data, floats};
use crate::ir::{BinaryFn, OpKind, TensorType, Value};
use crate::passes::error::Unsupported;

/// How many operations a change is moved through. Joined tokens, sums and selections are few and
/// near the linear layers; each sum doubles the work.
const DEPTH: usize = 4;

impl Builder<'_> {
    /// The matrix with changed columns. Adds no operation: the linear layer computes other columns,
    /// or scaled ones. Parameters without a name get `name`.
    pub(super) fn map_columns(
        &mut self,
        value: Value,
        map: &ColumnMap,
        name: &str,
    ) -> Result<Value, Unsupported> {
        self.map_within(value, map, name, DEPTH)
    }

    fn map_within(
        &mut self,
        value: Value,
        map: &ColumnMap,
        name: &str,
        depth: usize,
    ) -> Result<Value, Unsupported> {
        if self.graph.constant(value).is_some() {
            return self.map_constant(value, map, name);
        }
        if let (Some(OpKind::ReduceMean { .. }), ColumnMap::Scale(factors)) =
            (self.producer(value).map(|op| op.kind), map)
        {
            return self.diagonal(value, factors, name);
        }
        let (Some(op), Some(depth)) = (self.producer(value), depth.checked_sub(1)) else {
            return Err(unmapped(map, "a graph input, or a value far from linear layers"));
        };
        let mut operands = op.operands.clone();
        match (&op.kind, map) {
            (OpKind::Linear {}, ColumnMap::Select(columns)) => {
                let inputs = self.extents(operands[1]).1;
                operands[1] = self.select(operands[1], &[columns.len(), inputs], columns)?;
                operands[2] = self.select(operands[2], &[columns.len()], columns)?;
            }
            (OpKind::Linear {}, ColumnMap::Scale(factors)) => {
                let inputs = self.extents(operands[1]).1;
                operands[1] = self.scale(operands[1], name, |i| factors[i / inputs])?;
                operands[2] = self.scale(operands[2], "", |i| factors[i])?;
            }
            (OpKind::MixHeads { heads_in, heads_out }, ColumnMap::Scale(factors)) => {
                let factors = per_head(factors, *heads_out).ok_or_else(|| {
                    Unsupported::new(
                        "different factors of the features of a combination of heads",
                        "one factor for each head",
                    )
                })?;
                operands[1] = self.scale(operands[1], name, |i| factors[i / heads_in])?;
                operands[2] = self.scale(operands[2], "", |i| factors[i])?;
            }
            (OpKind::LayerNorm { .. }, ColumnMap::Scale(factors)) => {
                operands[1] = self.scale(operands[1], name, |i| factors[i])?;
                operands[2] = self.scale(operands[2], "", |i| factors[i])?;
            }
            (OpKind::Attention { .. }, ColumnMap::Scale(_)) => {
                operands[2] = self.map_within(operands[2], map, name, depth)?;
            }
            (OpKind::Unary { .. }, ColumnMap::Select(_))
            | (
                OpKind::Binary { f: BinaryFn::Add }
                | OpKind::Concat { axis: 0 }
                | OpKind::Slice { axis: 0, .. },
                _,
            ) => {
                for operand in &mut operands {
                    *operand = self.map_within(*operand, map, name, depth)?;
                }
            }
            (kind, _) => return Err(unmapped(map, &format!("the result of {}", kind.mnemonic()))),
        }
        self.push_for(op.kind.clone(), &operands, &op.nodes)
    }

    /// Selects rows of a constant; `shape` is the shape of the result.
    fn select(
        &mut self,
        constant: Value,
        shape: &[usize],
        rows: &[usize],
    ) -> Result<Value, Unsupported> {
        let old = self.graph.constant(constant).ok_or_else(computed_parameter)?.clone();
        let row_bytes = shape[1..].iter().product::<usize>() * size_of::<f32>();
        match neighbours(rows) {
            // A slice shares the bytes of the constant.
            Some(rows) => {
                let bytes = old.bytes.slice(rows.start * row_bytes..rows.end * row_bytes);
                let name =
                    if old.name.is_empty() { old.name } else { format!("{}[{rows:?}]", old.name) };
                Ok(self.graph.add_const(name, TensorType::f32(shape), bytes))
            }
            None => {
                let picked =
                    rows.iter().flat_map(|row| &old.bytes[row * row_bytes..(row + 1) * row_bytes]);
                let bytes: Vec<u8> = picked.copied().collect();
                self.make(&old.name, shape, bytes.into())
            }
        }
    }

    /// A constant with its i-th element, in row-major order, multiplied by `factor(i)`.
    pub(super) fn scale(
        &mut self,
        constant: Value,
        name: &str,
        factor: impl Fn(usize) -> f64,
    ) -> Result<Value, Unsupported> {
        let old = self.graph.constant(constant).ok_or_else(computed_parameter)?.clone();
        let bytes =
            data(floats(&old.bytes).enumerate().map(|(i, x)| (f64::from(x) * factor(i)) as f32));
        let shape = self.graph.ty(constant).shape.clone();
        let name = if old.name.is_empty() { name } else { &old.name };
        self.make(name, &shape, bytes)
    }

    fn map_constant(
        &mut self,
        value: Value,
        map: &ColumnMap,
        name: &str,
    ) -> Result<Value, Unsupported> {
        let (rows, width) = self.extents(value);
        match map {
            ColumnMap::Scale(factors) => self.scale(value, name, |i| factors[i % width]),
            ColumnMap::Select(columns) => {
                let old: Vec<f32> = self.graph.const_f32(value).unwrap_or_default();
                let picked = (0..rows)
                    .flat_map(|row| columns.iter().map(move |column| row * width + column));
                let bytes = data(picked.map(|i| old[i]));
                let name = self.name(value);
                self.make(&name, &[rows, columns.len()], bytes)
            }
        }
    }
}

/// `rows` as a range, if they are consecutive.
fn neighbours(rows: &[usize]) -> Option<Range<usize>> {
    let (first, last) = (*rows.first()?, *rows.last()?);
    rows.windows(2).all(|pair| pair[1] == pair[0] + 1).then_some(first..last + 1)
}

fn unmapped(map: &ColumnMap, of: &str) -> Unsupported {
    let what = match map {
        ColumnMap::Select(_) => "a selection or another order of the channels",
        ColumnMap::Scale(_) => "a factor",
    };
    Unsupported::new(
        format!("{what} of {of}"),
        format!("{what} of a linear layer, or of a rowwise function of one"),
    )
}
