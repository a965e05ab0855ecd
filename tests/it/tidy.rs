//! The form of the sources: no line of prose is wider than 100 columns, and links between pages
//! lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The width of `rustfmt.toml`, which rustfmt does not apply to comments.
const WIDTH: usize = 100;

/// The files of the repository whose names end in `.EXTENSION`, in order.
fn files(extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let is_hidden = name.starts_with('.') && name != ".github";
                if !is_hidden && name != "target" {
                    walk(&path, extension, found);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), extension, &mut found);
    found.sort();
    found
}

/// The lines of Markdown that are prose, with their numbers from 1: no code, no tables, nothing
/// between `<!-- generated: NAME -->` and `<!-- end -->`.
fn prose<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (usize, &'a str)> {
    let (mut is_code, mut is_generated) = (false, false);
    lines.enumerate().filter_map(move |(index, line)| {
        let text = line.trim_start();
        if text.starts_with("```") {
            is_code = !is_code;
            return None;
        }
        is_generated =
            (is_generated || text.starts_with("<!-- generated: ")) && text != "<!-- end -->";
        (!is_code && !is_generated && !text.starts_with('|')).then_some((index + 1, line))
    })
}

/// Whether a line is too wide and could be broken: one long word, such as an address, cannot.
fn is_too_wide(line: &str, prose: &str) -> bool {
    line.chars().count() > WIDTH && prose.split_whitespace().nth(1).is_some()
}

/// Lines of Markdown that are too wide.
fn wide_markdown(text: &str) -> Vec<usize> {
    let is_generated = text.lines().take(5).any(|line| line.contains("file is generated"));
    if is_generated {
        return Vec::new();
    }
    let words = |line: &str| line.trim_start().trim_start_matches("- ").to_owned();
    prose(text.lines())
        .filter(|(_, line)| is_too_wide(line, &words(line)))
        .map(|(number, _)| number)
        .collect()
}

/// Lines of comments in Rust that are too wide. Documentation is Markdown.
fn wide_comments(text: &str) -> Vec<usize> {
    if text.lines().next().is_some_and(|line| line.contains("@generated")) {
        return Vec::new();
    }
    // What is no comment is an empty line of Markdown; the width is that of the whole line.
    let lines: Vec<&str> = text.lines().collect();
    let comments = lines.iter().map(|line| match line.trim_start().strip_prefix("//") {
        Some(comment) => comment.trim_start_matches(['/', '!']),
        None => "",
    });
    prose(comments)
        .filter(|(number, comment)| is_too_wide(lines[number - 1], comment))
        .map(|(number, _)| number)
        .collect()
}

/// Where the links of a page lead, with the numbers of their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        is_code ^= line.trim_start().starts_with("```");
        if !is_code {
            let starts = line.split("](").skip(1);
            links.extend(starts.filter_map(|rest| Some((index + 1, rest.split_once(')')?.0))));
        }
    }
    links
}

/// The fragments by which the headings of a page are found, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').strip_prefix(' ')?;
        let kept = title.to_lowercase().replace(' ', "-");
        Some(kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect())
    };
    text.lines().filter(|line| line.starts_with('#')).filter_map(heading).collect()
}

/// What is wrong with a link of the page at `page`, if anything.
fn broken(page: &Path, link: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(p, a)| (p, Some(a)));
    let target = if path.is_empty() { page.to_owned() } else { page.parent()?.join(path) };
    if !target.exists() {
        return Some(format!("{link} does not exist"));
    }
    let anchor = anchor.filter(|_| target.extension().is_some_and(|e| e == "md"))?;
    let text = fs::read_to_string(&target).unwrap();
    (!anchors(&text).contains(anchor)).then(|| format!("{link}: there is no such heading"))
}

#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn wide(extension: &str, check: impl Fn(&str) -> Vec<usize>) -> Vec<String> {
    let problems = files(extension).into_iter().flat_map(|path| {
        let numbers = check(&fs::read_to_string(&path).unwrap());
        numbers
            .into_iter()
            .map(move |number| format!("{}:{number}: wider than {WIDTH} columns", path.display()))
    });
    problems.collect()
}

#[test]
fn comments_are_not_wider_than_code() {
    assert_none(&wide("rs", wide_comments));
}

#[test]
fn paragraphs_are_not_wider_than_code() {
    assert_none(&wide("md", wide_markdown));
}

#[test]
fn links_lead_somewhere() {
    let problems = files("md").into_iter().flat_map(|page| {
        let text = fs::read_to_string(&page).unwrap();
        let broken: Vec<String> = links(&text)
            .into_iter()
            .filter_map(|(number, link)| {
                Some(format!("{}:{number}: {}", page.display(), broken(&page, link)?))
            })
            .collect();
        broken
    });
    assert_none(&problems.collect::<Vec<_>>());
}

#[test]
fn the_checks_see_what_is_wrong() {
    let (wide, word) = ("x ".repeat(51), "x".repeat(101));
    let page = format!(
        "{wide}\n| {wide}\n```\n{wide}\n```\n- {word}\n<!-- generated: a -->\n{wide}\n<!-- end -->\n{wide}"
    );
    assert_eq!(wide_markdown(&page), [1, 10]);
    assert_eq!(
        wide_markdown(&format!("# A\n<!-- This file is generated. -->\n{wide}")),
        [0usize; 0]
    );
    let code =
        format!("let x = 1; {wide}\n/// ```\n/// {wide}\n/// ```\n    //! {wide}\n// {word}");
    assert_eq!(wide_comments(&code), [5]);
    assert_eq!(links("[a](b.md) and [c](d#e)\n```\n[f](g)\n```"), [(1, "b.md"), (1, "d#e")]);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    assert_eq!(broken(&here, "https://example.com"), None);
    assert_eq!(broken(&here, "docs/ir.md"), None);
    assert!(broken(&here, "docs/lost.md").is_some());
    assert!(broken(&here, "#lost").is_some());
    assert!(anchors("# A b, c!\n## Two\ntext").contains("a-b-c"));
}
