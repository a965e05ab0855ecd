//! Storage: where the tensors between groups live.
//!
//! A storage is a row-major matrix in the scratchpad or in DRAM; a tensor of another rank is one
//! with rows along its first dimension. Several values can share one: a slice is some rows of what
//! it slices, operands of a concat are computed into the rows of its result, and an add may take
//! the location of an operand if no later group reads what the storage holds, be it as another slice
//! or to copy it. What counts is the order of groups: an add that a linear layer takes along
//! executes before operations that precede it.
//!
//! Inputs, outputs and constants live in DRAM; of the rest, as much as the budget allows stays on
//! chip, first what saves the most traffic for the room and the time that it takes.

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

/// Alignment in DRAM of constants, bindings and spilled tensors: a burst of the presets, so that
/// none shares one.
pub(crate) const DRAM_ALIGN: u64 = 64;

/// A matrix with a location of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Storage(u32);
entity_impl!(Storage, "st");

/// What is known about a storage.
#[derive(Clone, Debug)]
pub(crate) struct StorageData {
    /// Bytes of a row; rows are contiguous.
    pub(crate) row_bytes: u64,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Where it lives.
    pub(crate) space: MemorySpace,
    /// What transfers of it carry.
    pub(crate) traffic: Traffic,
    /// The first and the last group that accesses it.
    pub(crate) live_range: (usize, usize),
    /// How many times a group reads or writes it.
    accesses: usize,
    /// In the scratchpad its rows are the pixels of a map, with zeros around them.
    pub(crate) padded_map: Option<PaddedMap>,
    /// Whether it must live in DRAM: nothing copies within the scratchpad, and only a linear layer
    /// writes into a padded_map.
    spilled: bool,
}

impl StorageData {
    /// Bytes in the scratchpad.
    pub(crate) fn bytes(&self) -> u64 {
        self.row_bytes * self.padded_map.map_or(self.rows, |padded_map| padded_map.pixels() as u64)
    }

    /// Bytes from its start to a row in the scratchpad.
    pub(crate) fn offset(&self, row: u64) -> u64 {
        self.row_bytes
            * self.padded_map.map_or(row, |padded_map| padded_map.pixel(row as usize) as u64)
    }
}

/// A memory and, in DRAM, an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemorySpace {
    /// The scratchpad; placement finds the address.
    Sram,
    /// DRAM, at this address.
    Dram(u64),
}

/// Where a value lies: in a storage, from a row on.
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
    /// Per group, bytes of the scratchpad that residence take.
    pub(crate) resident_bytes: Vec<u64>,
}

impl Residence {
    /// Plans the residence, with at most `budget` bytes on chip at any time.
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
        plan.lives(graph, groups);
        plan.stay_on_chip(budget);
        plan
    }

    /// Where a value lies. Every value that a group reads or makes has a location.
    pub(crate) fn location(&self, value: Value) -> Location {
        self.locations[value].expect("every stored value has a location")
    }

    /// A storage by its location.
    pub(crate) fn data(&self, location: Location) -> &StorageData {
        &self.all[location.storage]
    }

    /// Whether a value stays in the scratchpad.
    pub(crate) fn on_chip(&self, value: Value) -> bool {
        self.data(self.location(value)).space == MemorySpace::Sram
    }

    /// The padded map of a value that stays in the scratchpad as one.
    pub(crate) fn padded_map(&self, value: Value) -> Option<PaddedMap> {
        let data = self.data(self.location(value));
        data.padded_map.filter(|_| data.space == MemorySpace::Sram)
    }

    /// Those that live in the scratchpad.
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
        // What is kept of attention travels as pool, which lowering makes of it, and indices as
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
        // Results of concats come first, as their operands are placed in them.
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
        let maker: BTreeMap<Value, usize> = groups
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
            } else if let OpKind::Pixels {} = data.kind {
                // The same bytes, laid out as pixels.
                let location = self.location(data.operands[0]);
                let ty = graph.ty(result);
                let image = &mut self.all[location.storage];
                (image.rows, image.row_bytes) =
                    (ty.shape[0] as u64, (ty.bytes() / ty.shape[0]) as u64);
                self.locations[result] = Some(location);
            } else if let (Some(group), None) = (maker.get(&result), self.locations[result]) {
                let taken_over = match data.kind {
                    OpKind::QAdd { .. } if graph.ty(result).elem == Elem::I16 => {
                        self.taken_over(graph, *op, *group, &last_read)
                    }
                    _ => None,
                };
                self.locations[result] = Some(taken_over.unwrap_or_else(|| Location {
                    storage: self.add(graph.ty(result), MemorySpace::Sram, Traffic::Activations),
                    row: 0,
                }));
            }
        }
    }

    /// Gives padded_maps to the maps that windows reach over: all that reads such a map on chip are
    /// windows, and what makes it is a linear layer, which writes row by row. Other such maps live
    /// in DRAM, and get a padded_map when they are loaded.
    fn padded_maps(&mut self, graph: &Graph, groups: &[Group]) {
        let makers = groups.iter().filter_map(Group::padded_result);
        let makers: BTreeSet<Value> = makers.collect();
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
            let framed = alone
                && makers.contains(&map)
                && readers.all(|op| {
                    ConvWindows::of(&op.kind).is_some_and(|other| other.map == windows.map)
                });
            let data = &mut self.all[storage];
            data.spilled |= !framed;
            if framed {
                data.padded_map =
                    Some(data.padded_map.map_or(windows.padded_map(), |padded_map| {
                        padded_map.union(windows.padded_map())
                    }));
            }
        }
    }

    /// The location of an operand that an add of a group may overwrite: a matrix of its own that no
    /// later group reads.
    fn taken_over(
        &self,
        graph: &Graph,
        add: Op,
        group: usize,
        last_read: &SecondaryMap<Value, usize>,
    ) -> Option<Location> {
        graph.op(add).operands.iter().find_map(|operand| {
            let location = self.locations[*operand]?;
            let data = self.data(location);
            let whole = location.row == 0 && data.rows == graph.ty(*operand).shape[0] as u64;
            let owned = matches!(data.traffic, Traffic::Activations);
            (whole && owned && last_read[sliced(graph, *operand)] <= group).then_some(location)
        })
    }

    fn lives(&mut self, graph: &Graph, groups: &[Group]) {
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

    /// Makes room for `bytes` more bytes of image behind the constants: all that a program writes
    /// moves up.
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

    /// Where a copy goes.
    pub(crate) fn destination(&self, to: Destination) -> Location {
        match to {
            Destination::Value(value) => self.location(value),
            Destination::Output(index) => self.outputs[index],
        }
    }

    /// Where results of groups live, and why.
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
                    format!("{bytes} bytes for {lives} groups, {} transfers saved", data.accesses)
                }
                _ if data.spilled => {
                    "nothing writes it within the scratchpad in the way that it is read".to_owned()
                }
                _ => {
                    format!("{bytes} bytes for {lives} groups have no room beside what saves more")
                }
            };
            let chosen = if data.space == MemorySpace::Sram { "scratchpad" } else { "DRAM" };
            Some(Decision {
                layer: graph.layer_name(producer),
                subject: "location of the result".to_owned(),
                chosen: chosen.to_owned(),
                reason,
                alternatives: Vec::new(),
            })
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
            // Transfers saved for each group that it lives through, in small parts.
            (Reverse(accesses * (1 << 20) / groups), Reverse(accesses), first, storage.index())
        });
        for storage in candidates {
            let data = &self.all[storage];
            let bytes = data.bytes();
            let live_range = data.live_range.0..=data.live_range.1;
            // An eighth is left for tiles; where that is too little, lowering or placement fails
            // and less stays.
            let room = budget - budget / 8;
            if !data.spilled
                && data.live_range.0 < self.resident_bytes.len()
                && self.resident_bytes[live_range.clone()].iter().all(|taken| taken + bytes <= room)
            {
                self.resident_bytes[live_range].iter_mut().for_each(|taken| *taken += bytes);
            } else {
                let address = self.dram(bytes);
                self.all[storage].space = MemorySpace::Dram(address);
            }
        }
    }
}

/// Per value that is no slice, the last group that reads it or a slice of it.
fn last_reads(graph: &Graph, groups: &[Group]) -> SecondaryMap<Value, usize> {
    let mut last = SecondaryMap::new();
    for (index, group) in groups.iter().enumerate() {
        group.reads(graph).into_iter().for_each(|value| last[sliced(graph, value)] = index);
    }
    last
}
