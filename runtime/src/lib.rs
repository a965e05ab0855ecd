//! Loads a program, binds tensors and runs it on a device.
//!
//! ```no_run
//! use ndarray::ArrayD;
//! use vitcod_runtime::{EmulatorDevice, Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::from_bytes(std::fs::read("model.vitcod")?)?;
//! let mut session = model.open(&EmulatorDevice)?;
//! let image = ArrayD::<f32>::zeros(vec![1, 3, 224, 224]);
//! let outputs = session.run(&[("pixels", image.view())])?;
//! println!("{:?}", outputs[0].to_f32());
//! println!("{}", session.report().to_json());
//! # Ok(())
//! # }
//! ```
//!
//! [`Device`] abstracts the machine; [`EmulatorDevice`] is the emulator.

mod device;
mod error;
mod input;
mod model;
pub mod npy;
mod output;
mod session;
#[cfg(test)]
mod tests;

pub use device::{Device, EmulatorDevice, Execution};
pub use error::{DeviceError, InputError, InputProblem, LoadError, RunError};
pub use model::Model;
pub use output::{Integers, Output};
pub use session::Session;
pub use vitcod_emulator::Report;
