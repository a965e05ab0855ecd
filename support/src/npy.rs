//! The header of `.npy` files, NumPy's `numpy.lib.format`: what the elements are, and in what
//! order.
//!
//! The header is a Python literal, of which only the three keys that every array has are read. So
//! any header is read in one pass, without recursion, and takes memory in proportion to its bytes.

const MAGIC: &[u8] = b"\x93NUMPY";

/// NumPy starts the elements at a multiple of this.
const ALIGNMENT: usize = 64;

/// What the header of an array says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Byte order and type of the elements, such as `<f4`.
    pub descr: &'a str,
    /// Whether the first axis is the one that varies fastest.
    pub fortran_order: bool,
    /// The extents of the axes.
    pub shape: Vec<usize>,
}

/// Why bytes are not those of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes are others.
    #[error("it does not begin with \\x93NUMPY")]
    Magic,
    /// The file ends within the header.
    #[error("the header is truncated")]
    Truncated,
    /// A version of the format that is not known.
    #[error("format version {0}: expected 1, 2 or 3")]
    Version(u8),
    /// Not the dictionary of an array of numbers.
    #[error("the header is no dictionary of 'descr', 'fortran_order' and 'shape'")]
    Dictionary,
}

impl<'a> Header<'a> {
    /// The header at the start of a file, and the elements that follow it.
    ///
    /// # Errors
    /// The file does not start with the header of an array.
    pub fn split(file: &'a [u8]) -> Result<(Header<'a>, &'a [u8]), HeaderError> {
        let rest = file.strip_prefix(MAGIC).ok_or(HeaderError::Magic)?;
        let truncated = HeaderError::Truncated;
        let ([major, _minor], rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (length, rest) = match major {
            1 => rest
                .split_first_chunk()
                .map(|(length, rest)| (u16::from_le_bytes(*length).into(), rest)),
            2 | 3 => rest
                .split_first_chunk()
                .map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest)),
            _ => return Err(HeaderError::Version(*major)),
        }
        .ok_or(truncated)?;
        let (header, elements) = rest.split_at_checked(length).ok_or(truncated)?;
        let header = std::str::from_utf8(header).ok().and_then(|text| Cursor(text).header());
        Ok((header.ok_or(HeaderError::Dictionary)?, elements))
    }

    /// The bytes of a file before its elements.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let order = if self.fortran_order { "True" } else { "False" };
        let extents: String = self.shape.iter().map(|extent| format!("{extent}, ")).collect();
        // A tuple of one has a comma, one of several needs none.
        let extents = extents.strip_suffix(", ").unwrap_or(&extents);
        let comma = if self.shape.len() == 1 { "," } else { "" };
        let mut header = format!(
            "{{'descr': '{}', 'fortran_order': {order}, 'shape': ({extents}{comma}), }}",
            self.descr
        );
        // Version 2 has four bytes of length, for arrays of thousands of axes.
        let prefix = |bytes: usize| MAGIC.len() + 2 + bytes;
        let padded =
            |bytes| (prefix(bytes) + header.len() + 1).next_multiple_of(ALIGNMENT) - prefix(bytes);
        let mut file = MAGIC.to_vec();
        let length = match u16::try_from(padded(2)) {
            Ok(length) => {
                file.extend([1, 0]);
                file.extend(length.to_le_bytes());
                usize::from(length)
            }
            Err(_) => {
                file.extend([2, 0]);
                file.extend((padded(4) as u32).to_le_bytes());
                padded(4)
            }
        };
        header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
        file.extend(header.bytes());
        file.push(b'\n');
        file
    }
}

/// The rest of a header; every method skips leading white space.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn header(mut self) -> Option<Header<'a>> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.take("{")?;
        while self.take("}").is_none() {
            let key = self.string()?;
            self.take(":")?;
            match key {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran = Some(self.bool()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if self.take(",").is_none() {
                self.take("}")?;
                break;
            }
        }
        let header = Header { descr: descr?, fortran_order: fortran?, shape: shape? };
        self.0.trim_start().is_empty().then_some(header)
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = if self.take("'").is_some() { '\'' } else { self.take("\"").map(|()| '"')? };
        let (string, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        Some(string)
    }

    fn bool(&mut self) -> Option<bool> {
        self.take("True").map(|()| true).or_else(|| self.take("False").map(|()| false))
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut extents = Vec::new();
        self.take("(")?;
        while self.take(")").is_none() {
            let text = self.0.trim_start();
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            extents.push(text[..end].parse().ok()?);
            self.0 = &text[end..];
            if self.take(",").is_none() {
                self.take(")")?;
                break;
            }
        }
        Some(extents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_their_bytes() {
        for shape in [vec![], vec![3], vec![2, 0, 5], vec![7; 10_000], vec![1; 70_000]] {
            for fortran_order in [false, true] {
                let header = Header { descr: "<f4", fortran_order, shape: shape.clone() };
                let mut file = header.to_bytes();
                assert_eq!(file.len() % ALIGNMENT, 0);
                file.extend([1, 2, 3]);
                assert_eq!(Header::split(&file), Ok((header, &[1, 2, 3][..])));
            }
        }
    }

    #[test]
    fn headers_of_numpy_are_written() {
        let header = Header { descr: "|b1", fortran_order: false, shape: vec![2, 3] };
        let text = "{'descr': '|b1', 'fortran_order': False, 'shape': (2, 3), }";
        let file = [&b"\x93NUMPY\x01\x00\x76\x00"[..], text.as_bytes(), &[b' '; 58], b"\n"];
        assert_eq!(header.to_bytes(), file.concat());
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let file = |version: u8, text: &str| {
            let length = (text.len() as u16).to_le_bytes();
            [MAGIC, &[version, 0], &length, text.as_bytes()].concat()
        };
        let good = file(1, "{'shape':(1,),\"descr\": '<i8','fortran_order':False}");
        assert!(Header::split(&good).is_ok());
        for length in 0..good.len() {
            let expected = if length < 6 { HeaderError::Magic } else { HeaderError::Truncated };
            assert_eq!(Header::split(&good[..length]), Err(expected), "{length}");
        }
        assert_eq!(Header::split(&file(9, "{}")), Err(HeaderError::Version(9)));
        for text in ["", "{", "{'descr': '<f4'}", "[[[", "{'shape': (-1,)}", "{'shape': (1 2)}"] {
            assert_eq!(Header::split(&file(1, text)), Err(HeaderError::Dictionary), "{text}");
        }
    }
}
