//! A Markdown page with generated parts.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::files;

/// A page around one of its generated parts.
#[derive(Debug)]
pub(super) struct Page {
    before: String,
    after: String,
}

const END: &str = "<!-- end -->";

impl Page {
    /// Reads the page of a file.
    pub(super) fn read(path: &Path, part: &str) -> anyhow::Result<Page> {
        let text = String::from_utf8(files::read(path)?)
            .with_context(|| format!("{} is not UTF-8 text", path.display()))?;
        Page::of(&text, part).with_context(|| path.display().to_string())
    }

    fn of(text: &str, part: &str) -> anyhow::Result<Page> {
        let start = format!("<!-- generated: {part} -->\n");
        let (before, rest) = text
            .split_once(&start)
            .with_context(|| format!("missing line `{}`", start.trim_end()))?;
        let (content, after) =
            rest.split_once(END).with_context(|| format!("no `{END}` ends part {part:?}"))?;
        ensure!(
            !content.contains("<!-- generated: "),
            "no `{END}` ends part {part:?} before the next one"
        );
        Ok(Page { before: format!("{before}{start}"), after: format!("{END}{after}") })
    }

    /// The page with new contents of the part.
    pub(super) fn with(&self, content: &str) -> String {
        format!("{}{content}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n<!-- generated: y -->\n<!-- end -->\n";

    #[test]
    fn one_part_is_replaced() {
        let page = Page::of(TEXT, "x").unwrap().with("new\n");
        assert_eq!(page, TEXT.replace("old", "new"));
        let page = Page::of(TEXT, "y").unwrap().with("new\n");
        assert_eq!(page, TEXT.replace("y -->\n", "y -->\nnew\n"));
    }

    #[test]
    fn pages_without_the_part_are_refused() {
        let error = |text: &str, part| Page::of(text, part).unwrap_err().to_string();
        assert_eq!(error(TEXT, "z"), "missing line `<!-- generated: z -->`");
        assert_eq!(error("<!-- generated: x -->\n", "x"), "no `<!-- end -->` ends part \"x\"");
        let unfinished = TEXT.replacen("<!-- end -->", "", 1);
        assert_eq!(
            error(&unfinished, "x"),
            "no `<!-- end -->` ends part \"x\" before the next one"
        );
    }
}
