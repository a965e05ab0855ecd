//! Storages: where the tensors between groups live.
//!
//! A storage is a row-major matrix in the scratchpad or in DRAM. A tensor of another rank is a
//! matrix with rows along its first dimension. Several values can share a storage: a slice is some
//! rows of its operand, operands of a concat are computed in the rows of its result, and an add may
//! overwrite an operand that no later group reads, directly or through a slice. "Later" refers to
//! the order of groups: an add that is fused with a linear layer executes with that layer.
//!
//! Inputs, outputs and constants live in DRAM. Other tensors are kept on chip greedily, within a
//! budget, by transfers saved per group of the live range.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::{EntityRef as _, PrimaryMap, SecondaryMap, entity_impl};
use vitcod_isa::instr::Traffic;
use vitcod_isa::program::Decision;

use crate::codegen::group::views::{computed_into, joins_in_place, sliced};
use crate::codegen::group::{Destination, Group};
use crate::codegen::residence::padded_map::{ConvWindows, PaddedMap};
use crate::ir::layout::Patterns;
use crate::ir::{Elem, Graph, GraphInput, Op, OpKind, TensorType, Value};

/// Resident tensors leave one in this many bytes of their budget to tiles. If that is too little,
/// lowering or placement fails, and a smaller budget is tried.
const TILES_SHARE: u64 = 8;

/// Alignment in DRAM of constants, bindings and spilled tensors: a burst of the presets, so that no
/// two share a burst.
pub(crate) const DRAM_ALIGN: u64 = 64;

/// A matrix in a memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Storage(u32);
entity_impl!(Storage, "st");

/// The properties of a storage.
#[derive(Clone, Debug)]
pub(crate) struct StorageData {
    /// Bytes of a row; rows are contiguous.
    pub(crate) row_bytes: u64,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Where it lives.
    pub(crate) space: MemorySpace,
    /// The kind of traffic of its transfers.
    pub(crate) traffic: Traffic,
    /// The first and the last group that access it.
    pub(crate) live_range: (usize, usize),
    /// The number of reads and writes by groups.
    accesses: usize,
    /// The padded map whose pixels are its rows in the scratchpad, if it is one.
    pub(crate) padded_map: Option<PaddedMap>,
    /// Whether it must live in DRAM: no unit copies within the scratchpad, and only a linear layer
    /// writes a padded map.
    spilled: bool,
}

impl StorageData {
    /// Bytes in the scratchpad.
    pub(crate) fn bytes(&self) -> u64 {
        self.row_bytes * self.padded_map.map_or(self.rows, |padded_map| padded_map.pixels() as u64)
    }

    /// Bytes from the start to a row in the scratchpad.
    pub(crate) fn offset(&self, row: u64) -> u64 {
        self.row_bytes
            * self.padded_map.map_or(row, |padded_map| padded_map.pixel(row as usize) as u64)
    }
}

/// A memory and, for DRAM, an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemorySpace {
    /// The scratchpad; placement finds the address.
    Sram,
    /// DRAM at this address.
    Dram(u64),
}

/// The location of a value: a storage, and the first row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) storage: Storage,
    pub(crate) row: u64,
}

/// The residence of a program.
#[derive(Debug)]
pub(crate) struct Residence {
    pub(crate) all: PrimaryMap<Storage, StorageData>,
    locations: SecondaryMap<Value, Option<Location>>,
    /// Address of every constant that the graph reads, in order of appearance.
    pub(crate) constants: BTreeMap<Value, u64>,
    /// Addresses of the inputs and of the outputs.
    pub(crate) inputs: Vec<u64>,
    pub(crate) outputs: Vec<Location>,
    /// Bytes of the image of constants.
    pub(crate) image_bytes: u64,
    /// Bytes of DRAM.
    pub(crate) dram_bytes: u64,
    /// Per group, bytes of resident tensors.
    pub(crate) resident_bytes: Vec<u64>,
}

impl Residence {
    /// Plans the residence with at most `budget` bytes of resident tensors during any group.
    pub(crate) fn plan(graph: &Graph, groups: &[Group], budget: u64) -> Residence {
        let mut plan = Residence {
            all: PrimaryMap::new(),
            locations: SecondaryMap::new(),
            constants: BTreeMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            image_bytes: 0,
            dram_bytes: 0,
            resident_bytes: vec![0; groups.len()],
        };
        plan.constants(graph);
        plan.bindings(graph);
        plan.values(graph, groups);
        plan.padded_maps(graph, groups);
        plan.live_ranges(graph, groups);
        plan.stay_on_chip(budget);
        plan
    }

    /// The location of a value. Every value that a group reads or computes has one.
    pub(crate) fn location(&self, value: Value) -> Location {
        self.locations[value].expect("every stored value has a location")
    }

    /// The storage of a location.
    pub(crate) fn data(&self, location: Location) -> &StorageData {
        &self.all[location.storage]
    }

    /// Whether a value is resident.
    pub(crate) fn on_chip(&self, value: Value) -> bool {
        self.data(self.location(value)).space == MemorySpace::Sram
    }

    /// The padded map of a value, if it is resident as one.
    pub(crate) fn padded_map(&self, value: Value) -> Option<PaddedMap> {
        let data = self.data(self.location(value));
        data.padded_map.filter(|_| data.space == MemorySpace::Sram)
    }

    /// The storages in the scratchpad.
    pub(crate) fn resident_storages(&self) -> Vec<Storage> {
        self.all
            .iter()
            .filter(|(_, data)| data.space == MemorySpace::Sram)
            .map(|(storage, _)| storage)
            .collect()
    }

    fn dram(&mut self, bytes: u64) -> u64 {
        let address = self.dram_bytes.next_multiple_of(DRAM_ALIGN);
        self.dram_bytes = address + bytes;
        address
    }

    fn add(&mut self, ty: &TensorType, space: MemorySpace, traffic: Traffic) -> Storage {
        let rows = ty.shape.first().copied().unwrap_or(1) as u64;
        let row_bytes = ty.bytes() as u64 / rows.max(1);
        self.all.push(StorageData {
            row_bytes,
            rows,
            space,
            traffic,
            live_range: (usize::MAX, 0),
            accesses: 0,
            padded_map: None,
            spilled: false,
        })
    }

    fn constants(&mut self, graph: &Graph) {
        // Patterns of attention are loaded as lists from the constant pool; indices become
        // addresses.
        let indices = graph
            .order
            .iter()
            .map(|op| graph.op(*op))
            .filter(|data| matches!(data.kind, OpKind::PickRows {}));
        let patterns = graph.order.iter().flat_map(|op| Patterns::operands(graph.op(*op)));
        let patterns: BTreeSet<Value> =
            patterns.chain(indices.map(|data| data.operands[1])).collect();
        let operands = graph.order.iter().flat_map(|op| &graph.op(*op).operands);
        for value in operands.chain(graph.outputs.iter().map(|output| &output.value)) {
            if graph.constant(*value).is_some()
                && !patterns.contains(value)
                && !self.constants.contains_key(value)
            {
                let address = self.dram(graph.ty(*value).bytes() as u64);
                self.constants.insert(*value, address);
                let storage =
                    self.add(graph.ty(*value), MemorySpace::Dram(address), Traffic::Params);
                self.locations[*value] = Some(Location { storage, row: 0 });
            }
        }
        self.image_bytes = self.dram_bytes.next_multiple_of(DRAM_ALIGN);
        self.dram_bytes = self.image_bytes;
    }

    fn bindings(&mut self, graph: &Graph) {
        for GraphInput { value, .. } in &graph.inputs {
            let address = self.dram(graph.ty(*value).bytes() as u64);
            self.inputs.push(address);
            let storage = self.add(graph.ty(*value), MemorySpace::Dram(address), Traffic::Inputs);
            self.locations[*value] = Some(Location { storage, row: 0 });
        }
        for (index, output) in graph.outputs.iter().enumerate() {
            let ty = graph.ty(output.value);
            let address = self.dram(ty.bytes() as u64);
            let storage = self.add(ty, MemorySpace::Dram(address), Traffic::Outputs);
            let location = Location { storage, row: 0 };
            self.outputs.push(location);
            if computed_into(graph, output.value, index) {
                self.locations[output.value] = Some(location);
            }
        }
    }

    fn values(&mut self, graph: &Graph, groups: &[Group]) {
        let uses = graph.uses();
        // Results of concats first: their operands are located in them.
        for op in &graph.order {
            let data = graph.op(*op);
            if let OpKind::Concat { .. } = data.kind {
                let storage =
                    self.add(graph.ty(data.results[0]), MemorySpace::Sram, Traffic::Activations);
                self.locations[data.results[0]] = Some(Location { storage, row: 0 });
                let mut row = 0;
                for operand in &data.operands {
                    if joins_in_place(graph, &uses, *operand) {
                        self.locations[*operand] = Some(Location { storage, row });
                    }
                    row += graph.ty(*operand).shape[0] as u64;
                }
            }
        }
        let producer: BTreeMap<Value, usize> = groups
            .iter()
            .enumerate()
            .flat_map(|(index, group)| {
                group.results(graph).into_iter().map(move |value| (value, index))
            })
            .collect();
        let last_read = last_reads(graph, groups);
        for op in &graph.order {
            let data = graph.op(*op);
            let result = data.results[0];
            if let OpKind::Slice { start, .. } = data.kind {
                let location = self.location(data.operands[0]);
                self.locations[result] =
                    Some(Location { row: location.row + start as u64, ..location });
            } else if let OpKind::Pixels { .. } = data.kind {
                // The same bytes, laid out as pixels.
                let location = self.location(data.operands[0]);
                let ty = graph.ty(result);
                let image = &mut self.all[location.storage];
                (image.rows, image.row_bytes) =
                    (ty.shape[0] as u64, (ty.bytes() / ty.shape[0]) as u64);
                self.locations[result] = Some(location);
            } else if let (Some(group), None) = (producer.get(&result), self.locations[result]) {
                let overwritten = match data.kind {
                    OpKind::QAdd { .. } if graph.ty(result).elem == Elem::I16 => {
                        self.overwritten(graph, *op, *group, &last_read)
                    }
                    _ => None,
                };
                self.locations[result] = Some(overwritten.unwrap_or_else(|| Location {
                    storage: self.add(graph.ty(result), MemorySpace::Sram, Traffic::Activations),
                    row: 0,
                }));
            }
        }
    }

    /// Makes padded maps of maps with windows that reach over the edges, if all readers are windows
    /// and the producer is a linear layer, which writes row by row. Other such maps are spilled,
    /// and padded when their regions are loaded.
    fn padded_maps(&mut self, graph: &Graph, groups: &[Group]) {
        let padded: BTreeSet<Value> = groups.iter().filter_map(Group::padded_result).collect();
        for op in &graph.order {
            let data = graph.op(*op);
            let Some(windows) =
                ConvWindows::of(&data.kind).filter(|windows| !windows.padded_map().is_plain())
            else {
                continue;
            };
            let map = data.operands[0];
            let storage = self.location(map).storage;
            let alone = self
                .locations
                .values()
                .flatten()
                .filter(|location| location.storage == storage)
                .count()
                == 1;
            let mut readers =
                graph.order.iter().map(|op| graph.op(*op)).filter(|op| op.operands.contains(&map));
            let is_padded = alone
                && padded.contains(&map)
                && readers.all(|op| {
                    ConvWindows::of(&op.kind).is_some_and(|other| other.map == windows.map)
                });
            let data = &mut self.all[storage];
            data.spilled |= !is_padded;
            if is_padded {
                data.padded_map =
                    Some(data.padded_map.map_or(windows.padded_map(), |padded_map| {
                        padded_map.union(windows.padded_map())
                    }));
            }
        }
    }

    /// The location of an operand that an add may overwrite: a complete storage that no later group
    /// reads.
    fn overwritten(
        &self,
        graph: &Graph,
        add: Op,
        group: usize,
        last_read: &SecondaryMap<Value, usize>,
    ) -> Option<Location> {
        graph.op(add).operands.iter().find_map(|operand| {
            let location = self.locations[*operand]?;
            let data = self.data(location);
            let complete = location.row == 0 && data.rows == graph.ty(*operand).shape[0] as u64;
            let owned = matches!(data.traffic, Traffic::Activations);
            (complete && owned && last_read[sliced(graph, *operand)] <= group).then_some(location)
        })
    }

    fn live_ranges(&mut self, graph: &Graph, groups: &[Group]) {
        for (index, group) in groups.iter().enumerate() {
            let mut accessed: Vec<Location> =
                group.reads(graph).into_iter().filter_map(|value| self.locations[value]).collect();
            accessed.extend(group.results(graph).into_iter().map(|value| self.location(value)));
            if let Some(location) =
                group.reads_from_dram(graph).and_then(|value| self.locations[value])
            {
                self.all[location.storage].spilled = true;
            }
            accessed.extend(group.copies_to().map(|to| self.destination(to)));
            for location in accessed {
                let data = &mut self.all[location.storage];
                data.live_range = (data.live_range.0.min(index), data.live_range.1.max(index));
                data.accesses += 1;
            }
        }
    }

    /// Appends `bytes` bytes to the constant image: everything after it moves up.
    pub(crate) fn extend_image(&mut self, bytes: u64) {
        let start = self.image_bytes;
        let moved = |address: &mut u64| *address += if *address >= start { bytes } else { 0 };
        self.inputs.iter_mut().for_each(moved);
        for (_, data) in self.all.iter_mut() {
            if let MemorySpace::Dram(address) = &mut data.space {
                moved(address);
            }
        }
        self.image_bytes += bytes;
        self.dram_bytes += bytes;
    }

    /// The location of the destination of a copy.
    pub(crate) fn destination(&self, to: Destination) -> Location {
        match to {
            Destination::Value(value) => self.location(value),
            Destination::Output(index) => self.outputs[index],
        }
    }

    /// The memory of each result of a group, with the reason.
    pub(crate) fn decisions(&self, graph: &Graph, groups: &[Group]) -> Vec<Decision> {
        let results = groups.iter().flat_map(|group| group.results(graph));
        let decision = |value: Value| {
            let data = self.data(self.locations[value]?);
            let (producer, _) = graph.producer(value)?;
            let bytes = data.bytes();
            let (first, last) = data.live_range;
            let lives = last.saturating_sub(first) + 1;
            let reason = match (data.traffic, data.space) {
                (Traffic::Outputs, _) => "an output of the model".to_owned(),
                (_, MemorySpace::Sram) => {
                    format!(
                        "resident: {bytes} bytes for {lives} groups save {} transfers",
                        data.accesses
                    )
                }
                _ if data.spilled => {
                    "spilled: no unit writes the layout of its readers within the scratchpad"
                        .to_owned()
                }
                _ => {
                    format!("spilled: {bytes} bytes for {lives} groups exceed the remaining budget")
                }
            };
            let chosen = if data.space == MemorySpace::Sram { "scratchpad" } else { "DRAM" };
            let layer = graph.layer_name(producer);
            Some(Decision::new(layer, "residence of the result", chosen, reason))
        };
        results.filter_map(decision).collect()
    }

    fn stay_on_chip(&mut self, budget: u64) {
        let mut candidates: Vec<Storage> = self
            .all
            .iter()
            .filter(|(_, data)| data.space == MemorySpace::Sram)
            .map(|(storage, _)| storage)
            .collect();
        candidates.sort_by_key(|storage| {
            let StorageData { live_range: (first, last), accesses, .. } = self.all[*storage];
            let groups = last.saturating_sub(first) + 1;
            // Transfers saved per group of the live range, in fixed point.
            (Reverse(accesses * (1 << 20) / groups), Reverse(accesses), first, storage.index())
        });
        for storage in candidates {
            let data = &self.all[storage];
            let bytes = data.bytes();
            let live_range = data.live_range.0..=data.live_range.1;
            let limit = budget - budget / TILES_SHARE;
            if !data.spilled
                && data.live_range.0 < self.resident_bytes.len()
                && self.resident_bytes[live_range.clone()]
                    .iter()
                    .all(|taken| taken + bytes <= limit)
            {
                self.resident_bytes[live_range].iter_mut().for_each(|taken| *taken += bytes);
            } else {
                let address = self.dram(bytes);
                self.all[storage].space = MemorySpace::Dram(address);
            }
        }
    }
}

/// Per value that is not a slice, the last group that reads it or a slice of it.
fn last_reads(graph: &Graph, groups: &[Group]) -> SecondaryMap<Value, usize> {
    let mut last = SecondaryMap::new();
    for (index, group) in groups.iter().enumerate() {
        group.reads(graph).into_iter().for_each(|value| last[sliced(graph, value)] = index);
    }
    last
}
