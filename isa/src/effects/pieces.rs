//! A state for each byte of a memory, kept in pieces: bytes that share their state.
//!
//! Most operands are rows, a stride apart, of a larger matrix: tiles of a tensor. If each row were
//! a piece, a program of a large model would have millions of them. So the memory is divided into
//! blocks, and a block is either of one state or a matrix, whose columns are divided into strips
//! and whose strips are divided by rows.
//!
//! - Rows in a block of one state make it a matrix, whose pitch is their stride.
//! - Rows with the stride of their matrix are one rectangle in it, or two where they cross its
//!   right edge. Contiguous bytes are at most three. A rectangle takes a binary search per strip
//!   and a step per piece.
//! - Rows with another stride are visited one by one. If it is no multiple of the pitch, they
//!   dissolve the matrix first: each of its rows becomes a block.
//! - Writing contiguous bytes makes one block of all blocks that they cover.
//!
//! So an operand takes a few steps if each buffer or tensor has one row length, as those of
//! compiled models do, and never more than a step per row and piece.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Region;

/// Elements that extend from their number to that of the next one.
type Sorted<T> = Vec<(u64, T)>;

/// A state for each address.
#[derive(Clone, Debug)]
pub struct Pieces<S> {
    /// By first address. Together they hold all addresses.
    blocks: BTreeMap<u64, Block<S>>,
    pieces: usize,
    limits: Limits,
}

/// How much work and memory a [`Pieces`] may take. Exhausted limits make it inert.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps: pieces that are visited, made or moved.
    pub steps: u64,
    /// Pieces at a time.
    pub pieces: usize,
}

impl Limits {
    /// The limits for a memory of a program of this many instructions: proportional to its length,
    /// and far more than compiled programs need.
    pub fn of_program(instructions: usize) -> Limits {
        Limits {
            steps: (1 << 26) + ((instructions as u64) << 13),
            pieces: (1 << 20) + (instructions << 4),
        }
    }
}

#[derive(Clone, Debug)]
struct Block<S> {
    /// The address after the last.
    end: u64,
    content: Content<S>,
}

#[derive(Clone, Debug)]
enum Content<S> {
    Uniform(S),
    Matrix(Box<Matrix<S>>),
}

/// A block as rows from its first address on. The last row may extend beyond the block, where
/// nothing is ever visited.
#[derive(Clone, Debug)]
struct Matrix<S> {
    bytes: Range<u64>,
    /// Bytes of a row.
    pitch: u64,
    rows: u64,
    /// By column, then by row.
    strips: Sorted<Sorted<S>>,
    pieces: usize,
}

/// `count` runs of `bytes` bytes, `stride` bytes apart; they do not touch each other.
#[derive(Clone, Copy, Debug)]
struct Line {
    base: u64,
    bytes: u64,
    count: u64,
    stride: u64,
}

impl<S: Clone> Pieces<S> {
    /// All bytes in the same state.
    pub fn new(state: S, limits: Limits) -> Pieces<S> {
        let all = Block { end: u64::MAX, content: Content::Uniform(state) };
        Pieces { blocks: BTreeMap::from([(0, all)]), pieces: 1, limits }
    }

    /// Whether the limits are exhausted; the states are then incomplete.
    pub fn is_exhausted(&self) -> bool {
        self.limits.steps == 0
    }

    /// Passes the pieces of a region to a function, each with its first contiguous bytes. Where
    /// runs of the region overlap, it may get a piece again.
    pub fn update(&mut self, region: &Region, mut visit: impl FnMut(&mut S, Range<u64>)) {
        self.apply(region, None, &mut visit);
    }

    /// Puts a region into a state, after passing its pieces to a function as [`Self::update`] does.
    pub fn replace(
        &mut self,
        region: &Region,
        state: &S,
        mut visit: impl FnMut(&mut S, Range<u64>),
    ) {
        self.apply(region, Some(state), &mut visit);
    }

    fn apply(
        &mut self,
        region: &Region,
        new: Option<&S>,
        visit: &mut impl FnMut(&mut S, Range<u64>),
    ) {
        if region.total() == 0 {
            return;
        }
        let (_, block) = self.block(region.base);
        let pitch = match &block.content {
            Content::Uniform(_) => None,
            Content::Matrix(matrix) => Some(matrix.pitch),
        };
        for line in lines(distinct(*region), pitch) {
            self.line(line, new, visit);
            if self.is_exhausted() {
                return;
            }
        }
    }

    fn line(&mut self, line: Line, new: Option<&S>, visit: &mut impl FnMut(&mut S, Range<u64>)) {
        let mut run = 0;
        while run < line.count && self.spend(1) {
            let start = line.base + run * line.stride;
            let end = start + line.bytes;
            let (at, block) = self.block(start);
            let inside = match block.end.checked_sub(end) {
                None => 0,
                Some(_) if line.stride == 0 => 1,
                Some(rest) => (rest / line.stride + 1).min(line.count - run),
            };
            match &mut block.content {
                Content::Uniform(_) if inside > 1 => self.form(start, line.stride, inside),
                Content::Matrix(matrix) if inside > 1 && matrix.pitch == line.stride => {
                    let before = matrix.pieces;
                    let steps = matrix.rows(start, line.bytes, inside, new, visit);
                    let after = matrix.pieces;
                    self.count(before, after, steps);
                    run += inside;
                }
                // Runs some rows apart cut the same columns, so that they stay few.
                Content::Matrix(matrix)
                    if inside > 1 && !line.stride.is_multiple_of(matrix.pitch) =>
                {
                    self.dissolve(at)
                }
                _ => {
                    self.span(start..end, new, visit);
                    run += 1;
                }
            }
        }
    }

    /// Makes rows of a block of one state a matrix. They start at an address of the block, and all
    /// but the last one lie in it.
    fn form(&mut self, start: u64, pitch: u64, rows: u64) {
        self.cut(start);
        let (_, Block { end, .. }) = self.block(start);
        let end = (*end).min(start.saturating_add(rows.saturating_mul(pitch)));
        self.cut(end);
        let (_, block) = self.block(start);
        if let Content::Uniform(state) = &block.content {
            let strips = vec![(0, vec![(0, state.clone())])];
            let matrix = Matrix { bytes: start..end, pitch, rows, strips, pieces: 1 };
            block.content = Content::Matrix(Box::new(matrix));
        }
    }

    /// Makes blocks of the rows of a matrix.
    fn dissolve(&mut self, start: u64) {
        let Some(Block { content: Content::Matrix(matrix), .. }) = self.blocks.get(&start) else {
            return;
        };
        let runs = matrix.most_runs();
        // Before they take memory.
        if runs > self.limits.pieces || !self.spend(runs as u64) {
            self.limits.steps = 0;
            return;
        }
        if let Some(Block { content: Content::Matrix(matrix), .. }) = self.blocks.remove(&start) {
            let mut made = 0;
            matrix.each_run(|bytes, state| {
                made += 1;
                let content = Content::Uniform(state.clone());
                self.blocks.insert(bytes.start, Block { end: bytes.end, content });
            });
            self.count(matrix.pieces, made, 0);
        }
    }

    /// Visits contiguous bytes.
    fn span(
        &mut self,
        bytes: Range<u64>,
        new: Option<&S>,
        visit: &mut impl FnMut(&mut S, Range<u64>),
    ) {
        self.cut(bytes.start);
        self.cut(bytes.end);
        let mut at = bytes.start;
        let mut covered: Option<Range<u64>> = None;
        while at < bytes.end && self.spend(1) {
            let (start, block) = self.block(at);
            let end = block.end.min(bytes.end);
            let is_covered = start == at && block.end == end;
            match &mut block.content {
                Content::Uniform(state) => visit(state, at..end),
                Content::Matrix(matrix) => {
                    let before = matrix.pieces;
                    let steps = matrix.span(at..end, new.filter(|_| !is_covered), visit);
                    let after = matrix.pieces;
                    self.count(before, after, steps);
                }
            }
            if is_covered {
                covered = Some(covered.map_or(at, |covered| covered.start)..end);
            }
            at = end;
        }
        if let (Some(state), Some(covered)) = (new, covered) {
            self.join(covered, state);
        }
    }

    /// Makes one block of whole ones.
    fn join(&mut self, bytes: Range<u64>, state: &S) {
        let mut joined = 0;
        while let Some((start, block)) = self.blocks.range(bytes.clone()).next_back() {
            let (start, pieces) = (*start, block.pieces());
            if start == bytes.start {
                break;
            }
            joined += pieces;
            self.blocks.remove(&start);
        }
        let (_, first) = self.block(bytes.start);
        joined += first.pieces();
        *first = Block { end: bytes.end, content: Content::Uniform(state.clone()) };
        self.count(joined, 1, 0);
    }

    /// Divides the block at an address, if it is of one state.
    fn cut(&mut self, at: u64) {
        let (start, block) = self.block(at);
        if start < at
            && let Content::Uniform(state) = &block.content
        {
            let rest = Block { end: block.end, content: Content::Uniform(state.clone()) };
            block.end = at;
            self.blocks.insert(at, rest);
            self.count(0, 1, 1);
        }
    }

    /// The block that holds an address, with its own.
    fn block(&mut self, at: u64) -> (u64, &mut Block<S>) {
        let block = self.blocks.range_mut(..=at).next_back();
        block.map(|(start, block)| (*start, block)).expect("a block starts at address 0")
    }

    /// Replaces a number of pieces by another.
    fn count(&mut self, before: usize, after: usize, steps: u64) {
        self.pieces = self.pieces + after - before;
        if self.pieces > self.limits.pieces {
            self.limits.steps = 0;
        }
        self.spend(steps);
    }

    /// Returns whether there were as many steps.
    fn spend(&mut self, steps: u64) -> bool {
        let is_left = steps < self.limits.steps;
        self.limits.steps = self.limits.steps.saturating_sub(steps);
        is_left
    }
}

impl<S> Block<S> {
    fn pieces(&self) -> usize {
        match &self.content {
            Content::Uniform(_) => 1,
            Content::Matrix(matrix) => matrix.pieces,
        }
    }
}

impl<S: Clone> Matrix<S> {
    /// Visits `count` runs, a pitch apart, that lie in the block. Returns the steps.
    fn rows(
        &mut self,
        start: u64,
        bytes: u64,
        count: u64,
        new: Option<&S>,
        visit: &mut impl FnMut(&mut S, Range<u64>),
    ) -> u64 {
        let (row, column) = self.position(start);
        let (rows, end) = (row..row + count, column + bytes);
        if end <= self.pitch {
            return self.rectangle(rows, column..end, new, visit);
        }
        let below = row + 1..row + 1 + count;
        self.rectangle(rows, column..self.pitch, new, visit)
            + self.rectangle(below, 0..end - self.pitch, new, visit)
    }

    /// Visits contiguous bytes of the block. Returns the steps.
    fn span(
        &mut self,
        bytes: Range<u64>,
        new: Option<&S>,
        visit: &mut impl FnMut(&mut S, Range<u64>),
    ) -> u64 {
        let ((mut first, from), (last, to)) =
            (self.position(bytes.start), self.position(bytes.end - 1));
        let (mut end, to) = (last + 1, to + 1);
        if last == first {
            return self.rectangle(first..end, from..to, new, visit);
        }
        let mut steps = 0;
        if from > 0 {
            steps += self.rectangle(first..first + 1, from..self.pitch, new, visit);
            first += 1;
        }
        // The last row of the block may be shorter than the others.
        let is_partial = to < self.pitch;
        end -= u64::from(is_partial);
        if first < end {
            steps += self.rectangle(first..end, 0..self.pitch, new, visit);
        }
        if is_partial {
            steps += self.rectangle(last..last + 1, 0..to, new, visit);
        }
        steps
    }

    /// Row and column of an address.
    fn position(&self, at: u64) -> (u64, u64) {
        ((at - self.bytes.start) / self.pitch, (at - self.bytes.start) % self.pitch)
    }

    /// Visits a rectangle that is not empty. Returns the steps.
    fn rectangle(
        &mut self,
        rows: Range<u64>,
        columns: Range<u64>,
        new: Option<&S>,
        visit: &mut impl FnMut(&mut S, Range<u64>),
    ) -> u64 {
        let mut steps = 0;
        let strips = &mut self.strips;
        let first = cut(strips, columns.start);
        let last = if columns.end == self.pitch { strips.len() } else { cut(strips, columns.end) };
        // Both may have copied one.
        let copied = |strip: Option<&(u64, Sorted<S>)>| strip.map_or(0, |(_, pieces)| pieces.len());
        steps += (copied(strips.get(first)) + copied(strips.get(last)) + strips.len() / 16) as u64;
        for strip in first..last {
            let left = strips[strip].0;
            let right = strips.get(strip + 1).map_or(self.pitch, |(next, _)| *next);
            let pieces = &mut strips[strip].1;
            let from = cut(pieces, rows.start);
            let to = if rows.end == self.rows { pieces.len() } else { cut(pieces, rows.end) };
            steps += (1 + to - from + pieces.len() / 16) as u64;
            for at in from..to {
                let row = pieces[at].0;
                let end = match pieces.get(at + 1) {
                    // Whole rows are contiguous.
                    next if right - left == self.pitch => next.map_or(self.rows, |next| next.0),
                    _ => row + 1,
                };
                let start = self.bytes.start + row * self.pitch + left;
                let end = self.bytes.start + (end - 1) * self.pitch + right;
                visit(&mut pieces[at].1, start..end.min(self.bytes.end));
            }
            if let Some(state) = new {
                pieces[from].1 = state.clone();
                pieces.drain(from + 1..to);
            }
        }
        if new.is_some() && rows == (0..self.rows) {
            strips.drain(first + 1..last);
        }
        self.pieces = self.strips.iter().map(|(_, pieces)| pieces.len()).sum();
        steps
    }

    /// At least the number of runs of [`Self::each_run`].
    fn most_runs(&self) -> usize {
        match &self.strips[..] {
            [(_, pieces)] => pieces.len(),
            strips => strips.len().saturating_mul(self.rows as usize),
        }
    }

    /// Calls a function for each maximal run of bytes of a piece.
    fn each_run(&self, mut run: impl FnMut(Range<u64>, &S)) {
        let is_whole = self.strips.len() == 1;
        for (strip, (left, pieces)) in self.strips.iter().enumerate() {
            let right = self.strips.get(strip + 1).map_or(self.pitch, |(next, _)| *next);
            for (at, (first, state)) in pieces.iter().enumerate() {
                let end = pieces.get(at + 1).map_or(self.rows, |(next, _)| *next);
                let mut each = |rows: Range<u64>| {
                    let from = self.bytes.start + rows.start * self.pitch + left;
                    let to = self.bytes.start + (rows.end - 1) * self.pitch + right;
                    let bytes = from..to.min(self.bytes.end);
                    if !bytes.is_empty() {
                        run(bytes, state);
                    }
                };
                match is_whole {
                    true => each(*first..end),
                    false => (*first..end).for_each(|row| each(row..row + 1)),
                }
            }
        }
    }
}

/// The element that starts at a number; divided if necessary.
fn cut<T: Clone>(elements: &mut Sorted<T>, at: u64) -> usize {
    let index = elements.partition_point(|(start, _)| *start < at);
    if elements.get(index).is_none_or(|(start, _)| *start > at) {
        let copy = elements[index - 1].1.clone();
        elements.insert(index, (at, copy));
    }
    index
}

/// The same bytes with fewer runs, where loops repeat runs or runs are adjacent; the loop with the
/// smaller stride is the inner one. The region is not empty.
fn distinct(region: Region) -> Region {
    let mut loops = [(region.inner, region.inner_stride), (region.outer, region.outer_stride)];
    loops.sort_unstable_by_key(|(_, stride)| *stride);
    let mut bytes = region.bytes;
    for (count, stride) in &mut loops {
        if *stride <= bytes {
            bytes += (*count - 1) * *stride;
            (*count, *stride) = (1, 0);
        }
    }
    let [(mut inner, inner_stride), (mut outer, outer_stride)] = loops;
    if inner.checked_mul(inner_stride) == Some(outer_stride) {
        (inner, outer) = (inner * outer, 1);
    }
    Region { base: region.base, bytes, inner, inner_stride, outer, outer_stride }
}

/// A region as lines: with the stride of a matrix if a loop has it, or else as few as possible. The
/// region is [`distinct`].
fn lines(region: Region, pitch: Option<u64>) -> impl Iterator<Item = Line> {
    let Region { base, bytes, inner, inner_stride, outer, outer_stride } = region;
    let is_inner = match pitch {
        Some(pitch) if inner > 1 && inner_stride == pitch => true,
        Some(pitch) if outer > 1 && outer_stride == pitch => false,
        _ => inner >= outer,
    };
    let (few, step, count, stride) = match is_inner {
        true => (outer, outer_stride, inner, inner_stride),
        false => (inner, inner_stride, outer, outer_stride),
    };
    (0..few).map(move |line| Line { base: base + line * step, bytes, count, stride })
}

#[cfg(test)]
mod tests;
