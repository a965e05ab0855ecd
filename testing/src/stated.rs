//! Expected errors of a text, stated on its lines.

use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::Problems;

/// The prefix of an expected message: a comment in the text's language. A line may state several.
const MARKS: [&str; 3] = ["; error: ", "// error: ", "# error: "];

/// The expected messages of a text, each with its line, from 1.
pub fn stated(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            Some((index + 1, line, MARKS.into_iter().find(|mark| line.contains(mark))?))
        })
        .flat_map(|(number, line, mark)| {
            line.split(mark).skip(1).map(move |message| (number, message.trim()))
        })
        .collect()
}

/// Asserts that a text states exactly the problems found: for each, a part of its message on its
/// line. Problems of the text as a whole are stated on the first line.
pub fn assert_stated(name: &str, text: &str, problems: &Problems<Diagnostic>) {
    let found = problems
        .kept()
        .iter()
        .map(|problem| (problem.line(text).unwrap_or(1), problem.message.as_str()));
    let (found, stated): (Vec<_>, _) = (found.collect(), stated(text));
    let is_met = found.len() == stated.len()
        && found
            .iter()
            .zip(&stated)
            .all(|(found, stated)| found.0 == stated.0 && found.1.contains(stated.1));
    assert!(is_met, "{name} states {stated:#?}, found is {found:#?}");
}
