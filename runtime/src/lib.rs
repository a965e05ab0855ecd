//! Loads a program, binds tensors and runs it on a device.
//!
//! ```
//! use ndarray::arr2;
//! use vitcod_isa::asm::Assembly;
//! use vitcod_runtime::{EmulatorDevice, Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = r#"
//!     .program "copy"
//!     .machine vitcod
//!     .input x i8 [1, 4] step=1
//!     .output y i8 [1, 4] step=1
//!     .buffer row 4
//!     .layer "copy"
//!         load dst=row src=x bytes=4 traffic=inputs signal=store
//!         store src=row dst=y bytes=4 traffic=outputs wait=load
//!         halt
//! "#;
//! let assembly = Assembly::parse(text, &|name| Err(format!("there is no {name}")))
//!     .map_err(|error| error.render("copy.s", text))?;
//! let model = Model::new(assembly.program)?; // `Model::from_bytes` reads compiled files
//! let mut session = model.open(&EmulatorDevice)?;
//! let x = arr2(&[[1.0, -2.0, 3.0, 4.0]]).into_dyn();
//! let outputs = session.run(&[("x", x.view())])?;
//! assert_eq!(outputs[0].to_f32(), x);
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
pub use input::BeyondRange;
pub use model::Model;
pub use output::{Integers, Output};
pub use session::Session;
pub use vitcod_emulator::Report;
