//! The bytes of lists. All integers are little-endian.

use super::{ContextSet, LineGroups, ListError, Phase};

/// A query in the `rows` of a list: 6 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListRow {
    /// The query of its head.
    pub query: u16,
    /// Number of its entries.
    pub entries: u16,
    /// The head.
    pub head: u8,
    /// The context that holds it: `group * contexts + c`.
    pub context: u8,
}

/// Bytes of a [`ListRow`].
pub const LIST_ROW_BYTES: u64 = 6;

impl ListRow {
    /// Encodes query, entries, head and context.
    pub const fn to_bytes(self) -> [u8; LIST_ROW_BYTES as usize] {
        let ([a, b], [c, d]) = (self.query.to_le_bytes(), self.entries.to_le_bytes());
        [a, b, c, d, self.head, self.context]
    }

    /// Decodes a row.
    pub const fn from_bytes([a, b, c, d, head, context]: [u8; LIST_ROW_BYTES as usize]) -> ListRow {
        let [query, entries] = [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])];
        ListRow { query, entries, head, context }
    }

    /// The query's number over all heads, with `m` queries in each.
    pub fn number(self, m: u16) -> usize {
        usize::from(self.head) * usize::from(m) + usize::from(self.query)
    }
}

/// Decodes the `rows` of a list; bytes after the last complete one are ignored.
pub fn list_rows(bytes: &[u8]) -> impl ExactSizeIterator<Item = ListRow> {
    bytes.as_chunks().0.iter().map(|bytes| ListRow::from_bytes(*bytes))
}

/// An element of the program of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The row of a key passes by.
    Row {
        /// The key.
        key: u16,
        /// The contexts that compute an entry with it.
        uses: ContextSet,
    },
    /// The next queries of `rows`, all of which are the same query of their heads, take their
    /// contexts. At least 1.
    Held(u8),
}

/// Tokens that seat the queries of batch `s`, if it is segment `s`, and rows of batch `s - 1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// How many cycles later than the last token of the segment before its last token issues, in
    /// scores and in products; 65,535 stands for more, too. Of the first one: in which cycle.
    pub cycles: [u16; 2],
    /// The tokens, at most 65,535.
    pub tokens: Vec<Token>,
}

impl Segment {
    /// The stated cycles of a phase.
    pub fn stated(&self, phase: Phase) -> u16 {
        self.cycles[phase as usize]
    }
}

/// Bytes of the header of a segment.
pub const SEGMENT_BYTES: u64 = 6;

/// Bytes of a key of a list.
pub const fn list_key_bytes(wide: bool) -> u64 {
    if wide { 2 } else { 1 }
}

/// Bytes of a [`Token::Row`].
pub fn row_token_bytes(wide: bool, groups: &LineGroups) -> u64 {
    1 + list_key_bytes(wide) + groups.set_bytes() as u64
}

/// A list, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The queries, in the order in which tokens seat them.
    pub rows: Vec<ListRow>,
    /// The tokens. There is one batch less than there are segments.
    pub segments: Vec<Segment>,
}

impl List {
    /// Decodes the operands `rows` and `tokens` of an instruction with such groups.
    ///
    /// # Errors
    /// The bytes of the tokens end within a segment, or seat more queries than there are.
    pub fn from_bytes(
        rows: &[u8],
        tokens: &[u8],
        wide: bool,
        groups: &LineGroups,
    ) -> Result<List, ListError> {
        let rows: Vec<ListRow> = list_rows(rows).collect();
        let mut bytes = tokens;
        let mut segments: Vec<Segment> = Vec::new();
        // Decoded tokens are larger than their bytes, and those of a byte by far: no more are
        // kept of them than there are queries, and a segment.
        let mut standing = rows.len();
        while !bytes.is_empty() {
            let number = segments.len();
            let truncated = ListError::Truncated { segment: number };
            let segment = segment(&mut bytes, wide, groups).ok_or(truncated)?;
            for (token, place) in segment.tokens.iter().zip(0..) {
                if let Token::Held(queries) = token {
                    let seats = ListError::Seats { segment: number, token: place };
                    standing = standing.checked_sub((*queries).into()).ok_or(seats)?;
                }
            }
            segments.push(segment);
        }
        Ok(List { rows, segments })
    }

    /// Encodes the operand `rows`.
    pub fn rows_to_bytes(&self) -> Vec<u8> {
        self.rows.iter().flat_map(|row| row.to_bytes()).collect()
    }

    /// Encodes the operand `tokens`; `None` if a key does not fit, a segment has too many tokens or
    /// a token holds no query.
    pub fn tokens_to_bytes(&self, wide: bool, groups: &LineGroups) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut set = vec![0; groups.set_bytes()];
        for segment in &self.segments {
            bytes.extend(u16::try_from(segment.tokens.len()).ok()?.to_le_bytes());
            bytes.extend(segment.cycles.into_iter().flat_map(u16::to_le_bytes));
            for token in &segment.tokens {
                match token {
                    Token::Held(0) => return None,
                    Token::Held(queries) => bytes.push(*queries),
                    Token::Row { key, uses } => {
                        bytes.push(0);
                        if wide {
                            bytes.extend(key.to_le_bytes());
                        } else {
                            bytes.push(u8::try_from(*key).ok()?);
                        }
                        uses.to_bytes(&mut set);
                        bytes.extend_from_slice(&set);
                    }
                }
            }
        }
        Some(bytes)
    }
}

/// Takes a segment off the bytes; `None` if they end within it.
fn segment(bytes: &mut &[u8], wide: bool, groups: &LineGroups) -> Option<Segment> {
    let uint16 = |bytes: &mut &[u8]| Some(u16::from_le_bytes(*take(bytes, 2)?.first_chunk()?));
    let [count, scores, products] = [uint16(bytes)?, uint16(bytes)?, uint16(bytes)?];
    // A token has at least a byte: counts that lie take no memory.
    let mut tokens = Vec::with_capacity(usize::from(count).min(bytes.len()));
    for _ in 0..count {
        tokens.push(match *take(bytes, 1)?.first()? {
            0 => {
                let key = if wide { uint16(bytes)? } else { u16::from(*take(bytes, 1)?.first()?) };
                Token::Row { key, uses: ContextSet::from_bytes(take(bytes, groups.set_bytes())?) }
            }
            queries => Token::Held(queries),
        });
    }
    Some(Segment { cycles: [scores, products], tokens })
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}
