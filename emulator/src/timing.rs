//! When each instruction runs: [`vitcod_isa::timing`], which the compiler asks as well.

#[cfg(test)]
mod tests;

pub use vitcod_isa::timing::{
    Blocked, Reason, Span, Timing, TimingError, UnitCycles, Wait, simulate,
};
