//! The objective: the energy-delay product of a program, and what a part of one adds to it.
//!
//! Programs are compared by the product of their energy and their time ([`energy_delay`]). Their
//! parts are chosen one by one, before there is a program; they are compared by weighted cycles
//! ([`weighted_cycles`]).
//!
//! The weight follows from the product. Let a program take `T` cycles and the energy `E`, of which
//! `p T` is static, and let a cycle of the DRAM channel take the energy `d`. One more cycle of the
//! machine adds `E + p T` to the product; one more cycle of a channel that is hidden behind busy
//! MAC lines adds `d T`. The ratio `d T / (E + p T)` is what a hidden cycle of the channel weighs.

use vitcod_isa::cost::cost;
use vitcod_isa::energy::{Energy, Events};
use vitcod_isa::instr::Instr;
use vitcod_isa::machine::Machine;
use vitcod_isa::timing::simulate;

/// What a cycle of the DRAM channel weighs, in cycles of the machine, where it hides behind
/// computation: 12 to 14 by the energy per event of `vitcod` for a DeiT.
const CHANNEL_WEIGHT: u64 = 12;

/// Of so many cycles of a layer's channel, one is not hidden: something waits for it.
const CHANNEL_CYCLES_PER_WAIT: u64 = 4;

/// The weighted cycles of a part of a program that takes some cycles and keeps the channel busy for
/// some. The fewer, the better.
pub(super) fn weighted_cycles(cycles: u64, channel: u64) -> u64 {
    cycles.saturating_add(CHANNEL_WEIGHT.saturating_mul(channel))
}

/// Cycles that the units wait for a channel that is busy for `channel` cycles.
pub(super) fn waited_cycles(channel: u64) -> u64 {
    channel / CHANNEL_CYCLES_PER_WAIT
}

/// The energy-delay product of a program, in pJ times cycles, by the energy per event of the machine
/// or, where it states none, of the paper's. The less, the better.
pub(super) fn energy_delay(code: &[Instr], machine: &Machine) -> u128 {
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
    // Energies may be stated as nothing.
    let energy = Energy::of(&events, &each).total_pj.round().max(1.0);
    (energy as u128).saturating_mul(cycles.into())
}
