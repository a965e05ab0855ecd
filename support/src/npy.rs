//! The header of `.npy` files (NumPy's `numpy.lib.format`): element type, order and shape.
//!
//! The header is a Python literal. Only the three keys that every array has are accepted; it is
//! parsed in one pass, without recursion.

const MAGIC: &[u8] = b"\x93NUMPY";

/// The largest header, in bytes, as in NumPy, which writes 118. It bounds errors that quote the
/// header.
const MAX_HEADER: usize = 10_000;

/// Alignment of the elements in the file, as NumPy writes it.
const ALIGNMENT: usize = 64;

/// The header of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Byte order and type of the elements, such as `<f4`.
    pub descr: &'a str,
    /// Whether the first axis is the one that varies fastest.
    pub fortran_order: bool,
    /// The extents of the axes.
    pub shape: Vec<usize>,
}

/// Why bytes are not a `.npy` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The magic number is missing.
    #[error("it does not begin with \\x93NUMPY")]
    Magic,
    /// The file ends within the header.
    #[error("the header is truncated: it ends at byte {expected}, the file at byte {found}")]
    Truncated {
        /// Bytes of the file before its elements, or a lower bound of them.
        expected: usize,
        /// Bytes of the file.
        found: usize,
    },
    /// The version of the format is unknown.
    #[error("format version {0}: expected 1, 2 or 3")]
    Version(u8),
    /// The header exceeds the limit.
    #[error("a header of {0} bytes: expected at most {MAX_HEADER}")]
    Length(usize),
    /// The header is not the dictionary of an array of numbers.
    #[error(
        "the header is not a dictionary of 'descr', 'fortran_order' and 'shape': expected {expected} \
         at byte {at}"
    )]
    Dictionary {
        /// Offset in the file.
        at: usize,
        /// The missing token.
        expected: &'static str,
    },
}

impl<'a> Header<'a> {
    /// Parses the header at the start of a file; returns it with the bytes of the elements.
    ///
    /// # Errors
    /// The file does not start with a valid header.
    pub fn split(file: &'a [u8]) -> Result<(Header<'a>, &'a [u8]), HeaderError> {
        let rest = file.strip_prefix(MAGIC).ok_or(HeaderError::Magic)?;
        let truncated = |expected| HeaderError::Truncated { expected, found: file.len() };
        let version = MAGIC.len() + 2;
        let ([major, _minor], rest) = rest.split_first_chunk().ok_or(truncated(version))?;
        let (start, length) = match major {
            1 => (version + 2, rest.first_chunk().map(|length| u16::from_le_bytes(*length).into())),
            2 | 3 => (version + 4, rest.first_chunk().map(|length| u32::from_le_bytes(*length))),
            _ => return Err(HeaderError::Version(*major)),
        };
        let length = length.ok_or(truncated(start))? as usize;
        if length > MAX_HEADER {
            return Err(HeaderError::Length(length));
        }
        let (header, elements) =
            file[start..].split_at_checked(length).ok_or(truncated(start + length))?;
        let text = std::str::from_utf8(header).map_err(|error| HeaderError::Dictionary {
            at: start + error.valid_up_to(),
            expected: "UTF-8",
        })?;
        let mut cursor = Cursor { rest: text, end: start + length };
        Ok((cursor.header()?, elements))
    }

    /// Encodes the header: the bytes of a file before its elements.
    ///
    /// # Panics
    /// There are thousands of axes.
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
        let start = MAGIC.len() + 4;
        let length = (start + header.len() + 1).next_multiple_of(ALIGNMENT) - start;
        header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
        header.push('\n');
        let length = u16::try_from(length).expect("tensors have tens of axes at most");
        [MAGIC, &[1, 0], &length.to_le_bytes(), header.as_bytes()].concat()
    }
}

/// The unread part of a header; every method skips leading white space.
struct Cursor<'a> {
    rest: &'a str,
    /// Bytes of the file up to its end.
    end: usize,
}

impl<'a> Cursor<'a> {
    fn header(&mut self) -> Result<Header<'a>, HeaderError> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect("{", "`{`")?;
        while !self.take("}") {
            let unknown = self.error("one of these keys");
            let key = self.string()?;
            self.expect(":", "`:`")?;
            match key {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran = Some(self.bool()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return Err(unknown),
            }
            if !self.take(",") {
                self.expect("}", "`,` or `}`")?;
                break;
            }
        }
        let missing = |key| self.error(key);
        let header = Header {
            descr: descr.ok_or_else(|| missing("'descr'"))?,
            fortran_order: fortran.ok_or_else(|| missing("'fortran_order'"))?,
            shape: shape.ok_or_else(|| missing("'shape'"))?,
        };
        match self.rest.trim_start() {
            "" => Ok(header),
            _ => Err(self.error("the end of the header")),
        }
    }

    /// The error that `expected` does not follow.
    fn error(&self, expected: &'static str) -> HeaderError {
        HeaderError::Dictionary { at: self.end - self.rest.trim_start().len(), expected }
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), HeaderError> {
        if self.take(token) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn string(&mut self) -> Result<&'a str, HeaderError> {
        let error = self.error("a quoted text");
        let quote = ['\'', '"'].into_iter().find(|quote| self.take(quote.encode_utf8(&mut [0; 4])));
        let (string, rest) = quote.and_then(|quote| self.rest.split_once(quote)).ok_or(error)?;
        self.rest = rest;
        Ok(string)
    }

    fn bool(&mut self) -> Result<bool, HeaderError> {
        match self.take("True") {
            true => Ok(true),
            false => self.expect("False", "`True` or `False`").map(|()| false),
        }
    }

    fn tuple(&mut self) -> Result<Vec<usize>, HeaderError> {
        let mut extents = Vec::new();
        self.expect("(", "`(`")?;
        while !self.take(")") {
            let text = self.rest.trim_start();
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let extent = text[..end].parse();
            extents.push(extent.map_err(|_| self.error("an extent from 0 to 2^64 - 1"))?);
            self.rest = &text[end..];
            if !self.take(",") {
                self.expect(")", "`,` or `)`")?;
                break;
            }
        }
        Ok(extents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this version and header, without elements.
    fn file(version: u8, text: &[u8]) -> Vec<u8> {
        let length = (text.len() as u32).to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length };
        [MAGIC, &[version, 0], length, text].concat()
    }

    #[test]
    fn headers_survive_their_bytes() {
        for shape in [vec![], vec![3], vec![2, 0, 5], vec![usize::MAX; 64]] {
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
    fn all_versions_are_read_and_no_truncation_is() {
        for version in 1..=3 {
            let good =
                file(version, "{'shape':(1,),\"descr\": 'ü','fortran_order':False}".as_bytes());
            let expected = Header { descr: "ü", fortran_order: false, shape: vec![1] };
            assert_eq!(Header::split(&good), Ok((expected, &[][..])));
            for length in 0..good.len() {
                match Header::split(&good[..length]).unwrap_err() {
                    HeaderError::Magic => assert!(length < MAGIC.len()),
                    HeaderError::Truncated { expected, found } => {
                        assert!(found == length && expected > length && expected <= good.len());
                    }
                    error => panic!("{length}: {error}"),
                }
            }
        }
        assert_eq!(Header::split(&file(9, b"{}")), Err(HeaderError::Version(9)));
    }

    #[test]
    fn errors_say_what_was_expected_where() {
        let whole = "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}";
        let changed = |from: &str, to: &str| whole.replace(from, to);
        for (text, at, expected) in [
            (String::new(), 0, "`{`"),
            ("{".to_owned(), 1, "a quoted text"),
            (changed("'descr'", "'names'"), 1, "one of these keys"),
            (changed("'<f4'", "[('a', '<f4')]"), 10, "a quoted text"),
            (changed("'<f4'", "'<f4"), 17, "`,` or `}`"),
            (changed("True", "true"), 34, "`True` or `False`"),
            (changed("(1", "[1"), 49, "`(`"),
            (changed("(1", "(-1"), 50, "an extent from 0 to 2^64 - 1"),
            (changed("1", "18446744073709551616"), 50, "an extent from 0 to 2^64 - 1"),
            (changed("1,", "1"), 52, "`,` or `)`"),
            (changed("}", ""), 55, "`,` or `}`"),
            (changed("}", "} x"), 57, "the end of the header"),
            (changed(", 'shape': (1, 2)", ""), 39, "'shape'"),
        ] {
            let found = Header::split(&file(2, text.as_bytes())).map(|_| ());
            assert_eq!(found, Err(HeaderError::Dictionary { at: at + 12, expected }), "{text}");
        }
        let latin = Header::split(&file(1, b"{'\xfc'")).unwrap_err();
        assert_eq!(latin, HeaderError::Dictionary { at: 12, expected: "UTF-8" });
        let long = Header::split(&file(2, &[b'('; MAX_HEADER + 1])).unwrap_err();
        assert_eq!(long.to_string(), "a header of 10001 bytes: expected at most 10000");
    }
}
