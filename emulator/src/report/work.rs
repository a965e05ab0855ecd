//! The work of a run or a layer: its lower bounds and its energy.

use vitcod_isa::cost::Cost;
use vitcod_isa::energy::{Energy, Events};
use vitcod_isa::instr::{Op, Unit};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Layer;

use super::counter::add;
use super::{Bound, Resource, RunEnergy};

/// The work of a run or a layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Multiplications that the model needs.
    pub(super) needed_macs: u64,
    /// DRAM bytes that the model needs.
    compulsory_bytes: u64,
    pub(super) events: Events,
    scores: u64,
    elements: u64,
}

impl Work {
    /// The needs of a layer according to the model.
    pub(super) fn of(layer: &Layer) -> Work {
        let Layer { needed_macs, compulsory_bytes, .. } = *layer;
        Work { needed_macs, compulsory_bytes, ..Work::default() }
    }

    /// Adds the needs of another layer.
    pub(super) fn need(&mut self, layer: &Layer) {
        add(&mut self.needed_macs, layer.needed_macs);
        add(&mut self.compulsory_bytes, layer.compulsory_bytes);
    }

    /// Adds an instruction.
    pub(super) fn count(&mut self, op: &Op, cost: &Cost) {
        self.events.count(cost);
        let counter =
            if op.units().contains(Unit::Vector) { &mut self.elements } else { &mut self.scores };
        add(counter, cost.elements);
    }

    pub(super) fn bound(&self, machine: &Machine) -> Bound {
        let over = |amount: u64, per_cycle: f64| amount as f64 / per_cycle;
        let engines = 2.0;
        let compute_cycles = over(self.needed_macs, machine.macs_per_cycle() as f64);
        let dram_cycles = over(self.compulsory_bytes, machine.dram.bytes_per_cycle);
        let softmax_cycles =
            over(self.scores, engines * f64::from(machine.softmax.scores_per_cycle));
        let vector_cycles = over(self.elements, machine.vector.elements_per_cycle.into());
        let (mut combined_cycles, mut binding) = (0.0, None);
        for (cycles, resource) in [
            (compute_cycles, Resource::Compute),
            (dram_cycles, Resource::Dram),
            (softmax_cycles, Resource::Softmax),
            (vector_cycles, Resource::Vector),
        ] {
            if cycles > combined_cycles {
                (combined_cycles, binding) = (cycles, Some(resource));
            }
        }
        Bound {
            compute_cycles,
            dram_cycles,
            softmax_cycles,
            vector_cycles,
            combined_cycles,
            binding,
        }
    }

    /// The energy, if the machine states the energies of events.
    pub(super) fn energy(&self, machine: &Machine) -> Option<Energy> {
        machine.energy.as_ref().map(|each| Energy::of(&self.events, each))
    }
}

impl RunEnergy {
    pub(super) fn new(of: Energy, time_ms: f64) -> RunEnergy {
        // A pJ per millisecond is a nW.
        let power_mw =
            |energy_pj: f64| if time_ms > 0.0 { energy_pj / time_ms * 1e-6 } else { 0.0 };
        let chip_pj = of.chip_pj();
        RunEnergy {
            of,
            chip_pj,
            average_power_mw: power_mw(of.total_pj),
            average_chip_power_mw: power_mw(chip_pj),
        }
    }
}
