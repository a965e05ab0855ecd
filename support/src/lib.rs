//! Tools that all crates share and that are not specific to ViTCoD.
//!
//! - [`problems`]: errors that state all that is wrong;
//! - [`diagnostics`]: the same for texts, shown with the line;
//! - [`npy`]: the header of NumPy's files;
//! - [`random`]: seeded random numbers;
//! - [`sibling_files`]: files that a file refers to.

pub mod diagnostics;
pub mod npy;
pub mod problems;
pub mod random;
pub mod sibling_files;
