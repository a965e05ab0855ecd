//! Tensors whose elements along a dimension are picked one by one: in another order, repeated, or
//! beside zeros.

use super::builder::Builder;
use super::constants::data;
use super::movement::is_along;
use super::view::{Axis, View, Walk, places, walks};
use super::{Canonicaliser, Meaning, unexpected};
use crate::ir::{OpData, OpKind, Value};
use crate::passes::error::Unsupported;

impl Canonicaliser<'_> {
    /// Picks by constant indices in any order.
    pub(super) fn gather(
        &mut self,
        op: &OpData,
        view: &View,
        axis: usize,
    ) -> Result<Meaning, Unsupported> {
        let to = &self.source.ty(op.results[0]).shape;
        let extent = view.shape()[axis];
        self.builder.check_size(&[self.source.ty(op.operands[1]).elements()])?;
        let indices = self.source.indices(op.operands[1], extent);
        let indices = indices.map_err(|problem| {
            Unsupported::new(problem, format!("constant indices below {extent}"))
        })?;
        let list: Vec<Option<usize>> = indices.into_iter().map(Some).collect();
        let picked = self.builder.picked(view, axis, &list)?;
        let uneven = || Unsupported::new(format!("picked elements made {to:?}"), "even dimensions");
        Ok(Meaning::View(picked.reshaped(to).ok_or_else(uneven)?))
    }

    /// Adds zeros along a dimension of tokens.
    pub(super) fn pad(
        &mut self,
        op: &OpData,
        x: &Meaning,
        axis: usize,
        [before, after]: [usize; 2],
    ) -> Result<Meaning, Unsupported> {
        let Meaning::View(view) = x else { return Err(unexpected(x, "tokens")) };
        let extent = view.shape()[axis];
        self.builder.check_size(&self.source.ty(op.results[0]).shape[axis..=axis])?;
        let zeros = |count| std::iter::repeat_n(None, count);
        let list: Vec<Option<usize>> =
            zeros(before).chain((0..extent).map(Some)).chain(zeros(after)).collect();
        Ok(Meaning::View(self.builder.picked(view, axis, &list)?))
    }
}

impl Builder<'_> {
    /// The tensor with these indices along a dimension; `None` stands for zeros.
    pub(super) fn picked(
        &mut self,
        view: &View,
        axis: usize,
        list: &[Option<usize>],
    ) -> Result<View, Unsupported> {
        let dim = &view.dims[axis];
        let along = match dim[..] {
            // A dimension of extent 1 is one of tokens if there is a single token.
            [] if view.sorted()[0].is_empty() => Axis::Row,
            [] => Axis::Column,
            [first, ..] => first.axis,
        };
        let ordered = self.whole(view)?;
        let ordered = if along == Axis::Row { self.in_order(&ordered)? } else { ordered };
        let within = |dim: &[Walk]| dim.iter().any(|walk| walk.axis == along);
        let dims: Vec<usize> =
            (0..ordered.dims.len()).filter(|d| *d == axis || within(&ordered.dims[*d])).collect();
        if !dims.iter().all(|d| is_along(&ordered.dims[*d], along)) {
            return Err(Unsupported::new(
                "elements picked along a dimension of tokens and channels",
                "tokens or channels picked",
            ));
        }
        let mut extents: Vec<usize> = dims.iter().map(|d| ordered.shape()[*d]).collect();
        if let Some(place) = dims.iter().position(|d| *d == axis) {
            extents[place] = list.len();
        }
        let count = self.check_size(&extents)?;
        self.charge(3 * count)?;
        // The old position of each new one, in row-major order of these dimensions.
        let mut positions = vec![Some(0)];
        for d in &dims {
            let steps = places(0, &ordered.dims[*d]);
            let steps: Vec<Option<usize>> = if *d == axis {
                list.iter().map(|index| index.map(|index| steps[index])).collect()
            } else {
                steps.into_iter().map(Some).collect()
            };
            positions = positions
                .iter()
                .flat_map(|outer| steps.iter().map(move |step| Some((*outer)? + (*step)?)))
                .collect();
        }
        let matrix = match along {
            Axis::Row => self.rows_or_zeros(ordered.matrix, &positions)?,
            Axis::Column => {
                let columns = positions.into_iter().collect::<Option<Vec<usize>>>();
                let columns = columns
                    .ok_or_else(|| Unsupported::new("channels of zeros", "zeros beside tokens"))?;
                self.selected(ordered.matrix, columns)?
            }
        };
        let mut left = count;
        let mut result = View { matrix, ..ordered };
        for (d, extent) in dims.into_iter().zip(extents) {
            left /= extent;
            result.dims[d] = walks([Walk { axis: along, extent, stride: left }]);
        }
        Ok(result)
    }

    /// Rows of a matrix in any order; `None` stands for a row of zeros.
    fn rows_or_zeros(
        &mut self,
        matrix: Value,
        rows: &[Option<usize>],
    ) -> Result<Value, Unsupported> {
        let (height, width) = self.extents(matrix);
        let mut source = matrix;
        if rows.iter().any(Option::is_none) {
            self.check_size(&[width])?;
            let row = self.make("", &[1, width], data(std::iter::repeat_n(0.0, width)))?;
            source = self.push(OpKind::Concat { axis: 0 }, &[matrix, row])?;
        }
        let rows = rows.iter().map(|row| row.unwrap_or(height)).collect();
        self.pick_rows(source, rows, 1)
    }

    /// The tensor repeated along dimensions of extent 1 to a shape to which it broadcasts.
    pub(super) fn expanded(&mut self, view: &View, to: &[usize]) -> Result<View, Unsupported> {
        let from = view.shape();
        let misfit = || {
            Unsupported::new(
                format!("a tensor {from:?} repeated to {to:?}"),
                "shapes that broadcast",
            )
        };
        let missing = to.len().checked_sub(from.len()).ok_or_else(misfit)?;
        let mut result = view.clone();
        result.dims.splice(0..0, vec![Vec::new(); missing]);
        // Innermost first: the walks of the others tell tokens from channels.
        for axis in (0..to.len()).rev() {
            match (result.shape()[axis], to[axis]) {
                (from, to) if from == to => {}
                (1, extent) => {
                    self.check_size(&[extent])?;
                    result = self.picked(&result, axis, &vec![Some(0); extent])?;
                }
                _ => return Err(misfit()),
            }
        }
        Ok(result)
    }
}
