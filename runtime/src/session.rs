//! Sessions: runs of a program on a device.

use std::sync::Arc;

use ndarray::ArrayViewD;
use vitcod_emulator::Report;
use vitcod_isa::program::Program;

use crate::device::Execution;
use crate::error::RunError;
use crate::input::{BeyondRange, Inputs};
use crate::output::Output;

/// A program on a device.
#[derive(Debug)]
pub struct Session {
    program: Arc<Program>,
    execution: Box<dyn Execution>,
    beyond_range: Vec<BeyondRange>,
}

impl Session {
    pub(crate) fn new(program: Arc<Program>, execution: Box<dyn Execution>) -> Session {
        Session { program, execution, beyond_range: Vec::new() }
    }

    /// Runs the program on inputs, by name, and returns the outputs in the order of the model.
    ///
    /// Inputs have the model's shape or, all alike, a multiple of it along the first axis. The
    /// items of such batches run one after the other, and their outputs are concatenated along the
    /// first axis (outputs without an axis get one).
    ///
    /// # Errors
    /// A name or shape does not match the model, or the device stopped.
    pub fn run(&mut self, inputs: &[(&str, ArrayViewD<'_, f32>)]) -> Result<Vec<Output>, RunError> {
        let header = &self.program.header;
        let inputs = Inputs::bind(&header.inputs, inputs)?;
        self.beyond_range = inputs.beyond_range();
        let mut bytes: Vec<Vec<u8>> = vec![Vec::new(); header.outputs.len()];
        for item in 0..inputs.items {
            for (address, values) in inputs.quantised(item) {
                self.execution.write(address, &values)?;
            }
            self.execution.run()?;
            for (binding, bytes) in header.outputs.iter().zip(&mut bytes) {
                let size = binding.bytes().unwrap_or(u64::MAX);
                bytes.extend(self.execution.read(binding.address, size)?);
            }
        }
        let outputs = header.outputs.iter().zip(bytes);
        Ok(outputs.map(|(binding, bytes)| Output::new(binding, inputs.items, &bytes)).collect())
    }

    /// The inputs of the last run with numbers beyond the range for which the program was
    /// calibrated.
    pub fn beyond_range(&self) -> &[BeyondRange] {
        &self.beyond_range
    }

    /// The cost of one run of the program, that is of one item of a batch. It does not depend on
    /// the data.
    pub fn report(&self) -> Report {
        self.execution.report()
    }
}
