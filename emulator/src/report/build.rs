//! A report from a program and its timing.

use std::collections::BTreeMap;

use vitcod_isa::cost::Cost;
use vitcod_isa::effects::{Data, Space, accesses};
use vitcod_isa::instr::table::{Gather, Load, Store};
use vitcod_isa::instr::{Op, Traffic, Unit};
use vitcod_isa::program::Program;

use super::engines::Engines;
use super::forwarding::Forwarding;
use super::occupancy::Occupancy;
use super::{
    Bound, Cycles, DramTraffic, Instructions, LayerReport, MachineReport, Macs, Queries, Report, SramUse, Stalls,
    UnitReport, Waits,
};
use crate::timing::{Timing, UnitCycles};

impl Report {
    /// The report of a run of `program` that took `timing`.
    pub fn new(program: &Program, timing: &Timing) -> Report {
        let machine = &program.machine;
        let engines = Engines::of(program, timing);
        let queries = Forwarding::of(program);
        let mut report = Report {
            model: program.header.name.clone(),
            machine: MachineReport {
                name: machine.name.clone(),
                digest: machine.digest(),
                clock_mhz: machine.clock_mhz,
            },
            cycles: Cycles {
                total: timing.total(),
                attention: 0,
                by_unit: Unit::ALL.into_iter().map(|unit| (unit.to_string(), timing.unit(unit).into())).collect(),
            },
            time_ms: machine.milliseconds(timing.total()),
            instructions: Instructions { total: program.code.len() as u64, by_mnemonic: BTreeMap::new() },
            macs: Macs { executed: 0, needed: 0, utilisation: 0.0 },
            bound: Bound { compute_cycles: 0.0, dram_cycles: 0.0, ratio: None },
            dram: DramTraffic {
                read_bytes: 0,
                write_bytes: 0,
                burst_read_bytes: 0,
                burst_write_bytes: 0,
                by_kind: BTreeMap::new(),
            },
            sram: SramUse {
                touched_bytes: 0,
                peak_bytes: 0,
                capacity_bytes: machine.sram.bytes.into(),
                read_bytes: 0,
                written_bytes: 0,
                by_kind: BTreeMap::new(),
            },
            engines: engines.total,
            queries: queries.total,
            decisions: program.header.decisions.clone(),
            layers: layers(program, timing),
        };
        for ((layer, engines), queries) in report.layers.iter_mut().zip(engines.layers).zip(queries.layers) {
            (layer.engines, layer.queries) = (engines, queries);
        }
        let mut occupancy = Occupancy::new(machine.sram.bytes);
        for (instr, cost) in program.code.iter().zip(timing.costs()) {
            report.count(&instr.op, cost, &mut occupancy);
        }
        report.sram.touched_bytes = occupancy.bytes();
        let attention = report.layers.iter().filter(|layer| layer.attention);
        report.cycles.attention = attention.map(|layer| layer.cycles).sum();
        report.bound(program);
        report
    }

    fn count(&mut self, op: &Op, cost: &Cost, occupancy: &mut Occupancy) {
        *self.instructions.by_mnemonic.entry(op.spec().mnemonic.to_owned()).or_default() += 1;
        add(&mut self.macs.executed, cost.macs);
        add(&mut self.sram.read_bytes, cost.sram.read_bytes());
        add(&mut self.sram.written_bytes, cost.sram.written_bytes());
        add_sram(&mut self.sram.by_kind, cost);
        for access in accesses(op) {
            if access.space == Space::Sram && access.region.total() > 0 {
                self.sram.peak_bytes = self.sram.peak_bytes.max(access.region.end());
                occupancy.touch(access.region);
            }
        }
        if let Some((direction, traffic)) = transfer(op) {
            let (wanted, bursts) = match direction {
                Direction::Read => (&mut self.dram.read_bytes, &mut self.dram.burst_read_bytes),
                Direction::Write => (&mut self.dram.write_bytes, &mut self.dram.burst_write_bytes),
            };
            add(wanted, cost.dram_bytes);
            add(bursts, cost.burst_bytes);
            add_kind(&mut self.dram.by_kind, traffic.name(), cost.dram_bytes);
        }
    }

    fn bound(&mut self, program: &Program) {
        let (layers, machine) = (&program.header.layers, &program.machine);
        let macs_per_cycle = machine.macs_per_cycle() as f64;
        let needed: u64 = layers.iter().map(|layer| layer.needed_macs).fold(0, u64::saturating_add);
        let compulsory: u64 = layers.iter().map(|layer| layer.compulsory_bytes).fold(0, u64::saturating_add);
        let cycles = self.cycles.total as f64;
        self.macs.needed = needed;
        if cycles > 0.0 {
            self.macs.utilisation = needed as f64 / (cycles * macs_per_cycle);
        }
        let compute_cycles = needed as f64 / macs_per_cycle;
        let dram_cycles = compulsory as f64 / machine.dram.bytes_per_cycle;
        let larger = compute_cycles.max(dram_cycles);
        self.bound = Bound { compute_cycles, dram_cycles, ratio: (larger > 0.0).then(|| cycles / larger) };
    }
}

/// Counts, up to what the counter holds: a program may be made to overflow it.
pub(super) fn add(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_add(amount);
}

fn add_kind(by_kind: &mut BTreeMap<String, u64>, kind: &str, bytes: u64) {
    match by_kind.get_mut(kind) {
        Some(counter) => add(counter, bytes),
        None => {
            by_kind.insert(kind.to_owned(), bytes);
        }
    }
}

fn add_sram(by_kind: &mut BTreeMap<String, u64>, cost: &Cost) {
    for data in Data::ALL {
        let bytes = cost.sram.read(data).saturating_add(cost.sram.written(data));
        if bytes > 0 {
            add_kind(by_kind, data.name(), bytes);
        }
    }
}

impl From<&UnitCycles> for UnitReport {
    fn from(cycles: &UnitCycles) -> UnitReport {
        let UnitCycles { busy, token, lines, channel, barrier, drained } = *cycles;
        let token = Unit::ALL.into_iter().zip(token).filter(|(_, cycles)| *cycles > 0);
        let token = token.map(|(unit, cycles)| (unit.to_string(), cycles)).collect();
        UnitReport { busy, stalls: Stalls { waits: Waits { token, lines, channel, barrier }, drained } }
    }
}

enum Direction {
    Read,
    Write,
}

/// The direction of a transfer and what it carries.
fn transfer(op: &Op) -> Option<(Direction, Traffic)> {
    match *op {
        Op::Load(Load { traffic, .. }) | Op::Gather(Gather { traffic, .. }) => Some((Direction::Read, traffic)),
        Op::Store(Store { traffic, .. }) => Some((Direction::Write, traffic)),
        _ => None,
    }
}

/// Whether an instruction belongs to attention, whatever the layer.
fn of_attention(op: &Op) -> bool {
    match op {
        Op::Sddmm(_)
        | Op::Softmax(_)
        | Op::Spmm(_)
        | Op::SddmmList(_)
        | Op::SoftmaxList(_)
        | Op::SpmmList(_)
        | Op::Encode(_)
        | Op::Decode(_) => true,
        Op::Load(_)
        | Op::Store(_)
        | Op::Gather(_)
        | Op::Matmul(_)
        | Op::LayerNorm(_)
        | Op::Add(_)
        | Op::Lut(_)
        | Op::Sync(_)
        | Op::Barrier(_)
        | Op::Halt(_) => false,
    }
}

fn layers(program: &Program, timing: &Timing) -> Vec<LayerReport> {
    let mut layers: Vec<LayerReport> = (program.header.layers.iter())
        .map(|layer| LayerReport {
            name: layer.name.clone(),
            operation: layer.operation.clone(),
            attention: false,
            cycles: 0,
            macs: 0,
            macs_needed: layer.needed_macs,
            dram_read_bytes: 0,
            dram_write_bytes: 0,
            dram_by_kind: BTreeMap::new(),
            sram_by_kind: BTreeMap::new(),
            busy: BTreeMap::new(),
            engines: BTreeMap::new(),
            queries: Queries::default(),
        })
        .collect();
    let mut completions = Vec::with_capacity(program.code.len());
    for (index, instr) in program.code.iter().enumerate() {
        let (span, cost) = (timing.spans()[index], &timing.costs()[index]);
        let number = program.layer_of.get(index).map_or(usize::MAX, |layer| *layer as usize);
        let Some(layer) = layers.get_mut(number) else { continue };
        completions.push((span.completion, index, number));
        layer.attention |= of_attention(&instr.op);
        add(&mut layer.macs, cost.macs);
        add_sram(&mut layer.sram_by_kind, cost);
        if let Some((direction, traffic)) = transfer(&instr.op) {
            match direction {
                Direction::Read => add(&mut layer.dram_read_bytes, cost.dram_bytes),
                Direction::Write => add(&mut layer.dram_write_bytes, cost.dram_bytes),
            }
            add_kind(&mut layer.dram_by_kind, traffic.name(), cost.dram_bytes);
        }
        if !matches!(instr.op, Op::Barrier(_) | Op::Halt(_)) {
            for unit in instr.op.units().iter() {
                *layer.busy.entry(unit.to_string()).or_default() += span.end - span.start;
            }
        }
    }
    completions.sort_unstable();
    let mut frontier = 0;
    for (completion, _, layer) in completions {
        layers[layer].cycles += completion - frontier;
        frontier = completion;
    }
    layers
}
