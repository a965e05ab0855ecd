//! Activity of the units that execute on MAC lines, in total and per layer.

use std::collections::BTreeMap;

use vitcod_isa::instr::{Unit, UnitSet};
use vitcod_isa::program::Program;

use super::counter::add;
use super::{EngineReport, Waits};
use vitcod_isa::timing::{Reason, Timing};

type ByUnit = BTreeMap<String, EngineReport>;

pub(super) struct Engines {
    pub(super) total: ByUnit,
    /// Activity by layer of the program.
    pub(super) layers: Vec<ByUnit>,
}

impl Engines {
    pub(super) fn of(program: &Program, timing: &Timing) -> Engines {
        let mut engines = Engines {
            total: ByUnit::new(),
            layers: vec![ByUnit::new(); program.header.layers.len()],
        };
        let macs_per_line = u64::from(program.machine.lines.macs);
        for (index, (instr, cost)) in program.code.iter().zip(timing.costs()).enumerate() {
            let (Some(lines), Some(unit)) = (cost.lines, instr.op.units().iter().next()) else {
                continue;
            };
            let count = u32::from(lines.count);
            let slots = cost.cycles.saturating_mul(count.into()).saturating_mul(macs_per_line);
            engines.each(program, index, |by_unit| {
                let first = EngineReport { lines_min: count, ..EngineReport::default() };
                let engine = by_unit.entry(unit.to_string()).or_insert(first);
                engine.lines_min = engine.lines_min.min(count);
                engine.lines_max = engine.lines_max.max(count);
                add(&mut engine.mac_slots, slots);
                add(&mut engine.mac_slots_used, cost.macs);
                add(&mut engine.mac_slots_wasted, slots.saturating_sub(cost.macs));
            });
        }
        for (index, (instr, span)) in program.code.iter().zip(timing.spans()).enumerate() {
            if instr.op.units() != UnitSet::ALL {
                for unit in instr.op.units().iter() {
                    engines.engine(program, index, unit, |engine| {
                        add(&mut engine.busy, span.end - span.start)
                    });
                }
            }
        }
        for wait in timing.waits() {
            engines.engine(program, wait.index, wait.unit, |engine| {
                engine.idle.count(wait.reason, wait.cycles)
            });
        }
        engines
    }

    /// Applies `f` to the total and to the layer of an instruction.
    fn each(&mut self, program: &Program, index: usize, f: impl Fn(&mut ByUnit)) {
        f(&mut self.total);
        let layer =
            program.layer_of.get(index).and_then(|layer| self.layers.get_mut(*layer as usize));
        layer.into_iter().for_each(f);
    }

    /// Applies `f` to the total and to the layer's entry of a unit, if it executes on MAC lines.
    fn engine(
        &mut self,
        program: &Program,
        index: usize,
        unit: Unit,
        f: impl Fn(&mut EngineReport),
    ) {
        self.each(program, index, |by_unit| by_unit.get_mut(unit.name()).into_iter().for_each(&f));
    }
}

/// Merges the activity of several layers.
pub fn merged<'a>(
    layers: impl Iterator<Item = &'a BTreeMap<String, EngineReport>>,
) -> BTreeMap<String, EngineReport> {
    let mut sums = ByUnit::new();
    for (unit, engine) in layers.flatten() {
        match sums.get_mut(unit) {
            Some(sum) => sum.merge(engine),
            None => {
                sums.insert(unit.clone(), engine.clone());
            }
        }
    }
    sums
}

impl EngineReport {
    fn merge(&mut self, other: &EngineReport) {
        let EngineReport {
            lines_min,
            lines_max,
            busy,
            idle,
            mac_slots,
            mac_slots_used,
            mac_slots_wasted,
        } = other;
        self.lines_min = self.lines_min.min(*lines_min);
        self.lines_max = self.lines_max.max(*lines_max);
        add(&mut self.busy, *busy);
        self.idle.merge(idle);
        add(&mut self.mac_slots, *mac_slots);
        add(&mut self.mac_slots_used, *mac_slots_used);
        add(&mut self.mac_slots_wasted, *mac_slots_wasted);
    }
}

impl Waits {
    fn merge(&mut self, other: &Waits) {
        let Waits { token, fetch, lines, channel, barrier } = other;
        for (sender, cycles) in token {
            add(self.token.entry(sender.clone()).or_default(), *cycles);
        }
        add(&mut self.fetch, *fetch);
        add(&mut self.lines, *lines);
        add(&mut self.channel, *channel);
        add(&mut self.barrier, *barrier);
    }

    fn count(&mut self, reason: Reason, cycles: u64) {
        let counter = match reason {
            Reason::Token(sender) => self.token.entry(sender.to_string()).or_default(),
            Reason::Fetch => &mut self.fetch,
            Reason::Lines => &mut self.lines,
            Reason::Channel => &mut self.channel,
            Reason::Barrier => &mut self.barrier,
        };
        add(counter, cycles);
    }
}
