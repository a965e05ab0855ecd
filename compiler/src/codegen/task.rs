//! What lowering fills with [tasks](crate::tiled): the builder, and tiles of values as it hands
//! them out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use vitcod_isa::instr::table::{Add, Load, Lut, Store};
use vitcod_isa::instr::{Dram, LineSet, Op as Instruction, Shift, Sram, Traffic};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Alternative, Decision};

use super::CodegenError;
use super::limits::MAX_COUNT;
use super::linear::Tilings;
use super::lists::Lists;
use super::map::{Frame, Zeros};
use super::ring::Ring;
use super::storage::{Home, Place, Storage, Storages};
use crate::ir::{Graph, Op, OpKind, Value};
use crate::tiled::{Buffer, Buffers, Task, Tasks};

/// A strided matrix in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// First byte, as [`Builder::at`] names it.
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

/// How small tiles are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// As large as it takes for what each instruction costs besides its work not to matter.
    Coarse,
    /// Smaller, so that others can start on what is done.
    Fine,
}

impl Grain {
    pub(super) const ALL: [Grain; 2] = [Grain::Coarse, Grain::Fine];
}

/// Cycles from the end of an instruction on the lines to the start of one that waits for it: the
/// lines' fill, and on machines of little fill what others that come in between take.
pub(super) fn turnaround(machine: &Machine) -> u64 {
    const OTHERS: u64 = 12;
    OTHERS.max(machine.lines.fill_cycles.into())
}

/// What lowering makes.
pub(super) struct Lowered {
    pub(super) tasks: Tasks,
    /// The lists that tasks load.
    pub(super) lists: Lists,
    /// The operations that layers stand for, in the order of the graph.
    pub(super) layers: Vec<Op>,
    /// What was decided, if that was asked for.
    pub(super) decisions: Vec<Decision>,
}

/// Collects tasks.
///
/// While instructions are put together their scratchpad operands are numbers of places, which
/// [`Builder::push`] looks up.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) machine: &'a Machine,
    pub(super) storages: &'a Storages,
    tasks: Tasks,
    /// Buffers and offsets in them. Number 0 stands for operands that are not used.
    places: Vec<Option<(Buffer, u32)>>,
    /// Per task, the operation that it belongs to.
    layers: Vec<Op>,
    homes: SecondaryMap<Storage, Option<Buffer>>,
    lists: Lists,
    /// Zeros in DRAM.
    zeros: Option<Dram>,
    group: usize,
    /// Bytes of storages that the group no longer touches.
    released: u64,
    grain: Grain,
    /// How linear layers were cut so far.
    pub(super) tilings: Tilings,
    /// What was decided, if that is asked for.
    decisions: Option<Vec<Decision>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        machine: &'a Machine,
        storages: &'a Storages,
        grain: Grain,
    ) -> Builder<'a> {
        Builder {
            graph,
            machine,
            storages,
            tasks: Tasks::default(),
            places: vec![None],
            layers: Vec::new(),
            homes: SecondaryMap::new(),
            lists: Lists::default(),
            zeros: None,
            group: 0,
            released: 0,
            grain,
            tilings: Tilings::default(),
            decisions: None,
        }
    }

    /// Records from now on what is decided.
    pub(super) fn explaining(mut self) -> Self {
        self.decisions = Some(Vec::new());
        self
    }

    /// Whether decisions are recorded.
    pub(super) fn explains(&self) -> bool {
        self.decisions.is_some()
    }

    /// Records a decision about the layer of an operation.
    pub(super) fn explain(
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
    pub(super) fn enter(&mut self, group: usize) {
        (self.group, self.released) = (group, 0);
    }

    /// Bytes of a value's storage, if that stays in the scratchpad and this is the last group that
    /// touches it.
    pub(super) fn last_touched(&self, value: Value) -> u64 {
        let data = self.storages.data(self.storages.place(value));
        if data.home == Home::Sram && data.life.1 == self.group { data.bytes() } else { 0 }
    }

    /// The group no longer touches storages of so many bytes.
    pub(super) fn release(&mut self, bytes: u64) {
        self.released += bytes;
    }

    /// What has been collected.
    pub(super) fn finish(mut self) -> Lowered {
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
            lists: self.lists,
            layers: order,
            decisions: self.decisions.unwrap_or_default(),
        }
    }

    /// Cycles from the end of an instruction on the lines to the start of one that waits for it, as
    /// tilings are chosen by them.
    pub(super) fn turnaround(&self) -> u64 {
        match self.grain {
            Grain::Coarse => turnaround(self.machine),
            // Not 0, for which the smallest tiles would be as good as any.
            Grain::Fine => 1,
        }
    }

    /// Bytes of the scratchpad that the group's tiles may take.
    pub(super) fn room(&self) -> u64 {
        (u64::from(self.machine.sram.bytes) + self.released)
            .saturating_sub(self.storages.resident[self.group])
    }

    /// The error of a group whose smallest tiles take `needed` bytes.
    pub(super) fn too_small(&self, layer: Op, needed: u64) -> CodegenError {
        CodegenError::TooSmall {
            machine: self.machine.name.clone(),
            layer: self.graph.describe(layer),
            needed: (needed + self.storages.resident[self.group]).saturating_sub(self.released),
            capacity: self.machine.sram.bytes.into(),
        }
    }

    /// All MAC lines.
    pub(super) fn all_lines(&self) -> LineSet {
        LineSet { first: 0, count: self.machine.lines.count as u16 }
    }

    /// Appends an instruction.
    pub(super) fn push(&mut self, layer: Op, op: impl Into<Instruction>) {
        let mut op = op.into();
        let mut buffers = Buffers::default();
        for (at, buffer) in op.sram_operands().into_iter().zip(&mut buffers) {
            if let Some((lies_in, offset)) = self.places[at.0 as usize] {
                (*buffer, at.0) = (PackedOption::from(lies_in), offset);
            }
        }
        // Layers have their numbers when all are known.
        let task = Task { op, buffers, layer: 0, group: self.group as u32 };
        self.tasks.tasks.push(task.without_unused());
        self.layers.push(layer);
    }

    /// Looks the elements of a tile of `m` rows of `n` up, in place.
    pub(super) fn lookup(&mut self, layer: Op, table: Sram, tile: Tile, shape: [usize; 2]) {
        let [m, n] = self.flat(shape, &[(tile, 1)]);
        let (src, stride) = (tile.at, tile.stride);
        self.push(
            layer,
            Lut { src, table, dst: src, m, n, src_stride: stride, dst_stride: stride },
        );
    }

    /// Adds tiles of `m` rows of `n` as a `qadd` says, into a third one; `narrow` where that has 8
    /// bits.
    pub(super) fn add(
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
    pub(super) fn flat(&self, [m, n]: [usize; 2], tiles: &[(Tile, usize)]) -> [u16; 2] {
        let full = n.is_multiple_of(self.machine.vector.elements_per_cycle as usize);
        let contiguous = tiles.iter().all(|(tile, bytes)| tile.stride as usize == n * bytes);
        if !full && contiguous && m * n <= MAX_COUNT {
            [1, (m * n) as u16]
        } else {
            [m as u16, n as u16]
        }
    }

    /// A new buffer.
    pub(super) fn buffer(&mut self, bytes: u64) -> Buffer {
        self.tasks.buffers.push(bytes)
    }

    /// An operand `offset` bytes into a buffer.
    pub(super) fn at(&mut self, buffer: Buffer, offset: u64) -> Sram {
        self.places.push(Some((buffer, offset as u32)));
        Sram(self.places.len() as u32 - 1)
    }

    /// An operand `offset` bytes behind another in the same buffer.
    pub(super) fn behind(&mut self, at: Sram, offset: u64) -> Sram {
        let Some((buffer, start)) = self.places[at.0 as usize] else { return at };
        self.at(buffer, u64::from(start) + offset)
    }

    /// A tile from one of its rows on.
    pub(super) fn below(&mut self, Tile { at, stride }: Tile, row: usize) -> Tile {
        Tile { at: self.behind(at, row as u64 * u64::from(stride)), stride }
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
        self.read_into(layer, value, window, |builder| {
            builder.tile(window.height(), window.bytes.len())
        })
    }

    /// Part of a value, to be read: where it lies on chip, or loaded into the next buffer of a
    /// ring.
    pub(super) fn read_in(
        &mut self,
        ring: &mut Ring,
        layer: Op,
        value: Value,
        window: &Window,
    ) -> Tile {
        self.read_into(layer, value, window, |builder| {
            ring.tile(builder, window.height(), window.bytes.len())
        })
    }

    fn read_into(
        &mut self,
        layer: Op,
        value: Value,
        window: &Window,
        buffer: impl FnOnce(&mut Self) -> Tile,
    ) -> Tile {
        let place = self.storages.place(value);
        if let Some(tile) = self.resident(place, window) {
            return tile;
        }
        let tile = buffer(self);
        self.load(layer, place, window, tile);
        tile
    }

    /// Part of a value, to be written. [`Builder::written`] completes it.
    pub(super) fn write(&mut self, value: Value, window: &Window) -> Target {
        self.write_at(self.storages.place(value), window)
    }

    /// Part of a value, to be written where it lies on chip, or over a tile of its width whose
    /// contents are no longer needed.
    pub(super) fn write_over(&mut self, value: Value, window: &Window, tile: Tile) -> Target {
        let place = self.storages.place(value);
        match self.resident(place, window) {
            Some(tile) => Target { tile, store: None },
            None => Target { tile, store: Some((place, window.clone())) },
        }
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
            dst: Dram(
                base + (place.row + window.rows.start as u64) * data.row_bytes
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
    pub(super) fn load(&mut self, layer: Op, place: Place, window: &Window, tile: Tile) {
        let data = self.storages.data(place);
        let Home::Dram(base) = data.home else { unreachable!("what is on chip is not loaded") };
        self.load_rows(
            layer,
            [base + place.row * data.row_bytes, data.row_bytes],
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
        window: &Window,
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
    pub(super) fn weights(&mut self, layer: Op, value: Value, rows: &Range<usize>) -> Tile {
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
    pub(super) fn weights_in(
        &mut self,
        ring: &mut Ring,
        layer: Op,
        value: Value,
        window: &Window,
    ) -> Tile {
        let (_, row_bytes) = self.graph.ty(value).matrix();
        let tile = ring.tile(self, window.height(), window.bytes.len());
        let base = self.storages.constants[&value];
        self.load_rows(layer, [base, row_bytes as u64], window, tile, Traffic::Weights);
        tile
    }

    /// Loads contiguous bytes of a constant into a new buffer.
    pub(super) fn constant(
        &mut self,
        layer: Op,
        value: Value,
        bytes: Range<usize>,
        traffic: Traffic,
    ) -> Sram {
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
        if data.home != Home::Sram {
            return None;
        }
        let buffer = match self.homes[place.storage] {
            Some(buffer) => buffer,
            None => {
                let buffer = self.buffer(data.bytes());
                self.homes[place.storage] = Some(buffer);
                buffer
            }
        };
        let offset = data.offset(place.row + window.rows.start as u64) + window.bytes.start as u64;
        Some(Tile { at: self.at(buffer, offset), stride: data.row_bytes as u32 })
    }

    /// The frame of a value that stays in the scratchpad in one.
    pub(super) fn frame(&self, value: Value) -> Option<Frame> {
        let data = self.storages.data(self.storages.place(value));
        data.frame.filter(|_| data.home == Home::Sram)
    }

    /// The frame of a value that stays in the scratchpad from its first byte on, rows contiguous.
    /// The zeros are not written.
    pub(super) fn frame_start(&mut self, value: Value) -> Sram {
        let place = self.storages.place(value);
        let first = self.storages.data(place).offset(0);
        let tile =
            self.resident(place, &Window { rows: 0..1, bytes: 0..0 }).expect("frames stay on chip");
        let Some((buffer, offset)) = self.places[tile.at.0 as usize] else { return tile.at };
        self.at(buffer, u64::from(offset) - first)
    }

    /// Writes the zeros of a frame of pixels of `bytes` bytes.
    pub(super) fn zero(&mut self, layer: Op, frame: &Frame, at: Sram, bytes: usize) {
        /// Zeros that stand in DRAM; longer runs are written in parts.
        const ZEROS: usize = 1024;
        for Zeros { start, pixels, runs, stride } in frame.zeros() {
            for part in steps(pixels * bytes, ZEROS) {
                let src = match self.zeros {
                    Some(src) => src,
                    None => *self.zeros.insert(self.lists.add(layer, vec![0; ZEROS])),
                };
                for runs in steps(runs, MAX_COUNT) {
                    let dst = self
                        .behind(at, ((start + runs.start * stride) * bytes + part.start) as u64);
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

/// A range in steps of `step`.
pub(super) fn within(
    range: &Range<usize>,
    step: usize,
) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
    let start = range.start;
    steps(range.len(), step).map(move |part| start + part.start..start + part.end)
}

/// `0..extent` in steps of `step`.
pub(super) fn steps(extent: usize, step: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..extent).step_by(step.max(1)).map(move |start| start..extent.min(start + step))
}
