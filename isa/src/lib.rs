//! What the ViTCoD machine is. Depends on no sibling crate.

pub mod numerics;
