//! Execution with deferred writes.

use vitcod_isa::effects::{Access, Region, Space, accesses};
use vitcod_isa::instr::{Instr, Op};

use super::{Core, Fault, Memory};

/// The results of an instruction that has read its operands but not written yet.
#[derive(Debug)]
pub(crate) struct Results(Vec<Written>);

/// The bytes of an access that are written.
#[derive(Debug)]
struct Written {
    access: Access,
    bytes: Vec<u8>,
    /// Which of them; all if absent. Instructions on lists leave the queries that are not in the
    /// list as they are, also where the instruction before writes them later.
    touched: Option<Vec<bool>>,
}

impl Results {
    /// Writes the results to the memory on which the instruction was executed.
    pub(crate) fn write(self, memory: &mut Memory) {
        for Written { access, mut bytes, touched } in self.0 {
            if let Some(touched) = touched {
                let now = memory.bytes(&access);
                for ((byte, now), touched) in bytes.iter_mut().zip(now).zip(touched) {
                    *byte = if touched { *byte } else { now };
                }
            }
            memory.set_bytes(&access, &bytes);
        }
    }
}

impl Core {
    /// Executes the `index`-th instruction of a program, except for its writes.
    ///
    /// # Errors
    /// As [`Core::execute`].
    pub(crate) fn execute_deferred(
        &mut self,
        index: usize,
        instr: &Instr,
        memory: &mut Memory,
    ) -> Result<Results, Fault> {
        let written: Vec<Access> =
            accesses(&instr.op).into_iter().filter(|access| access.mode.writes()).collect();
        // Accesses outside the memory can be skipped: the instruction is rejected anyway.
        let inside = written.iter().filter(|access| memory.check(access).is_ok());
        let before: Vec<(Access, Vec<u8>)> =
            inside.map(|access| (*access, memory.bytes(access))).collect();
        self.execute(index, instr, memory)?;
        let mut results: Vec<Written> = written
            .into_iter()
            .map(|access| Written { access, bytes: memory.bytes(&access), touched: None })
            .collect();
        if matches!(instr.op, Op::SddmmList(_) | Op::SpmmList(_)) {
            // What differs from the complement of the old bytes, too, has been written.
            for (access, bytes) in &before {
                let complement: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
                memory.set_bytes(access, &complement);
            }
            self.execute(index, instr, memory)?;
            for (result, (access, bytes)) in results.iter_mut().zip(&before) {
                let again = memory.bytes(access);
                let touched = |(again, before): (&u8, &u8)| *again != !*before;
                let changed = result.bytes.iter().zip(bytes).map(|(new, old)| new != old);
                let touched = again.iter().zip(bytes).map(touched);
                result.touched = Some(touched.zip(changed).map(|(a, b)| a || b).collect());
            }
        }
        before.iter().for_each(|(access, bytes)| memory.set_bytes(access, bytes));
        Ok(Results(results))
    }
}

impl Memory {
    /// The bytes of a checked access, run by run.
    fn bytes(&self, access: &Access) -> Vec<u8> {
        let memory = match access.space {
            Space::Sram => &self.sram,
            Space::Dram => &self.dram,
        };
        ranges(access.region).flat_map(|range| &memory[range]).copied().collect()
    }

    /// Writes what [`Self::bytes`] returns.
    fn set_bytes(&mut self, access: &Access, mut bytes: &[u8]) {
        let memory = match access.space {
            Space::Sram => &mut self.sram,
            Space::Dram => &mut self.dram,
        };
        for range in ranges(access.region) {
            let (run, rest) = bytes.split_at(range.len());
            memory[range].copy_from_slice(run);
            bytes = rest;
        }
    }
}

/// The runs of a region; none if it is empty.
fn ranges(region: Region) -> impl Iterator<Item = std::ops::Range<usize>> {
    let runs = if region.bytes == 0 { None } else { Some(region.runs()) };
    runs.into_iter().flatten().map(|(at, bytes)| at as usize..(at + bytes) as usize)
}
