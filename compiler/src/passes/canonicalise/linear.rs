//! Products with constants, convolutions, LayerNorm and means over tokens.

use super::view::{Axis, View, Walk, walks};
use super::{Canonicaliser, Meaning, unexpected};
use crate::ir::{OpData, OpKind};
use crate::passes::error::Unsupported;

impl Canonicaliser<'_> {
    pub(super) fn matmul(
        &mut self,
        op: &OpData,
        operands: &[Meaning],
    ) -> Result<Meaning, Unsupported> {
        match (&operands[0], &operands[1]) {
            (Meaning::View(x), Meaning::Constant) => self.linear(op, x),
            (Meaning::View(a), Meaning::View(b)) => self.scores(op, a, b),
            (Meaning::Probabilities(scores), Meaning::View(v)) => self.attention(op, scores, v),
            // v^T p^T is the transpose of p v.
            (Meaning::View(v), Meaning::Transposed(scores)) => {
                let swapped = |rank: usize| {
                    let mut perm: Vec<usize> = (0..rank).collect();
                    perm.swap(rank - 2, rank - 1);
                    perm
                };
                let v = v.transposed(&swapped(v.dims.len()));
                match self.attention(op, scores, &v)? {
                    Meaning::View(result) => {
                        Ok(Meaning::View(result.transposed(&swapped(result.dims.len()))))
                    }
                    other => Ok(other),
                }
            }
            (a, b) => Err(Unsupported::new(
                format!("a product of {} and {}", a.name(), b.name()),
                "tokens and constant weights, queries and keys, or attention probabilities and values",
            )),
        }
    }

    fn linear(&mut self, op: &OpData, x: &View) -> Result<Meaning, Unsupported> {
        let [leading @ .., inputs, outputs] = &self.source.ty(op.operands[1]).shape[..] else {
            return Err(Unsupported::new("weights without dimensions", "a matrix of weights"));
        };
        if leading.iter().any(|extent| *extent != 1) {
            let ty = self.source.ty(op.operands[1]);
            return Err(Unsupported::new(
                format!("weights {ty}"),
                "one matrix of weights for all tokens",
            ));
        }
        let last = x.dims.len() - 1;
        let channels = |dim: &Vec<Walk>| dim.iter().any(|walk| walk.axis == Axis::Column);
        if x.dims[..last].iter().any(channels)
            && x.dims[last].iter().all(|walk| walk.axis == Axis::Column)
        {
            return self.mix_heads(op, x, *inputs, *outputs);
        }
        let matrix = self.builder.matrix(x, last)?;
        let weight = self.builder.adopt_transposed(op.operands[1], *inputs, *outputs)?;
        let bias = self.builder.zeros(*outputs)?;
        let matrix = self.builder.linear(matrix, weight, bias)?;
        let shape = &self.source.ty(op.results[0]).shape;
        Ok(Meaning::View(View::row_major(matrix, shape, shape.len() - 1)))
    }

    /// A product that sums over the heads of `x`, its last dimension: every token and feature is
    /// mixed by the same weights.
    fn mix_heads(
        &mut self,
        op: &OpData,
        x: &View,
        heads_in: usize,
        heads_out: usize,
    ) -> Result<Meaning, Unsupported> {
        let (heads, others) = x.dims.split_last().expect("an operand of a product has dimensions");
        let along =
            |axis| others.iter().flatten().copied().filter(move |walk: &Walk| walk.axis == axis);
        let features: usize = along(Axis::Column).map(|walk| walk.extent).product();
        let rows = walks(along(Axis::Row));
        let columns = walks(heads.iter().copied().chain(along(Axis::Column)));
        let matrix = self.builder.matrix_of(&x.unscaled(), &rows, &columns)?;
        let weight = self.builder.adopt_transposed(op.operands[1], heads_in, heads_out)?;
        let bias = self.builder.zeros(heads_out)?;
        let matrix =
            self.builder.push(OpKind::MixHeads { heads_in, heads_out }, &[matrix, weight, bias])?;

        // In the result, tokens and the features of each head are in the order of the dimensions.
        let mut left = [rows.iter().map(|walk| walk.extent).product(), features];
        let mut closed = |walk: &Walk| {
            let left = &mut left[usize::from(walk.axis == Axis::Column)];
            *left /= walk.extent;
            Walk { stride: *left, ..*walk }
        };
        let mut dims: Vec<Vec<Walk>> =
            others.iter().map(|dim| walks(dim.iter().map(&mut closed))).collect();
        dims.push(walks([Walk { axis: Axis::Column, extent: heads_out, stride: features }]));
        // Weights of higher rank add leading dimensions of extent 1.
        let missing = self.source.ty(op.results[0]).rank().saturating_sub(dims.len());
        dims.splice(0..0, vec![Vec::new(); missing]);
        Ok(Meaning::View(View { matrix, row: 0, column: 0, dims, factor: x.factor, step: None }))
    }

    pub(super) fn convolution(
        &mut self,
        op: &OpData,
        x: &Meaning,
        stride: [usize; 2],
        pad: [usize; 4],
        dilation: [usize; 2],
        group: usize,
    ) -> Result<Meaning, Unsupported> {
        if dilation != [1, 1] || group != 1 {
            return Err(Unsupported::new(
                format!("{group} groups, dilation {dilation:?}"),
                "1 group, dilation 1",
            ));
        }
        let shapes = [op.operands[0], op.operands[1]].map(|value| &self.source.ty(value).shape[..]);
        let [[_, _, height, width], [outputs, channels, down, across]] = shapes else {
            return Err(Unsupported::new(
                "operands of another rank",
                "an image and weights [o,c,kh,kw]",
            ));
        };
        let (map, kernel) = ([*height, *width], [*down, *across]);
        let (outputs, channels) = (*outputs, *channels);
        let pixels = match x {
            Meaning::View(view) => self.builder.layout(view, &[0, 2, 3], &[1])?,
            _ => return Err(unexpected(x, "an image or a map of features")),
        };
        let patches = match (kernel, stride, pad) {
            ([1, 1], [1, 1], [0, 0, 0, 0]) => pixels,
            _ => self.builder.push(OpKind::Patches { map, kernel, stride, pad }, &[pixels])?,
        };
        let weight =
            self.builder.adopt_kernel(op.operands[1], [outputs, channels, kernel[0], kernel[1]])?;
        let bias = match op.operands.get(2) {
            Some(bias) => self.builder.adopt(*bias, &[outputs])?,
            None => self.builder.zeros(outputs)?,
        };
        let matrix = self.builder.linear(patches, weight, bias)?;
        let [_, _, rows, columns] = self.source.ty(op.results[0]).shape[..] else {
            return Err(Unsupported::new("a result of another rank", "an image"));
        };
        Ok(Meaning::View(
            View::row_major(matrix, &[1, rows, columns, outputs], 3).transposed(&[0, 3, 1, 2]),
        ))
    }

    /// The mean over all tokens.
    pub(super) fn mean(
        &mut self,
        op: &OpData,
        x: &Meaning,
        axes: &[usize],
    ) -> Result<Meaning, Unsupported> {
        let Meaning::View(view) = x else { return Err(unexpected(x, "tokens")) };
        let over = |dim: usize| axes.contains(&dim) || view.dims[dim].is_empty();
        let (rows, columns): (Vec<usize>, Vec<usize>) =
            (0..view.dims.len()).partition(|dim| over(*dim));
        let tokens = |dims: &[usize]| {
            dims.iter().flat_map(|dim| &view.dims[*dim]).all(|walk| walk.axis == Axis::Row)
        };
        let channels = |dims: &[usize]| {
            dims.iter().flat_map(|dim| &view.dims[*dim]).all(|walk| walk.axis == Axis::Column)
        };
        if !(tokens(&rows) && channels(&columns)) {
            return Err(Unsupported::new(
                format!("a mean over axes {axes:?} of {}", self.source.ty(op.operands[0])),
                "means over all tokens, or within LayerNorm",
            ));
        }
        let matrix = self.builder.layout(view, &rows, &columns)?;
        let mean =
            self.builder.push(OpKind::ReduceMean { axes: vec![0], keep: true }, &[matrix])?;
        Ok(Meaning::View(View::row_major(mean, &self.source.ty(op.results[0]).shape, 0)))
    }

    pub(super) fn layer_norm(
        &mut self,
        op: &OpData,
        x: &Meaning,
        eps: f64,
    ) -> Result<Meaning, Unsupported> {
        let Meaning::View(view) = x else { return Err(unexpected(x, "tokens")) };
        let shape = &self.source.ty(op.results[0]).shape;
        let split = shape.len() - 1;
        let matrix = self.builder.matrix(view, split)?;
        let gamma = self.builder.adopt(op.operands[1], &shape[split..])?;
        let beta = self.builder.adopt(op.operands[2], &shape[split..])?;
        let matrix = self.builder.layer_norm(matrix, [gamma, beta], eps)?;
        Ok(Meaning::View(View::row_major(matrix, shape, split)))
    }
}
