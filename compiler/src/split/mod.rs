//! Split attention: masked attention as tasks for the two engines.

mod layout;
mod patterns;

pub use layout::{BlockKeys, BlockMask, CscPattern, LayoutError};
pub use patterns::{Patterns, ProductPart, ProductParts};
// TEMP
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
/// temp
pub enum GlobalTokens {
    /// a
    #[default]
    Auto,
    /// b
    Above(usize),
}
/// temp
#[derive(Debug)]
pub struct Polarised;
impl Polarised {
    /// temp
    pub fn decision(&self) -> vitcod_isa::program::Decision {
        unimplemented!()
    }
}
/// temp
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("x")]
pub struct SplitError;
/// temp
pub fn run(
    g: &crate::ir::Graph,
    _m: &vitcod_isa::machine::Machine,
    _t: GlobalTokens,
) -> Result<(crate::ir::Graph, Vec<Polarised>), SplitError> {
    let mut g = g.clone();
    g.stage = crate::ir::Stage::Split;
    Ok((g, vec![]))
}
