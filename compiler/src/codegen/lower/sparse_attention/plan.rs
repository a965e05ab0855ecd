//! The plan of sparse attention: its tiling, with packed lists.

use std::ops::Range;
use std::rc::Rc;

use vitcod_isa::instr::{Cycles, Op as Instruction, Sram, SramBytes};
use vitcod_isa::lists::{List, state_cycles};
use vitcod_isa::program::Decision;

use crate::codegen::builder::buffers::Declared;
use crate::codegen::error::CodegenError;
use crate::codegen::group::SparseAttentionGroup;
use crate::codegen::limits::bytes32;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::sparse_attention::allocation::Lines;
use crate::codegen::lower::sparse_attention::division::{
    Division, HeadGroup, Results, SparseTiling,
};
use crate::codegen::lower::sparse_attention::memo::{Memo, PackedOf};
use crate::codegen::lower::sparse_attention::operation::{Places, SparseAttention};
use crate::codegen::lower::sparse_attention::stripe::{Form, PackedList, Stripe, Work};
use crate::codegen::lower::sparse_attention::tiling::Chooser;
use crate::ir::Graph;

/// How sparse attention is lowered.
pub(crate) struct SparseAttentionPlan {
    pub(crate) attention: Rc<SparseAttention>,
    /// In order of execution.
    pub(crate) head_groups: Vec<Rc<HeadGroup>>,
    pub(crate) lines: Lines,
    pub(crate) form: Form,
    /// Whether the first scores of a head group precede the last product of the group before.
    pub(crate) heads_overlap: bool,
    /// Whether queries and keys are decoded on the lines that lists leave.
    pub(crate) decodes_apart: bool,
    pub(crate) results: Results,
    pub(crate) buffers: Declared,
}

impl SparseAttentionPlan {
    /// Entries of all lists.
    pub(crate) fn entries(&self) -> usize {
        let stripes = self.head_groups.iter().flat_map(|group| &group.stripes);
        stripes.filter_map(|stripe| Some(stripe.list()?.entries)).sum()
    }

    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.attention.product, &self.buffers)]
    }
}

/// Chooses the tiling with the fewest weighted cycles among those that fit, and packs its lists.
///
/// # Errors
/// Not even the smallest tiles fit, or rows on chip are farther apart than strides allow.
pub(crate) fn choose(
    planner: &Planner<'_>,
    memo: &mut Memo,
    group: &SparseAttentionGroup,
) -> Result<SparseAttentionPlan, CodegenError> {
    let attention = memo.attention(planner.graph, group);
    let mut chooser = Chooser { attention: &attention, planner, memo };
    let (tiling, buffers) = chooser.known_tile()?;
    let head_groups =
        tiling.heads.iter().map(|heads| chooser.packed(&tiling, heads)).collect::<Vec<_>>();
    let form = chooser.form();
    let SparseTiling { lines, heads_overlap, decodes_apart, results, .. } = tiling;
    Ok(SparseAttentionPlan {
        attention,
        head_groups,
        lines,
        form,
        heads_overlap,
        decodes_apart,
        results,
        buffers,
    })
}

/// The tiling that [`choose`] packs.
///
/// # Errors
/// Those of [`choose`].
pub(crate) fn tiling(
    planner: &Planner<'_>,
    memo: &mut Memo,
    group: &SparseAttentionGroup,
) -> Result<SparseTiling, CodegenError> {
    let attention = memo.attention(planner.graph, group);
    let (tiling, _) = Chooser { attention: &attention, planner, memo }.known_tile()?;
    Ok(tiling)
}

impl Chooser<'_, '_> {
    /// The tiling with its buffers, from the memo if it is known.
    fn known_tile(&mut self) -> Result<(SparseTiling, Declared), CodegenError> {
        let of = self.tiling_of();
        if let Some(known) = self.memo.tiling(&of) {
            return Ok(known);
        }
        let found = self.tile()?;
        self.memo.keep_tiling(of, found.clone());
        Ok(found)
    }

    /// Whether each stripe has a tile of results.
    fn own_results(&self, tiling: &SparseTiling) -> bool {
        tiling.results == Results::Stripes && !self.planner.on_chip(self.attention.result)
    }

    /// The stripes of a head group, packed.
    fn packed(&mut self, tiling: &SparseTiling, heads: &Range<usize>) -> Rc<HeadGroup> {
        let places = self.places(tiling, heads);
        let of = PackedOf {
            product: self.attention.product,
            heads: (heads.start, heads.end),
            full_rows: tiling.full_rows,
            division: tiling.division,
            groups: tiling.lines.groups,
            places,
            own_results: self.own_results(tiling),
        };
        if let Some(known) = self.memo.packed(&of) {
            return known;
        }
        let group = Rc::new(self.pack(tiling, heads, places));
        self.memo.keep_packed(of, group.clone());
        group
    }

    fn pack(&mut self, tiling: &SparseTiling, heads: &Range<usize>, places: Places) -> HeadGroup {
        let attention = self.attention;
        let mut stripes = Vec::new();
        if tiling.full_rows > 0 {
            let rows = 0..tiling.full_rows;
            stripes.push(Stripe { heads: heads.clone(), rows, work: Work::Full });
        }
        let rest = tiling.full_rows..attention.queries;
        let (ranges, lists): (Vec<Range<usize>>, usize) = match tiling.division {
            Division::Batches(lists) => (vec![rest], lists),
            Division::Rows(height) => {
                (crate::codegen::builder::tile::chunks_of(&rest, height).collect(), 1)
            }
        };
        let columns: Vec<usize> =
            attention.pattern.heads[heads.clone()].iter().map(|head| head.columns.len()).collect();
        for rows in ranges.into_iter().filter(|rows| !rows.is_empty()) {
            let layout = attention.layout(&places, rows.start, self.planner.machine);
            let stripe = |list| Stripe {
                heads: heads.clone(),
                rows: rows.clone(),
                work: Work::Split { columns: columns.clone(), list },
            };
            match self.clusters(heads, &rows, tiling.lines.groups) {
                None => stripes.push(stripe(None)),
                Some((part, clusters)) => {
                    let lists = self.memo.lists(&part, &clusters, lists, &layout);
                    for list in lists.iter() {
                        let list = self.stated(list, tiling, &stripe(None), &places);
                        stripes.push(stripe(Some(list)));
                    }
                }
            }
        }
        HeadGroup { heads: heads.clone(), places, stripes }
    }

    /// A list with the cycles of its segments, and with the division of its softmax.
    fn stated(
        &self,
        list: &List,
        tiling: &SparseTiling,
        stripe: &Stripe,
        places: &Places,
    ) -> PackedList {
        let (attention, machine) = (self.attention, self.planner.machine);
        let lines = &tiling.lines;
        let blocks = match &stripe.work {
            Work::Split { columns, .. } => {
                columns.iter().filter(|columns| **columns > 0).map(|columns| {
                    let op = attention.block_softmax(stripe.rows.len(), *columns);
                    vitcod_isa::cost::cost(&op.into(), machine).cycles
                })
            }
            Work::Full => unreachable!("full rows have no list"),
        };
        let shape = (stripe.rows.len(), stripe.heads.len());
        let mut packed = PackedList {
            entries: list.rows.iter().map(|row| usize::from(row.entries)).sum(),
            sparser_softmax: attention.sparser_share(&list.rows, shape, blocks.sum(), machine),
            list: list.clone(),
            cycles: [Cycles(1); 2],
        };
        let groups = attention.array(lines, machine).groups;
        let tokens = list.tokens_to_bytes(attention.wide(), &groups);
        let bytes = tokens.expect("narrow keys are below 256").len();
        let mut scores = attention.list_scores(stripe, &packed, lines.scores, places, bytes);
        let first = stripe.rows.start as u64;
        scores.q = Sram(bytes32((places.q.offset + first * places.q.stride) as usize));
        scores.k = Sram(bytes32(places.k.offset as usize));
        let mut product = attention.list_product(stripe, &packed, lines.products, places, bytes);
        product.v = Sram(bytes32(places.v.offset as usize));
        let skipped = if self.own_results(tiling) { 0 } else { first * places.result.stride };
        product.dst = Sram(bytes32((places.result.offset + skipped) as usize));
        product.accumulate = stripe.columns(attention.keys).iter().any(|columns| *columns > 0);
        if product.accumulate {
            let stride = attention.sum_stride(stripe.heads.len(), machine);
            product.acc_stride = SramBytes(bytes32(stride));
        }
        debug_assert_eq!(scores.token_bytes, SramBytes(bytes32(bytes)));
        let [mut scores, mut product] = [Instruction::from(scores), product.into()];
        for op in [&mut scores, &mut product] {
            state_cycles(op, &mut packed.list, machine).expect("lists hold together");
        }
        if let (Instruction::SddmmList(scores), Instruction::SpmmList(product)) = (scores, product)
        {
            packed.cycles = [scores.cycles, product.cycles];
        }
        packed
    }
}
