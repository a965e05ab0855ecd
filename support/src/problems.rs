//! Errors that list all problems.

use std::fmt;

/// The most problems that are stored. Further ones are only counted, so that an error stays
/// readable and bounded.
pub const KEPT: usize = 100;

/// A non-empty list of problems as one error, with one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems<P> {
    kept: Vec<P>,
    omitted: usize,
}

impl<P> Problems<P> {
    /// The stored problems, in the order in which they were found; at most [`KEPT`].
    pub fn kept(&self) -> &[P] {
        &self.kept
    }

    /// Number of problems that were not stored.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Number of problems, stored or not.
    pub fn found(&self) -> usize {
        self.kept.len() + self.omitted
    }

    /// Sorts the stored problems; the sort is stable.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&P) -> K) {
        self.kept.sort_by_key(key);
    }

    /// Converts each stored problem.
    pub fn map<Q>(self, f: impl FnMut(P) -> Q) -> Problems<Q> {
        Problems { kept: self.kept.into_iter().map(f).collect(), omitted: self.omitted }
    }
}

impl<P: fmt::Display> Problems<P> {
    /// The text of the error, with `start` before each problem.
    pub fn with_start(&self, start: impl fmt::Display) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            for (i, problem) in self.kept.iter().enumerate() {
                if i > 0 {
                    f.write_str("\n")?;
                }
                write!(f, "{start}{problem}")?;
            }
            match self.omitted {
                0 => Ok(()),
                omitted => write!(f, "\nand {omitted} more"),
            }
        })
    }
}

impl<P> IntoIterator for Problems<P> {
    type Item = P;
    type IntoIter = std::vec::IntoIter<P>;

    /// The stored problems.
    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl<P> From<P> for Problems<P> {
    fn from(problem: P) -> Self {
        Problems { kept: vec![problem], omitted: 0 }
    }
}

impl<P: fmt::Display> fmt::Display for Problems<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_start("").fmt(f)
    }
}

impl<P: fmt::Display + fmt::Debug> std::error::Error for Problems<P> {}

/// Collects problems.
#[derive(Debug)]
pub struct Collector<P>(Problems<P>);

impl<P> Default for Collector<P> {
    fn default() -> Self {
        Collector::new()
    }
}

impl<P> Collector<P> {
    /// An empty collector.
    pub fn new() -> Self {
        Collector(Problems { kept: Vec::new(), omitted: 0 })
    }

    /// Adds a problem. The closure is only called if the problem is stored.
    pub fn push(&mut self, problem: impl FnOnce() -> P) {
        if self.0.kept.len() < KEPT {
            self.0.kept.push(problem());
        } else {
            self.0.omitted += 1;
        }
    }

    /// Adds problems that were found elsewhere.
    pub fn append(&mut self, problems: Problems<P>) {
        self.0.omitted += problems.omitted;
        self.extend(problems.kept);
    }

    /// Counts problems that were found and not kept elsewhere.
    pub fn add_omitted(&mut self, problems: usize) {
        self.0.omitted += problems;
    }

    /// Sorts the stored problems; the sort is stable.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&P) -> K) {
        self.0.sort_by_key(key);
    }

    /// Whether no further problem would be stored.
    pub fn is_full(&self) -> bool {
        self.0.kept.len() >= KEPT
    }

    /// Number of problems, stored or not.
    pub fn len(&self) -> usize {
        self.0.found()
    }

    /// Whether no problem was found.
    pub fn is_empty(&self) -> bool {
        self.0.kept.is_empty()
    }

    /// `Ok` if there are no problems.
    ///
    /// # Errors
    /// The problems.
    pub fn finish(self) -> Result<(), Problems<P>> {
        if self.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

impl<P> Extend<P> for Collector<P> {
    fn extend<I: IntoIterator<Item = P>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(|| problem));
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

    #[test]
    fn problems_keep_their_number_in_other_lists_and_forms() {
        let mut collector = Collector::new();
        collector.extend(0..KEPT - 1);
        collector.append(Problems { kept: vec![7, 8], omitted: 4 });
        let problems = collector.finish().unwrap_err().map(|i| i.to_string());
        assert_eq!((problems.kept().len(), problems.omitted()), (KEPT, 5));
        assert_eq!(problems.found(), KEPT + 5);
        assert_eq!(problems.kept()[KEPT - 1], "7");
        assert!(problems.with_start("a: ").to_string().ends_with("\na: 98\na: 7\nand 5 more"));
        assert_eq!(Problems::from("alone").to_string(), "alone");
    }
}
