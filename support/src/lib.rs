//! What every part of ViTCoD uses and none is about.
//!
//! - [`problems`]: errors that state all that is wrong;
//! - [`diagnostics`]: the same for texts, shown with the line;
//! - [`npy`]: the header of NumPy's files;
//! - [`random`]: seeded random numbers;
//! - [`sibling_files`]: files that a file names.

pub mod diagnostics;
pub mod npy;
pub mod problems;
pub mod random;
pub mod sibling_files;
