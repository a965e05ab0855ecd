//! Verified programs.

use std::sync::Arc;

use bytes::Bytes;
use vitcod_isa::check::{CheckError, check};
use vitcod_isa::program::{Binding, Program};

use crate::device::Device;
use crate::error::{DeviceError, LoadError};
use crate::session::Session;

/// A program that the verifier accepts.
#[derive(Clone, Debug)]
pub struct Model {
    program: Arc<Program>,
}

impl Model {
    /// Decodes and verifies a program file. Its constants share the memory of `bytes`, which may be
    /// a memory map.
    ///
    /// # Errors
    /// The bytes are not a program, or the verifier rejects it.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Model, LoadError> {
        Ok(Model::new(Program::from_bytes(bytes.into())?)?)
    }

    /// Verifies a program.
    ///
    /// # Errors
    /// The verifier rejects the program.
    pub fn new(program: Program) -> Result<Model, CheckError> {
        check(&program)?;
        Ok(Model { program: Arc::new(program) })
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The inputs, in the order of the model.
    pub fn inputs(&self) -> &[Binding] {
        &self.program.header.inputs
    }

    /// The outputs, in the order of the model.
    pub fn outputs(&self) -> &[Binding] {
        &self.program.header.outputs
    }

    /// Loads the program onto a device.
    ///
    /// # Errors
    /// The device cannot run the program.
    pub fn open(&self, device: &dyn Device) -> Result<Session, DeviceError> {
        Ok(Session::new(Arc::clone(&self.program), device.load(Arc::clone(&self.program))?))
    }
}
