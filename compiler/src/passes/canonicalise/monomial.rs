//! Linear layers that only select and scale columns: each row of their weight has one number at
//! most. They stand for changes of columns that no operation before can absorb; the next linear
//! layer does.

use super::builder::{Builder, computed_parameter};
use super::column_map::ColumnMap;
use super::constants::data;
use crate::ir::{BinaryFn, OpKind, Value};
use crate::passes::error::Unsupported;

/// What a monomial layer computes: for each of its columns, that of its operand and a factor.
struct Monomial {
    source: Value,
    /// Columns of the operand.
    width: usize,
    columns: Vec<Option<(usize, f64)>>,
    offsets: Vec<f64>,
}

impl Builder<'_> {
    /// The matrix of these columns, in this order.
    pub(super) fn selected(
        &mut self,
        value: Value,
        columns: Vec<usize>,
    ) -> Result<Value, Unsupported> {
        if columns.len() == self.extents(value).1
            && columns.iter().enumerate().all(|(i, c)| i == *c)
        {
            return Ok(value);
        }
        match self.map_columns(value, &ColumnMap::Select(columns.clone()), "") {
            Ok(selected) => Ok(selected),
            Err(_) => self.monomial(value, &columns, &vec![1.0; columns.len()], ""),
        }
    }

    /// The matrix with its columns multiplied by factors.
    pub(super) fn scaled(
        &mut self,
        value: Value,
        factors: Vec<f64>,
        name: &str,
    ) -> Result<Value, Unsupported> {
        match self.map_columns(value, &ColumnMap::Scale(factors.clone()), name) {
            Ok(scaled) => Ok(scaled),
            Err(_) => self.diagonal(value, &factors, name),
        }
    }

    /// Scales columns by a linear layer of its own.
    pub(super) fn diagonal(
        &mut self,
        value: Value,
        factors: &[f64],
        name: &str,
    ) -> Result<Value, Unsupported> {
        self.check_size(&[factors.len()])?;
        let columns: Vec<usize> = (0..factors.len()).collect();
        self.monomial(value, &columns, factors, name)
    }

    /// A linear layer that selects columns and multiplies them by factors. Its weight gets `name`.
    fn monomial(
        &mut self,
        value: Value,
        columns: &[usize],
        factors: &[f64],
        name: &str,
    ) -> Result<Value, Unsupported> {
        let (width, count) = (self.extents(value).1, columns.len());
        self.check_size(&[count, width])?;
        let element = |i: usize| {
            let row = i / width;
            if columns[row] == i % width { factors[row] as f32 } else { 0.0 }
        };
        let weight = self.make(name, &[count, width], data((0..count * width).map(element)))?;
        self.monomials.insert(weight);
        let bias = self.zeros(count)?;
        self.push(OpKind::Linear {}, &[value, weight, bias])
    }

    /// What the monomial layer that makes a value computes, if one does.
    fn monomial_of(&self, value: Value) -> Result<Option<Monomial>, Unsupported> {
        let Some(op) = self.producer(value) else { return Ok(None) };
        if !op.operands.get(1).is_some_and(|weight| self.monomials.contains(weight)) {
            return Ok(None);
        }
        let constant = |value: Value| self.graph.const_f32(value).ok_or_else(computed_parameter);
        let (weights, offsets) = (constant(op.operands[1])?, constant(op.operands[2])?);
        let width = self.extents(op.operands[1]).1;
        let only = |row: &[f32]| {
            let column = row.iter().position(|x| *x != 0.0)?;
            Some((column, f64::from(row[column])))
        };
        Ok(Some(Monomial {
            source: op.operands[0],
            width,
            columns: weights.chunks(width.max(1)).map(only).collect(),
            offsets: offsets.into_iter().map(f64::from).collect(),
        }))
    }

    /// `x w^T + b`. Monomial layers before it are absorbed.
    pub(super) fn linear(
        &mut self,
        x: Value,
        weight: Value,
        bias: Value,
    ) -> Result<Value, Unsupported> {
        if self.sums.contains(&x)
            && let Some(op) = self.producer(x)
        {
            let zeros = self.zeros(self.extents(weight).0)?;
            let parts = [(op.operands[0], bias), (op.operands[1], zeros)];
            let mut results = Vec::with_capacity(2);
            for (part, bias) in parts {
                results.push(self.linear(part, weight, bias)?);
            }
            return self.push(OpKind::Binary { f: BinaryFn::Add }, &results);
        }
        let [x, weight, bias] =
            self.through_monomial(x, weight, bias)?.unwrap_or([x, weight, bias]);
        self.push(OpKind::Linear {}, &[x, weight, bias])
    }

    /// The operand, weight and bias of a linear layer that absorbs the monomial layer before it, or
    /// before the windows that it reads; `None` if there is none.
    fn through_monomial(
        &mut self,
        x: Value,
        weight: Value,
        bias: Value,
    ) -> Result<Option<[Value; 3]>, Unsupported> {
        let (monomial, windows) = match self.producer(x) {
            Some(op) if matches!(op.kind, OpKind::Patches { .. }) => {
                (self.monomial_of(op.operands[0])?, Some(op.kind))
            }
            _ => (self.monomial_of(x)?, None),
        };
        let Some(Monomial { source, width, columns, offsets }) = monomial else { return Ok(None) };
        let taps = match &windows {
            // Padding adds zeros, to which offsets are not added.
            Some(OpKind::Patches { pad, .. })
                if *pad != [0; 4] && offsets.iter().any(|offset| *offset != 0.0) =>
            {
                return Ok(None);
            }
            Some(OpKind::Patches { kernel, .. }) => kernel[0] * kernel[1],
            _ => 1,
        };
        let constant = |value: Value| self.graph.const_f32(value).ok_or_else(computed_parameter);
        let (weights, biases) = (constant(weight)?, constant(bias)?);
        let (outputs, inner, outer) = (biases.len(), columns.len(), width);
        self.check_size(&[outputs, taps, outer])?;
        let mut absorbed = vec![0f64; outputs * taps * outer];
        let mut sums: Vec<f64> = biases.iter().map(|bias| f64::from(*bias)).collect();
        for (row, sum) in sums.iter_mut().enumerate() {
            for tap in 0..taps {
                let from = &weights[(row * taps + tap) * inner..][..inner];
                let to = &mut absorbed[(row * taps + tap) * outer..][..outer];
                for ((w, column), offset) in from.iter().zip(&columns).zip(&offsets) {
                    if let Some((column, factor)) = column {
                        to[*column] += f64::from(*w) * factor;
                    }
                    *sum += f64::from(*w) * offset;
                }
            }
        }
        let (weight_name, bias_name) = (self.name(weight), self.name(bias));
        let elements = data(absorbed.into_iter().map(|x| x as f32));
        let weight = self.make(&weight_name, &[outputs, taps * outer], elements)?;
        let bias = self.make(&bias_name, &[outputs], data(sums.into_iter().map(|x| x as f32)))?;
        let x = match windows {
            Some(windows) => self.push(windows, &[source])?,
            None => source,
        };
        Ok(Some([x, weight, bias]))
    }

    /// LayerNorm of a matrix. Its result does not depend on the order of the columns, so that
    /// another order before it becomes one behind it.
    pub(super) fn layer_norm(
        &mut self,
        x: Value,
        [gamma, beta]: [Value; 2],
        eps: f64,
    ) -> Result<Value, Unsupported> {
        let kind = OpKind::LayerNorm { eps };
        let Some(monomial) = self.monomial_of(x)? else {
            return self.push(kind, &[x, gamma, beta]);
        };
        let columns: Option<Vec<usize>> = monomial
            .columns
            .iter()
            .map(|column| column.filter(|(_, factor)| *factor == 1.0).map(|(column, _)| column))
            .collect();
        let is_order = |columns: &Vec<usize>| {
            let mut sorted = columns.clone();
            sorted.sort_unstable();
            sorted.into_iter().eq(0..monomial.width)
        };
        let shifted = monomial.offsets.iter().any(|offset| *offset != 0.0);
        let Some(columns) = columns.filter(|columns| is_order(columns) && !shifted) else {
            return self.push(kind, &[x, gamma, beta]);
        };
        let mut parameters = Vec::with_capacity(2);
        for parameter in [gamma, beta] {
            let old = self.graph.const_f32(parameter).ok_or_else(computed_parameter)?;
            let mut new = vec![0.0; old.len()];
            columns.iter().zip(old).for_each(|(column, x)| new[*column] = x);
            let name = self.name(parameter);
            parameters.push(self.make(&name, &[new.len()], data(new))?);
        }
        let result = self.push(kind, &[monomial.source, parameters[0], parameters[1]])?;
        self.monomial(result, &columns, &vec![1.0; columns.len()], "")
    }
}
