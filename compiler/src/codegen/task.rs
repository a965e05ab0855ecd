//! Tasks: instructions whose operands lie in buffers that have no address yet, and the builder that lowering fills.

use std::ops::Range;

use cranelift_entity::{EntityRef as _, PrimaryMap, SecondaryMap, entity_impl};
use vitcod_isa::effects::{Access, Space, accesses};
use vitcod_isa::instr::table::{Load, Store};
use vitcod_isa::instr::{Dram, LineSet, Op as Instruction, Sram, Traffic};
use vitcod_isa::machine::Machine;

use super::CodegenError;
use super::lists::Lists;
use super::storage::{Home, Place, Storage, Storages};
use crate::ir::{Graph, Op, Value};

/// A piece of the scratchpad, live from its first to its last task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Buffer(u32);
entity_impl!(Buffer, "b");

/// An instruction of the program order. Its scratchpad addresses are indices into [`Tasks::locations`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) op: Instruction,
    /// The operation of the graph that it belongs to.
    pub(super) layer: Op,
    /// The group that it belongs to.
    pub(super) group: usize,
}

/// Tasks in program order, with their buffers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    pub(super) tasks: Vec<Task>,
    /// Bytes of every buffer.
    pub(super) buffers: PrimaryMap<Buffer, u64>,
    /// Where operands lie: a buffer and an offset. Index 0 stands for operands that are not used.
    pub(super) locations: Vec<Option<(Buffer, u32)>>,
}

impl Tasks {
    /// The buffers that a task touches, each once for each operand.
    pub(super) fn buffers_of(&self, task: &Task) -> impl Iterator<Item = Buffer> {
        let mut op = task.op;
        let handles: Vec<u32> = op.sram_operands().into_iter().map(|at| at.0).collect();
        handles.into_iter().filter_map(|handle| self.locations[handle as usize]).map(|(buffer, _)| buffer)
    }

    /// What a task touches; where that is a buffer, its region starts at the place in it.
    pub(super) fn accesses_of(&self, task: &Task) -> impl Iterator<Item = (Access, Option<Buffer>)> {
        accesses(&task.op).into_iter().map(|mut access| {
            // An operand's address is the number of its location.
            let location = (access.space == Space::Sram).then(|| self.locations[access.region.base as usize]).flatten();
            if let Some((_, offset)) = location {
                access.region.base = offset.into();
            }
            (access, location.map(|(buffer, _)| buffer))
        })
    }

    /// The tasks with addresses in place of locations.
    pub(super) fn at_addresses(mut self, addresses: &SecondaryMap<Buffer, u32>) -> Vec<Task> {
        for task in &mut self.tasks {
            for at in task.op.sram_operands() {
                at.0 = self.locations[at.0 as usize].map_or(0, |(buffer, offset)| addresses[buffer] + offset);
            }
        }
        self.tasks
    }
}

/// A strided matrix in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// First byte.
    pub(super) at: Sram,
    /// Bytes between rows.
    pub(super) stride: u32,
}

/// Rows and byte columns of a value.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) rows: Range<usize>,
    pub(super) bytes: Range<usize>,
}

impl Window {
    /// Number of rows.
    pub(super) fn height(&self) -> usize {
        self.rows.len()
    }
}

/// A tile to write to, and where it goes from there.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) tile: Tile,
    store: Option<(Place, Window)>,
}

/// Collects tasks.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) machine: &'a Machine,
    pub(super) storages: &'a Storages,
    tasks: Tasks,
    homes: SecondaryMap<Storage, Option<Buffer>>,
    lists: Lists,
    group: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(graph: &'a Graph, machine: &'a Machine, storages: &'a Storages) -> Builder<'a> {
        let tasks = Tasks { locations: vec![None], ..Tasks::default() };
        Builder { graph, machine, storages, tasks, homes: SecondaryMap::new(), lists: Lists::default(), group: 0 }
    }

    /// Starts a group.
    pub(super) fn enter(&mut self, group: usize) {
        self.group = group;
    }

    pub(super) fn finish(self) -> (Tasks, Lists) {
        (self.tasks, self.lists)
    }

    /// Bytes of the scratchpad that the group's tiles may take.
    pub(super) fn room(&self) -> u64 {
        u64::from(self.machine.sram.bytes).saturating_sub(self.storages.resident[self.group])
    }

    /// The error of a group whose smallest tiles take `needed` bytes.
    pub(super) fn too_small(&self, layer: Op, needed: u64) -> CodegenError {
        CodegenError::TooSmall {
            machine: self.machine.name.clone(),
            layer: self.graph.describe(layer),
            needed: needed + self.storages.resident[self.group],
            capacity: self.machine.sram.bytes.into(),
        }
    }

    /// All MAC lines.
    pub(super) fn all_lines(&self) -> LineSet {
        LineSet { first: 0, count: self.machine.lines.count as u16 }
    }

    /// Appends an instruction.
    pub(super) fn push(&mut self, layer: Op, op: impl Into<Instruction>) {
        self.tasks.tasks.push(Task { op: op.into(), layer, group: self.group });
    }

    /// A new buffer.
    pub(super) fn buffer(&mut self, bytes: u64) -> Buffer {
        self.tasks.buffers.push(bytes)
    }

    /// An operand `offset` bytes into a buffer.
    pub(super) fn at(&mut self, buffer: Buffer, offset: u64) -> Sram {
        self.tasks.locations.push(Some((buffer, offset as u32)));
        Sram(self.tasks.locations.len() as u32 - 1)
    }

    /// An operand `offset` bytes behind another in the same buffer.
    pub(super) fn behind(&mut self, at: Sram, offset: u64) -> Sram {
        let Some((buffer, start)) = self.tasks.locations[at.0 as usize] else { return at };
        self.at(buffer, u64::from(start) + offset)
    }

    /// A new buffer as a tile of contiguous rows.
    pub(super) fn tile(&mut self, rows: usize, row_bytes: usize) -> Tile {
        let buffer = self.buffer(rows as u64 * row_bytes as u64);
        Tile { at: self.at(buffer, 0), stride: row_bytes as u32 }
    }

    /// Whether a value stays in the scratchpad.
    pub(super) fn on_chip(&self, value: Value) -> bool {
        self.storages.data(self.storages.place(value)).home == Home::Sram
    }

    /// Part of a value, to be read: where it lies on chip, or loaded into a buffer of its own.
    pub(super) fn read(&mut self, layer: Op, value: Value, window: &Window) -> Tile {
        let place = self.storages.place(value);
        match self.resident(place, window) {
            Some(tile) => tile,
            None => {
                let tile = self.tile(window.height(), window.bytes.len());
                self.load(layer, place, window, tile);
                tile
            }
        }
    }

    /// Part of a value, to be written. [`Builder::written`] completes it.
    pub(super) fn write(&mut self, value: Value, window: &Window) -> Target {
        self.write_at(self.storages.place(value), window)
    }

    /// Part of a storage, to be written.
    pub(super) fn write_at(&mut self, place: Place, window: &Window) -> Target {
        match self.resident(place, window) {
            Some(tile) => Target { tile, store: None },
            None => {
                let tile = self.tile(window.height(), window.bytes.len());
                Target { tile, store: Some((place, window.clone())) }
            }
        }
    }

    /// A tile of its own that goes nowhere.
    pub(super) fn scratch(&mut self, window: &Window) -> Target {
        Target { tile: self.tile(window.height(), window.bytes.len()), store: None }
    }

    /// Stores a written tile if it does not stay on chip.
    pub(super) fn written(&mut self, layer: Op, target: &Target) {
        if let Some((place, window)) = &target.store {
            self.store(layer, *place, window, target.tile);
        }
    }

    /// Stores a tile as part of a storage in DRAM.
    pub(super) fn store(&mut self, layer: Op, place: Place, window: &Window, tile: Tile) {
        let data = self.storages.data(place);
        let Home::Dram(base) = data.home else { unreachable!("what is on chip is not stored") };
        let store = Store {
            src: tile.at,
            dst: Dram(base + (place.row + window.rows.start as u64) * data.row_bytes + window.bytes.start as u64),
            bytes: window.bytes.len() as u32,
            inner: window.height() as u16,
            outer: 1,
            src_inner_stride: tile.stride,
            src_outer_stride: 0,
            dst_inner_stride: data.row_bytes as u32,
            dst_outer_stride: 0,
            traffic: data.traffic,
        };
        self.push(layer, store);
    }

    /// Loads part of a storage in DRAM into a tile.
    pub(super) fn load(&mut self, layer: Op, place: Place, window: &Window, tile: Tile) {
        let data = self.storages.data(place);
        let Home::Dram(base) = data.home else { unreachable!("what is on chip is not loaded") };
        let load = Load {
            dst: tile.at,
            src: Dram(base + (place.row + window.rows.start as u64) * data.row_bytes + window.bytes.start as u64),
            bytes: window.bytes.len() as u32,
            inner: window.height() as u16,
            outer: 1,
            src_inner_stride: data.row_bytes as u32,
            src_outer_stride: 0,
            dst_inner_stride: tile.stride,
            dst_outer_stride: 0,
            traffic: data.traffic,
        };
        self.push(layer, load);
    }

    /// Loads contiguous bytes of a constant into a new buffer.
    pub(super) fn constant(&mut self, layer: Op, value: Value, bytes: Range<usize>, traffic: Traffic) -> Sram {
        let src = Dram(self.storages.constants[&value] + bytes.start as u64);
        self.fetch(layer, src, bytes.len(), traffic)
    }

    /// Loads the bytes of a list, which become part of the image, into a new buffer.
    pub(super) fn list(&mut self, layer: Op, bytes: Vec<u8>) -> Sram {
        let length = bytes.len();
        let src = self.lists.add(layer, bytes);
        self.fetch(layer, src, length, Traffic::Indices)
    }

    /// Loads contiguous bytes into a new buffer.
    fn fetch(&mut self, layer: Op, src: Dram, bytes: usize, traffic: Traffic) -> Sram {
        let buffer = self.buffer(bytes as u64);
        let dst = self.at(buffer, 0);
        let load = Load {
            dst,
            src,
            bytes: bytes as u32,
            inner: 1,
            outer: 1,
            src_inner_stride: 0,
            src_outer_stride: 0,
            dst_inner_stride: 0,
            dst_outer_stride: 0,
            traffic,
        };
        self.push(layer, load);
        dst
    }

    fn resident(&mut self, place: Place, window: &Window) -> Option<Tile> {
        let storages = self.storages;
        let data = &storages.all[place.storage];
        let (bytes, row_bytes) = (data.row_bytes * data.rows, data.row_bytes);
        if data.home != Home::Sram {
            return None;
        }
        let buffer = match self.homes[place.storage] {
            Some(buffer) => buffer,
            None => {
                let buffer = self.buffer(bytes);
                self.homes[place.storage] = Some(buffer);
                buffer
            }
        };
        let offset = (place.row + window.rows.start as u64) * row_bytes + window.bytes.start as u64;
        Some(Tile { at: self.at(buffer, offset), stride: row_bytes as u32 })
    }
}

/// `0..extent` in steps of `step`.
pub(super) fn steps(extent: usize, step: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..extent).step_by(step.max(1)).map(move |start| start..extent.min(start + step))
}

/// Index of a buffer, for tie-breaking.
pub(super) fn index(buffer: Buffer) -> usize {
    buffer.index()
}
