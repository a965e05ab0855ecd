//! Statistics of a float graph on samples: the ranges of its values, from which quantisation
//! derives steps, and its average attention maps, from which pruning derives masks.

mod attention;
mod calibrate;
mod range;
mod samples;

pub use attention::average_attention;
pub use calibrate::Calibration;
pub(crate) use calibrate::{Column, Scores};
pub(crate) use range::I8_MAX;
pub use range::{Clipping, Range};
pub(crate) use samples::items;
pub use samples::{
    Divided, FEWEST_TO_DIVIDE, Inputs, MOST_HELD_BACK, Numbers, hold_back, noise, noise_of,
    seeded_noise, some_items, spread, stand_in, stand_in_items,
};
