//! Checks the flow of data: every byte that is read was written before, and conflicting accesses
//! are ordered.
//!
//! The instructions are visited in one possible order of execution. For each byte the shadow stores
//! the last writer and, per unit, the last reader since. An access that is ordered after those is
//! ordered after all earlier ones, by induction. So one visit finds a race in every program that
//! has one, in whichever order it visits.
//!
//! The shadow is kept in [`Pieces`](crate::effects::Pieces), of which compiled programs need a few
//! per instruction. So the [`Limits`] on time and memory refuse only programs that were made to
//! exceed them.

use std::ops::Range;

use super::Report;
use super::buffers::Touched;
use super::lists;
use super::order::{Clock, Order};
use super::shadow::{Clash, HOST, Held, Shadow, Stamp, Visit};
use super::sums::sums;
use crate::effects::{Access, Limits, Region, Space, accesses};
use crate::instr::{Op, Unit};
use crate::program::Program;

/// Checks the flow of a program whose operands are inside the memories. Returns per instruction
/// what must have completed before it starts, because of conflicts. `place` names bytes of the
/// scratchpad in messages; `placed` states whether operands are at their addresses in the machine.
pub(super) fn check(
    program: &Program,
    order: &Order,
    touched: &Touched,
    (place, placed): (&dyn Fn(Range<u64>) -> String, bool),
    problems: &mut Report,
) -> Vec<Clock> {
    let mut flow = Flow::new(program, order, touched, (place, placed));
    let mut needed = vec![Clock::default(); program.code.len()];
    for index in 0..program.code.len() {
        needed[index] = flow.instruction(index, problems);
        if flow.is_exhausted() {
            problems.instruction(index, &program.code[index], || scattered(program.code.len()));
            return needed;
        }
    }
    flow.outputs(problems);
    if flow.is_exhausted() {
        problems.program(|| scattered(program.code.len()));
    }
    needed
}

/// The message for a program that exceeds its limits.
fn scattered(instructions: usize) -> String {
    let Limits { steps, pieces } = Limits::of_program(instructions);
    format!(
        "the flow of data is followed no further: operands of this program are scattered over more than {pieces} pieces of a memory or take more than {steps} steps"
    )
}

struct Flow<'a> {
    program: &'a Program,
    order: &'a Order,
    touched: &'a Touched,
    place: &'a dyn Fn(Range<u64>) -> String,
    placed: bool,
    /// What is left of [`lists::BUDGET`].
    lists: u64,
    sram: Shadow,
    dram: Shadow,
}

impl<'a> Flow<'a> {
    fn new(
        program: &'a Program,
        order: &'a Order,
        touched: &'a Touched,
        (place, placed): (&'a dyn Fn(Range<u64>) -> String, bool),
    ) -> Flow<'a> {
        let limits = Limits::of_program(program.code.len());
        let mut dram = Shadow::new(program.image.len() as u64, limits);
        let mut visit = visit(HOST, &[0; Unit::COUNT]);
        for binding in &program.header.inputs {
            let region = Region::contiguous(binding.address, binding.bytes().unwrap_or(0));
            dram.write(&region, Held::Anything, &mut visit);
        }
        let lists = lists::BUDGET;
        Flow { program, order, touched, place, placed, lists, sram: Shadow::new(0, limits), dram }
    }

    fn is_exhausted(&self) -> bool {
        self.sram.is_exhausted() || self.dram.is_exhausted()
    }

    fn instruction(&mut self, index: usize, problems: &mut Report) -> Clock {
        let instr = &self.program.code[index];
        let Some(unit) = self.order.units[index] else { return Clock::default() };
        let stamp = Stamp { unit, number: self.order.numbers[index] };
        let (sram, dram) = (&mut self.sram, &mut self.dram);
        let mut visit = visit(stamp, &self.order.known[index]);
        let all = accesses(&instr.op);
        let mut clashes: Vec<(&Access, &str, Clash)> = Vec::new();

        // Operands are read before results are written, also for in-place updates.
        let mut in_sram = 0;
        for access in &all {
            let place = in_sram;
            in_sram += usize::from(access.space == Space::Sram);
            if !access.mode.reads() {
                continue;
            }
            match access.space {
                Space::Sram => {
                    let life = self.touched.life(index, place);
                    sram.read(&access.region, life, &mut visit);
                }
                Space::Dram => dram.read(&access.region, None, &mut visit),
            }
            clashes.extend(visit.clashes.drain(..).map(|clash| (access, "reads", clash)));
        }
        let image = &self.program.image;
        let known = |access: &Access| {
            let pieces = sram.constants(&access.region)?;
            let of = |piece: Range<u64>| image.get(piece.start as usize..piece.end as usize);
            pieces.into_iter().map(of).collect::<Option<Vec<_>>>().map(|pieces| pieces.concat())
        };
        let machine = &self.program.machine;
        if let Some(left) = self.lists.checked_sub(lists::work(&instr.op, machine)) {
            self.lists = left;
            if let Err(error) = lists::check(&instr.op, &all, machine, self.placed, known) {
                problems.instruction(index, instr, || format!("{} {error}", error.operand()));
            }
        }
        let mut kept = constants(&instr.op, &all, image.len() as u64);
        if let Some(sums) = sums(&instr.op) {
            let mut terms = sums.terms;
            if let Some(access) = all.iter().find(|access| Some(access.operand) == sums.continued) {
                match sram.sums(&access.region, sums.terms_of) {
                    Some(before) => terms = terms.saturating_add(before),
                    None => problems.instruction(index, instr, || {
                        format!(
                            "{} is continued, but does not hold sums of {}",
                            access.operand, sums.name
                        )
                    }),
                }
            }
            if terms > sums.limit {
                problems.instruction(index, instr, || {
                    format!(
                        "sums of {terms} {}, expected at most {} ({})",
                        sums.name, sums.limit, sums.note
                    )
                });
                terms = 0;
            }
            kept = sums.kept.map(|operand| (operand, (sums.held)(terms)));
        }
        for access in all.iter().filter(|access| access.mode.writes()) {
            let held = kept
                .filter(|(operand, _)| *operand == access.operand)
                .map_or(Held::Anything, |(_, held)| held);
            match access.space {
                Space::Sram => sram.write(&access.region, held, &mut visit),
                Space::Dram => dram.write(&access.region, Held::Anything, &mut visit),
            }
            clashes.extend(visit.clashes.drain(..).map(|clash| (access, "writes", clash)));
        }
        let needed = visit.needed;
        for (access, does, clash) in clashes {
            problems.instruction(index, instr, || self.describe(access, does, &clash));
        }
        needed
    }

    /// The message for a clash.
    fn describe(&self, access: &Access, does: &str, Clash { other, bytes }: &Clash) -> String {
        let place = match access.space {
            Space::Sram => (self.place)(bytes.clone()),
            Space::Dram => format!("{:#x}..{:#x} of DRAM", bytes.start, bytes.end),
        };
        let Some(index) = other.and_then(|stamp| self.order.index(stamp.unit, stamp.number)) else {
            let during = match (access.space, self.program.buffers.is_empty()) {
                (Space::Sram, false) => " in the live range of its buffer",
                _ => "",
            };
            return format!("{} {does} {place}, which was never written{during}", access.operand);
        };
        let op = &self.program.code[index].op;
        let region = Region::contiguous(bytes.start, bytes.end - bytes.start);
        let conflict = |other: &&Access| {
            other.space == access.space
                && (other.mode.writes() || does == "writes")
                && other.region.overlaps(&region)
        };
        let others = accesses(op);
        let other = others.iter().find(conflict);
        let operand = other.map_or("an operand", |other| other.operand);
        let did = if other.is_none_or(|other| other.mode.writes()) { "writes" } else { "reads" };
        let mnemonic = op.spec().mnemonic;
        format!(
            "{} {does} {place}, which {operand} of instruction {index} ({mnemonic}) {did}; no token orders them",
            access.operand
        )
    }

    /// Checks that the outputs are written when the program ends.
    fn outputs(&mut self, problems: &mut Report) {
        for binding in &self.program.header.outputs {
            let end = binding.address + binding.bytes().unwrap_or(0);
            if let Some(bytes) = self.dram.unwritten(binding.address..end) {
                problems.binding(self.program, binding, || {
                    format!("{:#x}..{:#x} of DRAM, which was never written", bytes.start, bytes.end)
                });
            }
        }
    }
}

/// What a load of contiguous constants writes.
fn constants(op: &Op, accesses: &[Access], image: u64) -> Option<(&'static str, Held)> {
    let Op::Load(_) = op else { return None };
    let of = |space: Space| accesses.iter().find(|access| access.space == space);
    let (dst, src) = (of(Space::Sram)?.region, of(Space::Dram)?.region);
    let is_run = |region: &Region| region.inner * region.outer == 1;
    let copied = is_run(&dst) && is_run(&src) && src.end() <= image;
    copied.then(|| ("dst", Held::Constants(src.base.wrapping_sub(dst.base))))
}

fn visit(stamp: Stamp, known: &Clock) -> Visit<'_> {
    Visit { stamp, known, needed: Clock::default(), clashes: Vec::new() }
}
