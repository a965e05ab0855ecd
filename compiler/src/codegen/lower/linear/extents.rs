//! The extents of a linear layer, and the buffers of a tiling.

use std::fmt;

use vitcod_isa::instr::Width;
use vitcod_isa::machine::Spread;
use vitcod_isa::operands::Channel;

use crate::codegen::builder::buffers::{Declared, Lifetime, double};
use crate::codegen::group::{LinearGroup, table_bytes};
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::linear::addend::Addend;
use crate::codegen::lower::linear::form::Form;
use crate::codegen::lower::linear::names::{
    ACCUMULATORS, ACTIVATIONS, ADDEND, CHANNELS, NARROW_RESULTS, NARROWED, RESULTS, TABLES, WEIGHTS,
};
use crate::codegen::lower::linear::operand::Operand;
use crate::codegen::lower::linear::templates::width_of;
use crate::codegen::strategy::STRIPES;
use crate::ir::Elem;

/// K slices of the activations that a panel leaves on chip for the next one.
pub(crate) const KEPT: usize = 1;

/// The number of buffers for K slices of `rows` rows of the activations, and the rows of each. A
/// slice is loaded in two stripes, and one more stripe is loaded ahead.
pub(crate) fn slice_buffers(rows: usize) -> [usize; 2] {
    let height = rows.div_ceil(2);
    [rows.div_ceil(height) + 1, height]
}

/// The tiling of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Rows per instruction.
    pub(crate) rows: usize,
    /// Output channels per instruction.
    pub(crate) channels: usize,
    /// Depth per instruction: the full depth, or less for split-K.
    pub(crate) depth: usize,
    /// Output channels whose sums are computed together: those of an instruction, or of an
    /// accumulator panel for split-K.
    pub(crate) panel: usize,
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows x {} channels", self.rows, self.channels)
    }
}

/// Bytes that the alignment of a tile of weights may cost.
const WEIGHTS_ALIGNMENT: usize = 16;

/// The extents of a layer and the residence of its tensors: everything that its tiling depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extents {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// How rows of weights are spread over the banks.
    pub(crate) spread: Spread,
    /// Width of the results of the matrix product.
    pub(crate) out: Width,
    pub(crate) operand: Form,
    /// Whether the product itself is not stored: an add or an interpolation follows.
    pub(crate) product_is_scratch: bool,
    /// Whether the result is stored to DRAM.
    pub(crate) stored: bool,
    /// Whether the other operand of the add is loaded.
    pub(crate) addend_loaded: bool,
    /// Whether what an add or an interpolation makes in 8 bits, which needs a tile of its own, is
    /// stored to DRAM. A sum in 16 bits is written over the product.
    pub(crate) narrow_stored_apart: bool,
    /// Whether the narrowed result is stored to DRAM.
    pub(crate) narrow_stored: bool,
    /// Bytes of the lookup tables.
    pub(crate) table_bytes: usize,
    /// Passes of the vector unit over each result.
    pub(crate) vector_passes: usize,
}

impl Extents {
    /// The extents of a layer.
    pub(crate) fn of(planner: &Planner<'_>, group: &LinearGroup) -> Extents {
        let graph = planner.graph;
        let operands = &graph.op(group.linear).operands;
        let ((m, k), (n, _)) = (graph.ty(operands[0]).matrix(), graph.ty(operands[1]).matrix());
        let stored = !planner.on_chip(group.result);
        let other = Addend::of(graph, group);
        Extents {
            m,
            n,
            k,
            spread: planner.machine.spread(),
            out: width_of(graph, group.linear),
            operand: Operand::of(graph, planner.residence, group).form,
            product_is_scratch: group.add.is_some() || group.is_interpolated(graph),
            stored,
            addend_loaded: other.is_some_and(|other| !planner.on_chip(other.value)),
            narrow_stored_apart: (group.add.is_some() || group.is_interpolated(graph))
                && stored
                && graph.ty(group.result).elem == Elem::I8,
            narrow_stored: group
                .narrow
                .is_some_and(|narrow| !planner.on_chip(graph.op(narrow).results[0])),
            table_bytes: table_bytes(graph, &group.luts),
            vector_passes: group.luts.len()
                + usize::from(group.add.is_some())
                + usize::from(group.narrow.is_some()),
        }
    }

    /// Bytes of a tile of weights.
    pub(crate) fn weight_bytes(&self, channels: usize, depth: usize) -> usize {
        channels * self.spread.stride(depth as u64) as usize
    }

    /// The buffers of a tiling. A buffer that several tiles use has two copies.
    pub(crate) fn buffers(&self, tiling: Tiling) -> Declared {
        let Tiling { rows, channels, depth, panel } = tiling;
        let stripes = self.m.div_ceil(rows);
        let tiles = stripes * self.n.div_ceil(channels);
        let split_k = depth < self.k;
        let mut buffers = Declared::default();
        let weights = double(channels < self.n || split_k);
        buffers.add(WEIGHTS, self.weight_bytes(channels, depth), weights, Lifetime::Tile);
        buffers.align(WEIGHTS_ALIGNMENT * weights);
        buffers = buffers.with(&self.tables());
        if split_k {
            buffers.add(ACCUMULATORS, panel * 4 * rows, 1, Lifetime::Stripe);
            buffers.add(CHANNELS, panel * Channel::BYTES, 1, Lifetime::Stripe);
        } else {
            let copies = double(channels < self.n);
            buffers.add(CHANNELS, channels * Channel::BYTES, copies, Lifetime::Tile);
        }
        match split_k {
            _ if self.operand.on_chip => {}
            true => {
                let [count, height] = slice_buffers(rows);
                buffers.add(ACTIVATIONS, height * depth, count, Lifetime::Tile);
            }
            false => buffers.add(
                ACTIVATIONS,
                self.operand.loaded_bytes(rows),
                double(stripes > 1),
                Lifetime::Stripe,
            ),
        }
        buffers.with(&match split_k {
            true => self.panel_results(tiling),
            false => self.results(rows * channels, double(tiles > 1)),
        })
    }

    /// The buffers of a panel's results, which are computed in stripes of rows.
    pub(crate) fn panel_results(&self, Tiling { rows, channels, .. }: Tiling) -> Declared {
        self.results(rows.div_ceil(STRIPES) * channels, double(rows > 1))
    }

    /// The buffers of results of `elements` elements.
    fn results(&self, elements: usize, copies: usize) -> Declared {
        let mut buffers = Declared::default();
        let mut add = |wanted: bool, name: &'static str, width: usize| {
            if wanted {
                buffers.add(name, elements * width, copies, Lifetime::Tile);
            }
        };
        add(self.product_is_scratch || self.stored, RESULTS, self.out.bytes() as usize);
        add(self.addend_loaded, ADDEND, 2);
        add(self.narrow_stored_apart, NARROW_RESULTS, 1);
        add(self.narrow_stored, NARROWED, 1);
        buffers
    }

    /// The buffers of the lookup tables.
    pub(crate) fn tables(&self) -> Declared {
        let mut buffers = Declared::default();
        buffers.add(TABLES, self.table_bytes, 1, Lifetime::Group);
        buffers
    }

    /// The extents of all channels but the first `panel`.
    pub(crate) fn remaining(&self, panel: usize) -> Extents {
        Extents { n: self.n - panel, ..*self }
    }

    /// Bytes of the activations that are loaded at a time.
    pub(crate) fn loaded_bytes(&self, Tiling { rows, depth, .. }: Tiling) -> usize {
        match (self.operand.on_chip, depth < self.k) {
            (true, _) => 0,
            (false, true) => rows * depth,
            (false, false) => self.operand.loaded_bytes(rows),
        }
    }

    /// Whether each tile of weights is applied to all rows before the next one is loaded.
    pub(crate) fn weights_stationary(&self, tiling: Tiling) -> bool {
        let Tiling { rows, channels, depth, .. } = tiling;
        depth == self.k && (self.operand.on_chip || rows >= self.m || channels >= self.n)
    }

    /// The text of a tiling in reports.
    pub(crate) fn describe(&self, tiling: Tiling) -> String {
        let Tiling { depth, panel, .. } = tiling;
        if depth < self.k {
            format!("{tiling}, split-K: slices of {depth} for panels of {panel} channels")
        } else if self.weights_stationary(tiling) {
            format!("{tiling}, weights stationary")
        } else {
            format!("{tiling}, rows stationary")
        }
    }

    /// How often the weights are loaded, and how many bytes of activations are loaded.
    pub(crate) fn loads(&self, tiling: Tiling) -> [usize; 2] {
        let stripes = self.m.div_ceil(tiling.rows);
        let weights = if self.weights_stationary(tiling) { 1 } else { stripes };
        let panels = self.n.div_ceil(tiling.panel);
        let kept = (KEPT * tiling.depth).min(self.k);
        let operand = match tiling.depth < self.k {
            true if self.operand.on_chip => 0,
            true => self.m * (self.k + (panels - 1) * (self.k - kept)),
            false => stripes * self.loaded_bytes(tiling),
        };
        [weights, operand]
    }
}
