//! What lowering fills with [tasks](crate::tiled): the builder, and tiles of values as it hands
//! them out.

pub(crate) mod buffer_ring;
pub(crate) mod tile;

use crate::codegen::strategy::drain_cycles;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use vitcod_isa::instr::table::{Add, Load, Lut, Store};
use vitcod_isa::instr::{Dram, LineSet, Op as Instruction, Shift, Sram, Traffic};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, Target, Tile, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::linear::tiling::Tilings;
use crate::codegen::residence::constant_pool::ConstantPool;
use crate::codegen::residence::padded_map::{PaddedMap, Zeros};
use crate::codegen::residence::storage::{Location, MemorySpace, Residence, Storage};
use crate::codegen::strategy::TileGrain;
use crate::ir::{Graph, Op, OpKind, Value};
use crate::tiled::{Buffer, Buffers, Task, Tasks};

/// What lowering makes.
pub(crate) struct Lowered {
    pub(crate) tasks: Tasks,
    /// The pool that tasks load.
    pub(crate) pool: ConstantPool,
    /// The operations that layers stand for, in the order of the graph.
    pub(crate) layers: Vec<Op>,
    /// What was decided, if that was asked for.
    pub(crate) decisions: Vec<Decision>,
}

/// Collects tasks.
///
/// While instructions are put together their scratchpad operands are numbers of operands, which
/// [`Builder::push`] looks up.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) machine: &'a Machine,
    pub(crate) residence: &'a Residence,
    tasks: Tasks,
    /// Buffers and offsets in them. Number 0 stands for operands that are not used.
    operands: Vec<Option<(Buffer, u32)>>,
    /// Per task, the operation that it belongs to.
    layers: Vec<Op>,
    home_buffers: SecondaryMap<Storage, Option<Buffer>>,
    pool: ConstantPool,
    /// Zeros in DRAM.
    zeros: Option<Dram>,
    group: usize,
    /// Bytes of residence that the group no longer touches.
    released: u64,
    grain: TileGrain,
    /// How linear layers were cut so far.
    pub(crate) tilings: Tilings,
    /// What was decided, if that is asked for.
    decisions: Option<Vec<Decision>>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        graph: &'a Graph,
        machine: &'a Machine,
        residence: &'a Residence,
        grain: TileGrain,
    ) -> Builder<'a> {
        Builder {
            graph,
            machine,
            residence,
            tasks: Tasks::default(),
            operands: vec![None],
            layers: Vec::new(),
            home_buffers: SecondaryMap::new(),
            pool: ConstantPool::default(),
            zeros: None,
            group: 0,
            released: 0,
            grain,
            tilings: Tilings::default(),
            decisions: None,
        }
    }

    /// Records from now on what is decided.
    pub(crate) fn explaining(mut self) -> Self {
        self.decisions = Some(Vec::new());
        self
    }

    /// Whether decisions are recorded.
    pub(crate) fn explains(&self) -> bool {
        self.decisions.is_some()
    }

    /// Records a decision about the layer of an operation.
    pub(crate) fn explain(
        &mut self,
        layer: Op,
        subject: &str,
        chosen: String,
        reason: &str,
        alternatives: Vec<Alternative>,
    ) {
        let layer = self.graph.layer_name(layer);
        let (subject, reason) = (subject.to_owned(), reason.to_owned());
        self.decisions.get_or_insert_default().push(Decision {
            layer,
            subject,
            chosen,
            reason,
            alternatives,
        });
    }

    /// Starts a group.
    pub(crate) fn enter(&mut self, group: usize) {
        (self.group, self.released) = (group, 0);
    }

    /// Bytes of a value's storage, if that stays in the scratchpad and this is the last group that
    /// touches it.
    pub(crate) fn last_touched(&self, value: Value) -> u64 {
        let data = self.residence.data(self.residence.location(value));
        if data.space == MemorySpace::Sram && data.live_range.1 == self.group {
            data.bytes()
        } else {
            0
        }
    }

    /// The group no longer touches residence of so many bytes.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.released += bytes;
    }

    /// What has been collected.
    pub(crate) fn finish(mut self) -> Lowered {
        let used: BTreeSet<Op> = self.layers.iter().copied().collect();
        let order: Vec<Op> =
            self.graph.order.iter().copied().filter(|op| used.contains(op)).collect();
        let number: BTreeMap<Op, u32> =
            order.iter().zip(0..).map(|(op, number)| (*op, number)).collect();
        for (task, layer) in self.tasks.tasks.iter_mut().zip(&self.layers) {
            task.layer = number[layer];
        }
        Lowered {
            tasks: self.tasks,
            pool: self.pool,
            layers: order,
            decisions: self.decisions.unwrap_or_default(),
        }
    }

    /// Cycles from the end of an instruction on the lines to the start of one that waits for it, as
    /// tilings are chosen by them.
    pub(crate) fn drain_cycles(&self) -> u64 {
        match self.grain {
            TileGrain::Coarse => drain_cycles(self.machine),
            // Not 0, for which the smallest tiles would be as good as any.
            TileGrain::Fine => 1,
        }
    }

    /// Bytes of the scratchpad that the group's tiles may take.
    pub(crate) fn available_bytes(&self) -> u64 {
        (u64::from(self.machine.sram.bytes) + self.released)
            .saturating_sub(self.residence.resident_bytes[self.group])
    }

    /// The error of a group whose smallest tiles take `needed` bytes.
    pub(crate) fn too_small(&self, layer: Op, needed: u64) -> CodegenError {
        CodegenError::TooSmall {
            machine: self.machine.name.clone(),
            layer: self.graph.describe(layer),
            needed: (needed + self.residence.resident_bytes[self.group])
                .saturating_sub(self.released),
            capacity: self.machine.sram.bytes.into(),
        }
    }

    /// All MAC lines.
    pub(crate) fn all_lines(&self) -> LineSet {
        LineSet { first: 0, count: self.machine.lines.count as u16 }
    }

    /// Appends an instruction.
    pub(crate) fn push(&mut self, layer: Op, op: impl Into<Instruction>) {
        let mut op = op.into();
        let mut buffers = Buffers::default();
        for (at, buffer) in op.sram_operands().into_iter().zip(&mut buffers) {
            if let Some((lies_in, offset)) = self.operands[at.0 as usize] {
                (*buffer, at.0) = (PackedOption::from(lies_in), offset);
            }
        }
        // Layers have their numbers when all are known.
        let task = Task { op, buffers, layer: 0, group: self.group as u32 };
        self.tasks.tasks.push(task.without_unused());
        self.layers.push(layer);
    }

    /// Looks the elements of a tile of `m` rows of `n` up, in location.
    pub(crate) fn lookup(&mut self, layer: Op, table: Sram, tile: Tile, shape: [usize; 2]) {
        let [m, n] = self.flat(shape, &[(tile, 1)]);
        let (src, stride) = (tile.at, tile.stride);
        self.push(
            layer,
            Lut { src, table, dst: src, m, n, src_stride: stride, dst_stride: stride },
        );
    }

    /// Adds tiles of `m` rows of `n` as a `qadd` says, into a third one; `narrow` where that has 8
    /// bits.
    pub(crate) fn add(
        &mut self,
        layer: Op,
        [a, b, sum]: [Tile; 3],
        shape: [usize; 2],
        narrow: bool,
    ) {
        let OpKind::QAdd { a_scale, b_scale, shift } = self.graph.op(layer).kind else {
            unreachable!("groups are formed by kind")
        };
        let [m, n] = self.flat(shape, &[(a, 2), (b, 2), (sum, if narrow { 1 } else { 2 })]);
        let add = Add {
            narrow,
            a: a.at,
            b: b.at,
            dst: sum.at,
            m,
            n,
            a_scale,
            b_scale,
            shift: Shift(shift),
            a_stride: a.stride,
            b_stride: b.stride,
            dst_stride: sum.stride,
        };
        self.push(layer, add);
    }

    /// Rows and columns of elementwise work on tiles, with the bytes of an element of each: one row
    /// of all elements where they are contiguous and the vector unit's words would not be full
    /// otherwise.
    pub(crate) fn flat(&self, [m, n]: [usize; 2], tiles: &[(Tile, usize)]) -> [u16; 2] {
        let full = n.is_multiple_of(self.machine.vector.elements_per_cycle as usize);
        let contiguous = tiles.iter().all(|(tile, bytes)| tile.stride as usize == n * bytes);
        if !full && contiguous && m * n <= MAX_COUNT {
            [1, (m * n) as u16]
        } else {
            [m as u16, n as u16]
        }
    }

    /// A new buffer.
    pub(crate) fn buffer(&mut self, bytes: u64) -> Buffer {
        self.tasks.buffers.push(bytes)
    }

    /// An operand `offset` bytes into a buffer.
    pub(crate) fn at(&mut self, buffer: Buffer, offset: u64) -> Sram {
        self.operands.push(Some((buffer, offset as u32)));
        Sram(self.operands.len() as u32 - 1)
    }

    /// An operand `offset` bytes behind another in the same buffer.
    pub(crate) fn offset_bytes(&mut self, at: Sram, offset: u64) -> Sram {
        let Some((buffer, start)) = self.operands[at.0 as usize] else { return at };
        self.at(buffer, u64::from(start) + offset)
    }

    /// A tile from one of its rows on.
    pub(crate) fn offset_rows(&mut self, Tile { at, stride }: Tile, row: usize) -> Tile {
        Tile { at: self.offset_bytes(at, row as u64 * u64::from(stride)), stride }
    }

    /// A new buffer as a tile of contiguous rows.
    pub(crate) fn tile(&mut self, rows: usize, row_bytes: usize) -> Tile {
        let buffer = self.buffer(rows as u64 * row_bytes as u64);
        Tile { at: self.at(buffer, 0), stride: row_bytes as u32 }
    }

    /// Whether a value stays in the scratchpad.
    pub(crate) fn on_chip(&self, value: Value) -> bool {
        self.residence.data(self.residence.location(value)).space == MemorySpace::Sram
    }

    /// Part of a value, to be read: where it lies on chip, or loaded into a buffer of its own.
    pub(crate) fn read(&mut self, layer: Op, value: Value, window: &Block) -> Tile {
        self.read_into(layer, value, window, |builder| {
            builder.tile(window.height(), window.bytes.len())
        })
    }

    /// Part of a value, to be read: where it lies on chip, or loaded into the next buffer of a
    /// ring.
    pub(crate) fn read_in(
        &mut self,
        ring: &mut BufferRing,
        layer: Op,
        value: Value,
        window: &Block,
    ) -> Tile {
        self.read_into(layer, value, window, |builder| {
            ring.tile(builder, window.height(), window.bytes.len())
        })
    }

    fn read_into(
        &mut self,
        layer: Op,
        value: Value,
        window: &Block,
        buffer: impl FnOnce(&mut Self) -> Tile,
    ) -> Tile {
        let location = self.residence.location(value);
        if let Some(tile) = self.resident(location, window) {
            return tile;
        }
        let tile = buffer(self);
        self.load(layer, location, window, tile);
        tile
    }

    /// Part of a value, to be written. [`Builder::written`] completes it.
    pub(crate) fn begin_store(&mut self, value: Value, window: &Block) -> Target {
        self.begin_store_at(self.residence.location(value), window)
    }

    /// Part of a value, to be written where it lies on chip, or over a tile of its width whose
    /// contents are no longer needed.
    pub(crate) fn begin_store_over(&mut self, value: Value, window: &Block, tile: Tile) -> Target {
        let location = self.residence.location(value);
        match self.resident(location, window) {
            Some(tile) => Target { tile, store: None },
            None => Target { tile, store: Some((location, window.clone())) },
        }
    }

    /// Part of a storage, to be written.
    pub(crate) fn begin_store_at(&mut self, location: Location, window: &Block) -> Target {
        match self.resident(location, window) {
            Some(tile) => Target { tile, store: None },
            None => {
                let tile = self.tile(window.height(), window.bytes.len());
                Target { tile, store: Some((location, window.clone())) }
            }
        }
    }

    /// A tile of its own that goes nowhere.
    pub(crate) fn scratch(&mut self, window: &Block) -> Target {
        Target { tile: self.tile(window.height(), window.bytes.len()), store: None }
    }

    /// Stores a written tile if it does not stay on chip.
    pub(crate) fn finish_store(&mut self, layer: Op, target: &Target) {
        if let Some((location, window)) = &target.store {
            self.store(layer, *location, window, target.tile);
        }
    }

    /// Stores a tile as part of a storage in DRAM.
    pub(crate) fn store(&mut self, layer: Op, location: Location, window: &Block, tile: Tile) {
        let data = self.residence.data(location);
        let MemorySpace::Dram(base) = data.space else {
            unreachable!("what is on chip is not stored")
        };
        let store = Store {
            src: tile.at,
            dst: Dram(
                base + (location.row + window.rows.start as u64) * data.row_bytes
                    + window.bytes.start as u64,
            ),
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
    pub(crate) fn load(&mut self, layer: Op, location: Location, window: &Block, tile: Tile) {
        let data = self.residence.data(location);
        let MemorySpace::Dram(base) = data.space else {
            unreachable!("what is on chip is not loaded")
        };
        self.load_rows(
            layer,
            [base + location.row * data.row_bytes, data.row_bytes],
            window,
            tile,
            data.traffic,
        );
    }

    /// Loads part of a matrix at an address of DRAM, with so many bytes to a row, into a tile.
    fn load_rows(
        &mut self,
        layer: Op,
        [base, row_bytes]: [u64; 2],
        window: &Block,
        tile: Tile,
        traffic: Traffic,
    ) {
        let load = Load {
            dst: tile.at,
            src: Dram(base + window.rows.start as u64 * row_bytes + window.bytes.start as u64),
            bytes: window.bytes.len() as u32,
            inner: window.height() as u16,
            outer: 1,
            src_inner_stride: row_bytes as u32,
            src_outer_stride: 0,
            dst_inner_stride: tile.stride,
            dst_outer_stride: 0,
            traffic,
        };
        self.push(layer, load);
    }

    /// Loads all of some rows of a matrix of weights into a new buffer.
    pub(crate) fn weights(&mut self, layer: Op, value: Value, rows: &Range<usize>) -> Tile {
        let (_, row_bytes) = self.graph.ty(value).matrix();
        let at = self.constant(
            layer,
            value,
            rows.start * row_bytes..rows.end * row_bytes,
            Traffic::Weights,
        );
        Tile { at, stride: row_bytes as u32 }
    }

    /// Loads part of a matrix of weights into the next buffer of a ring.
    pub(crate) fn weights_in(
        &mut self,
        ring: &mut BufferRing,
        layer: Op,
        value: Value,
        window: &Block,
    ) -> Tile {
        let (_, row_bytes) = self.graph.ty(value).matrix();
        let tile = ring.tile(self, window.height(), window.bytes.len());
        let base = self.residence.constants[&value];
        self.load_rows(layer, [base, row_bytes as u64], window, tile, Traffic::Weights);
        tile
    }

    /// Loads contiguous bytes of a constant into a new buffer.
    pub(crate) fn constant(
        &mut self,
        layer: Op,
        value: Value,
        bytes: Range<usize>,
        traffic: Traffic,
    ) -> Sram {
        let src = Dram(self.residence.constants[&value] + bytes.start as u64);
        self.fetch(layer, src, bytes.len(), traffic)
    }

    /// Loads the bytes of a list, which become part of the image, into a new buffer.
    pub(crate) fn list(&mut self, layer: Op, bytes: Vec<u8>) -> Sram {
        let length = bytes.len();
        let src = self.pool.add(layer, bytes);
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

    fn resident(&mut self, location: Location, window: &Block) -> Option<Tile> {
        let residence = self.residence;
        let data = &residence.all[location.storage];
        if data.space != MemorySpace::Sram {
            return None;
        }
        let buffer = match self.home_buffers[location.storage] {
            Some(buffer) => buffer,
            None => {
                let buffer = self.buffer(data.bytes());
                self.home_buffers[location.storage] = Some(buffer);
                buffer
            }
        };
        let offset =
            data.offset(location.row + window.rows.start as u64) + window.bytes.start as u64;
        Some(Tile { at: self.at(buffer, offset), stride: data.row_bytes as u32 })
    }

    /// The frame of a value that stays in the scratchpad in one.
    pub(crate) fn frame(&self, value: Value) -> Option<PaddedMap> {
        let data = self.residence.data(self.residence.location(value));
        data.padded_map.filter(|_| data.space == MemorySpace::Sram)
    }

    /// The frame of a value that stays in the scratchpad from its first byte on, rows contiguous.
    /// The zeros are not written.
    pub(crate) fn frame_start(&mut self, value: Value) -> Sram {
        let location = self.residence.location(value);
        let first = self.residence.data(location).offset(0);
        let tile = self
            .resident(location, &Block { rows: 0..1, bytes: 0..0 })
            .expect("frames stay on chip");
        let Some((buffer, offset)) = self.operands[tile.at.0 as usize] else { return tile.at };
        self.at(buffer, u64::from(offset) - first)
    }

    /// Writes the zeros of a frame of pixels of `bytes` bytes.
    pub(crate) fn zero(&mut self, layer: Op, frame: &PaddedMap, at: Sram, bytes: usize) {
        /// Zeros that stand in DRAM; longer runs are written in parts.
        const ZEROS: usize = 1024;
        for Zeros { start, pixels, runs, stride } in frame.zeros() {
            for part in chunks(pixels * bytes, ZEROS) {
                let src = match self.zeros {
                    Some(src) => src,
                    None => *self.zeros.insert(self.pool.add(layer, vec![0; ZEROS])),
                };
                for runs in chunks(runs, MAX_COUNT) {
                    let dst = self.offset_bytes(
                        at,
                        ((start + runs.start * stride) * bytes + part.start) as u64,
                    );
                    let load = Load {
                        dst,
                        src,
                        bytes: part.len() as u32,
                        inner: runs.len() as u16,
                        outer: 1,
                        src_inner_stride: 0,
                        src_outer_stride: 0,
                        dst_inner_stride: (stride * bytes) as u32,
                        dst_outer_stride: 0,
                        traffic: Traffic::Params,
                    };
                    self.push(layer, load);
                }
            }
        }
    }
}
