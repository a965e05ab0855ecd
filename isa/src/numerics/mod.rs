//! The arithmetic of the machine: each function is defined once, in integers.
//!
//! The reference interpreter and the emulator both call these functions, so their results agree
//! bit for bit, on every platform and for every tiling, schedule and machine configuration:
//!
//! - On the device there are only integers: int8 operands, int32 accumulators, int16 scores and
//!   residuals. Sums are exact and therefore independent of their order.
//! - There is one rounding rule, [`round_shift`] (half towards plus infinity), and saturation
//!   happens only where a result is narrowed, in [`Quantised::saturate`].
//! - Host functions (`from_f64`, [`Lut::from_fn`], [`quantise`], [`activation`]) use f64 with the
//!   correctly rounded operations `+ - * /` and `floor` alone, never the platform's libm.
//!
//! The formulas are our derivation: the ViTCoD paper gives no bit-level arithmetic.
//! `docs/numerics.md` states them with their error bounds.

mod accumulate;
pub mod activation;
mod error;
mod interpolation;
mod layer_norm;
mod lut;
mod quantise;
mod requantise;
mod rescale_add;
mod rounding;
mod scale;
mod softmax;

pub use accumulate::{BIAS_LIMIT, add_bias, max_accumulation_depth, quantise_bias};
pub use error::NumericsError;
pub use interpolation::Interpolation;
pub use layer_norm::{LayerNormParams, MAX_LAYER_NORM_WIDTH, layer_norm_row};
pub use lut::Lut;
pub use quantise::{dequantise, normalise_channels, quantise, quantise_i8, quantise_i16};
pub use requantise::{biased_score, requantise, requantise_i8, requantise_i16, requantise_score};
pub use rescale_add::RescaleAdd;
pub use rounding::{Quantised, round_shift};
pub use scale::Scale;
pub use softmax::{
    MAX_MINIFLOAT, MAX_PROBABILITY, MAX_SCORE_SHIFT, PRUNED, ProbabilityFormat,
    SCORE_UNITS_PER_NAT, exp2_neg, row_max, softmax_probs,
};
