//! Images that are inputs: how their channels lie in memory, and their normalisation, which the
//! runtime performs before it quantises.

use super::constants::data;
use super::view::View;
use super::{Canonicaliser, Meaning};
use crate::ir::{BinaryFn, Elem, Graph, OpData, OpKind, Value};
use crate::passes::error::Unsupported;

/// How a tensor of rank 4 that is an input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// An image `[1, c, h, w]`.
    ChannelsFirst,
    /// An image `[1, h, w, c]`.
    ChannelsLast,
    /// Tokens whose channels have two dimensions.
    Tokens,
}

/// The readings of a graph's inputs to try, the most likely one first.
pub(super) fn readings(graph: &Graph) -> Vec<Reading> {
    use Reading::{ChannelsFirst, ChannelsLast, Tokens};
    let is_image = |value: Value| {
        let ty = graph.ty(value);
        ty.elem == Elem::F32 && ty.rank() == 4
    };
    let images: Vec<Value> =
        graph.inputs.iter().map(|input| input.value).filter(|value| is_image(*value)).collect();
    let convolved = |image: &Value| {
        let convolves =
            |op: &OpData| matches!(op.kind, OpKind::Conv { .. }) && op.operands[0] == *image;
        graph.order.iter().any(|op| convolves(graph.op(*op)))
    };
    if images.is_empty() {
        vec![Tokens]
    } else if images.iter().any(convolved) {
        vec![ChannelsFirst, ChannelsLast, Tokens]
    } else {
        vec![Tokens, ChannelsFirst, ChannelsLast]
    }
}

/// An image, normalised: `x factor + offset` for each channel.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// The input, of the canonical graph.
    input: Value,
    /// Its shape.
    shape: Vec<usize>,
    /// The axis of its channels.
    axis: usize,
    /// The tensor's dimensions by those of the input.
    perm: Vec<usize>,
    factors: Vec<f64>,
    offsets: Vec<f64>,
}

impl Image {
    pub(super) fn new(input: Value, shape: &[usize], reading: Reading) -> Image {
        let axis = if reading == Reading::ChannelsLast { 3 } else { 1 };
        let channels = shape[axis];
        let (factors, offsets) = (vec![1.0; channels], vec![0.0; channels]);
        Image { input, shape: shape.to_vec(), axis, perm: (0..4).collect(), factors, offsets }
    }

    /// The image with permuted dimensions.
    fn transposed(&self, perm: &[usize]) -> Image {
        Image { perm: perm.iter().map(|d| self.perm[*d]).collect(), ..self.clone() }
    }

    /// A function of the image and a constant, of which each channel has a number; `None` if that
    /// is no normalisation.
    fn with_constant(&self, f: BinaryFn, numbers: &[f64], swapped: bool) -> Option<Image> {
        let mut image = self.clone();
        let channels = image.factors.iter_mut().zip(&mut image.offsets).zip(numbers);
        for ((factor, offset), x) in channels {
            let (a, b) = match (f, swapped) {
                (BinaryFn::Add, _) => (1.0, *x),
                (BinaryFn::Sub, false) => (1.0, -x),
                (BinaryFn::Sub, true) => (-1.0, *x),
                (BinaryFn::Mul, _) => (*x, 0.0),
                (BinaryFn::Div, false) => (1.0 / x, 0.0),
                _ => return None,
            };
            (*factor, *offset) = (*factor * a, *offset * a + b);
        }
        let usable = |factor: &f64| (*factor as f32).is_normal() && *factor > 0.0;
        let finite = |offset: &f64| (*offset as f32).is_finite();
        let normalises = image.factors.iter().all(usable) && image.offsets.iter().all(finite);
        normalises.then_some(image)
    }
}

impl Canonicaliser<'_> {
    /// The result of an operation on an image if that is an image, too: with permuted dimensions or
    /// normalised.
    pub(super) fn of_image(
        &mut self,
        op: &OpData,
        operands: &[Meaning],
    ) -> Result<Option<Image>, Unsupported> {
        match (&op.kind, operands) {
            (OpKind::Transpose { perm }, [Meaning::Image(image)]) => {
                Ok(Some(image.transposed(perm)))
            }
            (OpKind::Binary { f }, [Meaning::Image(image), Meaning::Constant]) => {
                self.normalised(*f, op, image, op.operands[1], false)
            }
            (OpKind::Binary { f }, [Meaning::Constant, Meaning::Image(image)]) => {
                self.normalised(*f, op, image, op.operands[0], true)
            }
            _ => Ok(None),
        }
    }

    /// A function of an image and a constant, if that is a normalisation.
    fn normalised(
        &mut self,
        f: BinaryFn,
        op: &OpData,
        image: &Image,
        constant: Value,
        swapped: bool,
    ) -> Result<Option<Image>, Unsupported> {
        let ty = self.source.ty(constant);
        let rank = self.source.ty(op.results[0]).rank();
        // The constant has one number, or one for each channel.
        let axis = image.perm.iter().position(|d| *d == image.axis).unwrap_or_default();
        let missing = rank.checked_sub(ty.rank()).filter(|_| rank == image.shape.len());
        let beside = |missing: usize| {
            let mut extents = ty.shape.iter().enumerate();
            extents.all(|(d, extent)| d + missing == axis || *extent == 1)
        };
        let fits = missing.is_some_and(beside);
        let elements = self.source.const_f32(constant).filter(|_| fits).unwrap_or_default();
        let numbers: Vec<f64> = match elements[..] {
            [number] => vec![number.into(); image.factors.len()],
            _ if elements.len() == image.factors.len() => {
                elements.into_iter().map(f64::from).collect()
            }
            _ => return Ok(None),
        };
        self.builder.charge(3 * numbers.len())?;
        Ok(image.with_constant(f, &numbers, swapped))
    }

    /// The image as a view of its pixels.
    pub(super) fn pixels(&mut self, image: &Image) -> Result<View, Unsupported> {
        let mut operands = vec![image.input];
        let count = image.factors.len();
        // `x factor + offset` as `(x - offset) / factor`.
        let factors: Vec<f32> = image.factors.iter().map(|factor| (1.0 / factor) as f32).collect();
        let pairs = image.offsets.iter().zip(&image.factors);
        let offsets: Vec<f32> = pairs.map(|(offset, factor)| (-offset / factor) as f32).collect();
        let shifted = offsets.iter().any(|offset| *offset != 0.0);
        if shifted || factors.iter().any(|factor| *factor != 1.0) {
            operands.push(self.builder.make("factors", &[count], data(factors))?);
        }
        if shifted {
            operands.push(self.builder.make("offsets", &[count], data(offsets))?);
        }
        let last = image.axis == 3;
        let matrix = self.builder.push(OpKind::Pixels { last }, &operands)?;
        let mut shape = image.shape.clone();
        let channels = shape.remove(image.axis);
        shape.push(channels);
        let view = View::row_major(matrix, &shape, 3);
        let view = if last { view } else { view.transposed(&[0, 3, 1, 2]) };
        Ok(view.transposed(&image.perm))
    }
}
