//! Rows in another order, or joined to longer ones: the load unit reads them where they lie in
//! DRAM, as many at a time as lie regularly.

use vitcod_isa::instr::Dram;
use vitcod_isa::instr::table::Load;

use super::CodegenError;
use super::limits::MAX_COUNT;
use super::map::Windows;
use super::storage::Home;
use super::task::{Builder, Window, steps};
use crate::ir::Op;

/// The longest pattern of lengths that is looked for: a window that is cut by the edge of a shifted
/// map has two pieces in each row.
const PIECES: usize = 2;

/// Lowers `pick_rows`, or `patches` without padding.
pub(super) fn lower(builder: &mut Builder<'_>, op: Op) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let data = graph.op(op);
    let (source, result) = (data.operands[0], data.results[0]);
    let (sources, each) = sources(builder, op);
    let (rows, row_bytes) =
        (graph.ty(result).shape[0], graph.ty(result).bytes() / graph.ty(result).shape[0]);
    let source_bytes = row_bytes / each;
    let place = builder.storages.place(source);
    let storage = builder.storages.data(place);
    let (traffic, Home::Dram(base)) = (storage.traffic, storage.home) else {
        unreachable!("what is moved lies in DRAM")
    };
    // Two tiles are in flight.
    let needed =
        |rows: usize| if builder.on_chip(result) { 0 } else { 2 * (rows * row_bytes) as u64 };
    let mut height = rows.min(MAX_COUNT);
    while height > 1 && needed(height) > builder.room() {
        height = height.div_ceil(2);
    }
    if needed(height) > builder.room() {
        return Err(builder.too_small(op, needed(1)));
    }
    for rows in steps(rows, height) {
        let target = builder.write(result, &Window { rows: rows.clone(), bytes: 0..row_bytes });
        for walk in walks(&sources[rows.start * each..rows.end * each]) {
            let load = Load {
                dst: builder.behind(target.tile.at, (walk.to * source_bytes) as u64),
                src: Dram(base + (place.row + walk.from as u64) * source_bytes as u64),
                bytes: (walk.len * source_bytes) as u32,
                inner: walk.inner.count as u16,
                outer: walk.outer.count as u16,
                src_inner_stride: (walk.inner.from * source_bytes) as u32,
                src_outer_stride: (walk.outer.from * source_bytes) as u32,
                dst_inner_stride: (walk.inner.to * source_bytes) as u32,
                dst_outer_stride: (walk.outer.to * source_bytes) as u32,
                traffic,
            };
            builder.push(op, load);
        }
        builder.written(op, &target);
    }
    Ok(())
}

/// The rows of the source one after the other as the result has them, and how many make a row of
/// the result.
fn sources(builder: &Builder<'_>, op: Op) -> (Vec<usize>, usize) {
    let graph = builder.graph;
    let data = graph.op(op);
    match Windows::of(&data.kind) {
        None => {
            let rows = graph.indices(data.operands[1], graph.ty(data.operands[0]).shape[0]);
            (rows.expect("limits look at indices"), graph.ty(data.operands[1]).shape[1])
        }
        Some(windows) => {
            let ([down, across], Windows { map: [_, width], kernel, stride, .. }) =
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

/// How often something is repeated, and how far apart in the source and in the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    count: usize,
    from: usize,
    to: usize,
}

/// Runs of `len` neighbouring rows, regularly repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Walk {
    /// First row of the source.
    from: usize,
    /// Its place in the result.
    to: usize,
    len: usize,
    inner: Step,
    outer: Step,
}

impl Walk {
    /// Whether another one is the same, elsewhere.
    fn is_like(&self, other: &Walk) -> bool {
        (self.len, self.inner) == (other.len, other.inner)
    }

    /// The step to a walk like this one further on in the source.
    fn step_to(&self, other: &Walk) -> Option<Step> {
        let from = other.from.checked_sub(self.from).filter(|_| self.is_like(other))?;
        Some(Step { count: 2, from, to: other.to - self.to })
    }
}

/// Few walks that together visit the rows, each where it stands in the list.
fn walks(rows: &[usize]) -> Vec<Walk> {
    let whole = runs(rows, usize::MAX);
    // The last run of a window and the first of the next may be neighbours: as one they would break
    // the pattern.
    let first = whole.first().map_or(0, |run| run.len);
    let folded = [whole, runs(rows, first)].map(|runs| {
        let inner = folded(&runs, |walk, step| walk.inner = step);
        folded(&inner, |walk, step| walk.outer = step)
    });
    folded.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// Neighbouring rows, at most so many together.
fn runs(rows: &[usize], most: usize) -> Vec<Walk> {
    const ONCE: Step = Step { count: 1, from: 0, to: 0 };
    let mut runs: Vec<Walk> = Vec::new();
    for (to, from) in rows.iter().copied().enumerate() {
        match runs.last_mut() {
            Some(run) if run.from + run.len == from && run.len < most => run.len += 1,
            _ => runs.push(Walk { from, to, len: 1, inner: ONCE, outer: ONCE }),
        }
    }
    runs
}

/// The same walks with those that repeat regularly as one; `set` says how often.
fn folded(walks: &[Walk], set: impl Fn(&mut Walk, Step)) -> Vec<Walk> {
    let mut folded = Vec::new();
    let mut at = 0;
    while at < walks.len() {
        // The shortest pattern that is repeated.
        let repeats = |pieces: usize| repeats(&walks[at..], pieces);
        let pieces = (1..=PIECES).find(|pieces| repeats(*pieces) > 1).unwrap_or(1);
        let count = repeats(pieces);
        for i in at..at + pieces {
            let mut walk = walks[i];
            if count > 1 {
                let step = walk.step_to(&walks[i + pieces]).expect("the pattern is repeated");
                set(&mut walk, Step { count, ..step });
            }
            folded.push(walk);
        }
        at += count * pieces;
    }
    folded
}

/// How often the first walks, so many, come again with the same steps.
fn repeats(walks: &[Walk], pieces: usize) -> usize {
    if walks.len() < 2 * pieces {
        return usize::from(walks.len() >= pieces);
    }
    let Some(steps) =
        (0..pieces).map(|i| walks[i].step_to(&walks[i + pieces])).collect::<Option<Vec<Step>>>()
    else {
        return 1;
    };
    let mut count = 1;
    while count < MAX_COUNT && (count + 1) * pieces <= walks.len() {
        let next = |i: usize| walks[(count - 1) * pieces + i].step_to(&walks[count * pieces + i]);
        if !(0..pieces).all(|i| next(i) == Some(steps[i])) {
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

    /// What walks load, place by place.
    fn loaded(walks: &[Walk], rows: usize) -> Vec<Option<usize>> {
        let mut loaded = vec![None; rows];
        for walk in walks {
            for (outer, inner) in
                (0..walk.outer.count).flat_map(|i| (0..walk.inner.count).map(move |j| (i, j)))
            {
                for row in 0..walk.len {
                    let to = walk.to + outer * walk.outer.to + inner * walk.inner.to + row;
                    let from = walk.from + outer * walk.outer.from + inner * walk.inner.from + row;
                    assert_eq!(loaded[to].replace(from), None, "loaded twice");
                }
            }
        }
        loaded
    }

    /// Windows of a map that is shifted cyclically, as rows.
    fn windows(map: usize, window: usize, shift: usize) -> Vec<usize> {
        let along = |place: usize| (place + shift) % map;
        let inside = |y: usize, x: usize| {
            (0..window)
                .flat_map(move |i| (0..window).map(move |j| along(y + i) * map + along(x + j)))
        };
        let starts = (0..map).step_by(window);
        starts.clone().flat_map(|y| starts.clone().flat_map(move |x| inside(y, x))).collect()
    }

    #[test]
    fn windows_are_few_walks() {
        // A row of windows is one walk.
        assert_eq!(walks(&windows(56, 7, 0)).len(), 8);
        // One for the whole windows of a row, two for the cut one; the last row of windows is cut,
        // too.
        assert_eq!(walks(&windows(56, 7, 3)).len(), 7 * 3 + 6);
        // Selected rows at regular distances.
        assert_eq!(walks(&[0, 3, 6, 9]).len(), 1);
        assert_eq!(walks(&[]), []);
    }

    proptest! {
        #[test]
        fn every_row_is_loaded_to_its_place(
            rows in prop_oneof![
                prop::collection::vec(0usize..30, 0..40),
                (1usize..5, 1usize..5, 0usize..4).prop_map(|(n, window, shift)| windows(n * window, window, shift)),
            ],
        ) {
            let expected: Vec<Option<usize>> = rows.iter().copied().map(Some).collect();
            prop_assert_eq!(loaded(&walks(&rows), rows.len()), expected);
        }
    }
}
