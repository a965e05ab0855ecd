//! The buffers that a plan declares. The estimate of bytes, the allocation and `--explain` all use
//! this declaration.

use std::fmt;

/// How long a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As long as its group executes: allocated once.
    Group,
    /// As long as some heads of attention are computed.
    Heads,
    /// As long as a stripe of rows or a panel of channels is computed.
    Stripe,
    /// As long as a tile is computed.
    Tile,
}

/// Scratchpad bytes that a plan declares under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferSpec {
    /// The name of the buffer in emission.
    pub(crate) name: &'static str,
    /// The most bytes of one copy.
    pub(crate) bytes: u64,
    /// Copies that live at the same time: 2 for double buffering.
    pub(crate) copies: u64,
    pub(crate) lifetime: Lifetime,
}

/// The buffers of a plan. A group fits if [`Declared::bytes`] fit the scratchpad beside the
/// resident tensors.
///
/// # Invariant (checked in debug builds by `audit`)
///
/// Emission allocates only buffers with a declared name, each of at most the declared bytes. In
/// program order, the buffers of a name that live at the same time take at most `bytes * copies`.
/// Buffers that live as long as their group all count as live at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    specs: Vec<BufferSpec>,
    /// Bytes that alignment may cost.
    alignment: u64,
}

impl Declared {
    /// Declares a buffer, unless it has no bytes.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        bytes: usize,
        copies: usize,
        lifetime: Lifetime,
    ) {
        if bytes * copies > 0 {
            self.specs.push(BufferSpec {
                name,
                bytes: bytes as u64,
                copies: copies as u64,
                lifetime,
            });
        }
    }

    /// The union of two declarations.
    pub(crate) fn with(mut self, others: &Declared) -> Declared {
        self.specs.extend_from_slice(&others.specs);
        self.alignment += others.alignment;
        self
    }

    /// Adds bytes that alignment may cost.
    pub(crate) fn align(&mut self, bytes: usize) {
        self.alignment += bytes as u64;
    }

    /// Scratchpad bytes of all buffers.
    pub(crate) fn bytes(&self) -> u64 {
        self.specs.iter().map(|spec| spec.bytes * spec.copies).sum::<u64>() + self.alignment
    }

    /// All buffers.
    pub(crate) fn specs(&self) -> &[BufferSpec] {
        &self.specs
    }
}

/// Copies of a buffer: 2 (double buffering) if several tiles use it one after the other.
pub(crate) fn double(several: bool) -> usize {
    if several { 2 } else { 1 }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes())?;
        for (index, BufferSpec { name, bytes, copies, lifetime }) in self.specs.iter().enumerate() {
            let per = match lifetime {
                Lifetime::Group => "group",
                Lifetime::Heads => "heads",
                Lifetime::Stripe => "stripe",
                Lifetime::Tile => "tile",
            };
            let separator = if index == 0 { ": " } else { ", " };
            write!(f, "{separator}{name} {copies} x {bytes} per {per}")?;
        }
        Ok(())
    }
}
