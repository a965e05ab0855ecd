//! Diagnostics: problems of a text, displayed with their position as the Rust compiler does.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::problems::Problems;

/// A problem of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The bytes at fault; `None` for the text as a whole.
    pub span: Option<Range<usize>>,
    /// What was found and what was expected.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

/// Longer lines, in bytes, are displayed partly, because rendering a whole line for each of its
/// problems takes time.
const LONGEST_LINE: usize = 4096;

/// Bytes of such a line that are kept on either side of the fault, and of the fault: more than the
/// renderer displays.
const MARGIN: usize = 1024;

impl Diagnostic {
    /// A problem at a position.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: Some(span), message: message.into(), help: None }
    }

    /// A problem of the text as a whole.
    pub fn of_text(message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: None, message: message.into(), help: None }
    }

    /// Adds how to fix it, if known.
    pub fn with_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = help;
        self
    }

    /// The line of the problem's start, from 1.
    pub fn line(&self, text: &str) -> Option<usize> {
        let span = self.span.as_ref()?;
        Some(
            1 + text.as_bytes()[..span.start.min(text.len())]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
        )
    }

    /// The message, the first line at fault with carets below it, and the help. `name` is the
    /// file's name.
    pub fn render(&self, name: &str, text: &str) -> String {
        let title = |message| Group::with_title(Level::ERROR.primary_title(message));
        let mut group;
        if let (Some(span), Some(number)) = (&self.span, self.line(text)) {
            let (start, line) = line_at(text, span.start);
            let marked =
                place_in(line, span.start.saturating_sub(start), span.end.saturating_sub(start));
            group = title(self.message.clone());
            if line.len() <= LONGEST_LINE {
                let snippet = Snippet::source(line).path(name).line_start(number);
                group = group.element(snippet.annotation(AnnotationKind::Primary.span(marked)));
            } else {
                let column = 1 + line[..marked.start].chars().count();
                let shown = place_in(
                    line,
                    marked.start.saturating_sub(MARGIN),
                    marked.end.min(marked.start + MARGIN) + MARGIN,
                );
                let marked = marked.start - shown.start..marked.end.min(shown.end) - shown.start;
                let snippet = Snippet::source(&line[shown]).line_start(number);
                group = group
                    .element(Origin::path(name).line(number).char_column(column))
                    .element(snippet.annotation(AnnotationKind::Primary.span(marked)));
            }
        } else {
            group = title(format!("{name}: {}", self.message));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

impl Problems<Diagnostic> {
    /// Renders every problem as [`Diagnostic::render`] does, with an empty line between them.
    pub fn render(&self, name: &str, text: &str) -> String {
        let mut shown: Vec<String> =
            self.kept().iter().map(|problem| problem.render(name, text)).collect();
        if self.omitted() > 0 {
            shown.push(format!("and {} more", self.omitted()));
        }
        shown.join("\n\n")
    }
}

/// The line that contains a byte, without its end, and the start of the line.
fn line_at(text: &str, at: usize) -> (usize, &str) {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    // Line ends are ASCII, so these are character boundaries.
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end = bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |length| at + length);
    (start, text[start..end].trim_end_matches('\r'))
}

/// Extends a range to whole characters of the line.
fn place_in(line: &str, start: usize, end: usize) -> Range<usize> {
    let start = line.floor_char_boundary(start);
    start..line.ceil_char_boundary(end.clamp(start, line.len()))
}

/// The candidate that a misspelt word probably meant: the edit distance is at most a third of the
/// letters, or one; swapped neighbours count as one edit. Of several the first of the nearest.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST + 1).collect();
    let allowed = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            Some((distance(&word, candidate).filter(|distance| *distance <= allowed)?, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Suggests a candidate for a misspelt word, if one is near.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    closest(word, candidates).map(question)
}

/// A suggestion.
pub fn question(candidate: &str) -> String {
    format!("did you mean `{candidate}`?")
}

/// The longest word, in characters, that is compared: the work is the product of both lengths.
const LONGEST: usize = 64;

/// The edit distance in which a swap of neighbours is one edit; `None` if a word is too long.
fn distance(word: &[char], candidate: &str) -> Option<usize> {
    let candidate: Vec<char> = candidate.chars().take(LONGEST + 1).collect();
    if word.len() > LONGEST || candidate.len() > LONGEST {
        return None;
    }
    let columns = candidate.len() + 1;
    let mut above = vec![0; columns];
    let mut row: Vec<usize> = (0..columns).collect();
    for (i, a) in word.iter().enumerate() {
        let mut next = vec![i + 1; columns];
        for (j, b) in candidate.iter().enumerate() {
            let substituted = row[j] + usize::from(a != b);
            next[j + 1] = substituted.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == candidate[j - 1] && word[i - 1] == *b {
                next[j + 1] = next[j + 1].min(above[j - 1] + 1);
            }
        }
        above = std::mem::replace(&mut row, next);
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problems::Collector;

    #[test]
    fn the_line_is_shown_with_carets() {
        let text = "halt\n  matmull m=1\r\nhalt\n";
        let problem = Diagnostic::at(7..14, "no instruction `matmull`")
            .with_help(did_you_mean("matmull", ["matmul"]));
        assert_eq!(problem.line(text), Some(2));
        assert_eq!(
            problem.render("a.s", text),
            "error: no instruction `matmull`\n --> a.s:2:3\n  |\n2 |   matmull m=1\n  |   ^^^^^^^\n  |\n  = help: did you mean `matmul`?"
        );
    }

    #[test]
    fn any_range_of_any_text_can_be_shown() {
        for text in ["", "\n", "é", "a\né\r\n", "\t\u{1b}[31m"] {
            for start in 0..text.len() + 2 {
                for end in 0..text.len() + 2 {
                    assert!(
                        Diagnostic::at(start..end, "m").render("n", text).starts_with("error: m\n")
                    );
                }
            }
        }
    }

    #[test]
    fn of_a_long_line_the_part_to_blame_is_shown() {
        let text = format!("halt\n{}here{}\n", "é, ".repeat(10_000), " b".repeat(10_000));
        let start = 5 + 40_000;
        for end in [start + 4, text.len() - 1] {
            let shown = Diagnostic::at(start..end, "m").render("a.s", &text);
            assert!(
                shown.starts_with("error: m\n --> a.s:2:30001\n") && shown.contains("é, here b"),
                "{shown}"
            );
            assert!(shown.contains("^^^^") && shown.len() < 1000, "{shown}");
        }
    }

    #[test]
    fn problems_are_shown_one_after_the_other() {
        let mut problems = Collector::default();
        problems.push(|| Diagnostic::of_text("it is empty"));
        problems.push(|| Diagnostic::at(0..0, "an end"));
        let shown = problems.finish().unwrap_err().render("a.s", "");
        assert_eq!(
            shown,
            "error: a.s: it is empty\n\nerror: an end\n --> a.s:1:1\n  |\n1 |\n  | ^"
        );
    }

    #[test]
    fn near_words_are_found() {
        let words = ["load", "store", "sddmm", "softmax", "softmax_list"];
        assert_eq!(closest("laod", words), Some("load"));
        assert_eq!(closest("softmaxlist", words), Some("softmax_list"));
        assert_eq!(closest("stor", words), Some("store"));
        assert_eq!(closest("matmul", words), None);
        assert_eq!(closest("", words), None);
        assert_eq!(closest(&"s".repeat(1000), words), None);
    }
}
