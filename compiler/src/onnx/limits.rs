//! Limits on the resources for reading a file.

/// Bounds on what reading an ONNX file may take, checked before anything is allocated.
///
/// Tensor data in `raw_data` fields and external files is not counted: it is shared with the file's
/// memory and its length is compared with the tensor's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of heap that decoding may take, independently of the file's size.
    pub memory_base: u64,
    /// Bytes of heap that decoding may take in addition for each byte of the file. 4 admits
    /// weights in `float_data`, which are copied and grow by doubling.
    pub memory_per_byte: u64,
    /// The most dimensions of a tensor.
    pub rank: usize,
    /// The most graphs inside each other's attributes, and calls of functions inside each other.
    pub nesting: usize,
    /// The most nodes after functions of the model are inlined.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_base: 64 << 20, memory_per_byte: 4, rank: 64, nesting: 16, nodes: 1 << 18 }
    }
}

impl Limits {
    /// Bytes of heap that decoding a file of `length` bytes may take.
    pub(super) fn memory(&self, length: usize) -> u64 {
        self.memory_per_byte.saturating_mul(length as u64).saturating_add(self.memory_base)
    }
}
