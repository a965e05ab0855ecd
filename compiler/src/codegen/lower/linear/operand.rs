//! The activation operand of a linear layer: rows of a stored matrix, or windows of a map.
//!
//! Windows are not copied: an instruction reads the windows of one row of the map in place, each as
//! one run of bytes per line of the window. A spilled map is loaded in stripes, each with the zeros
//! that its windows cover.

use std::ops::Range;

use vitcod_isa::instr::Dram;
use vitcod_isa::instr::table::Load;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, SramOperand, Tile, chunks, cut_at};
use crate::codegen::group::LinearGroup;
use crate::codegen::limits::{MAX_COUNT, bytes32, count};
use crate::codegen::lower::linear::form::Form;
use crate::codegen::lower::linear::names::ACTIVATIONS;
use crate::codegen::residence::padded_map::{ConvWindows, MapRegion, PaddedMap};
use crate::codegen::residence::storage::{MemorySpace, Residence};
use crate::ir::{Graph, Op, Value};

/// The activation operand of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    linear: Op,
    /// The stored value: the operand, or the map.
    value: Value,
    /// The `patches` operation.
    patches: Option<Op>,
    pub(crate) form: Form,
}

impl Operand {
    pub(crate) fn of(graph: &Graph, residence: &Residence, group: &LinearGroup) -> Operand {
        let reader = graph.op(group.patches.unwrap_or(group.linear));
        let value = reader.operands[0];
        let form = Form {
            columns: graph.ty(value).matrix().1,
            windows: ConvWindows::of(&reader.kind),
            on_chip: residence.on_chip(value),
        };
        Operand { linear: group.linear, value, patches: group.patches, form }
    }

    /// A block of a stored matrix, resident or loaded.
    pub(crate) fn block(&self, builder: &mut Builder<'_>, block: &Block) -> Tile {
        builder.read(ACTIVATIONS, self.linear, self.value, block)
    }

    /// A block of a stored matrix, resident or loaded into the next buffer of a ring.
    pub(crate) fn block_in(
        &self,
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        block: &Block,
    ) -> Tile {
        builder.read_in(ring, self.linear, self.value, block)
    }

    /// Rows, resident or loaded.
    pub(crate) fn read(&self, builder: &mut Builder<'_>, rows: &Range<usize>) -> ActivationTile {
        let (Some(patches), Form { columns, windows: Some(windows), on_chip }) =
            (self.patches, self.form)
        else {
            let tile =
                self.block(builder, &Block { rows: rows.clone(), bytes: 0..self.form.columns });
            return ActivationTile {
                at: tile.at,
                stride: tile.stride as usize,
                first: rows.start,
                map: None,
            };
        };
        let (region, at) = if !on_chip {
            self.load(builder, patches, &windows, rows)
        } else if let Some(padded) = builder.residence.padded_map(self.value) {
            (padded.complete(), builder.padded_map_start(self.value))
        } else {
            let all = Block { rows: 0..windows.map[0] * windows.map[1], bytes: 0..columns };
            let padded = PaddedMap {
                height: windows.map[0],
                width: windows.map[1],
                gap: 0,
                top: 0,
                bottom: 0,
            };
            (padded.complete(), builder.read(ACTIVATIONS, patches, self.value, &all).at)
        };
        ActivationTile { at, stride: columns, first: 0, map: Some((windows, region)) }
    }

    /// Loads the region of the map that the windows `rows` cover.
    fn load(
        &self,
        builder: &mut Builder<'_>,
        patches: Op,
        windows: &ConvWindows,
        rows: &Range<usize>,
    ) -> (MapRegion, SramOperand) {
        let across = windows.positions()[1];
        let lines = rows.start / across..(rows.end - 1) / across + 1;
        let columns = if lines.len() == 1 {
            rows.start - lines.start * across..rows.end - lines.start * across
        } else {
            0..across
        };
        let region = windows.region(&lines, &columns);
        let (padded, bytes) = (region.padded, self.form.columns);
        let at = builder.tile(ACTIVATIONS, 1, padded.pixels() * bytes).at;
        builder.zero(patches, &padded, at, bytes);
        let location = builder.residence.location(self.value);
        let data = builder.residence.data(location);
        let (traffic, MemorySpace::Dram(base)) = (data.traffic, data.space) else {
            unreachable!("resident tensors are not loaded")
        };
        let [row, column] = [region.row + padded.top as isize, region.column + padded.gap as isize];
        for lines in chunks(padded.height, MAX_COUNT).filter(|_| padded.width > 0) {
            let pixel = location.row as usize
                + (row as usize + lines.start) * windows.map[1]
                + column as usize;
            let dst =
                builder.offset_bytes(at, (padded.pixel(lines.start * padded.width) * bytes) as u64);
            let load = Load {
                dst: dst.into(),
                src: Dram(base + (pixel * bytes) as u64),
                bytes: bytes32(padded.width * bytes),
                inner: count(lines.len()),
                outer: 1,
                src_inner_stride: bytes32(windows.map[1] * bytes),
                dst_inner_stride: bytes32(padded.pitch() * bytes),
                traffic,
                ..Load::ZERO
            };
            builder.push(patches, load);
        }
        (region, at)
    }
}

/// Rows of an activation operand in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActivationTile {
    at: SramOperand,
    /// Bytes between rows of a matrix, or pixels of a map.
    stride: usize,
    /// The row at `at`, for a matrix.
    first: usize,
    map: Option<(ConvWindows, MapRegion)>,
}

/// Rows that one instruction reads.
pub(crate) struct RowRun {
    pub(crate) rows: Range<usize>,
    pub(crate) at: SramOperand,
    pub(crate) stride: u32,
    pub(crate) run_stride: u32,
}

impl ActivationTile {
    /// Some of the rows, divided into the rows of instructions.
    pub(crate) fn row_runs(&self, builder: &mut Builder<'_>, rows: &Range<usize>) -> Vec<RowRun> {
        let Some((windows, region)) = &self.map else {
            let at =
                builder.offset_bytes(self.at, ((rows.start - self.first) * self.stride) as u64);
            return vec![RowRun {
                rows: rows.clone(),
                at,
                stride: bytes32(self.stride),
                run_stride: 0,
            }];
        };
        let across = windows.positions()[1];
        let run = |rows: Range<usize>| {
            let pixel = windows.at(region, rows.start / across, rows.start % across);
            // Windows of one line do not use it; the region may have no second line.
            let run_stride =
                if windows.kernel[0] > 1 { region.padded.pitch() * self.stride } else { 0 };
            RowRun {
                at: builder.offset_bytes(self.at, (pixel * self.stride) as u64),
                stride: bytes32(windows.stride[1] * self.stride),
                run_stride: bytes32(run_stride),
                rows,
            }
        };
        cut_at(rows, across).map(run).collect()
    }
}
