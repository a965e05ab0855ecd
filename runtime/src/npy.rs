//! NumPy's `.npy` files: any file of numbers can be read as float32, and arrays are written in
//! their own type.

use std::io::{self, Write};

use half::f16;
use ndarray::{ArrayD, IxDyn, ShapeBuilder as _};
use vitcod_support::npy::{Header, HeaderError};

/// Why bytes are not an array of numbers in `.npy` format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// The header is not that of an array.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Elements that are no numbers.
    #[error("expected elements of float32, float64 or integers, found {found:?}")]
    Element {
        /// NumPy's name of the type.
        found: String,
    },
    /// An array that no memory holds.
    #[error("the shape {shape:?} is too large")]
    Shape {
        /// Shape in the header.
        shape: Vec<usize>,
    },
    /// More or fewer bytes than the shape needs.
    #[error("expected {expected} bytes for {descr:?} {shape:?} after the header, found {found}")]
    Length {
        /// NumPy's name of the type.
        descr: String,
        /// Shape in the header.
        shape: Vec<usize>,
        /// Bytes of that shape.
        expected: usize,
        /// Bytes in the file after its header.
        found: usize,
    },
    /// An integer that float32 rounds.
    #[error("element {index} of the file: expected an integer that float32 holds, found {found}")]
    Integer {
        /// Its index in the order of the file.
        index: usize,
        /// The integer.
        found: i128,
    },
}

/// Decodes an array of numbers as float32. Integers must be exactly representable; float64 is
/// rounded. Memory is proportional to the bytes.
///
/// # Errors
/// The bytes are not a `.npy` file of numbers, or an integer is not representable in float32.
pub fn decode(bytes: &[u8]) -> Result<ArrayD<f32>, NpyError> {
    let (header, data) = Header::split(bytes)?;
    let values = numbers(&header, data)?;
    let order = IxDyn(&header.shape).set_f(header.fortran_order);
    ArrayD::from_shape_vec(order, values).map_err(|_| NpyError::Shape { shape: header.shape })
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

elements!(f32: "<f4", i8: "|i1", i16: "<i2", i64: "<i8", u32: "<u4");

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

/// The elements after a header, in the order of the file.
fn numbers(header: &Header<'_>, data: &[u8]) -> Result<Vec<f32>, NpyError> {
    let (order, kind) = header.descr.split_at_checked(1).unwrap_or_default();
    let array = Elements { header, data, big_endian: order == ">" };
    match kind {
        "f2" => array.decode(|x| Ok(f16::from_le_bytes(x).to_f32())),
        "f4" => array.decode(|x| Ok(f32::from_le_bytes(x))),
        "f8" => array.decode(|x| Ok(f64::from_le_bytes(x) as f32)),
        "b1" => array.decode(|[x]: [u8; 1]| Ok(f32::from(x != 0))),
        "i1" => array.decode(|x| exact(i8::from_le_bytes(x))),
        "i2" => array.decode(|x| exact(i16::from_le_bytes(x))),
        "i4" => array.decode(|x| exact(i32::from_le_bytes(x))),
        "i8" => array.decode(|x| exact(i64::from_le_bytes(x))),
        "u1" => array.decode(|x| exact(u8::from_le_bytes(x))),
        "u2" => array.decode(|x| exact(u16::from_le_bytes(x))),
        "u4" => array.decode(|x| exact(u32::from_le_bytes(x))),
        "u8" => array.decode(|x| exact(u64::from_le_bytes(x))),
        _ => Err(NpyError::Element { found: header.descr.to_owned() }),
    }
}

struct Elements<'a> {
    header: &'a Header<'a>,
    data: &'a [u8],
    big_endian: bool,
}

impl Elements<'_> {
    /// Each element by `number`, which is given little-endian bytes and fails with an integer that
    /// float32 cannot hold.
    fn decode<const N: usize>(
        &self,
        number: impl Fn([u8; N]) -> Result<f32, i128>,
    ) -> Result<Vec<f32>, NpyError> {
        let Header { descr, ref shape, .. } = *self.header;
        let bytes = shape.iter().try_fold(N, |product, extent| product.checked_mul(*extent));
        let expected = bytes.ok_or_else(|| NpyError::Shape { shape: shape.clone() })?;
        let found = self.data.len();
        if found != expected {
            let (descr, shape) = (descr.to_owned(), shape.clone());
            return Err(NpyError::Length { descr, shape, expected, found });
        }
        let values = self.data.as_chunks::<N>().0.iter().enumerate().map(|(index, bytes)| {
            let mut bytes = *bytes;
            if self.big_endian {
                bytes.reverse();
            }
            number(bytes).map_err(|found| NpyError::Integer { index, found })
        });
        values.collect()
    }
}

/// An integer as float32, where that is exact.
fn exact(integer: impl Into<i128>) -> Result<f32, i128> {
    let integer = integer.into();
    let float = integer as f32;
    if float as i128 == integer { Ok(float) } else { Err(integer) }
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
        let halves = [1.5, -2.0].map(|x| f16::from_f32(x).to_le_bytes());
        assert_eq!(read("<f2", &halves.concat()), [1.5, -2.0]);
        assert_eq!(read("|b1", &[0, 1]), [0.0, 1.0]);
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
            let data = [7, integer].map(i64::to_le_bytes).concat();
            let expected = format!(
                "element 1 of the file: expected an integer that float32 holds, found {integer}"
            );
            assert_eq!(array("<i8", "(2,)", "False", &data).unwrap_err(), expected);
        }
    }

    #[test]
    fn malformed_files_are_refused() {
        let huge = "(4611686018427387904, 4611686018427387904)";
        assert!(array("<f4", huge, "False", &[]).unwrap_err().contains("too large"));
        assert_eq!(
            array("<f4", "(1000000000000,)", "False", &[0; 8]).unwrap_err(),
            "expected 4000000000000 bytes for \"<f4\" [1000000000000] after the header, found 8"
        );
        assert!(array("<f4", "(0, 9223372036854775807, 9)", "False", &[]).is_err());
        assert!(
            array("<c8", "(1,)", "False", &[0; 8])
                .unwrap_err()
                .contains("expected elements of float32")
        );
        assert!(
            array("", "(1,)", "False", &[0; 8])
                .unwrap_err()
                .contains("expected elements of float32")
        );
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
