//! The left operand of a linear layer: rows of a stored matrix, or windows of a map.
//!
//! ConvWindows are no copy: an instruction reads those of one row of the map where the map's pixels
//! lie, as a run of bytes for each of their lines. A map that does not stay on chip is loaded in
//! stripes, each with the zeros that its windows look at.

use std::ops::Range;

use vitcod_isa::instr::table::Load;
use vitcod_isa::instr::{Dram, Sram};

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, Tile, chunks};
use crate::codegen::group::LinearGroup;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::residence::padded_map::{ConvWindows, MapRegion, PaddedMap};
use crate::codegen::residence::storage::MemorySpace;
use crate::ir::{Op, Value};

/// The left operand of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    linear: Op,
    /// What is stored: the operand, or the map.
    value: Value,
    /// The `patches` operation.
    patches: Option<Op>,
    pub(crate) form: Form,
}

/// What a left operand is like, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    /// Columns of what is stored.
    columns: usize,
    /// The windows that are its rows.
    windows: Option<ConvWindows>,
    /// Whether it needs no loading.
    pub(crate) on_chip: bool,
}

impl Operand {
    pub(crate) fn of(builder: &Builder<'_>, group: &LinearGroup) -> Operand {
        let graph = builder.graph;
        let reader = graph.op(group.patches.unwrap_or(group.linear));
        let value = reader.operands[0];
        let form = Form {
            columns: graph.ty(value).matrix().1,
            windows: ConvWindows::of(&reader.kind),
            on_chip: builder.on_chip(value),
        };
        Operand { linear: group.linear, value, patches: group.patches, form }
    }

    /// MapRegion of a stored matrix, where it lies on chip or loaded.
    pub(crate) fn part(&self, builder: &mut Builder<'_>, window: &Block) -> Tile {
        builder.read(self.linear, self.value, window)
    }

    /// MapRegion of a stored matrix, where it lies on chip or loaded into the next buffer of a ring.
    pub(crate) fn part_in(
        &self,
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        window: &Block,
    ) -> Tile {
        builder.read_in(ring, self.linear, self.value, window)
    }

    /// Rows, where they lie on chip or loaded.
    pub(crate) fn read(&self, builder: &mut Builder<'_>, rows: &Range<usize>) -> ActivationTile {
        let (Some(patches), Form { columns, windows: Some(windows), on_chip }) =
            (self.patches, self.form)
        else {
            let tile =
                self.part(builder, &Block { rows: rows.clone(), bytes: 0..self.form.columns });
            return ActivationTile {
                at: tile.at,
                stride: tile.stride as usize,
                first: rows.start,
                map: None,
            };
        };
        let (part, at) = if !on_chip {
            self.load(builder, patches, &windows, rows)
        } else if let Some(frame) = builder.frame(self.value) {
            (frame.whole(), builder.frame_start(self.value))
        } else {
            let all = Block { rows: 0..windows.map[0] * windows.map[1], bytes: 0..columns };
            let frame = PaddedMap {
                height: windows.map[0],
                width: windows.map[1],
                gap: 0,
                top: 0,
                bottom: 0,
            };
            (frame.whole(), builder.read(patches, self.value, &all).at)
        };
        ActivationTile { at, stride: columns, first: 0, map: Some((windows, part)) }
    }

    /// Loads what the windows `rows` look at.
    fn load(
        &self,
        builder: &mut Builder<'_>,
        patches: Op,
        windows: &ConvWindows,
        rows: &Range<usize>,
    ) -> (MapRegion, Sram) {
        let across = windows.positions()[1];
        let lines = rows.start / across..(rows.end - 1) / across + 1;
        let columns = if lines.len() == 1 {
            rows.start - lines.start * across..rows.end - lines.start * across
        } else {
            0..across
        };
        let part = windows.region(&lines, &columns);
        let (frame, bytes) = (part.frame, self.form.columns);
        let at = builder.tile(1, frame.pixels() * bytes).at;
        builder.zero(patches, &frame, at, bytes);
        let place = builder.residence.location(self.value);
        let data = builder.residence.data(place);
        let (traffic, MemorySpace::Dram(base)) = (data.traffic, data.space) else {
            unreachable!("what is on chip is not loaded")
        };
        let [row, column] = [part.row + frame.top as isize, part.column + frame.gap as isize];
        for lines in chunks(frame.height, MAX_COUNT).filter(|_| frame.width > 0) {
            let pixel = place.row as usize
                + (row as usize + lines.start) * windows.map[1]
                + column as usize;
            let dst =
                builder.offset_bytes(at, (frame.pixel(lines.start * frame.width) * bytes) as u64);
            let load = Load {
                dst,
                src: Dram(base + (pixel * bytes) as u64),
                bytes: (frame.width * bytes) as u32,
                inner: lines.len() as u16,
                outer: 1,
                src_inner_stride: (windows.map[1] * bytes) as u32,
                src_outer_stride: 0,
                dst_inner_stride: (frame.pitch() * bytes) as u32,
                dst_outer_stride: 0,
                traffic,
            };
            builder.push(patches, load);
        }
        (part, at)
    }
}

impl Form {
    /// Whether rows are windows.
    pub(crate) fn is_map(&self) -> bool {
        self.windows.is_some()
    }

    /// Runs of which a row is made, and their length.
    pub(crate) fn runs(&self) -> [usize; 2] {
        match self.windows {
            None => [1, self.columns],
            Some(windows) => [windows.kernel[0], windows.kernel[1] * self.columns],
        }
    }

    /// Of `m` rows, how many there are between those that one instruction cannot take together.
    pub(crate) fn together(&self, m: usize) -> usize {
        self.windows.map_or(m, |windows| windows.positions()[1])
    }

    /// Bytes of a tile of rows that is loaded.
    pub(crate) fn loaded_bytes(&self, rows: usize) -> usize {
        let Some(windows) = self.windows else { return rows * self.columns };
        let across = windows.positions()[1];
        let extent =
            |axis: usize, count: usize| (count - 1) * windows.stride[axis] + windows.kernel[axis];
        let gap = windows.pad[1].max(windows.pad[3]);
        let pixels = extent(0, rows.div_ceil(across)) * (extent(1, rows.min(across)) + gap);
        (pixels + gap) * self.columns
    }

    /// Heights of tiles that are worth a look.
    pub(crate) fn heights(&self, m: usize) -> Vec<usize> {
        let across = self.together(m);
        let parts = (1..=16).map(|parts| (m / across).div_ceil(parts) * across);
        match self.windows {
            None => (1..=16).map(|parts| m.div_ceil(parts)).chain([8, 4, 2, 1]).collect(),
            Some(_) => {
                parts.chain([across, across.div_ceil(2), across.div_ceil(4), 8, 4, 2, 1]).collect()
            }
        }
    }

    /// `m` rows in tiles of some height, one of [`Operand::heights`].
    pub(crate) fn tiles(&self, m: usize, height: usize) -> Vec<Range<usize>> {
        let across = self.together(m);
        if height >= across {
            return chunks(m, height).collect();
        }
        let row = |row: usize| {
            chunks(across, height).map(move |x| row * across + x.start..row * across + x.end)
        };
        (0..m / across).flat_map(row).collect()
    }
}

/// Rows of a left operand in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActivationTile {
    at: Sram,
    /// Bytes between rows of a matrix, or pixels of a map.
    stride: usize,
    /// The row at `at`, of a matrix.
    first: usize,
    map: Option<(ConvWindows, MapRegion)>,
}

/// Rows that an instruction takes.
pub(crate) struct RowRun {
    pub(crate) rows: Range<usize>,
    pub(crate) at: Sram,
    pub(crate) stride: u32,
    pub(crate) run_stride: u32,
}

impl ActivationTile {
    /// Some of the rows, as instructions take them.
    pub(crate) fn row_runs(&self, builder: &mut Builder<'_>, rows: &Range<usize>) -> Vec<RowRun> {
        let Some((windows, part)) = &self.map else {
            let at =
                builder.offset_bytes(self.at, ((rows.start - self.first) * self.stride) as u64);
            return vec![RowRun {
                rows: rows.clone(),
                at,
                stride: self.stride as u32,
                run_stride: 0,
            }];
        };
        let across = windows.positions()[1];
        let piece = |rows: Range<usize>| {
            let pixel = windows.at(part, rows.start / across, rows.start % across);
            // Not used by a window of one row, which may be all that there is of the map.
            let run_stride =
                if windows.kernel[0] > 1 { part.frame.pitch() * self.stride } else { 0 };
            RowRun {
                at: builder.offset_bytes(self.at, (pixel * self.stride) as u64),
                stride: (windows.stride[1] * self.stride) as u32,
                run_stride: run_stride as u32,
                rows,
            }
        };
        cut_at(rows, across).map(piece).collect()
    }
}

/// A range, cut at multiples of `width`.
pub(crate) fn cut_at(
    range: &Range<usize>,
    width: usize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let Range { start, end } = *range;
    (start / width..end.div_ceil(width))
        .map(move |i| start.max(i * width)..end.min((i + 1) * width))
}
