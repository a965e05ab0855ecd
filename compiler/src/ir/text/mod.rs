//! The text form of graphs: complete, so that it parses back to the same graph.
//!
//! ```text
//! graph "digits" quantised {
//!     v0 = input "x" : i8[1,1,32,32]*0.00787
//!     v1 = patches(v0) {kernel=[4,4], stride=[4,4], pad=[0,0,0,0]} : i8[64,16]*0.00787 @ n0  // /patch_embed/proj/Conv
//!     v2 = const "patch_embed.proj.weight" : i8[48,16] = file "digits.vir.bin" @ 0 digest x"12c4a87ec6cf5d5a"
//!     ...
//!     output "logits" [1,10] = v9
//!     n0 = node "/patch_embed/proj/Conv"
//! }
//! ```
//!
//! `docs/ir.md` describes it. [`print()`] writes it, [`parse`] reads it and verifies the graph. The
//! grammar (`grammar.lalrpop`) knows no operation: a new row of the operation table is all that its
//! text needs.
//!
//! Text is not trusted: a tensor has at most 2^40 bytes and 32 dimensions, constants made of seeds
//! take at most [`MAX_SEEDED_BYTES`](vitcod_isa::asm::MAX_SEEDED_BYTES) together, and files are
//! read by the caller, who decides which.

mod ast;
mod data;
mod lexer;
mod lower;
mod names;
mod print;
#[cfg(test)]
mod tests;

lalrpop_util::lalrpop_mod!(
    #[allow(
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        unused,
        reason = "generated"
    )]
    grammar,
    "/ir/text/grammar.rs"
);

use bytes::Bytes;
use lalrpop_util::{ErrorRecovery, ParseError};
use vitcod_support::diagnostics::{Diagnostic, did_you_mean};
use vitcod_support::problems::{Collector, KEPT, Problems};

pub use data::digest;
pub use print::{Constants, print};

use super::Graph;
use lexer::{KEYWORDS, NoError, Token, Tokens};
use lower::Lowering;

/// Reads the graph of a text. `files` gives the bytes of a file that constants name, or why it does
/// not; it is asked once for each constant.
///
/// # Errors
/// All that is wrong with the text: with its form, or if that is right with its words, or if these
/// are right with the graph ([`Graph::verify`]). Lines after a wrong one are read as if it was
/// right.
pub fn parse(
    source: &str,
    files: &mut dyn FnMut(&str) -> Result<Bytes, String>,
) -> Result<Graph, Problems<Diagnostic>> {
    let mut recovered =
        Recovered { source, broken: Vec::new(), diagnostics: Vec::new(), omitted: 0 };
    let file = grammar::FileParser::new().parse(source, &mut recovered, Tokens::new(source));
    let Recovered { broken, mut diagnostics, omitted, .. } = recovered;
    let graph = match file {
        Ok(file) => Lowering::new(source, files, &broken).graph(&file),
        Err(error) => Err(vec![syntax(source, error)]),
    };
    let graph = graph.map_err(|more| diagnostics.extend(more)).ok();
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map(|span| span.start));
    let mut problems = Collector::new();
    diagnostics.into_iter().for_each(|diagnostic| problems.push(|| diagnostic));
    problems.add_omitted(omitted);
    problems.finish()?;
    Ok(graph.expect("no problems"))
}

/// Lines that are wrong, after which the parser went on.
struct Recovered<'s> {
    source: &'s str,
    /// A place in each of them.
    broken: Vec<usize>,
    /// What is wrong with the first.
    diagnostics: Vec<Diagnostic>,
    /// How many more there are.
    omitted: usize,
}

impl<'s> Recovered<'s> {
    fn push(&mut self, recovery: ErrorRecovery<usize, Token<'s>, NoError>) {
        self.broken.push(span(self.source, &recovery.error).start);
        if self.diagnostics.len() < KEPT {
            self.diagnostics.push(syntax(self.source, recovery.error));
        } else {
            self.omitted += 1;
        }
    }
}

type SyntaxError<'s> = ParseError<usize, Token<'s>, NoError>;

/// Where in the source a syntax error is.
fn span(source: &str, error: &SyntaxError<'_>) -> std::ops::Range<usize> {
    match error {
        ParseError::UnrecognizedToken { token: (start, _, end), .. }
        | ParseError::ExtraToken { token: (start, _, end) } => *start..*end,
        ParseError::InvalidToken { location } => *location..*location,
        ParseError::UnrecognizedEof { .. } => source.len()..source.len(),
        ParseError::User { error } => match *error {},
    }
}

fn syntax(source: &str, error: SyntaxError<'_>) -> Diagnostic {
    let span = span(source, &error);
    let found = match error {
        ParseError::UnrecognizedEof { .. } => "the end of the text".to_owned(),
        _ if source[span.clone()] == *"\n" => "the end of the line".to_owned(),
        _ => format!("`{}`", &source[span.clone()]),
    };
    let mut expected = match error {
        ParseError::UnrecognizedToken { expected, .. }
        | ParseError::UnrecognizedEof { expected, .. } => expected,
        _ => Vec::new(),
    };
    // The parser only goes through that token to report what is none.
    expected.retain(|name| name != "\"unknown\"");
    let expected = expected.iter().map(|name| name.trim_matches('"'));
    // Words are names of kinds of tokens, or stand for themselves like punctuation.
    let expected: Vec<String> = expected
        .map(|name| match name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            true => name.to_owned(),
            false => format!("`{name}`"),
        })
        .collect();
    let message = match expected.is_empty() {
        true => format!("unexpected {found}"),
        false => format!("expected {}, found {found}", expected.join(", ")),
    };
    let help = misspelt_keyword(&source[..span.end], &source[span.clone()]);
    Diagnostic::at(span, message).with_help(help)
}

/// The keyword that was probably meant by a word that nothing expects, or by the word before it:
/// text that ends with what was found.
fn misspelt_keyword(text: &str, found: &str) -> Option<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let before =
        if found.starts_with(is_word) { text } else { text.strip_suffix(found).unwrap_or(text) };
    let line = before.rsplit('\n').next().unwrap_or_default();
    let word = line.split(|c: char| !is_word(c)).rfind(|word| !word.is_empty())?;
    if KEYWORDS.contains(&word) { None } else { did_you_mean(word, KEYWORDS) }
}
