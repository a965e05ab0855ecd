//! Chooses the tiling of sparse attention: head groups, stripes, full rows and lines.

use std::ops::Range;
use std::rc::Rc;

use vitcod_isa::lists::{Array, MAX_HEADS};
use vitcod_isa::machine::Machine;

use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::chunks_of;
use crate::codegen::error::CodegenError;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::sparse_attention::division::{Division, Results, SparseTiling};
use crate::codegen::lower::sparse_attention::memo::{Memo, Part, TilingOf};
use crate::codegen::lower::sparse_attention::names::{KEYS, RESULTS, STRIPE_DATA, VALUES};
use crate::codegen::lower::sparse_attention::operation::{Places, SparseAttention, list_align};
use crate::codegen::lower::sparse_attention::packing::{Clusters, Size};
use crate::codegen::lower::sparse_attention::stripe::{Counts, Form, StripeConstants};
use crate::codegen::lower::sparse_attention::templates::MAX_ENTRIES;

/// The most head groups, and stripes, that are considered if fewer fit.
const FREE_PARTS: usize = 8;

/// Buffers of a stripe at most.
const STRIPE_BUFFERS: usize = 9;

/// Whether each tensor is in DRAM, as a factor: q, k, v and the result.
type Moved = [usize; 4];

/// A stripe before its list is packed.
pub(crate) struct PlannedStripe {
    pub(crate) rows: Range<usize>,
    pub(crate) full: bool,
    pub(crate) counts: Counts,
}

/// The choice of the tiling.
pub(super) struct Chooser<'c, 'p> {
    pub(super) attention: &'c SparseAttention,
    pub(super) planner: &'c Planner<'p>,
    pub(super) memo: &'c mut Memo,
}

impl Chooser<'_, '_> {
    pub(super) fn machine(&self) -> &Machine {
        self.planner.machine
    }

    fn moved(&self) -> Moved {
        let SparseAttention { q, k, v, result, .. } = *self.attention;
        [q, k, v, result].map(|value| usize::from(!self.planner.on_chip(value)))
    }

    /// What the tiling depends on.
    pub(super) fn tiling_of(&self) -> TilingOf {
        let SparseAttention { q, k, v, result, .. } = *self.attention;
        let planner = self.planner;
        let place = |value| planner.resident_row(value).map(|row| (row.offset, row.stride));
        TilingOf {
            product: self.attention.product,
            available: planner.available_bytes(),
            spare_groups: planner.spare_groups,
            resident: [q, k, v, result].map(place),
            queries_die: planner.dies_here(q, v),
        }
    }

    /// The tiling with the fewest weighted cycles among those that fit, with its buffers.
    pub(super) fn tile(&mut self) -> Result<(SparseTiling, Declared), CodegenError> {
        let attention = self.attention;
        self.check_strides()?;
        let available = self.planner.available_bytes();
        let mut best: Option<(u64, SparseTiling, Declared)> = None;
        let mut smallest: Option<u64> = None;
        let full_rows = attention.pattern.full_rows(attention.queries, attention.keys);
        let full_rows = if full_rows > 0 { vec![0, full_rows] } else { vec![0] };
        for parts in 1..=attention.heads() {
            let size = attention.heads().div_ceil(parts);
            if parts != attention.heads().div_ceil(size) {
                continue;
            }
            let heads = self.head_groups(size);
            for by_rows in [false, true] {
                // Batches need fewer rows than ranges of queries, but all queries in the
                // scratchpad.
                if (by_rows && best.is_some()) || (!by_rows && attention.has_blocks()) {
                    continue;
                }
                for stripes in 1..=attention.queries {
                    let division = if by_rows {
                        let height = attention.queries.div_ceil(stripes);
                        // Of several heights with the same number of stripes only the smallest.
                        if height != attention.queries.div_ceil(attention.queries.div_ceil(height))
                        {
                            continue;
                        }
                        Division::Rows(height)
                    } else {
                        Division::Batches(stripes)
                    };
                    // More stripes are considered only if no fewer fit.
                    if stripes > FREE_PARTS && (best.is_some() || !by_rows) {
                        break;
                    }
                    let spares = 0..=self.planner.spare_groups;
                    let options = full_rows
                        .iter()
                        .flat_map(|rows| spares.clone().map(move |spare| (rows, spare)));
                    for (full_rows, spare) in options {
                        let tiling = self.tiling(&heads, *full_rows, division, spare);
                        // Head groups overlap if two fit: that costs no cycles.
                        let overlaps =
                            if heads.len() > 1 { [true, false].as_slice() } else { &[true] };
                        for heads_overlap in overlaps {
                            let tilings = self.results(division).iter().map(|results| {
                                let heads_overlap = *heads_overlap;
                                SparseTiling { heads_overlap, results: *results, ..tiling.clone() }
                            });
                            let tilings = tilings.filter_map(|tiling| {
                                let buffers = self.buffers(&tiling)?;
                                Some((tiling, buffers))
                            });
                            let least = tilings.min_by_key(|(_, buffers)| buffers.bytes());
                            let Some((mut tiling, buffers)) = least else { continue };
                            let bytes = buffers.bytes();
                            smallest = Some(smallest.map_or(bytes, |least| least.min(bytes)));
                            if buffers.bytes() <= available {
                                let (cost, apart) = self.estimate(&tiling);
                                tiling.decodes_apart = apart;
                                let cost = cost.weighted_cycles();
                                if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                                    best = Some((cost, tiling, buffers));
                                }
                                break;
                            }
                        }
                    }
                }
            }
            if best.is_some() && parts >= FREE_PARTS {
                break;
            }
        }
        best.map(|(_, tiling, buffers)| (tiling, buffers)).ok_or_else(|| match smallest {
            Some(smallest) => self.planner.too_small(attention.product, smallest, available),
            None => {
                let at = self.planner.graph.describe(attention.product);
                let problem = "a head takes more tokens or wider rows than instructions name";
                CodegenError::Unsupported(format!("{at}: {problem}").into())
            }
        })
    }

    /// Where results may be written.
    fn results(&self, division: Division) -> &'static [Results] {
        let attention = self.attention;
        let [q, .., result] = self.moved();
        let same_row = attention.d == attention.dv && result == 1;
        let queries_die = q == 1 || self.planner.dies_here(attention.q, attention.v);
        match division {
            Division::Rows(_) => &[Results::Stripes],
            Division::Batches(_) if same_row && queries_die => {
                &[Results::OverQueries, Results::Shared]
            }
            Division::Batches(_) => &[Results::Shared],
        }
    }

    /// Resident rows are as far apart as all heads are wide, whatever the tiling. Instructions on
    /// lists have 16-bit strides.
    fn check_strides(&self) -> Result<(), CodegenError> {
        let attention = self.attention;
        let widths =
            [attention.d, attention.d, attention.dv, attention.dv].map(|d| attention.heads() * d);
        let mut wide = widths
            .into_iter()
            .zip(self.moved())
            .filter(|(width, moved)| *moved == 0 && *width > MAX_COUNT);
        wide.next().map_or(Ok(()), |(width, _)| {
            let problem =
                format!("resident rows of {width} bytes; strides are at most {MAX_COUNT}");
            let at = self.planner.graph.describe(attention.product);
            Err(CodegenError::Unsupported(format!("{at}: {problem}").into()))
        })
    }

    /// Consecutive heads in groups of at most `size`. Either all heads of a group have a block or
    /// none has, because instructions of the group read the block results of all its heads.
    fn head_groups(&self, size: usize) -> Vec<Range<usize>> {
        let pattern = &self.attention.pattern;
        let has_block = |head: &usize| !pattern.heads[*head].columns.is_empty();
        let size = size.min(MAX_HEADS.into());
        let mut groups: Vec<Range<usize>> = Vec::new();
        for head in 0..self.attention.heads() {
            match groups.last_mut() {
                Some(last) if last.len() < size && has_block(&last.start) == has_block(&head) => {
                    last.end = head + 1
                }
                _ => groups.push(head..head + 1),
            }
        }
        groups
    }

    /// A tiling with the best division of lines: so many groups for lists that both engines finish
    /// together, if both have work and lists leave no lines anyway.
    fn tiling(
        &mut self,
        heads: &[Range<usize>],
        full_rows: usize,
        division: Division,
        spare: u16,
    ) -> SparseTiling {
        let attention = self.attention;
        let most = attention.most_groups(self.machine());
        let spare = u32::from(spare);
        let results = self.results(division)[0];
        let of = |groups: u32, machine: &Machine| SparseTiling {
            heads: heads.to_vec(),
            full_rows,
            division,
            lines: attention.lines(groups, machine),
            decodes_apart: false,
            heads_overlap: true,
            results,
        };
        if spare > 0 || !attention.has_blocks() {
            let groups = most.saturating_sub(spare).max(1);
            return of(groups, self.machine());
        }
        let cycles = |chooser: &mut Self, groups: u32| {
            let tiling = of(groups, chooser.machine());
            chooser.estimate_on(&tiling, most).0.cycles
        };
        let best = (1..=most).min_by_key(|groups| (cycles(self, *groups), most - groups));
        of(best.unwrap_or(most), self.machine())
    }

    /// The clusters of some queries.
    pub(super) fn clusters(
        &mut self,
        heads: &Range<usize>,
        rows: &Range<usize>,
        groups: u32,
    ) -> Option<(Part, Rc<Clusters>)> {
        let attention = self.attention;
        let lines = attention.lines(groups, self.planner.machine);
        let part = Part::new(attention.product, heads, rows, groups);
        let places = attention.places(self.planner, heads);
        let layout = attention.layout(&places, 0, self.planner.machine);
        let array = attention.array(&lines, self.planner.machine);
        let queries = || attention.list_queries(heads, rows);
        let clusters = self.memo.clusters(&part, &layout, array, queries);
        (!clusters.is_empty()).then_some((part, clusters))
    }

    /// The stripes of a head group. Lists are clustered for `groups` groups.
    pub(super) fn stripes(
        &mut self,
        tiling: &SparseTiling,
        heads: &Range<usize>,
        groups: u32,
    ) -> Vec<PlannedStripe> {
        let attention = self.attention;
        let patterns = &attention.pattern.heads[heads.clone()];
        let mut stripes = Vec::new();
        if tiling.full_rows > 0 {
            let rows = 0..tiling.full_rows;
            let masks =
                patterns.iter().filter_map(|head| head.mask_of_all(rows.clone(), attention.keys));
            let counts = Counts {
                heads: heads.len(),
                queries: heads.len() * rows.len(),
                list: Size::default(),
                columns: heads.len() * attention.keys,
                cells: heads.len() * attention.keys * rows.len(),
                mask_bytes: masks.map(|mask| mask.len()).sum(),
            };
            stripes.push(PlannedStripe { rows, full: true, counts });
        }
        let rest = tiling.full_rows..attention.queries;
        let on = (groups != tiling.lines.groups)
            .then(|| attention.array(&tiling.lines, self.planner.machine));
        match tiling.division {
            Division::Batches(lists) => {
                let of_batches = |list: Size| PlannedStripe {
                    rows: rest.clone(),
                    full: false,
                    counts: Counts {
                        heads: heads.len(),
                        queries: heads.len() * rest.len(),
                        list,
                        columns: 0,
                        cells: 0,
                        mask_bytes: 0,
                    },
                };
                if let Some((_, clusters)) = self.clusters(heads, &rest, groups) {
                    stripes.extend(clusters.sizes(lists, on.as_ref()).into_iter().map(of_batches));
                }
            }
            Division::Rows(height) => {
                let columns = patterns.iter().map(|head| head.columns.len()).sum::<usize>();
                for rows in chunks_of(&rest, height) {
                    let list = self.clusters(heads, &rows, groups);
                    let list = list.and_then(|(_, clusters)| clusters.sizes(1, on.as_ref()).pop());
                    let masks = patterns.iter().filter_map(|head| head.mask_rows(rows.clone()));
                    let counts = Counts {
                        heads: heads.len(),
                        queries: heads.len() * rows.len(),
                        list: list.unwrap_or_default(),
                        columns,
                        cells: columns * rows.len(),
                        mask_bytes: masks.map(<[u8]>::len).sum(),
                    };
                    stripes.push(PlannedStripe { rows, full: false, counts });
                }
            }
        }
        stripes
    }

    /// Where the rows of a head group lie.
    pub(super) fn places(&self, tiling: &SparseTiling, heads: &Range<usize>) -> Places {
        let places = self.attention.places(self.planner, heads);
        match tiling.results {
            Results::OverQueries => Places { result: places.q, ..places },
            _ => places,
        }
    }

    /// How constants of stripes are laid out.
    pub(super) fn form(&self) -> Form {
        Form {
            wide: self.attention.wide(),
            align: list_align(self.machine()) as usize,
            keys: self.attention.keys,
        }
    }

    pub(super) fn array(&self, tiling: &SparseTiling) -> Array {
        self.attention.array(&tiling.lines, self.machine())
    }

    /// The buffers of a tiling; `None` if it exceeds the fields of instructions.
    fn buffers(&mut self, tiling: &SparseTiling) -> Option<Declared> {
        let attention = self.attention;
        let [.., result] = self.moved();
        let kept_heads = if tiling.heads_overlap && tiling.heads.len() > 1 { 2 } else { 1 };
        let widest = tiling.heads.iter().map(|heads| heads.len()).max()?;
        // The heads of a group are side by side in a row.
        if widest > 1 && widest * attention.d.max(attention.dv) > MAX_COUNT {
            return None;
        }
        let groups = self.array(tiling).groups;
        let mut tiles: Vec<usize> = Vec::new();
        let (mut keys, mut values, mut most_stripes) = (0, 0, 0);
        for heads in &tiling.heads {
            let places = self.places(tiling, heads);
            let strides = [places.q.stride, places.k.stride, places.v.stride, places.result.stride];
            if attention.queries.max(attention.keys) > 1
                && strides.into_iter().any(|stride| stride > MAX_COUNT as u64)
            {
                return None;
            }
            keys = keys.max(places.keys_bytes as usize);
            values = values.max(places.values_bytes as usize);
            let stripes = self.stripes(tiling, heads, tiling.lines.groups);
            most_stripes = most_stripes.max(stripes.len());
            for PlannedStripe { counts, full, .. } in stripes {
                if counts.columns > MAX_COUNT
                    || counts.queries > MAX_COUNT
                    || counts.list.entries > MAX_ENTRIES
                    || counts.list.most_tokens > MAX_COUNT
                {
                    return None;
                }
                let stored = match tiling.division {
                    Division::Batches(_) => 0,
                    Division::Rows(_) => result,
                };
                let constants = StripeConstants::bytes(&counts, self.form(), &groups);
                tiles.push(constants + self.tile_bytes(&counts, stored, full, &places));
            }
        }
        // One stripe each is in the scores, the softmax and the product. If no product precedes
        // scores of its head group, all its stripes are in flight, and one of the group before.
        let in_flight = match tiling.results {
            Results::OverQueries => (most_stripes + 1).max(3),
            _ => 3,
        };
        tiles.sort_unstable();
        let in_flight: usize = tiles.iter().rev().take(in_flight).sum();
        let mut buffers = Declared::default();
        buffers.add(KEYS, keys, kept_heads, Lifetime::Heads);
        buffers.add(VALUES, values, kept_heads, Lifetime::Heads);
        if tiling.results == Results::Shared {
            let bytes = attention.queries * widest * attention.dv * result;
            buffers.add(RESULTS, bytes, 1, Lifetime::Heads);
        }
        buffers.add(STRIPE_DATA, in_flight, 1, Lifetime::Stripe);
        Some(buffers)
    }

    /// Bytes of a stripe's tiles other than its constants, alignment included.
    fn tile_bytes(&self, counts: &Counts, result: usize, full: bool, places: &Places) -> usize {
        let &Counts { heads, queries, list, columns, cells, .. } = counts;
        // Scores have two bytes, probabilities one; for each engine, maxima have two and sums four.
        let vectors = 3 * (list.entries + cells) + 12 * queries;
        let results = queries / heads.max(1) * places.result.stride as usize * result;
        let sums = if columns > 0 && !full {
            queries / heads.max(1) * self.attention.sum_stride(heads, self.machine())
        } else {
            0
        };
        let align = list_align(self.machine()) as usize;
        vectors + results + sums + STRIPE_BUFFERS * align + 2 * (heads + columns)
    }
}
