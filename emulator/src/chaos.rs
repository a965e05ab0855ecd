//! Chaos scheduling: executes a program in a random one of all orders that its tokens allow,
//! independently of the cost of its instructions.
//!
//! The timing of the simulation is one of many; a program must not depend on it. Here every unit
//! may at each step start its next instruction, if its tokens are there, or complete the oldest one
//! that it has started. An instruction reads its operands when it starts and writes its results
//! when it completes. MAC lines and the DRAM channel do not block here, because they guarantee no
//! order.
//!
//! The next step is chosen by priorities that are drawn from a seed and occasionally redrawn, so
//! that a unit is sometimes far ahead of the others and sometimes far behind. A program that the
//! verifier accepts gives the same bits in every order; one with a race differs in some.

use std::collections::VecDeque;

use vitcod_isa::instr::{Instr, Unit};
use vitcod_support::random::SplitMix64;

use crate::execute::{Core, Fault, Memory, Results};

/// The most instructions that a unit has started and not completed: more than lie between an
/// instruction and those of its own unit that wait for it.
const IN_FLIGHT: usize = 16;

/// On average, a priority is redrawn after this many steps that it decided.
const PATIENCE: u64 = 4;

/// Executes a program that runs to completion, on the memory as it is.
///
/// # Errors
/// The first instruction that cannot be executed.
pub fn run(code: &[Instr], core: &mut Core, memory: &mut Memory, seed: u64) -> Result<(), Fault> {
    let mut machine = Chaos::new(code);
    let mut random = SplitMix64::new(seed);
    let mut priorities = [[0; Unit::COUNT]; 2].map(|units| units.map(|_: u64| random.bits()));
    loop {
        let starts = Unit::ALL.into_iter().filter(|unit| machine.can_start(*unit)).map(Step::Start);
        let completions =
            Unit::ALL.into_iter().filter(|unit| machine.can_complete(*unit)).map(Step::Complete);
        let Some(step) =
            starts.chain(completions).max_by_key(|step| *step.priority(&mut priorities))
        else {
            // Nothing is in flight: either all units are at the same instruction, or the program
            // has ended.
            if machine.pass_barrier() {
                continue;
            } else {
                return Ok(());
            };
        };
        match step {
            Step::Start(unit) => machine.start(unit, core, memory)?,
            Step::Complete(unit) => machine.complete(unit, memory),
        }
        if random.bits().is_multiple_of(PATIENCE) {
            *step.priority(&mut priorities) = random.bits();
        }
    }
}

/// A possible next step.
#[derive(Clone, Copy)]
enum Step {
    Start(Unit),
    Complete(Unit),
}

impl Step {
    fn priority(self, priorities: &mut [[u64; Unit::COUNT]; 2]) -> &mut u64 {
        match self {
            Step::Start(unit) => &mut priorities[0][unit.index()],
            Step::Complete(unit) => &mut priorities[1][unit.index()],
        }
    }
}

struct Chaos<'a> {
    code: &'a [Instr],
    /// Per unit, the instructions that have not started.
    queues: [VecDeque<usize>; Unit::COUNT],
    /// Per unit, the instructions that have started and not completed.
    in_flight: [VecDeque<(usize, Results)>; Unit::COUNT],
    /// Pending tokens, by sender and receiver.
    tokens: [[u32; Unit::COUNT]; Unit::COUNT],
}

impl<'a> Chaos<'a> {
    fn new(code: &'a [Instr]) -> Chaos<'a> {
        let mut queues: [VecDeque<usize>; Unit::COUNT] = Default::default();
        for (index, instr) in code.iter().enumerate() {
            instr.op.units().iter().for_each(|unit| queues[unit.index()].push_back(index));
        }
        Chaos { code, queues, in_flight: Default::default(), tokens: Default::default() }
    }

    /// The next instruction of a unit, unless it is one of all units.
    fn head(&self, unit: Unit) -> Option<usize> {
        let head = self.queues[unit.index()].front().copied();
        head.filter(|index| self.code[*index].op.units().iter().eq([unit]))
    }

    fn can_start(&self, unit: Unit) -> bool {
        let arrived = |sender: Unit| self.tokens[sender.index()][unit.index()] > 0;
        self.in_flight[unit.index()].len() < IN_FLIGHT
            && self.head(unit).is_some_and(|index| self.code[index].wait.iter().all(arrived))
    }

    fn can_complete(&self, unit: Unit) -> bool {
        !self.in_flight[unit.index()].is_empty()
    }

    fn start(&mut self, unit: Unit, core: &mut Core, memory: &mut Memory) -> Result<(), Fault> {
        let Some(index) = self.head(unit) else { return Ok(()) };
        let instr = &self.code[index];
        instr.wait.iter().for_each(|sender| self.tokens[sender.index()][unit.index()] -= 1);
        let results = core.execute_deferred(index, instr, memory)?;
        self.queues[unit.index()].pop_front();
        self.in_flight[unit.index()].push_back((index, results));
        Ok(())
    }

    fn complete(&mut self, unit: Unit, memory: &mut Memory) {
        let Some((index, results)) = self.in_flight[unit.index()].pop_front() else { return };
        results.write(memory);
        self.code[index]
            .signal
            .iter()
            .for_each(|receiver| self.tokens[unit.index()][receiver.index()] += 1);
    }

    /// Executes the instruction that all units have reached, if there is one.
    fn pass_barrier(&mut self) -> bool {
        let head = self.queues[0].front().copied();
        let reached =
            head.is_some() && self.queues.iter().all(|queue| queue.front().copied() == head);
        if reached {
            self.queues.iter_mut().for_each(|queue| {
                queue.pop_front();
            });
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use vitcod_isa::instr::table::{Barrier, Op};

    use crate::{Emulator, Memory};
    use vitcod_isa::testing::{instr, load, program, store};

    use super::*;

    /// What the program leaves at 4096 of DRAM, over all seeds.
    fn outcomes(code: impl IntoIterator<Item = Instr>) -> BTreeSet<u8> {
        let program = Arc::new(program(code, &[1, 2, 3, 4]));
        let mut emulator = Emulator::new(Arc::clone(&program)).unwrap();
        let outcome = |seed| {
            let mut memory = Memory::new(&program).unwrap();
            emulator.run_in_random_order(&mut memory, seed).unwrap();
            memory.dram()[4096]
        };
        (0..100).map(outcome).collect()
    }

    #[test]
    fn without_tokens_everything_can_happen() {
        let code = |op: fn(Op) -> Instr| {
            [op(load(0, 0, 1).into()), op(load(0, 1, 1).into()), op(store(0, 4096, 1).into())]
        };
        assert_eq!(outcomes(code(Instr::new)), BTreeSet::from([0, 1, 2]));
    }

    #[test]
    fn tokens_and_barriers_order() {
        let (first, second) = (load(0, 0, 1), instr(load(0, 1, 1), &[], &[Unit::Store]));
        let ordered = [Instr::new(first), second, instr(store(0, 4096, 1), &[Unit::Load], &[])];
        assert_eq!(outcomes(ordered), BTreeSet::from([2]));
        let barrier = [Instr::new(first), Instr::new(Barrier {}), Instr::new(store(0, 4096, 1))];
        assert_eq!(outcomes(barrier), BTreeSet::from([1]));
    }

    #[test]
    fn operands_are_read_at_the_start_and_results_written_at_completion() {
        // The last load replaces what both stores read; a token lets it wait for the first of them,
        // or for the second.
        let code = |first: &[Unit], second: &[Unit]| {
            [
                instr(load(0, 0, 1), &[], &[Unit::Store]),
                instr(store(0, 4097, 1), &[Unit::Load], first),
                instr(store(0, 4096, 1), &[], second),
                instr(load(0, 1, 1), &[Unit::Store], &[]),
            ]
        };
        assert_eq!(outcomes(code(&[Unit::Load], &[])), BTreeSet::from([1, 2]));
        assert_eq!(outcomes(code(&[], &[Unit::Load])), BTreeSet::from([1]));
    }
}
