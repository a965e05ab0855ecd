//! Quotes text of a file in messages.

use std::fmt;

/// Text of a file in a message: in backquotes, escaped, and truncated if it is long.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", Shown(self.0))
    }
}

/// [`Quoted`] without the quotes.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 200;
        let (shown, rest) = self.0.split_at(self.0.floor_char_boundary(LONGEST));
        write!(f, "{}{}", shown.escape_debug(), if rest.is_empty() { "" } else { "..." })
    }
}
