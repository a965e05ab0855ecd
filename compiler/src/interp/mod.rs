//! Interpreters of the IR: its semantics, in the simplest form that is fast enough.
//!
//! - [`FloatInterpreter`] runs imported and canonical graphs in float. It is the reference for
//!   accuracy and the source of calibration ([`crate::calibration`]).
//! - [`QuantisedInterpreter`] runs quantised graphs in plain loops over the functions of
//!   `vitcod_isa::numerics`. The emulator must compute the same results, bit for bit; the two
//!   share no other code.

mod error;
mod float;
mod live;
mod noise;
mod patches;
mod quantised;

pub use error::InterpError;
pub use float::FloatInterpreter;
pub(crate) use float::Observed;
pub use noise::{Noise, sqnr_db};
pub(crate) use quantised::Run as QuantisedRun;
pub use quantised::{QuantisedInterpreter, Tensor};
