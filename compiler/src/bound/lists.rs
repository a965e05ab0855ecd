//! What the list of a layer takes on all lines.

use serde::Serialize;
use vitcod_isa::instr::table::{SddmmList, SpmmList};
use vitcod_isa::instr::{Cycles, Engine, Entries, Op, Sram, SramBytes};
use vitcod_isa::lists::{Array, List, Phase, Run};
use vitcod_isa::machine::Machine;

use crate::bound::Layer;
use crate::codegen::packing::{Clusters, RowLayout};
use crate::masks::Mask;
use crate::split::Packing;

/// Cycles of the instructions on a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ListCycles {
    /// Of `sddmm_list`.
    pub score_cycles: u32,
    /// Of `spmm_list`.
    pub product_cycles: u32,
    /// Rows of keys that pass by, in each of them.
    pub rows: usize,
}

impl ListCycles {
    /// Of both.
    pub fn cycles(&self) -> u64 {
        u64::from(self.score_cycles) + u64::from(self.product_cycles)
    }
}

/// The cycles of a list of a layer.
pub(super) fn cycles(
    layer: &Layer<'_>,
    array: Array,
    packing: Packing,
    machine: &Machine,
) -> ListCycles {
    let clusters = Clusters::new(layer.queries.clone(), &layer.layout, array, packing);
    let mut sum = ListCycles::default();
    for list in clusters.pack(1, &layer.layout) {
        sum.rows += clusters.sizes(1, None).iter().map(|size| size.rows).sum::<usize>();
        let [scores, products] = Phase::ALL.map(|phase| {
            let op = instruction(&list, layer.heads, &layer.layout, phase, machine);
            Run::new(&op, &list, machine).expect("lists hold together").cycles
        });
        sum.score_cycles += scores;
        sum.product_cycles += products;
    }
    sum
}

/// The instruction of a phase, with the operands that lists address in front.
fn instruction(
    list: &List,
    heads: &[Mask],
    layout: &RowLayout,
    phase: Phase,
    machine: &Machine,
) -> Op {
    let lines = machine.all_lines();
    let (m, n, d) = (heads[0].queries() as u16, heads[0].keys() as u16, layout.d as u16);
    let groups = Array::new(d, lines.count, machine).groups;
    let wide = n > 1 << u8::BITS;
    let tokens = list.tokens_to_bytes(wide, &groups).expect("narrow keys are below 256");
    let token_bytes = SramBytes(tokens.len() as u32);
    let entries = Entries(list.rows.iter().map(|row| u32::from(row.entries)).sum());
    let (queries, heads) = (list.rows.len() as u16, heads.len() as u16);
    let (base, stride) = (layout.queries.0 as u32, layout.keys.1 as u16);
    let (engine, cycles) = (Engine::Sparser, Cycles(1));
    match phase {
        Phase::Scores => SddmmList {
            engine,
            wide,
            lines,
            q: Sram(base),
            q_stride: stride,
            k_stride: stride,
            m,
            n,
            d,
            heads,
            queries,
            entries,
            cycles,
            token_bytes,
            ..SddmmList::ZERO
        }
        .into(),
        Phase::Products => SpmmList {
            engine,
            wide,
            lines,
            v_stride: stride,
            dst_stride: stride,
            m,
            n,
            d,
            heads,
            queries,
            entries,
            cycles,
            token_bytes,
            ..SpmmList::ZERO
        }
        .into(),
    }
}
