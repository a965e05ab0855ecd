//! Strided views of matrices in flat memory.

/// Why a view does not fit the given memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The last element lies outside the memory.
    #[error("{rows} rows of {cols}, {stride} apart, exceed {len} elements")]
    OutOfBounds {
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        cols: usize,
        /// Distance of rows, in elements.
        stride: usize,
        /// Length of the memory, in elements.
        len: usize,
    },
    /// The rows of a writable matrix overlap.
    #[error("rows of {cols} elements, {stride} apart, overlap and cannot be written")]
    Overlap {
        /// Number of columns.
        cols: usize,
        /// Distance of rows, in elements.
        stride: usize,
    },
}

/// Checks the extent. The returned stride is 0 for an empty matrix, whose rows are all empty slices
/// at the start of the memory.
fn checked_stride(len: usize, rows: usize, cols: usize, stride: usize) -> Result<usize, ViewError> {
    if rows == 0 || cols == 0 {
        return Ok(0);
    }
    let end = (rows - 1).checked_mul(stride).and_then(|start| start.checked_add(cols));
    if end.is_some_and(|end| end <= len) {
        Ok(stride)
    } else {
        Err(ViewError::OutOfBounds { rows, cols, stride, len })
    }
}

/// A readable int8 matrix: element (r, c) is `data[r * stride + c]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [i8],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> Matrix<'a> {
    /// A view of `rows` x `cols` elements whose rows start `stride` elements (bytes) apart. Rows
    /// may overlap; a stride of 0 repeats one row.
    ///
    /// # Errors
    /// [`ViewError::OutOfBounds`] if an element would lie outside `data`.
    pub fn new(data: &'a [i8], rows: usize, cols: usize, stride: usize) -> Result<Self, ViewError> {
        let stride = checked_stride(data.len(), rows, cols, stride)?;
        Ok(Self { data, rows, cols, stride })
    }

    /// [`Matrix::new`] over raw memory, each byte of which is one int8.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn from_bytes(
        data: &'a [u8],
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<Self, ViewError> {
        Self::new(as_i8(data), rows, cols, stride)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    #[inline]
    pub(super) fn row(&self, row: usize) -> &'a [i8] {
        &self.data[row * self.stride..][..self.cols]
    }
}

/// A writable int32 matrix: element (r, c) is `data[r * stride + c]`.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [i32],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// A view of `rows` x `cols` elements whose rows start `stride` elements apart. Elements
    /// between the rows are never accessed.
    ///
    /// # Errors
    /// [`ViewError::OutOfBounds`] if an element would lie outside `data`; [`ViewError::Overlap`] if
    /// an element would belong to two rows.
    pub fn new(
        data: &'a mut [i32],
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<Self, ViewError> {
        if rows > 1 && stride < cols {
            return Err(ViewError::Overlap { cols, stride });
        }
        let stride = checked_stride(data.len(), rows, cols, stride)?;
        Ok(Self { data, rows, cols, stride })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    #[inline]
    pub(super) fn row(&mut self, row: usize) -> &mut [i32] {
        &mut self.data[row * self.stride..][..self.cols]
    }

    /// The memory that starts at element (`row`, `col`).
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn memory_from(&mut self, row: usize, col: usize) -> &mut [i32] {
        &mut self.data[row * self.stride + col..]
    }
}

/// The same memory, each byte read as a two's complement number.
#[allow(unsafe_code, reason = "the language has no safe cast of a slice's elements")]
fn as_i8(bytes: &[u8]) -> &[i8] {
    // SAFETY: i8 has the size, alignment and valid bit patterns of u8, and the lifetime is kept.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}
