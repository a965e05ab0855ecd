//! Row gather: rows in another order, or concatenated to longer ones. The load unit reads them from
//! DRAM by strided copies, as many rows per copy as are regularly spaced.

use vitcod_isa::instr::Dram;
use vitcod_isa::instr::table::Load;
use vitcod_isa::program::Decision;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::{MAX_COUNT, bytes32, count};
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::fit::halve_until;
use crate::codegen::residence::padded_map::ConvWindows;
use crate::codegen::residence::storage::MemorySpace;
use crate::ir::{Graph, Op, Value};

const ROWS: &str = "rows";

/// The longest pattern of runs that is searched for: a window that is cut by the edge of a shifted
/// map has two runs in each row.
const PATTERN: usize = 2;

/// How `pick_rows`, or `patches` without padding, is lowered.
pub(crate) struct RowGatherPlan {
    op: Op,
    /// Rows of the result in a tile.
    rows: usize,
    buffers: Declared,
}

/// Chooses the rows of a tile.
///
/// # Errors
/// Not even one row fits.
pub(crate) fn choose(planner: &Planner<'_>, op: Op) -> Result<RowGatherPlan, CodegenError> {
    let graph = planner.graph;
    let result = graph.op(op).results[0];
    let [m, row_bytes] = extents(graph, result);
    let buffers = |rows: usize| {
        let mut buffers = Declared::default();
        if !planner.on_chip(result) {
            buffers.add(ROWS, rows * row_bytes, 2, Lifetime::Stripe);
        }
        buffers
    };
    let available = planner.available_bytes();
    let rows = halve_until(m.min(MAX_COUNT), |rows| buffers(rows).bytes() <= available);
    let buffers = buffers(rows);
    if buffers.bytes() > available {
        return Err(planner.too_small(op, buffers.bytes(), available));
    }
    Ok(RowGatherPlan { op, rows, buffers })
}

/// Emits the strided copies of each tile.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &RowGatherPlan) {
    builder.declare(&plan.buffers);
    let (graph, op) = (builder.graph, plan.op);
    let data = graph.op(op);
    let (source, result) = (data.operands[0], data.results[0]);
    let (sources, each) = sources(graph, op);
    let [m, row_bytes] = extents(graph, result);
    let source_bytes = row_bytes / each;
    let location = builder.residence.location(source);
    let storage = builder.residence.data(location);
    let (traffic, MemorySpace::Dram(base)) = (storage.traffic, storage.space) else {
        unreachable!("row gathers read from DRAM")
    };
    for rows in chunks(m, plan.rows) {
        let block = Block { rows: rows.clone(), bytes: 0..row_bytes };
        let target = builder.begin_store(ROWS, result, &block);
        for copy in copies(&sources[rows.start * each..rows.end * each]) {
            let dst = builder.offset_bytes(target.tile.at, (copy.to * source_bytes) as u64);
            let load = Load {
                dst: dst.into(),
                src: Dram(base + (location.row + copy.from as u64) * source_bytes as u64),
                bytes: bytes32(copy.len * source_bytes),
                inner: count(copy.inner.count),
                outer: count(copy.outer.count),
                src_inner_stride: bytes32(copy.inner.from * source_bytes),
                src_outer_stride: bytes32(copy.outer.from * source_bytes),
                dst_inner_stride: bytes32(copy.inner.to * source_bytes),
                dst_outer_stride: bytes32(copy.outer.to * source_bytes),
                traffic,
            };
            builder.push(op, load);
        }
        builder.finish_store(op, &target);
    }
}

impl RowGatherPlan {
    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.op, &self.buffers)]
    }
}

/// Rows of a value, and bytes of a row.
fn extents(graph: &Graph, value: Value) -> [usize; 2] {
    let ty = graph.ty(value);
    [ty.shape[0], ty.bytes() / ty.shape[0]]
}

/// The rows of the source in the order of the result, and how many of them form a row of the
/// result.
fn sources(graph: &Graph, op: Op) -> (Vec<usize>, usize) {
    let data = graph.op(op);
    match ConvWindows::of(&data.kind) {
        None => {
            let rows = graph.indices(data.operands[1], graph.ty(data.operands[0]).shape[0]);
            (rows.expect("limits check indices"), graph.ty(data.operands[1]).shape[1])
        }
        Some(windows) => {
            let ([down, across], ConvWindows { map: [_, width], kernel, stride, .. }) =
                (windows.positions(), windows);
            let window = |y: usize, x: usize| {
                let first = y * stride[0] * width + x * stride[1];
                (0..kernel[0]).flat_map(move |i| (0..kernel[1]).map(move |j| first + i * width + j))
            };
            let sources = (0..down).flat_map(|y| (0..across).flat_map(move |x| window(y, x)));
            (sources.collect(), kernel[0] * kernel[1])
        }
    }
}

/// A number of repetitions, and their distances in the source and in the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    count: usize,
    from: usize,
    to: usize,
}

/// A run of `len` consecutive rows, repeated at regular distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StridedCopy {
    /// First row in the source.
    from: usize,
    /// First row in the result.
    to: usize,
    len: usize,
    inner: Step,
    outer: Step,
}

impl StridedCopy {
    /// Whether another copy has the same shape.
    fn is_like(&self, other: &StridedCopy) -> bool {
        (self.len, self.inner) == (other.len, other.inner)
    }

    /// The step to a later copy of the same shape.
    fn step_to(&self, other: &StridedCopy) -> Option<Step> {
        let from = other.from.checked_sub(self.from).filter(|_| self.is_like(other))?;
        Some(Step { count: 2, from, to: other.to - self.to })
    }
}

/// Few copies that together load the rows in the order of the list.
fn copies(rows: &[usize]) -> Vec<StridedCopy> {
    let longest = runs(rows, usize::MAX);
    // The last run of a window and the first run of the next may be consecutive. Joined, they would
    // break the pattern.
    let first = longest.first().map_or(0, |run| run.len);
    let coalesced = [longest, runs(rows, first)].map(|runs| {
        let inner = coalesced(&runs, |copy, step| copy.inner = step);
        coalesced(&inner, |copy, step| copy.outer = step)
    });
    coalesced.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// Runs of consecutive rows of at most `most` rows.
fn runs(rows: &[usize], most: usize) -> Vec<StridedCopy> {
    const ONCE: Step = Step { count: 1, from: 0, to: 0 };
    let mut runs: Vec<StridedCopy> = Vec::new();
    for (to, from) in rows.iter().copied().enumerate() {
        match runs.last_mut() {
            Some(run) if run.from + run.len == from && run.len < most => run.len += 1,
            _ => runs.push(StridedCopy { from, to, len: 1, inner: ONCE, outer: ONCE }),
        }
    }
    runs
}

/// Coalesces copies that repeat regularly; `set` stores the step.
fn coalesced(copies: &[StridedCopy], set: impl Fn(&mut StridedCopy, Step)) -> Vec<StridedCopy> {
    let mut coalesced = Vec::new();
    let mut at = 0;
    while at < copies.len() {
        // The shortest pattern that is repeated.
        let repeats = |length: usize| repeats(&copies[at..], length);
        let length = (1..=PATTERN).find(|length| repeats(*length) > 1).unwrap_or(1);
        let count = repeats(length);
        for i in at..at + length {
            let mut copy = copies[i];
            if count > 1 {
                let step = copy.step_to(&copies[i + length]).expect("the pattern is repeated");
                set(&mut copy, Step { count, ..step });
            }
            coalesced.push(copy);
        }
        at += count * length;
    }
    coalesced
}

/// How often the first `length` copies are repeated with the same steps.
fn repeats(copies: &[StridedCopy], length: usize) -> usize {
    if copies.len() < 2 * length {
        return usize::from(copies.len() >= length);
    }
    let Some(steps) =
        (0..length).map(|i| copies[i].step_to(&copies[i + length])).collect::<Option<Vec<Step>>>()
    else {
        return 1;
    };
    let mut count = 1;
    while count < MAX_COUNT && (count + 1) * length <= copies.len() {
        let next = |i: usize| copies[(count - 1) * length + i].step_to(&copies[count * length + i]);
        if !(0..length).all(|i| next(i) == Some(steps[i])) {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The source row that copies load to each row.
    fn loaded(copies: &[StridedCopy], rows: usize) -> Vec<Option<usize>> {
        let mut loaded = vec![None; rows];
        for copy in copies {
            for (outer, inner) in
                (0..copy.outer.count).flat_map(|i| (0..copy.inner.count).map(move |j| (i, j)))
            {
                for row in 0..copy.len {
                    let to = copy.to + outer * copy.outer.to + inner * copy.inner.to + row;
                    let from = copy.from + outer * copy.outer.from + inner * copy.inner.from + row;
                    assert_eq!(loaded[to].replace(from), None, "loaded twice");
                }
            }
        }
        loaded
    }

    /// The rows of windows of a map that is shifted cyclically.
    fn windows(map: usize, window: usize, shift: usize) -> Vec<usize> {
        let along = |location: usize| (location + shift) % map;
        let inside = |y: usize, x: usize| {
            (0..window)
                .flat_map(move |i| (0..window).map(move |j| along(y + i) * map + along(x + j)))
        };
        let starts = (0..map).step_by(window);
        starts.clone().flat_map(|y| starts.clone().flat_map(move |x| inside(y, x))).collect()
    }

    #[test]
    fn windows_are_few_copies() {
        // A row of windows is one copy.
        assert_eq!(copies(&windows(56, 7, 0)).len(), 8);
        // One for the uncut windows of a row, two for the cut one; the last row of windows is cut,
        // too.
        assert_eq!(copies(&windows(56, 7, 3)).len(), 7 * 3 + 6);
        // Selected rows at regular distances.
        assert_eq!(copies(&[0, 3, 6, 9]).len(), 1);
        assert_eq!(copies(&[]), []);
    }

    proptest! {
        #[test]
        fn every_row_is_loaded_to_its_position(
            rows in prop_oneof![
                prop::collection::vec(0usize..30, 0..40),
                (1usize..5, 1usize..5, 0usize..4).prop_map(|(n, window, shift)| windows(n * window, window, shift)),
            ],
        ) {
            let expected: Vec<Option<usize>> = rows.iter().copied().map(Some).collect();
            prop_assert_eq!(loaded(&copies(&rows), rows.len()), expected);
        }
    }
}
