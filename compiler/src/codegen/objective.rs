//! The objective: the energy-delay product of a program. Parts of a program are compared by an
//! approximation of it, [weighted cycles](crate::estimate).

use vitcod_isa::cost::cost;
use vitcod_isa::energy::{Energy, Events};
use vitcod_isa::instr::Instr;
use vitcod_isa::machine::Machine;
use vitcod_isa::timing::simulate;

/// The energy-delay product of a program in pJ times cycles. Energies per event are those of the
/// machine, or those of the preset `vitcod` if it states none. Less is better.
pub(crate) fn energy_delay(code: &[Instr], machine: &Machine) -> u128 {
    let Ok(timing) = simulate(code, machine) else { return u128::MAX };
    let cycles = timing.total();
    let mut events = Events { cycles, ..Events::default() };
    code.iter().for_each(|instr| events.count(&cost(&instr.op, machine)));
    events.dram_burst_bytes += timing.fetched().map_or(0, |fetched| fetched.burst_bytes);
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
