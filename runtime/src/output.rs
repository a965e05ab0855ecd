//! Outputs of a run.

use ndarray::{ArrayD, IxDyn};
use vitcod_isa::numerics::dequantise;
use vitcod_isa::program::{Binding, Element};

/// An output tensor: integers and their step.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Name in the model.
    pub name: String,
    /// Real value of one step.
    pub step: f64,
    /// The integers, in the model's shape; several items are concatenated along the first axis.
    pub values: Integers,
}

/// Integers of the output's width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integers {
    /// 8 bits.
    I8(ArrayD<i8>),
    /// 16 bits.
    I16(ArrayD<i16>),
}

impl Output {
    /// The real numbers that the integers represent.
    pub fn to_f32(&self) -> ArrayD<f32> {
        match &self.values {
            Integers::I8(values) => values.mapv(|q| dequantise(q, self.step)),
            Integers::I16(values) => values.mapv(|q| dequantise(q, self.step)),
        }
    }

    /// Decodes the output of `items` items from their bytes, one item after the other.
    pub(crate) fn new(binding: &Binding, items: usize, bytes: &[u8]) -> Output {
        // The tensor is in memory, so its extents fit.
        let mut shape: Vec<usize> = binding.shape.iter().map(|dim| *dim as usize).collect();
        match shape.first_mut() {
            Some(rows) => *rows *= items,
            None if items > 1 => shape.push(items),
            None => {}
        }
        let shape = IxDyn(&shape);
        let each = (bytes.len() / items.max(1)).max(1);
        let bytes: Vec<u8> =
            bytes.chunks(each).flat_map(|item| binding.restored(item.to_vec())).collect();
        let array = "as many bytes as elements take";
        let values = match binding.element {
            Element::I8 => {
                let values = bytes.iter().map(|byte| *byte as i8).collect();
                Integers::I8(ArrayD::from_shape_vec(shape, values).expect(array))
            }
            Element::Row { .. } | Element::Bits { .. } => {
                unreachable!("the checks refuse outputs that are no numbers")
            }
            Element::I16 => {
                let values =
                    bytes.as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
                Integers::I16(ArrayD::from_shape_vec(shape, values).expect(array))
            }
        };
        Output { name: binding.name.clone(), step: binding.step, values }
    }
}
