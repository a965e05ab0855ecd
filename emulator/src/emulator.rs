//! Joins the timing and the execution of a program.

use std::sync::Arc;

use vitcod_isa::program::Program;

#[cfg(any(test, feature = "testing"))]
use crate::chaos;
use crate::execute::{Core, Fault, Memory};
use crate::report::Report;
use vitcod_isa::timing::{Timing, TimingError, simulate};

/// A program with its simulated timing, ready to execute.
///
/// ```
/// use std::sync::Arc;
/// use vitcod_emulator::{Emulator, Memory};
/// use vitcod_isa::asm::Assembly;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"
///     .program "copy"
///     .machine vitcod
///     .input x i8 [1, 4] step=1
///     .output y i8 [1, 4] step=1
///     .buffer row 4
///     .layer "copy"
///         load dst=row src=x bytes=4 traffic=inputs signal=store
///         store src=row dst=y bytes=4 traffic=outputs wait=load
///         halt
/// "#;
/// let assembly = Assembly::parse(text, &|name| Err(format!("there is no {name}")))
///     .map_err(|error| error.render("copy.s", text))?;
/// let program = Arc::new(assembly.program);
/// let mut emulator = Emulator::new(Arc::clone(&program))?;
/// let [load, store, halt] = emulator.timing().spans() else { panic!("three instructions") };
/// assert!(store.start >= load.completion && halt.start >= store.completion);
///
/// let mut memory = Memory::new(&program)?;
/// let x = program.header.inputs[0].address as usize;
/// let y = program.header.outputs[0].address as usize;
/// memory.dram_mut()[x..x + 4].copy_from_slice(&[1, 2, 3, 4]);
/// emulator.run(&mut memory)?;
/// assert_eq!(memory.dram()[y..y + 4], [1, 2, 3, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Emulator {
    program: Arc<Program>,
    timing: Timing,
    core: Core,
}

impl Emulator {
    /// Simulates the timing of a program.
    ///
    /// # Errors
    /// The program cannot run to completion.
    pub fn new(program: Arc<Program>) -> Result<Emulator, TimingError> {
        let timing = simulate(&program.code, &program.machine)?;
        let core = Core::new(&program.machine);
        Ok(Emulator { program, timing, core })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The timing of the program.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The cost of a run.
    pub fn report(&self) -> Report {
        Report::new(&self.program, &self.timing)
    }

    /// Executes the program once, in the order in which the simulation starts its instructions,
    /// from an empty scratchpad.
    ///
    /// The contents of DRAM persist, so that the constant image serves any number of inputs.
    ///
    /// # Errors
    /// The first instruction that cannot be executed; memory is then in the state before it.
    pub fn run(&mut self, memory: &mut Memory) -> Result<(), Fault> {
        memory.clear_sram();
        for &index in self.timing.order() {
            self.core.execute(index, &self.program.code[index], memory)?;
        }
        Ok(())
    }

    /// Executes the program once as [`run`](Self::run) does, but in a random order that its tokens
    /// allow, drawn by the module `chaos`.
    ///
    /// # Errors
    /// The first instruction that cannot be executed.
    #[cfg(any(test, feature = "testing"))]
    pub fn run_in_random_order(&mut self, memory: &mut Memory, seed: u64) -> Result<(), Fault> {
        memory.clear_sram();
        chaos::run(&self.program.code, &mut self.core, memory, seed)
    }
}

#[cfg(test)]
mod tests {
    use vitcod_isa::instr::{Engine, Instr, LineSet, Unit};

    use super::*;
    use vitcod_isa::testing::{instr, load, matmul, program, store};

    /// Without tokens the units race: the product does not see the data of the second load.
    #[test]
    fn a_program_without_tokens_computes_what_the_race_gives() {
        // a = 1..=8 is there from the start; b is loaded second and arrives late.
        let image: Vec<u8> = (1..=8).chain([1; 8]).chain([0; 48]).collect();
        let mut channel = vec![0; 12];
        channel[4..9].copy_from_slice(&[0, 0, 0, 0x40, 30]);
        let image = [image, channel, vec![0; 52]].concat();
        let product =
            matmul(Engine::Denser, LineSet { first: 0, count: 1 }, (1, 1, 8), [0, 64, 128, 192]);
        let run = |wait: &[Unit], signal: &[Unit]| {
            let code = [
                Instr::new(load(128, 64, 12)),
                Instr::new(load(0, 0, 8)),
                instr(load(64, 8, 8), &[], signal),
                instr(product, wait, &[Unit::Store]),
                instr(store(192, 4096, 1), &[Unit::Denser], &[]),
            ];
            let program = Arc::new(program(code, &image));
            let mut memory = Memory::new(&program).unwrap();
            Emulator::new(program).unwrap().run(&mut memory).unwrap();
            memory.dram()[4096]
        };
        assert_eq!(run(&[Unit::Load], &[Unit::Denser]), 36);
        assert_eq!(run(&[], &[]), 0);
    }
}
