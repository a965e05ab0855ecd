//! NumPy's `.npy` files: any file of numbers can be read as float32, and arrays are written in
//! their own type.

use std::io::{self, Write};

use ndarray::{ArrayD, IxDyn, ShapeBuilder as _};
use vitcod_support::npy::Header;

/// Why bytes are no array of numbers in `.npy` form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NpyError(String);

/// Asserts what a file must hold.
fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), NpyError> {
    if holds { Ok(()) } else { Err(NpyError(message())) }
}

/// What a file must have.
fn some<T>(found: Option<T>, message: impl FnOnce() -> String) -> Result<T, NpyError> {
    found.ok_or_else(|| NpyError(message()))
}

/// An array of numbers as float32: integers only where that is exact, float64 rounded. Memory is
/// taken in proportion to the bytes.
///
/// # Errors
/// The bytes are no `.npy` file of numbers, or hold integers that float32 cannot hold.
pub fn decode(bytes: &[u8]) -> Result<ArrayD<f32>, NpyError> {
    let (header, data) = Header::split(bytes).map_err(|error| NpyError(error.to_string()))?;
    let shape = header.shape;
    let elements = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
    let elements = some(elements, || format!("the shape {shape:?} is too large"))?;
    let values = numbers(header.descr, data, elements)?;
    let order = IxDyn(&shape).set_f(header.fortran_order);
    ArrayD::from_shape_vec(order, values)
        .map_err(|error| NpyError(format!("the shape {shape:?} cannot be held: {error}")))
}

/// A type of elements that can be written.
pub trait Element: Copy {
    /// NumPy's name of the type.
    const DESCR: &str;

    /// Appends the bytes of an element.
    fn append(self, bytes: &mut Vec<u8>);
}

macro_rules! elements {
    ($($ty:ty: $descr:literal),*) => {$(
        impl Element for $ty {
            const DESCR: &str = $descr;

            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}

elements!(f32: "<f4", i8: "|i1", i16: "<i2", u32: "<u4");

/// Writes an array as a `.npy` file.
///
/// # Errors
/// As `out`.
pub fn write<A: Element>(array: &ArrayD<A>, out: &mut dyn Write) -> io::Result<()> {
    let shape = array.shape().to_vec();
    let mut bytes = Header { descr: A::DESCR, fortran_order: false, shape }.to_bytes();
    array.iter().for_each(|element| element.append(&mut bytes));
    out.write_all(&bytes)
}

/// `elements` numbers of the element type that NumPy calls `descr`.
fn numbers(descr: &str, data: &[u8], elements: usize) -> Result<Vec<f32>, NpyError> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or_default();
    let array = Elements { data, elements, big_endian: order == ">" };
    match kind {
        "f4" => array.decode(|x| Some(f32::from_le_bytes(x))),
        "f8" => array.decode(|x| Some(f64::from_le_bytes(x) as f32)),
        "i1" => array.decode(|x| exact(i8::from_le_bytes(x))),
        "i2" => array.decode(|x| exact(i16::from_le_bytes(x))),
        "i4" => array.decode(|x| exact(i32::from_le_bytes(x))),
        "i8" => array.decode(|x| exact(i64::from_le_bytes(x))),
        "u1" => array.decode(|x| exact(u8::from_le_bytes(x))),
        "u2" => array.decode(|x| exact(u16::from_le_bytes(x))),
        "u4" => array.decode(|x| exact(u32::from_le_bytes(x))),
        "u8" => array.decode(|x| exact(u64::from_le_bytes(x))),
        _ => Err(NpyError(format!(
            "the elements are {descr:?}: expected float32 (\"<f4\"), float64, or integers"
        ))),
    }
}

struct Elements<'a> {
    data: &'a [u8],
    elements: usize,
    big_endian: bool,
}

impl Elements<'_> {
    /// Each element by `number`, which is given little-endian bytes and says `None` where float32
    /// cannot hold it.
    fn decode<const N: usize>(
        &self,
        number: impl Fn([u8; N]) -> Option<f32>,
    ) -> Result<Vec<f32>, NpyError> {
        let (found, expected) = (self.data.len(), self.elements.saturating_mul(N));
        ensure(found == expected, || {
            format!("the elements take {expected} bytes, and {found} follow the header")
        })?;
        let values = self.data.as_chunks::<N>().0.iter().map(|bytes| {
            let mut bytes = *bytes;
            if self.big_endian {
                bytes.reverse();
            }
            number(bytes)
        });
        some(values.collect(), || "an integer is too large for float32".to_owned())
    }
}

/// An integer as float32, where that is exact.
fn exact(integer: impl Into<i128>) -> Option<f32> {
    let integer = integer.into();
    let float = integer as f32;
    (float as i128 == integer).then_some(float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16 + 1).to_le_bytes());
        bytes.extend(header.bytes().chain(*b"\n"));
        bytes.extend(data);
        bytes
    }

    fn array(descr: &str, shape: &str, fortran: &str, data: &[u8]) -> Result<ArrayD<f32>, String> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        decode(&file(&header, data)).map_err(|error| error.to_string())
    }

    #[test]
    fn element_types_become_float32() {
        let [low, high] = [1.5f32, -2.0].map(f32::to_le_bytes);
        let read = |descr, data: &[u8]| {
            array(descr, "(2,)", "False", data).unwrap().into_raw_vec_and_offset().0
        };
        assert_eq!(read("<f4", &[low, high].concat()), [1.5, -2.0]);
        assert_eq!(read(">f8", &[1.5f64, -2.0].map(f64::to_be_bytes).concat()), [1.5, -2.0]);
        assert_eq!(read("|i1", &[1, 0xff]), [1.0, -1.0]);
        assert_eq!(read("|u1", &[1, 0xff]), [1.0, 255.0]);
        assert_eq!(
            read("<i8", &[7i64, 1 << 40].map(i64::to_le_bytes).concat()),
            [7.0, (1u64 << 40) as f32]
        );
    }

    #[test]
    fn column_major_arrays_keep_their_indices() {
        let array = array("|u1", "(2, 3)", "True", &[0, 3, 1, 4, 2, 5]).unwrap();
        assert_eq!(array.iter().copied().collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn integers_that_float32_cannot_hold_are_refused() {
        for integer in [(1 << 24) + 1, i64::MAX] {
            let error = array("<i8", "(1,)", "False", &integer.to_le_bytes()).unwrap_err();
            assert_eq!(error, "an integer is too large for float32");
        }
    }

    #[test]
    fn malformed_files_are_refused() {
        let huge = "(4611686018427387904, 4611686018427387904)";
        assert!(array("<f4", huge, "False", &[]).unwrap_err().contains("too large"));
        assert!(
            array("<f4", "(1000000000000,)", "False", &[0; 8])
                .unwrap_err()
                .contains("4000000000000 bytes")
        );
        assert!(array("<f4", "(0, 9223372036854775807, 9)", "False", &[]).is_err());
        assert!(array("<c8", "(1,)", "False", &[0; 8]).unwrap_err().contains("expected float32"));
        assert!(array("", "(1,)", "False", &[0; 8]).unwrap_err().contains("expected float32"));
        for header in ["", "{", "{'descr': '<f4'}", &"(".repeat(3000), &"[".repeat(60_000)] {
            assert!(decode(&file(header, &[])).is_err(), "{header}");
        }
    }

    #[test]
    fn arrays_survive_their_files() {
        let array =
            ArrayD::from_shape_fn(IxDyn(&[2, 3, 4]), |i| (i[0] * 12 + i[1] * 4 + i[2]) as i16);
        // The order in memory is not that of the file.
        for array in [array.clone(), array.reversed_axes()] {
            let mut bytes = Vec::new();
            write(&array, &mut bytes).unwrap();
            assert_eq!(decode(&bytes).unwrap(), array.mapv(f32::from));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut bytes = Vec::new();
        write(&ArrayD::<f32>::zeros(IxDyn(&[2, 2])), &mut bytes).unwrap();
        assert_eq!(decode(&bytes).unwrap().shape(), [2, 2]);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
    }
}
