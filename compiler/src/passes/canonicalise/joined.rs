//! Tensors joined along their channels.

use super::builder::Builder;
use super::constants::data;
use super::movement::is_along;
use super::view::{Axis, View, Walk, places, walks};
use crate::ir::{BinaryFn, OpKind, Value};
use crate::passes::error::Unsupported;

impl Builder<'_> {
    /// Joins tensors along a dimension of channels; `None` if it is one of tokens.
    pub(super) fn joined_columns(
        &mut self,
        parts: &[&View],
        axis: usize,
    ) -> Result<Option<View>, Unsupported> {
        let Some(first) = parts.first() else { return Ok(None) };
        let kind = |dim: &[Walk]| match dim {
            [] => None,
            [walk, ..] => Some(walk.axis),
        };
        // Dimensions of extent 1 are as in the parts in which they have more.
        let mut kinds = Vec::with_capacity(first.dims.len());
        for d in 0..first.dims.len() {
            let known: Vec<Axis> = parts.iter().filter_map(|part| kind(&part.dims[d])).collect();
            let pure = parts
                .iter()
                .all(|part| known.first().is_none_or(|axis| is_along(&part.dims[d], *axis)));
            if !pure {
                return Ok(None);
            }
            kinds.push(known.first().copied());
        }
        let has_columns =
            |part: &&View| part.dims.iter().any(|dim| kind(dim) == Some(Axis::Column));
        let along = kinds[axis].unwrap_or_else(|| {
            // Single elements side by side: of channels if the parts have tokens only.
            if parts.iter().any(has_columns) { Axis::Row } else { Axis::Column }
        });
        if along != Axis::Column {
            return Ok(None);
        }
        let of = |wanted: Axis| -> Vec<usize> {
            (0..kinds.len())
                .filter(|d| *d != axis || wanted == Axis::Column)
                .filter(|d| kinds[*d] == Some(wanted) || *d == axis)
                .collect()
        };
        let (rows, columns) = (of(Axis::Row), of(Axis::Column));
        let mut shape = first.shape();
        shape[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
        self.check_size(&columns.iter().map(|d| shape[*d]).collect::<Vec<_>>())?;
        let matrix = match self.columns_of_one(parts, &rows, &columns)? {
            Some(joined) => joined,
            None => {
                let mut joined = Vec::with_capacity(parts.len());
                for part in parts {
                    joined.push(self.layout(part, &rows, &columns)?);
                }
                self.side_by_side(&joined)?
            }
        };
        // Part after part; in the tensor, what is before the axis comes first.
        let outer: usize = columns.iter().take_while(|d| **d != axis).map(|d| shape[*d]).product();
        let width: usize = columns.iter().map(|d| shape[*d]).product();
        let matrix = if outer == 1 {
            matrix
        } else {
            let mut order = Vec::with_capacity(width);
            let widths: Vec<usize> = parts
                .iter()
                .map(|part| columns.iter().map(|d| part.shape()[*d]).product())
                .collect();
            for block in 0..outer {
                let mut start = 0;
                for width in &widths {
                    let each = width / outer;
                    order.extend(start + block * each..start + (block + 1) * each);
                    start += width;
                }
            }
            self.charge(order.len())?;
            self.selected(matrix, order)?
        };
        let mut left = [rows.iter().map(|d| shape[*d]).product(), width];
        let mut dims = vec![Vec::new(); shape.len()];
        for d in 0..shape.len() {
            let axis = match (rows.contains(&d), columns.contains(&d)) {
                (true, _) => Axis::Row,
                (_, true) => Axis::Column,
                _ => continue,
            };
            let left: &mut usize = &mut left[usize::from(axis == Axis::Column)];
            *left /= shape[d];
            dims[d] = walks([Walk { axis, extent: shape[d], stride: *left }]);
        }
        Ok(Some(View { matrix, row: 0, column: 0, dims, factor: 1.0, step: None }))
    }

    /// The joined columns of parts of one matrix with the same rows: a selection of its columns.
    fn columns_of_one(
        &mut self,
        parts: &[&View],
        rows: &[usize],
        columns: &[usize],
    ) -> Result<Option<Value>, Unsupported> {
        let [first, others @ ..] = parts else { return Ok(None) };
        let rows_of = |view: &View| walks(rows.iter().flat_map(|d| view.dims[*d].iter().copied()));
        let place = |view: &View| (view.matrix, view.row, view.factor);
        if others.iter().any(|view| place(view) != place(first) || rows_of(view) != rows_of(first))
        {
            return Ok(None);
        }
        let width = self.extents(first.matrix).1;
        let all = [Walk { axis: Axis::Column, extent: width, stride: 1 }];
        let matrix =
            self.matrix_of(&View { column: 0, ..(*first).clone() }, &rows_of(first), &walks(all))?;
        let mut order = Vec::new();
        for view in parts {
            let list: Vec<Walk> = columns.iter().flat_map(|d| view.dims[*d].clone()).collect();
            self.check_size(&list.iter().map(|walk| walk.extent).collect::<Vec<_>>())?;
            order.extend(places(view.column, &list));
        }
        self.charge(order.len())?;
        self.selected(matrix, order).map(Some)
    }

    /// Matrices with as many rows, side by side.
    fn side_by_side(&mut self, parts: &[Value]) -> Result<Value, Unsupported> {
        let widths: Vec<usize> = parts.iter().map(|part| self.extents(*part).1).collect();
        let (height, width) = self.extents(parts[0]);
        if widths.iter().all(|other| *other == width) {
            // One below the other, and rows merged.
            let all = self.push(OpKind::Concat { axis: 0 }, parts)?;
            self.check_size(&[height, parts.len()])?;
            let rows = (0..height)
                .flat_map(|row| (0..parts.len()).map(move |i| i * height + row))
                .collect();
            return self.pick_rows(all, rows, parts.len());
        }
        // The sum of the parts, each among zeros, which the next linear layer absorbs.
        let total = widths.iter().sum();
        let mut start = 0;
        let mut sum: Option<Value> = None;
        for (part, width) in parts.iter().zip(&widths) {
            let (first, width) = (start, *width);
            start += width;
            self.check_size(&[total, width])?;
            let one = |i: usize| f32::from(i / width == first + i % width);
            let weight = self.make("", &[total, width], data((0..total * width).map(one)))?;
            let bias = self.zeros(total)?;
            let among = self.push(OpKind::Linear {}, &[*part, weight, bias])?;
            self.monomials.insert(weight);
            sum = Some(match sum {
                None => among,
                Some(sum) => {
                    let sum = self.push(OpKind::Binary { f: BinaryFn::Add }, &[sum, among])?;
                    self.sums.insert(sum);
                    sum
                }
            });
        }
        sum.ok_or_else(|| Unsupported::new("no tensors joined", "one at least"))
    }
}
