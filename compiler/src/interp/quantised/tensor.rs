//! Integer tensors.

use std::ops::Range;

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use vitcod_isa::numerics::{ProbabilityFormat, dequantise, quantise_i8, quantise_i16};
use vitcod_isa::operands::mask_row;

use crate::interp::patches::pixels;
use crate::ir::{Elem, Graph, GraphInput, Image, TensorType, Value};

/// The elements of a quantised tensor, row-major. Shape and step are those of the value's
/// [`TensorType`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tensor {
    /// 8-bit integers.
    I8(Vec<i8>),
    /// Probabilities as minifloats.
    E3m5(Vec<u8>),
    /// 16-bit integers.
    I16(Vec<i16>),
    /// Row numbers of a table.
    U16(Vec<u16>),
    /// Row sums of softmax.
    U32(Vec<u32>),
    /// Bits of a mask.
    Byte(Vec<u8>),
}

impl Tensor {
    /// The element type.
    pub fn elem(&self) -> Elem {
        match self {
            Tensor::I8(_) => Elem::I8,
            Tensor::E3m5(_) => Elem::E3m5,
            Tensor::I16(_) => Elem::I16,
            Tensor::U16(_) => Elem::U16,
            Tensor::U32(_) => Elem::U32,
            Tensor::Byte(_) => Elem::Byte,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Tensor::I8(x) => x.len(),
            Tensor::E3m5(x) => x.len(),
            Tensor::I16(x) => x.len(),
            Tensor::U16(x) => x.len(),
            Tensor::U32(x) => x.len(),
            Tensor::Byte(x) => x.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Encodes the elements, little-endian.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Tensor::I8(x) => x.iter().map(|x| *x as u8).collect(),
            Tensor::I16(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Tensor::U16(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Tensor::U32(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Tensor::E3m5(x) | Tensor::Byte(x) => x.clone(),
        }
    }

    /// Decodes [`Tensor::to_le_bytes`]. `None` if there is a partial element, or tensors do not
    /// have the element type.
    pub fn from_le_bytes(elem: Elem, bytes: &[u8]) -> Option<Tensor> {
        match elem {
            Elem::I8 => Some(Tensor::I8(bytes.iter().map(|x| *x as i8).collect())),
            Elem::I16 => {
                let (elements, rest) = bytes.as_chunks();
                rest.is_empty()
                    .then(|| Tensor::I16(elements.iter().map(|x| i16::from_le_bytes(*x)).collect()))
            }
            Elem::U16 => {
                let (elements, rest) = bytes.as_chunks();
                rest.is_empty()
                    .then(|| Tensor::U16(elements.iter().map(|x| u16::from_le_bytes(*x)).collect()))
            }
            Elem::U32 => {
                let (elements, rest) = bytes.as_chunks();
                rest.is_empty()
                    .then(|| Tensor::U32(elements.iter().map(|x| u32::from_le_bytes(*x)).collect()))
            }
            Elem::E3m5 => Some(Tensor::E3m5(bytes.to_vec())),
            Elem::Byte => Some(Tensor::Byte(bytes.to_vec())),
            Elem::F32 | Elem::I64 | Elem::Channel => None,
        }
    }

    /// Appends a range of another tensor's elements; `None` if the element types differ.
    pub(super) fn append(&mut self, other: &Tensor, range: Range<usize>) -> Option<()> {
        match (self, other) {
            (Tensor::I8(x), Tensor::I8(other)) => x.extend_from_slice(&other[range]),
            (Tensor::I16(x), Tensor::I16(other)) => x.extend_from_slice(&other[range]),
            (Tensor::U16(x), Tensor::U16(other)) => x.extend_from_slice(&other[range]),
            (Tensor::U32(x), Tensor::U32(other)) => x.extend_from_slice(&other[range]),
            (Tensor::E3m5(x), Tensor::E3m5(other)) | (Tensor::Byte(x), Tensor::Byte(other)) => {
                x.extend_from_slice(&other[range])
            }
            _ => return None,
        }
        Some(())
    }

    /// Quantises real numbers to a type. Row numbers are converted without scaling, and a mask has
    /// a bit for each number, set if it is not 0. `None` if the type cannot represent the numbers
    /// or has another number of elements.
    pub fn quantise(x: &ArrayViewD<'_, f32>, ty: &TensorType) -> Option<Tensor> {
        match (ty.elem, &ty.shape[..]) {
            (Elem::U16, _) if x.len() == ty.elements() => {
                let row =
                    |x: &f32| (x.fract() == 0.0 && (0.0..65536.0).contains(x)).then_some(*x as u16);
                return x.iter().map(row).collect::<Option<_>>().map(Tensor::U16);
            }
            (Elem::Byte, [rows, bytes]) if x.len().div_ceil(8) == *bytes => {
                return Some(Tensor::Byte(mask_row(x.iter().map(|x| *x != 0.0)).repeat(*rows)));
            }
            _ => {}
        }
        let step = ty.step.filter(|_| x.len() == ty.elements())?;
        match ty.elem {
            Elem::I8 => Some(Tensor::I8(x.iter().map(|x| quantise_i8(*x, step)).collect())),
            Elem::I16 => Some(Tensor::I16(x.iter().map(|x| quantise_i16(*x, step)).collect())),
            _ => None,
        }
    }

    /// [`Tensor::quantise`] for an input of a quantised graph: a mask may be inverted, and the
    /// channels of an image may have factors and offsets ([`Graph::image`]).
    pub fn of_input(graph: &Graph, input: Value, x: &ArrayViewD<'_, f32>) -> Option<Tensor> {
        if graph.is_inverted(input) {
            return Tensor::quantise(&x.mapv(GraphInput::invert).view(), graph.ty(input));
        }
        let Some(normal) = graph.image(input).filter(Image::is_normalised) else {
            return Tensor::quantise(x, graph.ty(input));
        };
        let mut image: Vec<f32> = x.iter().copied().collect();
        normal.normalise(&mut image);
        let image = ArrayViewD::from_shape(x.shape(), &image).ok()?;
        Tensor::quantise(&image, graph.ty(input))
    }

    /// The columns of a matrix with `rows` rows, one after the other.
    pub(super) fn columns(&self, rows: usize) -> Tensor {
        match self {
            Tensor::I8(x) => Tensor::I8(pixels(x, rows)),
            Tensor::E3m5(x) => Tensor::E3m5(pixels(x, rows)),
            Tensor::I16(x) => Tensor::I16(pixels(x, rows)),
            Tensor::U16(x) => Tensor::U16(pixels(x, rows)),
            Tensor::U32(x) => Tensor::U32(pixels(x, rows)),
            Tensor::Byte(x) => Tensor::Byte(pixels(x, rows)),
        }
    }

    /// Probabilities in a format of bytes.
    pub(super) fn probabilities(format: ProbabilityFormat, bytes: Vec<u8>) -> Tensor {
        match format {
            ProbabilityFormat::Int8 => {
                Tensor::I8(bytes.into_iter().map(|byte| byte as i8).collect())
            }
            ProbabilityFormat::Minifloat => Tensor::E3m5(bytes),
        }
    }

    /// The integers that probabilities represent, if these are such.
    pub(super) fn decoded(&self) -> Option<Vec<i16>> {
        match self {
            Tensor::I8(x) => Some(x.iter().map(|x| (*x).into()).collect()),
            Tensor::E3m5(x) => {
                Some(x.iter().map(|x| ProbabilityFormat::Minifloat.decode(*x)).collect())
            }
            _ => None,
        }
    }

    /// The real numbers that the elements represent, with a given shape. `None` if they do not
    /// represent real numbers or do not match the shape.
    pub fn dequantise(&self, step: f64, shape: &[usize]) -> Option<ArrayD<f32>> {
        let elements = match self {
            Tensor::I8(x) => x.iter().map(|x| dequantise(*x, step)).collect(),
            Tensor::I16(x) => x.iter().map(|x| dequantise(*x, step)).collect(),
            Tensor::E3m5(_) | Tensor::U16(_) | Tensor::U32(_) | Tensor::Byte(_) => return None,
        };
        ArrayD::from_shape_vec(IxDyn(shape), elements).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_little_endian() {
        for (tensor, bytes) in [
            (Tensor::I8(vec![1, -2]), vec![1, 0xfe]),
            (Tensor::I16(vec![1, -2]), vec![1, 0, 0xfe, 0xff]),
            (Tensor::U16(vec![0xfffe]), vec![0xfe, 0xff]),
            (Tensor::U32(vec![0x0403_0201]), vec![1, 2, 3, 4]),
        ] {
            assert_eq!(tensor.to_le_bytes(), bytes);
            assert_eq!(Tensor::from_le_bytes(tensor.elem(), &bytes), Some(tensor));
        }
        assert_eq!(Tensor::from_le_bytes(Elem::I16, &[0; 3]), None);
        assert_eq!(Tensor::from_le_bytes(Elem::F32, &[0; 4]), None);
    }

    #[test]
    fn real_numbers() {
        let x = ArrayD::from_shape_vec(IxDyn(&[1, 2]), vec![0.3, -1000.0]).unwrap();
        let quantise = |ty| Tensor::quantise(&x.view(), &ty);
        let i8s = quantise(TensorType::quantised(Elem::I8, [2], 0.25)).unwrap();
        assert_eq!(i8s, Tensor::I8(vec![1, -128]));
        assert_eq!(
            quantise(TensorType::quantised(Elem::I16, [2], 0.25)),
            Some(Tensor::I16(vec![1, -4000]))
        );
        assert_eq!(quantise(TensorType::quantised(Elem::I8, [3], 0.25)), None);
        assert_eq!(quantise(TensorType::new(Elem::I8, [2])), None);
        assert_eq!(
            i8s.dequantise(0.25, &[1, 2]).unwrap().into_raw_vec_and_offset().0,
            [0.25, -32.0]
        );
        assert_eq!(i8s.dequantise(0.25, &[3]), None);
    }

    #[test]
    fn numbers_that_are_themselves() {
        let quantise = |x: &[f32], ty: TensorType| {
            Tensor::quantise(
                &ArrayD::from_shape_vec(IxDyn(&[1, x.len()]), x.to_vec()).unwrap().view(),
                &ty,
            )
        };
        assert_eq!(
            quantise(&[7.0, 65535.0], TensorType::new(Elem::U16, [1, 2])),
            Some(Tensor::U16(vec![7, 65535]))
        );
        for wrong in [-1.0, 0.5, 65536.0, f32::NAN] {
            assert_eq!(quantise(&[wrong], TensorType::new(Elem::U16, [1, 1])), None);
        }
        let flags = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(
            quantise(&flags, TensorType::new(Elem::Byte, [2, 2])),
            Some(Tensor::Byte(vec![5, 1, 5, 1]))
        );
        assert_eq!(quantise(&flags, TensorType::new(Elem::Byte, [2, 1])), None);
    }
}
