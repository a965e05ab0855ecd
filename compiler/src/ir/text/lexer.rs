//! Tokens of the text form.

use logos::{Lexer, Logos};

/// A token; its text is a slice of the source.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r]+")]
#[logos(skip(r"//[^\n]*", allow_greedy = true))]
pub(super) enum Token<'s> {
    #[token("\n")]
    Newline,
    #[token("{")]
    OpenBrace,
    #[token("}")]
    CloseBrace,
    #[token("(")]
    OpenParen,
    #[token(")")]
    CloseParen,
    #[token("[")]
    OpenBracket,
    #[token("]")]
    CloseBracket,
    #[token(",")]
    Comma,
    #[token(":")]
    Colon,
    #[token("=")]
    Equals,
    #[token("*")]
    Star,
    #[token("@")]
    At,
    #[token("graph")]
    Graph,
    #[token("input")]
    Input,
    #[token("inverted")]
    Inverted,
    #[token("const")]
    Const,
    #[token("output")]
    Output,
    #[token("node")]
    Node,
    #[token("decision")]
    Decision,
    #[token("file")]
    File,
    #[token("seed")]
    Seed,
    #[token("digest")]
    Digest,
    #[regex(r"v[0-9]+", |lexer| lexer.slice(), priority = 20)]
    ValueName(&'s str),
    #[regex(r"n[0-9]+", |lexer| lexer.slice(), priority = 20)]
    NodeName(&'s str),
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*", |lexer| lexer.slice(), priority = 1)]
    Word(&'s str),
    #[regex(r"-?[0-9]+", |lexer| lexer.slice(), priority = 20)]
    Integer(&'s str),
    #[regex(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?|-?inf|NaN", |lexer| lexer.slice(), priority = 10)]
    Real(&'s str),
    #[regex(r#""([^"\\\n]|\\[^\n])*""#, |lexer| lexer.slice())]
    Str(&'s str),
    #[regex(r#"x"[0-9a-f]*""#, |lexer| lexer.slice(), priority = 20)]
    Hex(&'s str),
    /// Text that is not a token. The parser reports it and continues on the next line.
    Unknown(&'s str),
}

/// The reserved words.
pub(super) const KEYWORDS: [&str; 10] =
    ["graph", "input", "inverted", "const", "output", "node", "decision", "file", "seed", "digest"];

/// The tokens of a text with their positions, as the parser takes them.
pub(super) struct Tokens<'s>(Lexer<'s, Token<'s>>);

impl<'s> Tokens<'s> {
    pub(super) fn new(source: &'s str) -> Tokens<'s> {
        Tokens(Token::lexer(source))
    }
}

/// The only errors are those of the grammar.
pub(super) type NoError = std::convert::Infallible;

impl<'s> Iterator for Tokens<'s> {
    type Item = Result<(usize, Token<'s>, usize), NoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = self.0.next()?.unwrap_or(Token::Unknown(self.0.slice()));
        let span = self.0.span();
        Some(Ok((span.start, token, span.end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_no_words() {
        for keyword in KEYWORDS {
            let tokens: Vec<Token<'_>> = Token::lexer(keyword).collect::<Result<_, _>>().unwrap();
            assert!(!matches!(tokens[..], [Token::Word(_)]), "{keyword}");
            assert_eq!(tokens.len(), 1, "{keyword}");
        }
    }
}
