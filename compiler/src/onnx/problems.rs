//! The problems found so far.

use super::error::Problem;

/// The problems found so far.
#[derive(Debug)]
pub(super) struct Problems {
    limit: usize,
    pub(super) list: Vec<Problem>,
    pub(super) omitted: usize,
}

impl Problems {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), list: Vec::new(), omitted: 0 }
    }

    /// Takes a problem; it is made only while there is room.
    pub(super) fn push(&mut self, problem: impl FnOnce() -> Problem) {
        if self.list.len() < self.limit {
            self.list.push(problem());
        } else {
            self.omitted += 1;
        }
    }
}
