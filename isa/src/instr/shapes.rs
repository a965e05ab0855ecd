//! What follows from the counts of an instruction.

use super::table::Matmul;

impl Matmul {
    /// Runs of a row of `a`.
    pub fn runs(&self) -> u32 {
        1 + u32::from(self.more_runs)
    }

    /// Number of products of a sum.
    pub fn depth(&self) -> u64 {
        u64::from(self.runs()) * u64::from(self.k)
    }
}
