//! Operands in the scratchpad.

use vitcod_isa::instr::Sram;

use crate::kernels::Matrix;

/// Rows of bytes in the scratchpad. The operand has been checked, so every row lies within the
/// scratchpad.
#[derive(Clone, Copy)]
pub(super) struct Block {
    at: usize,
    rows: usize,
    bytes: usize,
    stride: usize,
}

impl Block {
    /// `rows` rows of `columns` elements of `element` bytes, `stride` bytes apart.
    pub(super) fn new(at: Sram, rows: u16, columns: usize, element: u32, stride: u32) -> Block {
        let bytes = columns * element as usize;
        // An operand that is not accessed need not lie within the scratchpad.
        let stride = if bytes == 0 { 0 } else { stride as usize };
        Block { at: at.0 as usize, rows: rows.into(), bytes, stride }
    }

    /// `count` consecutive elements of `element` bytes.
    pub(super) fn vector(at: Sram, count: usize, element: u32) -> Block {
        Block::new(at, 1, count, element, 0)
    }

    fn row(self, i: usize) -> std::ops::Range<usize> {
        let start = self.at + i * self.stride;
        start..start + self.bytes
    }

    /// The bytes of row 0.
    pub(super) fn bytes(self, sram: &[u8]) -> &[u8] {
        &sram[self.row(0)]
    }

    /// The bytes of row `i`.
    pub(super) fn row_bytes(self, sram: &[u8], i: usize) -> &[u8] {
        &sram[self.row(i)]
    }

    /// The bytes of row `i`, to write them.
    pub(super) fn row_bytes_mut(self, sram: &mut [u8], i: usize) -> &mut [u8] {
        &mut sram[self.row(i)]
    }

    /// The bytes of each row.
    pub(super) fn rows(self, sram: &[u8]) -> impl Iterator<Item = &[u8]> {
        (0..self.rows).map(move |i| &sram[self.row(i)])
    }

    /// The elements of all rows, one row after the other.
    pub(super) fn read<const N: usize, T>(
        self,
        sram: &[u8],
        from: impl Fn([u8; N]) -> T,
    ) -> Vec<T> {
        let mut elements = Vec::with_capacity(self.rows * self.bytes / N);
        self.read_into(&mut elements, sram, from);
        elements
    }

    /// [`Block::read`] into a buffer, which is overwritten.
    pub(super) fn read_into<const N: usize, T>(
        self,
        elements: &mut Vec<T>,
        sram: &[u8],
        from: impl Fn([u8; N]) -> T,
    ) {
        elements.clear();
        for row in self.rows(sram) {
            elements.extend(row.as_chunks::<N>().0.iter().map(|bytes| from(*bytes)));
        }
    }

    /// Writes the elements that [`Block::read`] would read.
    pub(super) fn write<const N: usize, T: Copy>(
        self,
        sram: &mut [u8],
        elements: &[T],
        to: impl Fn(T) -> [u8; N],
    ) {
        let columns = self.bytes / N;
        for i in 0..self.rows {
            let row = sram[self.row(i)].as_chunks_mut::<N>().0;
            for (bytes, element) in row.iter_mut().zip(&elements[i * columns..]) {
                *bytes = to(*element);
            }
        }
    }

    /// The rows as an int8 matrix.
    pub(super) fn int8(self, sram: &[u8]) -> Matrix<'_> {
        Matrix::from_bytes(&sram[self.at..], self.rows, self.bytes, self.stride)
            .expect("the operand has been checked")
    }
}
