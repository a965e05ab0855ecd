//! What ways to tile, to order and to place are compared by: time, and traffic that hides behind
//! it.
//!
//! Programs are compared by the product of their energy and their time. Their parts, which are
//! chosen one by one, are compared by what they add to it in a program whose MAC lines are busy: so
//! many cycles, and more for those of the DRAM channel.

use vitcod_isa::cost::cost;
use vitcod_isa::energy::{Energy, Events};
use vitcod_isa::instr::Instr;
use vitcod_isa::machine::Machine;
use vitcod_isa::timing::simulate;

/// Cycles of the machine that a cycle of the DRAM channel is worth.
///
/// In a program of `T` cycles that takes the energy `E`, of it `p T` static, a cycle more of the
/// channel that takes the energy `d` adds `d T` to the product of energy and time, and a cycle more
/// of the machine `E + p T`. By the energy per event of `vitcod` that is 12 to 14 times less for a
/// DeiT.
const TRAFFIC: u64 = 12;

/// The less, the better, of a part that takes some cycles and keeps the channel busy for some.
pub(super) fn of_part(cycles: u64, channel: u64) -> u64 {
    cycles.saturating_add(TRAFFIC.saturating_mul(channel))
}

/// The less, the better, of a whole program: pJ times cycles, by the energy per event of the
/// machine or, where it states none, of the paper's.
pub(super) fn of_program(code: &[Instr], machine: &Machine) -> u128 {
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
