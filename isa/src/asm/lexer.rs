//! The tokens of assembly.

use logos::Logos;

/// A token. The contents of a word (`sram:0x40`, `16+48`, `load|vector`) are parsed by the field
/// that it is for.
/// field that it is for.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r]+")]
#[logos(skip(r"[;#][^\n]*", allow_greedy = true))]
pub(crate) enum Token<'s> {
    /// A mnemonic, a directive, a name, a value.
    #[regex(r"[A-Za-z0-9_.:+|-]+")]
    Word(&'s str),
    /// A quoted text with its quotes, escapes as they stand.
    #[regex(r#""([^"\\\n]|\\[^\n])*""#)]
    Quoted(&'s str),
    /// Between a name and its value.
    #[token("=")]
    Equals,
    /// The start of a list.
    #[token("[")]
    Open,
    /// The end of a list.
    #[token("]")]
    Close,
    /// Between the items of a list.
    #[token(",")]
    Comma,
    /// The end of a line.
    #[token("\n")]
    Newline,
}
