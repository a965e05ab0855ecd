//! All that is wrong with something, in one error.

use std::fmt;

/// Problems that are kept; further ones are only counted, so that an error stays readable and its
/// size bounded.
pub const KEPT: usize = 100;

/// A non-empty list of problems as one error: one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems<P> {
    kept: Vec<P>,
    omitted: usize,
}

impl<P> Problems<P> {
    /// The problems, in the order in which they were found; at most [`KEPT`].
    pub fn kept(&self) -> &[P] {
        &self.kept
    }

    /// How many problems were found beyond those kept.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl<P: fmt::Display> fmt::Display for Problems<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.kept.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl<P: fmt::Display + fmt::Debug> std::error::Error for Problems<P> {}

/// Gathers problems.
#[derive(Debug)]
pub struct Collector<P>(Problems<P>);

impl<P> Default for Collector<P> {
    fn default() -> Self {
        Collector::new()
    }
}

impl<P> Collector<P> {
    /// Without problems so far.
    pub fn new() -> Self {
        Collector(Problems { kept: Vec::new(), omitted: 0 })
    }

    /// Adds a problem; it is made only if it is kept.
    pub fn push(&mut self, problem: impl FnOnce() -> P) {
        if self.0.kept.len() < KEPT {
            self.0.kept.push(problem());
        } else {
            self.0.omitted += 1;
        }
    }

    /// Counts problems that were found and not kept elsewhere.
    pub fn add_omitted(&mut self, problems: usize) {
        self.0.omitted += problems;
    }

    /// Orders the problems that are kept; equal ones stay as they are.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&P) -> K) {
        self.0.kept.sort_by_key(key);
    }

    /// Whether no further problem would be kept.
    pub fn is_full(&self) -> bool {
        self.0.kept.len() >= KEPT
    }

    /// How many problems were found, kept or not.
    pub fn len(&self) -> usize {
        self.0.kept.len() + self.0.omitted
    }

    /// Whether no problem was found.
    pub fn is_empty(&self) -> bool {
        self.0.kept.is_empty()
    }

    /// Nothing, if no problem was found.
    ///
    /// # Errors
    /// The problems.
    pub fn finish(self) -> Result<(), Problems<P>> {
        if self.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_and_the_rest_counted() {
        let mut collector = Collector::new();
        (0..KEPT + 3).for_each(|i| collector.push(|| i));
        let problems = collector.finish().unwrap_err();
        assert_eq!((problems.kept().len(), problems.omitted()), (KEPT, 3));
        assert!(problems.to_string().ends_with("98\n99\nand 3 more"));
        assert_eq!(Collector::<u32>::new().finish(), Ok(()));
    }
}
