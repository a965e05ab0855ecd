//! Builds a report from a program and its timing.

use std::collections::BTreeMap;

use vitcod_isa::cost::Cost;
use vitcod_isa::effects::{Data, Space, accesses};
use vitcod_isa::instr::{Op, Unit, UnitSet};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Program;

use super::counter::add;
use super::engines::Engines;
use super::forwarding::Forwarding;
use super::occupancy::Occupancy;
use super::shares::shares;
use super::work::Work;
use super::{
    Cycles, DramRows, DramTraffic, FetchReport, Instructions, LayerReport, MachineReport, Macs,
    Queries, Report, RunBound, RunEnergy, SramUse, Stalls, UnitReport, Waits,
};
use vitcod_isa::timing::{Fetched, Timing, UnitCycles};

/// The kind of DRAM traffic that fetches instructions.
const INSTRUCTIONS: &str = "instructions";

impl Report {
    /// The report of a run of `program` with `timing`.
    pub fn new(program: &Program, timing: &Timing) -> Report {
        let machine = &program.machine;
        let engines = Engines::of(program, timing);
        let queries = Forwarding::of(program);
        let (layers, work) = layers(program, timing);
        let time_ms = machine.milliseconds(timing.total());
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
                by_unit: Unit::ALL
                    .into_iter()
                    .map(|unit| (unit.to_string(), timing.unit(unit).into()))
                    .collect(),
            },
            time_ms,
            instructions: Instructions {
                total: program.code.len() as u64,
                by_mnemonic: BTreeMap::new(),
                fetch: timing.fetched().map(FetchReport::from),
            },
            macs: macs(&work, timing.total(), machine, &engines),
            bound: run_bound(&work, timing.total(), machine),
            energy: work.energy(machine).map(|energy| RunEnergy::new(energy, time_ms)),
            dram: DramTraffic {
                read_bytes: 0,
                write_bytes: 0,
                burst_read_bytes: 0,
                burst_write_bytes: 0,
                by_kind: BTreeMap::new(),
                rows: None,
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
            layers,
        };
        for ((layer, engines), queries) in
            report.layers.iter_mut().zip(engines.layers).zip(queries.layers)
        {
            (layer.engines, layer.queries) = (engines, queries);
        }
        let mut occupancy = Occupancy::new(machine.sram.bytes);
        for (index, (instr, cost)) in program.code.iter().zip(timing.costs()).enumerate() {
            report.count(&instr.op, cost, &mut occupancy);
            if let Some(rows) = timing.rows(index) {
                report.dram.rows.get_or_insert_default().add(rows);
            }
        }
        if let Some(fetched) = timing.fetched() {
            add_kind(&mut report.dram.by_kind, INSTRUCTIONS, fetched.bytes);
            if let Some(rows) = &mut report.dram.rows {
                rows.add(&fetched.rows);
            }
        }
        report.sram.touched_bytes = occupancy.bytes();
        let attention = report.layers.iter().filter(|layer| layer.attention);
        report.cycles.attention = attention.map(|layer| layer.cycles).sum();
        report
    }

    fn count(&mut self, op: &Op, cost: &Cost, occupancy: &mut Occupancy) {
        *self.instructions.by_mnemonic.entry(op.spec().mnemonic.to_owned()).or_default() += 1;
        add(&mut self.sram.read_bytes, cost.sram.read_bytes());
        add(&mut self.sram.written_bytes, cost.sram.written_bytes());
        add_sram(&mut self.sram.by_kind, cost);
        for access in accesses(op) {
            if access.space == Space::Sram && access.region.total() > 0 {
                self.sram.peak_bytes = self.sram.peak_bytes.max(access.region.end());
                occupancy.touch(access.region);
            }
        }
        if let Some(traffic) = op.traffic() {
            let (wanted, bursts) = match is_of_store(op) {
                true => (&mut self.dram.write_bytes, &mut self.dram.burst_write_bytes),
                false => (&mut self.dram.read_bytes, &mut self.dram.burst_read_bytes),
            };
            add(wanted, cost.dram_bytes);
            add(bursts, cost.burst_bytes);
            add_kind(&mut self.dram.by_kind, traffic.name(), cost.dram_bytes);
        }
    }
}

/// The multiplications, and the use of the remaining MAC slots.
fn macs(work: &Work, cycles: u64, machine: &Machine, engines: &Engines) -> Macs {
    let executed = work.events.macs;
    let slots = cycles.saturating_mul(machine.macs_per_cycle());
    let wasted_slots =
        engines.total.values().map(|engine| engine.mac_slots_wasted).fold(0, u64::saturating_add);
    Macs {
        executed,
        needed: work.needed_macs,
        utilisation: if slots > 0 { work.needed_macs as f64 / slots as f64 } else { 0.0 },
        slots,
        wasted_slots,
        idle_slots: slots.saturating_sub(executed).saturating_sub(wasted_slots),
    }
}

fn run_bound(work: &Work, cycles: u64, machine: &Machine) -> RunBound {
    let of = work.bound(machine);
    let larger = of.compute_cycles.max(of.dram_cycles);
    RunBound { of, ratio: (larger > 0.0).then(|| cycles as f64 / larger) }
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
        let UnitCycles { busy, token, fetch, lines, channel, barrier, drained } = *cycles;
        let token = Unit::ALL.into_iter().zip(token).filter(|(_, cycles)| *cycles > 0);
        let token = token.map(|(unit, cycles)| (unit.to_string(), cycles)).collect();
        UnitReport {
            busy,
            stalls: Stalls { waits: Waits { token, fetch, lines, channel, barrier }, drained },
        }
    }
}

impl From<&Fetched> for FetchReport {
    fn from(fetched: &Fetched) -> FetchReport {
        let Fetched { bytes, burst_bytes, bursts, word_cycles, queue_cycles, rows: _ } = *fetched;
        FetchReport { bytes, burst_bytes, bursts, word_cycles, queue_cycles }
    }
}

/// Whether a transfer writes to DRAM.
fn is_of_store(op: &Op) -> bool {
    op.units().contains(Unit::Store)
}

/// Whether an instruction computes attention, in any layer.
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
        | Op::Interpolate(_)
        | Op::Sync(_)
        | Op::Barrier(_)
        | Op::Halt(_) => false,
    }
}

/// The layers, and the total work.
fn layers(program: &Program, timing: &Timing) -> (Vec<LayerReport>, Work) {
    let machine = &program.machine;
    let mut work: Vec<Work> = program.header.layers.iter().map(Work::of).collect();
    let mut total = Work::default();
    program.header.layers.iter().for_each(|layer| total.need(layer));
    total.events.cycles = timing.total();
    let mut layers: Vec<LayerReport> = (program.header.layers.iter())
        .map(|layer| LayerReport {
            name: layer.name.clone(),
            operation: layer.operation.clone(),
            attention: false,
            cycles: 0,
            macs: 0,
            macs_needed: layer.needed_macs,
            bound: Work::default().bound(machine),
            energy: None,
            dram_read_bytes: 0,
            dram_write_bytes: 0,
            dram_by_kind: BTreeMap::new(),
            dram_rows: machine.dram.ddr4.as_ref().map(|_| DramRows::default()),
            sram_by_kind: BTreeMap::new(),
            busy: BTreeMap::new(),
            engines: BTreeMap::new(),
            queries: Queries::default(),
        })
        .collect();
    for (index, instr) in program.code.iter().enumerate() {
        let (span, cost) = (timing.spans()[index], &timing.costs()[index]);
        total.count(&instr.op, cost);
        let word = timing.word_bytes(index);
        let number = program.layer_of.get(index).map_or(usize::MAX, |layer| *layer as usize);
        let Some(layer) = layers.get_mut(number) else { continue };
        work[number].count(&instr.op, cost);
        if word > 0 {
            add(&mut work[number].events.dram_burst_bytes, word);
            add_kind(&mut layer.dram_by_kind, INSTRUCTIONS, word);
        }
        layer.attention |= of_attention(&instr.op);
        add(&mut layer.macs, cost.macs);
        add_sram(&mut layer.sram_by_kind, cost);
        if let (Some(sum), Some(rows)) = (&mut layer.dram_rows, timing.rows(index)) {
            sum.add(rows);
        }
        if let Some(traffic) = instr.op.traffic() {
            let stored = is_of_store(&instr.op);
            add(
                if stored { &mut layer.dram_write_bytes } else { &mut layer.dram_read_bytes },
                cost.dram_bytes,
            );
            add_kind(&mut layer.dram_by_kind, traffic.name(), cost.dram_bytes);
        }
        if instr.op.units() != UnitSet::ALL {
            for unit in instr.op.units().iter() {
                *layer.busy.entry(unit.to_string()).or_default() += span.end - span.start;
            }
        }
    }
    if let Some(Fetched { bytes, burst_bytes, .. }) = timing.fetched() {
        add(&mut total.events.dram_burst_bytes, *burst_bytes);
        // What the last burst brings behind `halt` is of its layer.
        let last = program.layer_of.last().and_then(|layer| work.get_mut(*layer as usize));
        last.into_iter().for_each(|work| {
            add(&mut work.events.dram_burst_bytes, burst_bytes - bytes);
        });
    }
    for (layer, cycles) in shares(program, timing) {
        layers[layer].cycles += cycles.end - cycles.start;
    }
    for (layer, work) in layers.iter_mut().zip(&mut work) {
        work.events.cycles = layer.cycles;
        (layer.bound, layer.energy) = (work.bound(machine), work.energy(machine));
    }
    (layers, total)
}
