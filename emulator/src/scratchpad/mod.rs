//! The contents of the scratchpad over time: the memory plan of any program, reconstructed from its
//! instructions and their timing.
//!
//! A *part* is a run of bytes that an instruction wrote. It is live from the start of that
//! instruction to the end of the last one that reads it, or to the completion of the writer if
//! nothing reads it; an overwritten part ends with the start of the next writer. A running row
//! maximum or sum remains the same part.
//!
//! A *buffer* is a set of parts that are read together: two parts belong to one buffer if an
//! operand covers both. So the rows that eight products write and the next layer reads are one
//! buffer, while two weight tiles that alternate are two.

mod lives;
mod occupancy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use vitcod_isa::effects::Data;
use vitcod_isa::program::Program;

use vitcod_isa::timing::Timing;

/// The memory plan of a program. The names of its fields in JSON are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryPlan {
    /// Name of the model.
    pub model: String,
    /// Name of the machine.
    pub machine: String,
    /// Cycles of the run.
    pub cycles: u64,
    /// Size of the scratchpad.
    pub capacity_bytes: u64,
    /// Use of the scratchpad over time.
    pub occupancy: Occupancy,
    /// Use by kind of data; unused kinds are omitted.
    pub by_kind: BTreeMap<&'static str, KindOccupancy>,
    /// The buffers, by address, then by time.
    pub buffers: Vec<Buffer>,
    /// The parts of the buffers, in no particular order.
    #[serde(skip)]
    pub parts: Vec<Part>,
}

/// Use of the scratchpad over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Occupancy {
    /// The most bytes that are live at once.
    pub peak_bytes: u64,
    /// The first cycle with this number of live bytes.
    pub peak_cycle: u64,
    /// Live bytes, on average over the cycles.
    pub mean_bytes: f64,
    /// At the peak, the largest run of free bytes.
    pub largest_free_at_peak_bytes: u64,
    /// The share of the free bytes that is not in the largest free run, on average over the cycles
    /// in which bytes are free.
    pub mean_fragmentation: f64,
}

/// Use of the scratchpad by one kind of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct KindOccupancy {
    /// Number of its buffers.
    pub buffers: usize,
    /// The most bytes of it that are live at once.
    pub peak_bytes: u64,
    /// Its live bytes, on average over the cycles.
    pub mean_bytes: f64,
}

/// Bytes that are written and read together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// Address of the first byte.
    pub address: u64,
    /// The address after its last byte.
    pub end_address: u64,
    /// Its number of bytes: fewer than between its ends if its rows are apart.
    pub bytes: u64,
    /// The first cycle of the first instruction that writes it.
    pub start_cycle: u64,
    /// The cycle in which its last reader has ended.
    pub end_cycle: u64,
    /// Kind of data.
    pub data: &'static str,
    /// The layer whose instruction writes it first.
    pub layer: String,
    /// The operation of that layer.
    pub operation: String,
    /// The mnemonic of that instruction.
    pub written_by: &'static str,
    /// Bytes times the cycles in which they are live.
    #[serde(skip)]
    byte_cycles: u128,
}

impl Buffer {
    /// Bytes times the cycles in which they are live.
    pub fn byte_cycles(&self) -> u128 {
        self.byte_cycles
    }

    /// Whether all bytes between its ends are live from its first cycle to its last.
    pub fn is_solid(&self) -> bool {
        let cycles = u128::from(self.end_cycle - self.start_cycle);
        u128::from(self.end_address - self.address) * cycles == self.byte_cycles
    }
}

/// A run of bytes with its live range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The range of addresses.
    pub bytes: Range<u64>,
    /// The cycles in which they are live.
    pub cycles: Range<u64>,
    /// Kind of data.
    pub data: Data,
    /// The instruction that wrote it.
    writer: usize,
    /// The value that it belongs to.
    value: usize,
}

impl MemoryPlan {
    /// The memory plan of a run of `program` with `timing`.
    pub fn new(program: &Program, timing: &Timing) -> MemoryPlan {
        let (parts, buffer_of) = lives::of(program, timing);
        let (cycles, capacity_bytes) = (timing.total(), u64::from(program.machine.sram.bytes));
        let buffers = buffers(program, &parts, &buffer_of);
        let mut by_kind = BTreeMap::new();
        for data in Data::ALL {
            let own = parts.iter().filter(|part| part.data == data);
            let occupancy = occupancy::of(own, capacity_bytes, cycles);
            let count = buffers.iter().filter(|buffer| buffer.data == data.name()).count();
            if count > 0 {
                let Occupancy { peak_bytes, mean_bytes, .. } = occupancy;
                by_kind
                    .insert(data.name(), KindOccupancy { buffers: count, peak_bytes, mean_bytes });
            }
        }
        MemoryPlan {
            model: program.header.name.clone(),
            machine: program.machine.name.clone(),
            cycles,
            capacity_bytes,
            occupancy: occupancy::of(parts.iter(), capacity_bytes, cycles),
            by_kind,
            buffers,
            parts,
        }
    }

    /// The plan as JSON, indented.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan is plain data")
    }
}

fn buffers(program: &Program, parts: &[Part], buffer_of: &[usize]) -> Vec<Buffer> {
    let mut found: BTreeMap<usize, (usize, Buffer)> = BTreeMap::new();
    for Part { bytes, cycles, data, writer, value } in parts {
        let layer = program
            .layer_of
            .get(*writer)
            .and_then(|layer| program.header.layers.get(*layer as usize));
        let new = || Buffer {
            address: bytes.start,
            end_address: bytes.end,
            bytes: 0,
            start_cycle: cycles.start,
            end_cycle: cycles.end,
            data: data.name(),
            layer: layer.map_or_else(String::new, |layer| layer.name.clone()),
            operation: layer.map_or_else(String::new, |layer| layer.operation.clone()),
            written_by: program.code[*writer].op.spec().mnemonic,
            byte_cycles: 0,
        };
        let (first, buffer) = found.entry(buffer_of[*value]).or_insert_with(|| (*writer, new()));
        if writer < first {
            *first = *writer;
            let Buffer { data, layer, operation, written_by, .. } = new();
            (buffer.data, buffer.layer, buffer.operation, buffer.written_by) =
                (data, layer, operation, written_by);
        }
        buffer.address = buffer.address.min(bytes.start);
        buffer.end_address = buffer.end_address.max(bytes.end);
        buffer.bytes += bytes.end - bytes.start;
        buffer.byte_cycles +=
            u128::from(bytes.end - bytes.start) * u128::from(cycles.end - cycles.start);
        buffer.start_cycle = buffer.start_cycle.min(cycles.start);
        buffer.end_cycle = buffer.end_cycle.max(cycles.end);
    }
    let mut buffers: Vec<Buffer> = found.into_values().map(|(_, buffer)| buffer).collect();
    buffers.sort_by_key(|buffer| (buffer.address, buffer.start_cycle, buffer.end_address));
    buffers
}
