//! Split attention: masked attention as tasks for the two engines.

mod layout;
mod patterns;

pub use layout::{BlockKeys, BlockMask, CscPattern, LayoutError};
pub use patterns::{Patterns, ProductPart, ProductParts};
