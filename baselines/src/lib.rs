//! The systems that ViTCoD is compared with.
//!
//! - [`System`]: cycle models of other accelerators, at resources stated in TOML;
//! - [`Workload`]: the attention that they compute, shapes and masks;
//! - [`Estimate`]: their cycles, by layer and phase;
//! - [`linear_layers`]: the authors' simulator of projections and MLP;
//! - [`measurement`]: times of general platforms, measured or published;
//! - [`paper`]: the factors that the paper states;
//! - [`shapes`]: the attention of the paper's models.
//!
//! Each model's documentation states its formula, its source and what it does not charge;
//! `docs/baselines.md` of the repository has all of them in one place.
//!
//! ```
//! use vitcod_baselines::{System, shapes};
//!
//! let workload = shapes::dense("deit-tiny").expect("a model of the paper");
//! let array = System::preset("systolic").expect("a preset");
//! let estimate = array.estimate(&workload).expect("any head fits");
//! assert_eq!(estimate.total.overlapped_cycles, Some(587_808));
//! ```

mod authors;
#[cfg(test)]
mod authors_mask;
mod estimate;
mod kept;
pub mod measurement;
pub mod paper;
mod sanger;
pub mod shapes;
mod spatten;
mod system;
mod systolic;
#[cfg(test)]
mod tests;
mod workload;

pub use authors::{LinearCycles, LinearShape, linear_layers};
pub use estimate::{Estimate, EstimateError, Label, LayerEstimate, Phase, Total};
pub use kept::KeptEntries;
pub use system::{PRESETS, System};
pub use workload::{
    Layer, LayerShape, MAX_FEATURES, MAX_HEADS, MAX_PRODUCTS, MAX_TOKENS, Workload, WorkloadError,
};
