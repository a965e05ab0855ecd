//! The kinds of text, and the buffers of operands.

use super::syntax;
use crate::instr::table::MAX_SRAM_OPERANDS;

/// The kind of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program.
    Program,
    /// Tasks: instructions on buffers without addresses.
    Tiled,
    /// Tasks on buffers with addresses.
    Scheduled,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Program, Kind::Tiled, Kind::Scheduled];

    /// The directive at the head of the text.
    pub const fn directive(self) -> &'static str {
        match self {
            Kind::Program => ".program",
            Kind::Tiled => ".tiled",
            Kind::Scheduled => ".scheduled",
        }
    }

    /// The kind of a text that starts with a directive: by the first directive that names a kind,
    /// else tiled. `None` if the text does not start with a directive.
    pub fn of(text: &str) -> Option<Kind> {
        let mut lines = syntax::lines(text);
        let first = lines.next()?.ok().filter(|line| line.head.text.starts_with('.'))?;
        let heads = std::iter::once(first).chain(lines.flatten()).map(|line| line.head.text);
        let kind = |head: &str| Kind::ALL.into_iter().find(|kind| kind.directive() == head);
        Some(heads.filter_map(kind).next().unwrap_or(Kind::Tiled))
    }
}

/// The buffers of an instruction's scratchpad operands, by number, in table order; `None` for
/// unused operands.
pub type Operands = [Option<u32>; MAX_SRAM_OPERANDS];
