//! Lines of assembly: tokens, heads and arguments.

use std::ops::Range;

use lalrpop_util::ParseError;
use logos::Logos as _;

use super::grammar;
use super::lexer::Token;
use vitcod_support::diagnostics::Diagnostic;

/// A line that is not empty.
#[derive(Debug)]
pub(crate) struct Line<'s> {
    /// The mnemonic, or the directive with its dot.
    pub(crate) head: Atom<'s>,
    /// The arguments.
    pub(crate) arguments: Vec<Argument<'s>>,
}

/// `value` or `name=value`.
#[derive(Debug)]
pub(crate) struct Argument<'s> {
    pub(crate) name: Option<Atom<'s>>,
    pub(crate) value: Value<'s>,
}

/// A value with its position in the text.
#[derive(Debug)]
pub(crate) enum Value<'s> {
    Atom(Atom<'s>),
    List(Vec<Atom<'s>>, Range<usize>),
}

impl Value<'_> {
    pub(crate) fn span(&self) -> Range<usize> {
        match self {
            Value::Atom(atom) => atom.span.clone(),
            Value::List(_, span) => span.clone(),
        }
    }
}

/// A word or a quoted text.
#[derive(Clone, Debug)]
pub(crate) struct Atom<'s> {
    pub(crate) kind: AtomKind,
    /// The source text; quoted text includes its quotes.
    pub(crate) text: &'s str,
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomKind {
    Word,
    Quoted,
}

impl Argument<'_> {
    pub(crate) fn span(&self) -> Range<usize> {
        let end = self.value.span();
        self.name.as_ref().map_or(end.start, |name| name.span.start)..end.end
    }
}

/// The most tokens of a line. Parsed tokens take far more memory than their text.
const MOST_TOKENS: usize = 1 << 16;

/// The non-empty lines of a text. Each is parsed separately, so that a mistake in one does not hide
/// mistakes in others.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, Diagnostic>> {
    let parser = grammar::LineParser::new();
    let mut tokens = Token::lexer(text).spanned();
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let mut stray = None;
        for (token, span) in tokens.by_ref() {
            match token {
                Ok(Token::Newline) if line.is_empty() && stray.is_none() => {}
                Ok(Token::Newline) => break,
                Ok(token) if line.len() < MOST_TOKENS => line.push((span.start, token, span.end)),
                Ok(_) => {
                    stray = stray.or_else(|| Some(Diagnostic::at(span, "this line is too long")))
                }
                Err(()) => stray = stray.or_else(|| Some(unreadable(text, span))),
            }
        }
        if let Some(problem) = stray {
            return Some(Err(problem));
        }
        if line.is_empty() {
            return None;
        }
        let end = line.last().map_or(0, |(_, _, end)| *end);
        Some(parser.parse(line).map_err(|error| explain(error, end)))
    })
}

/// The diagnostic for characters that are not a token.
fn unreadable(text: &str, span: Range<usize>) -> Diagnostic {
    if text[span.clone()].starts_with('"') {
        Diagnostic::at(span.start..span.start + 1, "this quote is not closed on its line")
    } else {
        Diagnostic::at(span.clone(), format!("unexpected {:?}", &text[span]))
    }
}

type GrammarError<'s> = ParseError<usize, Token<'s>, std::convert::Infallible>;

fn explain(error: GrammarError<'_>, end: usize) -> Diagnostic {
    let (span, found, expected) = match error {
        ParseError::UnrecognizedToken { token: (start, token, end), expected } => {
            (start..end, describe(token), expected)
        }
        ParseError::ExtraToken { token: (start, token, end) } => {
            (start..end, describe(token), Vec::new())
        }
        ParseError::UnrecognizedEof { expected, .. } => (end..end, "the end of the line", expected),
        ParseError::InvalidToken { .. } => (end..end, "the end of the line", Vec::new()),
        ParseError::User { error } => match error {},
    };
    let expected: Vec<String> = expected
        .iter()
        .map(|name| {
            name.replace('"', "`").replace("quoted", "a quoted text").replace("word", "a word")
        })
        .collect();
    Diagnostic::at(span, format!("expected {}, found {found}", one_of(&expected)))
}

fn describe(token: Token<'_>) -> &'static str {
    match token {
        Token::Word(_) => "a word",
        Token::Quoted(_) => "a quoted text",
        Token::Equals => "`=`",
        Token::Open => "`[`",
        Token::Close => "`]`",
        Token::Comma => "`,`",
        Token::Newline => "the end of the line",
    }
}

fn one_of(choices: &[String]) -> String {
    match choices {
        [] => "the end of the line".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
