//! Masks as `.npy` files.
//!
//! This reader allocates nothing based on the header alone, and errors name the invalid element.

use std::path::Path;

use vitcod_support::npy::Header;

use super::{Entry, MAX_HEADS, MAX_TOKENS, Mask, MaskError, Masks};

/// The meaning of an element 1 (`True`) of a mask file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// The entry is kept.
    KeptIsTrue,
    /// The entry is pruned: the convention of the authors' files.
    PrunedIsTrue,
}

impl Masks {
    /// Reads the bytes of a `.npy` file: an array `[layers, heads, queries, keys]` of bool, or of
    /// little-endian integers or floats that are 0 or 1, in C or Fortran order.
    ///
    /// Without a given polarity it is inferred from the class token, whose row and column (0) are
    /// kept in every head. Memory is proportional to the file's length.
    ///
    /// # Errors
    /// The bytes are not such an array, no polarity fits, or a query keeps no key.
    pub fn from_npy(bytes: &[u8], polarity: Option<Polarity>) -> Result<Masks, MaskError> {
        let array = Array::parse(bytes)?;
        array.check_binary()?;
        let polarity = polarity.map_or_else(|| array.polarity(), Ok)?;
        let [layers, heads, queries, keys] = array.shape;
        let mask = |layer, head| {
            Mask::from_fn(queries, keys, |query, key| {
                array.is_true(Entry { layer, head, query, key })
                    == (polarity == Polarity::KeptIsTrue)
            })
        };
        Masks::new(
            (0..layers).map(|layer| (0..heads).map(|head| mask(layer, head)).collect()).collect(),
        )
    }

    /// As [`Masks::from_npy`], from a file.
    ///
    /// # Errors
    /// The file cannot be read, or as [`Masks::from_npy`].
    pub fn read_npy(
        path: impl AsRef<Path>,
        polarity: Option<Polarity>,
    ) -> Result<Masks, MaskError> {
        Masks::from_npy(&std::fs::read(path)?, polarity)
    }

    /// Encodes the masks as a `.npy` file of bool that [`Masks::from_npy`] reads.
    ///
    /// # Errors
    /// The layers differ in heads or tokens, so that one array cannot hold them.
    pub fn to_npy(&self, polarity: Polarity) -> Result<Vec<u8>, MaskError> {
        let shape = |layer: &[Mask]| (layer.len(), layer[0].queries(), layer[0].keys());
        let (heads, queries, keys) = shape(&self.layers()[0]);
        if let Some(layer) =
            self.layers().iter().position(|layer| shape(layer) != (heads, queries, keys))
        {
            return Err(MaskError::Ragged { layer });
        }
        let shape = vec![self.layers().len(), heads, queries, keys];
        let mut bytes = Header { descr: "|b1", fortran_order: false, shape }.to_bytes();
        bytes.reserve(self.entries());
        for mask in self.layers().iter().flatten() {
            let entries = (0..queries).flat_map(|query| (0..keys).map(move |key| (query, key)));
            bytes.extend(
                entries.map(|(q, k)| {
                    u8::from(mask.is_kept(q, k) == (polarity == Polarity::KeptIsTrue))
                }),
            );
        }
        Ok(bytes)
    }
}

/// A four-dimensional array with complete data.
struct Array<'a> {
    element: Element,
    fortran: bool,
    shape: [usize; 4],
    data: &'a [u8],
}

impl<'a> Array<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Array<'a>, MaskError> {
        let (header, data) = Header::split(bytes)?;
        let element = Element::parse(header.descr)
            .ok_or_else(|| MaskError::ElementType(header.descr.to_owned()))?;
        let Ok(shape) = <[usize; 4]>::try_from(&header.shape[..]) else {
            return Err(MaskError::Shape { found: header.shape });
        };
        let heads = shape[0].checked_mul(shape[1]).filter(|heads| *heads <= MAX_HEADS);
        if shape.contains(&0)
            || heads.is_none()
            || shape[2..].iter().any(|tokens| *tokens > MAX_TOKENS)
        {
            return Err(MaskError::Shape { found: header.shape });
        }
        let expected =
            shape.iter().try_fold(element.bytes(), |product, extent| product.checked_mul(*extent));
        if expected != Some(data.len()) {
            return Err(MaskError::Length {
                shape: header.shape,
                element: element.bytes(),
                found: data.len(),
            });
        }
        Ok(Array { element, fortran: header.fortran_order, shape, data })
    }

    fn value(&self, at: Entry) -> f64 {
        let [layers, heads, queries, keys] = self.shape;
        let Entry { layer, head, query, key } = at;
        let index = if self.fortran {
            layer + layers * (head + heads * (query + queries * key))
        } else {
            ((layer * heads + head) * queries + query) * keys + key
        };
        let bytes = self.element.bytes();
        self.element.value(&self.data[index * bytes..][..bytes])
    }

    fn is_true(&self, at: Entry) -> bool {
        self.value(at) == 1.0
    }

    /// Every element, in C order.
    fn entries(&self) -> impl Iterator<Item = Entry> {
        let [layers, heads, queries, keys] = self.shape;
        let heads = (0..layers).flat_map(move |layer| (0..heads).map(move |head| (layer, head)));
        heads.flat_map(move |(layer, head)| {
            (0..queries)
                .flat_map(move |query| (0..keys).map(move |key| Entry { layer, head, query, key }))
        })
    }

    fn check_binary(&self) -> Result<(), MaskError> {
        for at in self.entries() {
            let value = self.value(at);
            if value != 0.0 && value != 1.0 {
                return Err(MaskError::NotBinary { at, value });
            }
        }
        Ok(())
    }

    /// The polarity in which every head keeps its row 0 and its column 0.
    fn polarity(&self) -> Result<Polarity, MaskError> {
        let first = self.is_true(Entry { layer: 0, head: 0, query: 0, key: 0 });
        let mut class_token = self.entries().filter(|at| at.query == 0 || at.key == 0);
        match class_token.find(|at| self.is_true(*at) != first) {
            Some(at) => Err(MaskError::Polarity { first, at }),
            None if first => Ok(Polarity::KeptIsTrue),
            None => Ok(Polarity::PrunedIsTrue),
        }
    }
}

/// Types of elements that can hold a mask.
#[derive(Clone, Copy)]
enum Element {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Element {
    /// The type of a NumPy description.
    fn parse(descr: &str) -> Option<Element> {
        Some(match descr {
            "|b1" | "|u1" => Element::U8,
            "|i1" => Element::I8,
            "<u2" => Element::U16,
            "<i2" => Element::I16,
            "<u4" => Element::U32,
            "<i4" => Element::I32,
            "<u8" => Element::U64,
            "<i8" => Element::I64,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Element::U8 | Element::I8 => 1,
            Element::U16 | Element::I16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::U64 | Element::I64 | Element::F64 => 8,
        }
    }

    /// An element's value. Conversion never turns another value into 0 or 1.
    fn value(self, bytes: &[u8]) -> f64 {
        fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("as many bytes as the type has")
        }
        match self {
            Element::U8 => u8::from_le_bytes(of(bytes)).into(),
            Element::I8 => i8::from_le_bytes(of(bytes)).into(),
            Element::U16 => u16::from_le_bytes(of(bytes)).into(),
            Element::I16 => i16::from_le_bytes(of(bytes)).into(),
            Element::U32 => u32::from_le_bytes(of(bytes)).into(),
            Element::I32 => i32::from_le_bytes(of(bytes)).into(),
            Element::U64 => u64::from_le_bytes(of(bytes)) as f64,
            Element::I64 => i64::from_le_bytes(of(bytes)) as f64,
            Element::F32 => f32::from_le_bytes(of(bytes)).into(),
            Element::F64 => f64::from_le_bytes(of(bytes)),
        }
    }
}
