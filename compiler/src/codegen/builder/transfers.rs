//! Loads and stores: tiles of values, weights, other constants, and the zeros of padded maps.

use std::ops::Range;

use vitcod_isa::instr::table::{Load, Store};
use vitcod_isa::instr::{Dram, Traffic};

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, SramOperand, Target, Tile, chunks};
use crate::codegen::limits::{MAX_COUNT, bytes32, count, row_stride};
use crate::codegen::residence::padded_map::{PaddedMap, Zeros};
use crate::codegen::residence::storage::{Location, MemorySpace};
use crate::ir::{Op, Value};

impl Builder<'_> {
    /// A block of a value for reading: the resident bytes, or a new buffer with a load.
    pub(crate) fn read(
        &mut self,
        name: &'static str,
        layer: Op,
        value: Value,
        block: &Block,
    ) -> Tile {
        self.read_into(layer, value, block, |builder| {
            builder.tile(name, block.height(), block.bytes.len())
        })
    }

    /// A block of a value for reading: the resident bytes, or the next buffer of a ring with a
    /// load.
    pub(crate) fn read_in(
        &mut self,
        ring: &mut BufferRing,
        layer: Op,
        value: Value,
        block: &Block,
    ) -> Tile {
        self.read_into(layer, value, block, |builder| {
            builder.ring_tile(ring, block.height(), block.bytes.len())
        })
    }

    /// A block of a value for reading: the resident bytes, or a load into the tile that `buffer`
    /// makes.
    pub(crate) fn read_into(
        &mut self,
        layer: Op,
        value: Value,
        block: &Block,
        buffer: impl FnOnce(&mut Self) -> Tile,
    ) -> Tile {
        let location = self.residence.location(value);
        if let Some(tile) = self.resident(location, block) {
            return tile;
        }
        let tile = buffer(self);
        self.load(layer, location, block, tile);
        tile
    }

    /// A block of a value for writing. [`Builder::finish_store`] completes it.
    pub(crate) fn begin_store(
        &mut self,
        name: &'static str,
        value: Value,
        block: &Block,
    ) -> Target {
        self.begin_store_at(name, self.residence.location(value), block)
    }

    /// A block of a value for writing: the resident bytes, or over a tile of its width whose
    /// contents are no longer needed.
    pub(crate) fn begin_store_over(&mut self, value: Value, block: &Block, tile: Tile) -> Target {
        let location = self.residence.location(value);
        match self.resident(location, block) {
            Some(tile) => Target { tile, store: None },
            None => Target { tile, store: Some((location, block.clone())) },
        }
    }

    /// A block of a storage for writing.
    pub(crate) fn begin_store_at(
        &mut self,
        name: &'static str,
        location: Location,
        block: &Block,
    ) -> Target {
        match self.resident(location, block) {
            Some(tile) => Target { tile, store: None },
            None => {
                let tile = self.tile(name, block.height(), block.bytes.len());
                Target { tile, store: Some((location, block.clone())) }
            }
        }
    }

    /// A new tile that is not stored.
    pub(crate) fn scratch(&mut self, name: &'static str, block: &Block) -> Target {
        Target { tile: self.tile(name, block.height(), block.bytes.len()), store: None }
    }

    /// Stores a written tile unless it is resident.
    pub(crate) fn finish_store(&mut self, layer: Op, target: &Target) {
        if let Some((location, block)) = &target.store {
            self.store(layer, *location, block, target.tile);
        }
    }

    /// Stores a tile to a block of a storage in DRAM.
    pub(crate) fn store(&mut self, layer: Op, location: Location, block: &Block, tile: Tile) {
        let data = self.residence.data(location);
        let MemorySpace::Dram(base) = data.space else {
            unreachable!("resident tensors are not stored")
        };
        let store = Store {
            src: tile.at.into(),
            dst: Dram(
                base + (location.row + block.rows.start as u64) * data.row_bytes
                    + block.bytes.start as u64,
            ),
            bytes: bytes32(block.bytes.len()),
            inner: count(block.height()),
            outer: 1,
            src_inner_stride: tile.stride,
            dst_inner_stride: row_stride(data.row_bytes),
            traffic: data.traffic,
            ..Store::ZERO
        };
        self.push(layer, store);
    }

    /// Loads a block of a storage in DRAM into a tile.
    pub(crate) fn load(&mut self, layer: Op, location: Location, block: &Block, tile: Tile) {
        let data = self.residence.data(location);
        let MemorySpace::Dram(base) = data.space else {
            unreachable!("resident tensors are not loaded")
        };
        self.load_rows(
            layer,
            base + location.row * data.row_bytes,
            data.row_bytes,
            block,
            tile,
            data.traffic,
        );
    }

    /// Loads a block of a matrix at address `base` with rows of `row_bytes` bytes into a tile.
    fn load_rows(
        &mut self,
        layer: Op,
        base: u64,
        row_bytes: u64,
        block: &Block,
        tile: Tile,
        traffic: Traffic,
    ) {
        let load = Load {
            dst: tile.at.into(),
            src: Dram(base + block.rows.start as u64 * row_bytes + block.bytes.start as u64),
            bytes: bytes32(block.bytes.len()),
            inner: count(block.height()),
            outer: 1,
            src_inner_stride: row_stride(row_bytes),
            dst_inner_stride: tile.stride,
            traffic,
            ..Load::ZERO
        };
        self.push(layer, load);
    }

    /// Loads some rows of a weight matrix into a new buffer.
    pub(crate) fn weights(
        &mut self,
        name: &'static str,
        layer: Op,
        value: Value,
        rows: &Range<usize>,
    ) -> Tile {
        let (_, row_bytes) = self.graph.ty(value).matrix();
        let stride = self.machine.spread().stride(row_bytes as u64) as usize;
        if stride == row_bytes {
            let bytes = rows.start * row_bytes..rows.end * row_bytes;
            let at = self.constant(name, layer, value, bytes, Traffic::Weights);
            return Tile { at, stride: row_stride(row_bytes as u64) };
        }
        let tile = self.tile(name, rows.len(), stride);
        let block = Block { rows: rows.clone(), bytes: 0..row_bytes };
        let base = self.residence.constants[&value];
        self.load_rows(layer, base, row_bytes as u64, &block, tile, Traffic::Weights);
        tile
    }

    /// Loads a block of a weight matrix into the next buffer of a ring.
    pub(crate) fn weights_in(
        &mut self,
        ring: &mut BufferRing,
        layer: Op,
        value: Value,
        block: &Block,
    ) -> Tile {
        let (_, row_bytes) = self.graph.ty(value).matrix();
        // The last slice of a depth may be spread though the others are not.
        let spread = self.machine.spread().stride(block.bytes.len() as u64) as usize;
        let fits = block.height() * spread <= ring.bytes;
        let tile =
            self.ring_tile(ring, block.height(), if fits { spread } else { block.bytes.len() });
        let base = self.residence.constants[&value];
        self.load_rows(layer, base, row_bytes as u64, block, tile, Traffic::Weights);
        tile
    }

    /// Loads contiguous bytes of a constant into a new buffer.
    pub(crate) fn constant(
        &mut self,
        name: &'static str,
        layer: Op,
        value: Value,
        bytes: Range<usize>,
        traffic: Traffic,
    ) -> SramOperand {
        let src = Dram(self.residence.constants[&value] + bytes.start as u64);
        self.fetch(name, layer, src, bytes.len(), traffic)
    }

    /// Adds bytes to the constant pool and loads them into a new buffer.
    pub(crate) fn pooled(&mut self, name: &'static str, layer: Op, bytes: Vec<u8>) -> SramOperand {
        let length = bytes.len();
        let src = self.pool.add(layer, bytes);
        self.fetch(name, layer, src, length, Traffic::Indices)
    }

    /// Loads contiguous bytes into a new buffer.
    fn fetch(
        &mut self,
        name: &'static str,
        layer: Op,
        src: Dram,
        bytes: usize,
        traffic: Traffic,
    ) -> SramOperand {
        let buffer = self.buffer(name, bytes as u64);
        let dst = self.at(buffer, 0);
        self.push(layer, Load::contiguous(dst.into(), src, bytes32(bytes), traffic));
        dst
    }

    fn resident(&mut self, location: Location, block: &Block) -> Option<Tile> {
        let residence = self.residence;
        let data = &residence.all[location.storage];
        if data.space != MemorySpace::Sram {
            return None;
        }
        let buffer = match self.resident_buffers[location.storage] {
            Some(buffer) => buffer,
            None => {
                let buffer = self.tasks.buffers.push(data.bytes());
                self.resident_buffers[location.storage] = Some(buffer);
                buffer
            }
        };
        let offset = data.offset(location.row + block.rows.start as u64) + block.bytes.start as u64;
        Some(Tile { at: self.at(buffer, offset), stride: row_stride(data.row_bytes) })
    }

    /// The first byte of a resident padded map. Its zeros are not written.
    pub(crate) fn padded_map_start(&mut self, value: Value) -> SramOperand {
        let location = self.residence.location(value);
        let first = self.residence.data(location).offset(0);
        let tile = self
            .resident(location, &Block { rows: 0..1, bytes: 0..0 })
            .expect("padded maps are resident");
        let Some((buffer, offset)) = self.operands[tile.at.0 as usize] else { return tile.at };
        self.at(buffer, u64::from(offset) - first)
    }

    /// Writes the zeros of a padded map whose pixels have `bytes` bytes.
    pub(crate) fn zero(&mut self, layer: Op, map: &PaddedMap, at: SramOperand, bytes: usize) {
        /// Length of the run of zeros in DRAM; longer runs are written in parts.
        const ZEROS: usize = 1024;
        for Zeros { start, pixels, runs, stride } in map.zeros() {
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
                        dst: dst.into(),
                        src,
                        bytes: bytes32(part.len()),
                        inner: count(runs.len()),
                        outer: 1,
                        dst_inner_stride: bytes32(stride * bytes),
                        traffic: Traffic::Params,
                        ..Load::ZERO
                    };
                    self.push(layer, load);
                }
            }
        }
    }
}
