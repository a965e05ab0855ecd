//! Devices, which run programs.

use std::fmt;
use std::sync::Arc;

use vitcod_emulator::{Emulator, Memory, Report};
use vitcod_isa::program::Program;

use crate::error::DeviceError;

/// A machine that runs programs.
pub trait Device {
    /// Loads a program; its image is in the machine's DRAM afterwards.
    ///
    /// # Errors
    /// The device cannot run this program.
    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Execution>, DeviceError>;
}

/// A program in the memory of a device, ready for any number of runs.
pub trait Execution: fmt::Debug + Send {
    /// Writes to DRAM.
    ///
    /// # Errors
    /// The range is not within DRAM.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Runs the program once. The contents of DRAM persist.
    ///
    /// # Errors
    /// The machine stopped before the end of the program.
    fn run(&mut self) -> Result<(), DeviceError>;

    /// Reads DRAM.
    ///
    /// # Errors
    /// The range is not within DRAM.
    fn read(&self, address: u64, bytes: u64) -> Result<Vec<u8>, DeviceError>;

    /// The cost of one run.
    fn report(&self) -> Report;
}

/// The instruction-level emulator.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmulatorDevice;

impl Device for EmulatorDevice {
    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Execution>, DeviceError> {
        let memory = Memory::new(&program)?;
        let emulator = Emulator::new(program)?;
        Ok(Box::new(Emulated { emulator, memory }))
    }
}

/// The DRAM is shared by all runs: constants persist, intermediate tensors are overwritten.
#[derive(Debug)]
struct Emulated {
    emulator: Emulator,
    memory: Memory,
}

impl Execution for Emulated {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let target = range(address, bytes.len() as u64)
            .and_then(|range| self.memory.dram_mut().get_mut(range));
        target
            .ok_or(DeviceError::OutOfBounds { address, bytes: bytes.len() as u64 })
            .map(|target| target.copy_from_slice(bytes))
    }

    fn run(&mut self) -> Result<(), DeviceError> {
        Ok(self.emulator.run(&mut self.memory)?)
    }

    fn read(&self, address: u64, bytes: u64) -> Result<Vec<u8>, DeviceError> {
        let source = range(address, bytes).and_then(|range| self.memory.dram().get(range));
        source.map(<[u8]>::to_vec).ok_or(DeviceError::OutOfBounds { address, bytes })
    }

    fn report(&self) -> Report {
        self.emulator.report()
    }
}

fn range(address: u64, bytes: u64) -> Option<std::ops::Range<usize>> {
    let end = address.checked_add(bytes)?;
    Some(usize::try_from(address).ok()?..usize::try_from(end).ok()?)
}
