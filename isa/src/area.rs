//! The area model: how many parts of a kind a machine has, times the area of each. `docs/area.md`
//! states the sources of the areas and how sure they are.
//!
//! Parts follow from the organisation of the machine. A machine without banks has a scratchpad that
//! serves every port in every cycle, which nobody can build as such: its area is that of a memory
//! with the same bandwidth, and a lower bound.

use serde::Serialize;

use crate::instr::MAX_WORD_BYTES;
use crate::machine::{self, Banks, Datapath, Machine, Organisation};

/// Words of a row buffer: a port fills one half while lines read the other one.
const ROW_BUFFER_WORDS: u32 = 16;

/// What a unit buffers for each of its slots: a word of each bank, which arrive in any order within
/// a revolution, while it uses those of the revolution before.
const REVOLUTIONS_BUFFERED: u32 = 2;

/// Units with a sequencer of their own: the two engines, encoder, decoder, two softmax units, the
/// vector unit, load, store, and instruction fetch.
const UNITS: u32 = 10;

/// Bits of an address within a bank, with the signals of a request.
const REQUEST_BITS: u32 = 14;

/// The part of a machine that is of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Component {
    /// What it is.
    pub name: &'static str,
    /// Its area in place.
    pub mm2: f64,
    /// Its parts, each with its area.
    pub formula: String,
}

/// The area of a machine by component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Area {
    /// The sum of all components.
    pub total_mm2: f64,
    /// The components, memories first.
    pub components: Vec<Component>,
    /// Whether the scratchpad serves more than a memory of this area could.
    pub is_lower_bound: bool,
}

impl Area {
    /// The area of a machine whose parts have the areas that it states, or else those of 28 nm.
    pub fn of(machine: &Machine) -> Area {
        let each = machine.area.clone().unwrap_or_else(machine::Area::of_28_nm);
        let mut parts = Parts { each: &each, logic_um2: 0.0, components: Vec::new() };
        let organisation = machine.organisation();
        match organisation {
            Some(organisation) => parts.banked(machine, organisation),
            None => parts.flat(machine),
        }
        parts.fetch(machine);
        parts.lines(machine, organisation.map_or(&unbounded(machine), |found| found.datapath));
        parts.units(machine);
        let components = parts.components;
        Area {
            total_mm2: components.iter().map(|component| component.mm2).sum(),
            components,
            is_lower_bound: organisation.is_none(),
        }
    }
}

/// The datapath of a machine that states none: whatever arrives is served at once.
fn unbounded(machine: &Machine) -> Datapath {
    let lines = &machine.lines;
    Datapath {
        operand_bytes: 4 * lines.port_bytes,
        accumulators: 2 * lines.macs,
        requantisers: lines.macs,
        queued_rows: 1,
        mode_switch_cycles: 0,
        dividers: 24,
        divider_cycles: 1,
        roots: 16,
        root_cycles: 1,
        token_cycles: 0,
    }
}

struct Parts<'a> {
    each: &'a machine::Area,
    /// Cells of all logic.
    logic_um2: f64,
    components: Vec<Component>,
}

impl Parts<'_> {
    fn memory(&mut self, name: &'static str, mm2: f64, formula: String) {
        self.components.push(Component { name, mm2, formula });
    }

    /// Adds logic whose cells have this area.
    fn logic(&mut self, name: &'static str, um2: f64, formula: String) {
        self.logic_um2 += um2;
        let mm2 = um2 / 1e6 / self.each.density;
        self.components.push(Component { name, mm2, formula });
    }

    /// Adds `muxes` multiplexers of two inputs and a bit.
    fn muxes(&mut self, name: &'static str, muxes: f64, formula: String) {
        let mux2 = self.each.mux2_um2;
        self.logic(name, muxes * mux2, format!("{formula} x {mux2} um2"));
    }

    /// Banks with their crossbar, and the buffers between banks and units.
    fn banked(&mut self, machine: &Machine, organisation: Organisation<'_>) {
        let each = self.each;
        let Banks { count, word_bytes, row_ports, .. } = *organisation.banks;
        let (slots, port_bytes) = (organisation.slots.period(), machine.lines.port_bytes);
        let bits = 8 * word_bytes;
        let kb = f64::from(machine.sram.bytes) / 1024.0 / f64::from(count);
        let (cells, column) = (each.sram_mm2_per_kb, each.sram_column_um2);
        let bank = kb * cells + f64::from(bits) * column / 1e6;
        self.memory(
            "banks",
            f64::from(count) * bank,
            format!("{count} x ({kb} KB x {cells} mm2 + {bits} bits x {column} um2)"),
        );
        let (words, buffer) = (slots * REVOLUTIONS_BUFFERED * count, each.buffer_mm2_per_kb);
        self.memory(
            "stream buffers",
            f64::from(words * word_bytes) / 1024.0 * buffer,
            format!(
                "{slots} slots x {REVOLUTIONS_BUFFERED} x {count} words x {word_bytes} B x \
                 {buffer} mm2/KB"
            ),
        );

        let lanes = count.max(slots);
        let stages = log2(lanes);
        self.muxes(
            "slot rotators",
            f64::from(2 * stages) * f64::from(lanes) * f64::from(bits),
            format!("2 directions x {stages} stages x {lanes} lanes x {bits} bits"),
        );
        let shifts = log2(word_bytes);
        self.muxes(
            "aligners",
            f64::from(slots * shifts) * f64::from(bits),
            format!("{slots} slots x {shifts} stages x {bits} bits"),
        );
        self.muxes(
            "row crossbar",
            f64::from(row_ports * (count - 1)) * f64::from(bits),
            format!("{row_ports} ports x ({count} - 1) banks x {bits} bits"),
        );
        let (latch, mux2) = (each.latch_um2, each.mux2_um2);
        let stored = f64::from(row_ports * ROW_BUFFER_WORDS * bits);
        self.logic(
            "row buffers",
            stored * (latch + mux2 / 2.0),
            format!(
                "{row_ports} ports x {ROW_BUFFER_WORDS} words x {bits} bits x ({latch} + \
                 {mux2} / 2) um2"
            ),
        );
        let (lines, rows) = (machine.lines.count, row_ports * ROW_BUFFER_WORDS / 2);
        let width = 8 * port_bytes;
        self.muxes(
            "row selection",
            f64::from(lines * (rows - 1)) * f64::from(width),
            format!("{lines} lines x ({rows} - 1) words x {width} bits"),
        );
    }

    /// A memory with the bandwidth of all ports, and the crossbar between both.
    fn flat(&mut self, machine: &Machine) {
        let each = self.each;
        let (banks, port_bytes) = (machine.lines.count, machine.lines.port_bytes);
        let bits = 8 * port_bytes;
        let kb = f64::from(machine.sram.bytes) / 1024.0 / f64::from(banks);
        let (cells, column) = (each.two_port_sram_mm2_per_kb, each.two_port_sram_column_um2);
        let bank = kb * cells + f64::from(bits) * column / 1e6;
        self.memory(
            "banks of two ports",
            f64::from(banks) * bank,
            format!("{banks} x ({kb} KB x {cells} mm2 + {bits} bits x {column} um2)"),
        );
        // Two softmax units read int16 and write bytes; the vector unit reads two and writes one.
        let bytes = 6 * machine.softmax.scores_per_cycle + 3 * machine.vector.elements_per_cycle;
        let bytes = f64::from(bytes) + machine.dram.bytes_per_cycle;
        let others = (bytes / f64::from(2 * port_bytes)).ceil();
        let (banks, bits, request) = (f64::from(banks), f64::from(bits), f64::from(REQUEST_BITS));
        let (reads, writes) = (2.0 * banks + others, banks + others);
        self.muxes(
            "read crossbar",
            reads * (banks - 1.0) * bits + 2.0 * banks * (reads - 1.0) * request,
            format!(
                "({reads} x ({banks} - 1) x {bits} bits + 2 x {banks} x ({reads} - 1) x {request} \
                 bits)"
            ),
        );
        self.muxes(
            "write crossbar",
            2.0 * banks * (writes - 1.0) * (bits + request),
            format!("2 x {banks} x ({writes} - 1) x {} bits", bits + request),
        );
    }

    /// The buffer of fetched instructions and the queues of the units. A machine that does not
    /// state them has none: instructions arrive at once.
    fn fetch(&mut self, machine: &Machine) {
        let Some(fetch) = &machine.fetch else {
            return;
        };
        let (depth, buffer) = (fetch.queue_depth, self.each.buffer_mm2_per_kb);
        let queues = f64::from(UNITS - 1) * f64::from(depth) * MAX_WORD_BYTES as f64;
        self.memory(
            "fetch",
            (f64::from(fetch.buffer_bytes) + queues) / 1024.0 * buffer,
            format!(
                "({} B + {} queues x {depth} x {MAX_WORD_BYTES} B) x {buffer} mm2/KB",
                fetch.buffer_bytes,
                UNITS - 1
            ),
        );
    }

    /// The MAC lines.
    fn lines(&mut self, machine: &Machine, datapath: &Datapath) {
        let each = self.each;
        let (flip_flop, latch, mux2) = (each.flip_flop_um2, each.latch_um2, each.mux2_um2);
        let lines = machine.lines.count;
        let macs = f64::from(lines) * f64::from(machine.lines.macs);
        self.logic("MACs", macs * each.mac_um2, format!("{macs} x {} um2", each.mac_um2));
        if machine.softmax.minifloat {
            let shifter = each.shifter_um2;
            self.logic("shifters", macs * shifter, format!("{macs} x {shifter} um2"));
        }
        // A held and a streamed word, each with a multiplexer of its parts.
        let bits = f64::from(lines) * f64::from(8 * datapath.operand_bytes);
        let inputs = (datapath.operand_bytes / machine.lines.port_bytes).saturating_sub(2);
        let selected = f64::from(lines) * f64::from(inputs * 8 * machine.lines.port_bytes);
        self.logic(
            "operand registers",
            bits * latch + selected * mux2,
            format!("{bits} bits x {latch} um2 + {selected} x {mux2} um2"),
        );
        let sums = f64::from(lines) * f64::from(datapath.accumulators);
        self.logic(
            "accumulators",
            sums * 32.0 * (flip_flop + mux2),
            format!("{sums} x 32 bits x ({flip_flop} + {mux2}) um2"),
        );
        let requantisers = f64::from(lines) * f64::from(datapath.requantisers);
        let requantiser = each.requantiser_um2;
        self.logic(
            "requantisers",
            requantisers * requantiser,
            format!("{requantisers} x {requantiser} um2"),
        );
        let (dividers, roots) = (datapath.dividers, datapath.roots);
        let (divider, root) = (each.divider_um2, each.root_um2);
        self.logic(
            "dividers, roots",
            f64::from(dividers) * divider + f64::from(roots) * root,
            format!("{dividers} x {divider} um2 + {roots} x {root} um2"),
        );
    }

    /// Softmax and vector units, and control.
    fn units(&mut self, machine: &Machine) {
        let each = self.each;
        let (scores, softmax) = (2 * machine.softmax.scores_per_cycle, each.softmax_um2);
        let formula = format!("{scores} scores x {softmax} um2");
        self.logic("softmax units", f64::from(scores) * softmax, formula);
        let (elements, vector) = (machine.vector.elements_per_cycle, each.vector_um2);
        let formula = format!("{elements} elements x {vector} um2");
        self.logic("vector unit", f64::from(elements) * vector, formula);
        let (lines, line) = (machine.lines.count, each.line_control_um2);
        let sequencer = each.sequencer_um2;
        self.logic(
            "sequencers",
            f64::from(UNITS) * sequencer + f64::from(lines) * line,
            format!("{UNITS} units x {sequencer} um2 + {lines} lines x {line} um2"),
        );
        let (share, logic) = (each.control_share, self.logic_um2);
        let formula = format!("{share} x the logic above");
        self.logic("clock, control, test", share * logic, formula);
    }
}

/// The stages in which a shifter reaches each of `positions`.
fn log2(positions: u32) -> u32 {
    positions.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests;
