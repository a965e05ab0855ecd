//! The objective: the energy-delay product of a program, and its approximation for a part.
//!
//! Programs are compared by the product of energy and time ([`energy_delay`]). Parts of a program
//! are chosen one by one, before the program exists. They are compared by weighted cycles
//! ([`weighted_cycles`]).
//!
//! The weight follows from the product. Let a program take `T` cycles and the energy `E`, of which
//! `p T` is static, and let a cycle of the DRAM channel take the energy `d`. One more cycle of the
//! machine adds `E + p T` to the product. One more channel cycle, hidden behind busy MAC lines,
//! adds `d T`. So a hidden channel cycle weighs `d T / (E + p T)` cycles of the machine.

use vitcod_isa::cost::cost;
use vitcod_isa::energy::{Energy, Events};
use vitcod_isa::instr::Instr;
use vitcod_isa::machine::Machine;
use vitcod_isa::timing::simulate;

/// The weight of a hidden channel cycle, in cycles of the machine: 12 to 14 for DeiT models by the
/// energy per event of `vitcod`.
const CHANNEL_WEIGHT: u64 = 12;

/// One in this many channel cycles of a layer is not hidden: a unit waits for it.
const CHANNEL_CYCLES_PER_WAIT: u64 = 4;

/// The weighted cycles of a part of a program with so many cycles and channel cycles. Less is
/// better.
pub(crate) fn weighted_cycles(cycles: u64, channel: u64) -> u64 {
    cycles.saturating_add(CHANNEL_WEIGHT.saturating_mul(channel))
}

/// Cycles for which units wait for `channel` channel cycles.
pub(crate) fn waited_cycles(channel: u64) -> u64 {
    channel / CHANNEL_CYCLES_PER_WAIT
}

/// The energy-delay product of a program in pJ times cycles. Energies per event are those of the
/// machine, or those of the preset `vitcod` if it states none. Less is better.
pub(crate) fn energy_delay(code: &[Instr], machine: &Machine) -> u128 {
    let Ok(timing) = simulate(code, machine) else { return u128::MAX };
    let cycles = timing.total();
    let mut events = Events { cycles, ..Events::default() };
    code.iter().for_each(|instr| events.count(&cost(&instr.op, machine)));
    let paper = || {
        Machine::preset("vitcod")
            .and_then(|machine| machine.energy)
            .expect("a preset states its energies")
    };
    let each = machine.energy.clone().unwrap_or_else(paper);
    // All energies of a machine may be 0.
    let energy = Energy::of(&events, &each).total_pj.round().max(1.0);
    (energy as u128).saturating_mul(cycles.into())
}
