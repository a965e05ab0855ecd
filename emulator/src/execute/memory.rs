//! The memories of the machine.

use vitcod_isa::effects::{Access, Space};
use vitcod_isa::program::Program;

use super::Reason;

/// The most DRAM that is emulated: 4 GiB.
pub(crate) const MAX_DRAM_BYTES: u64 = 1 << 32;

/// Scratchpad and DRAM.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(super) sram: Vec<u8>,
    pub(super) dram: Vec<u8>,
    /// DRAM below this address is the program's image.
    constants: u64,
}

/// Why memories cannot be allocated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The DRAM exceeds 4 GiB, or the memory of this host.
    #[error("the program asks for {0} bytes of DRAM, more than can be emulated here")]
    TooLarge(u64),
    /// The image exceeds the DRAM.
    #[error("the constant image of {image} bytes exceeds the {dram} bytes of DRAM of the program")]
    Image {
        /// Bytes of the image.
        image: u64,
        /// Bytes of DRAM.
        dram: u64,
    },
}

impl Memory {
    /// Allocates the memories of a program: its image at the start of DRAM, zeros elsewhere.
    ///
    /// # Errors
    /// The program's DRAM does not fit this host, or its image does not fit its DRAM.
    pub fn new(program: &Program) -> Result<Memory, MemoryError> {
        let (image, dram) = (program.image.len(), program.header.dram_bytes);
        let constants = image as u64;
        if constants > dram {
            return Err(MemoryError::Image { image: constants, dram });
        }
        let too_large = || MemoryError::TooLarge(dram);
        let bytes =
            usize::try_from(dram).ok().filter(|_| dram <= MAX_DRAM_BYTES).ok_or_else(too_large)?;
        // Zeroed memory costs nothing until it is accessed, but a failed allocation ends the
        // process; so check first.
        Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| too_large())?;
        let mut dram = vec![0; bytes];
        dram[..image].copy_from_slice(&program.image);
        Ok(Memory { sram: vec![0; program.machine.sram.bytes as usize], dram, constants })
    }

    /// The scratchpad.
    pub fn sram(&self) -> &[u8] {
        &self.sram
    }

    /// The scratchpad, for a host that writes to it.
    pub(crate) fn sram_mut(&mut self) -> &mut [u8] {
        &mut self.sram
    }

    /// DRAM.
    pub fn dram(&self) -> &[u8] {
        &self.dram
    }

    /// DRAM, for the host to write inputs.
    pub fn dram_mut(&mut self) -> &mut [u8] {
        &mut self.dram
    }

    /// Sets the scratchpad to zeros.
    pub(crate) fn clear_sram(&mut self) {
        self.sram.fill(0);
    }

    /// Checks that an access is valid; [`super`] states the requirements.
    pub(super) fn check(&self, access: &Access) -> Result<(), Reason> {
        let (memory, bytes) = match access.space {
            Space::Sram => ("scratchpad", self.sram.len() as u64),
            Space::Dram => ("DRAM", self.dram.len() as u64),
        };
        let region = &access.region;
        let (end, written) = (region.end(), region.total());
        if end > bytes {
            return Err(Reason::OutOfBounds { end, bytes, memory });
        }
        if [region.base, region.inner_stride, region.outer_stride]
            .iter()
            .any(|at| !at.is_multiple_of(access.align))
        {
            return Err(Reason::Misaligned(access.align));
        }
        if access.mode.writes() && written > bytes {
            return Err(Reason::Overlap { written, bytes, memory });
        }
        if access.mode.writes()
            && access.space == Space::Dram
            && written > 0
            && region.base < self.constants
        {
            return Err(Reason::Constant(region.base));
        }
        Ok(())
    }
}
