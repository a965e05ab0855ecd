//! A linear layer during emission: its tables, the targets of its products, lookups and adds.

use std::ops::Range;

use vitcod_isa::instr::Traffic;

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, SramOperand, Target, cut_at};
use crate::codegen::group::LinearGroup;
use crate::codegen::lower::linear::addend::Addend;
use crate::codegen::lower::linear::extents::Extents;
use crate::codegen::lower::linear::names::{ADDEND, NARROW_RESULTS, NARROWED, RESULTS, TABLES};
use crate::codegen::lower::linear::operand::Operand;
use crate::codegen::residence::padded_map::PaddedMap;
use crate::ir::{Elem, Op};

/// A linear layer during emission.
pub(crate) struct Layer<'g> {
    pub(crate) group: &'g LinearGroup,
    pub(crate) operand: Operand,
    pub(crate) extents: Extents,
    addend: Option<Addend>,
    /// Lookups with their loaded tables.
    tables: Vec<(Op, SramOperand)>,
    /// The padded map of the result, if it is resident as one.
    padded_map: Option<PaddedMap>,
}

impl<'g> Layer<'g> {
    /// Starts a layer: loads its tables and writes the zeros of a padded result.
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        group: &'g LinearGroup,
        extents: Extents,
    ) -> Layer<'g> {
        let graph = builder.graph;
        let table = |lut: &Op| {
            let table = graph.op(*lut).operands[1];
            let bytes = 0..graph.ty(table).bytes();
            (*lut, builder.constant(TABLES, *lut, table, bytes, Traffic::Params))
        };
        let tables = group.luts.iter().map(table).collect();
        let padded_map = builder.residence.padded_map(group.result);
        if let Some(map) = &padded_map {
            let at = builder.padded_map_start(group.result);
            builder.zero(group.linear, map, at, graph.ty(group.result).elem.bytes() * extents.n);
        }
        let operand = Operand::of(graph, builder.residence, group);
        let addend = Addend::of(graph, group);
        Layer { group, operand, extents, addend, tables, padded_map }
    }

    /// Rows in parts that one instruction can write: rows of a padded map are cut at the ends of
    /// its map rows.
    pub(crate) fn writable(&self, rows: &Range<usize>) -> Vec<Range<usize>> {
        match &self.padded_map {
            None => vec![rows.clone()],
            Some(map) => cut_at(rows, map.width).collect(),
        }
    }

    /// The target of the product of some rows and channels.
    pub(crate) fn target(
        &self,
        builder: &mut Builder<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
    ) -> Target {
        let width = self.extents.out.bytes() as usize;
        let block =
            Block { rows: rows.clone(), bytes: channels.start * width..channels.end * width };
        match self.extents.product_is_scratch {
            false => builder.begin_store(RESULTS, self.group.result, &block),
            true => builder.scratch(RESULTS, &block),
        }
    }

    /// Emits what follows the product: lookups, adds, stores.
    pub(crate) fn finish(
        &self,
        builder: &mut Builder<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
        target: &Target,
    ) {
        let shape = [rows.len(), channels.len()];
        let block = |width: usize| Block {
            rows: rows.clone(),
            bytes: channels.start * width..channels.end * width,
        };
        let mut last = self.group.linear;
        let interpolated = self.group.is_interpolated(builder.graph);
        // Results of an interpolation are narrower than what it reads, and are not written over it.
        let narrow =
            interpolated.then(|| builder.begin_store(NARROW_RESULTS, self.group.result, &block(1)));
        let mut result = target.tile;
        for (lut, table) in &self.tables {
            let to = narrow.as_ref().map_or(result, |narrow| narrow.tile);
            builder.lookup(*lut, *table, [result, to], rows.len(), channels);
            (last, result) = (*lut, to);
        }
        let target = narrow.as_ref().unwrap_or(target);
        match (&self.addend, self.group.add) {
            (Some(addend), Some(add)) => {
                let other = builder.read(ADDEND, add, addend.value, &block(2));
                let narrow = builder.graph.ty(self.group.result).elem == Elem::I8;
                let sum = match narrow {
                    true => builder.begin_store(NARROW_RESULTS, self.group.result, &block(1)),
                    false => builder.begin_store_over(self.group.result, &block(2), result),
                };
                let (a, b) = if addend.is_first { (other, result) } else { (result, other) };
                builder.add(add, [a, b, sum.tile], shape, narrow);
                builder.finish_store(add, &sum);
                result = sum.tile;
            }
            _ => builder.finish_store(last, target),
        }
        if let Some(narrow) = self.group.narrow {
            let target =
                builder.begin_store(NARROWED, builder.graph.op(narrow).results[0], &block(1));
            builder.add(narrow, [result, result, target.tile], shape, true);
            builder.finish_store(narrow, &target);
        }
    }
}
