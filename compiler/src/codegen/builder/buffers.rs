//! The buffers that a plan declares: what is estimated, allocated and explained.

use std::fmt;

/// How long a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As long as its group executes: allocated once.
    Group,
    /// For some heads of attention.
    Heads,
    /// For a stripe of rows, or a panel of channels.
    Stripe,
    /// For a tile.
    Tile,
}

/// Scratchpad bytes that a plan asks for under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferSpec {
    /// What emission calls the buffer.
    pub(crate) name: &'static str,
    /// The most bytes of one copy.
    pub(crate) bytes: u64,
    /// Copies that live at the same time: 2 where one is loaded or stored while the other is used
    /// (double buffering).
    pub(crate) copies: u64,
    pub(crate) lifetime: Lifetime,
}

/// The buffers of a plan. A group fits if [`Declared::bytes`] fit the scratchpad beside the tensors
/// that stay there.
///
/// # Invariant (checked in debug builds by `audit`)
///
/// Emission allocates only buffers with a declared name, each of at most the declared bytes. Those of
/// a name that live at the same time take at most `bytes * copies`, executed in program order; those
/// that live as long as their group do so together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    specs: Vec<BufferSpec>,
    /// Bytes that no buffer takes: what alignment may cost.
    alignment: u64,
}

impl Declared {
    /// Declares a buffer; nothing if it has no bytes.
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

    /// These buffers and others.
    pub(crate) fn with(mut self, others: &Declared) -> Declared {
        self.specs.extend_from_slice(&others.specs);
        self.alignment += others.alignment;
        self
    }

    /// Sets bytes aside for the alignment of buffers.
    pub(crate) fn align(&mut self, bytes: usize) {
        self.alignment += bytes as u64;
    }

    /// Bytes of the scratchpad that all buffers take.
    pub(crate) fn bytes(&self) -> u64 {
        self.specs.iter().map(|spec| spec.bytes * spec.copies).sum::<u64>() + self.alignment
    }

    /// All buffers.
    pub(crate) fn specs(&self) -> &[BufferSpec] {
        &self.specs
    }
}

/// Copies where tiles follow each other, so that one moves while another is used.
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
