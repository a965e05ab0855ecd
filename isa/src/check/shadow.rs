//! Shadow memory: the last writer and readers of each byte, exactly, as pieces of bytes with the
//! same history.
//!
//! Pages hold their pieces by address, so that finding one takes a short search.

use std::ops::Range;

use super::buffers::Life;
use super::order::Clock;
use crate::effects::Region;
use crate::instr::Unit;

/// The most pages of a memory.
const PAGES: u64 = 1 << 14;

/// The smallest page, in bytes.
const PAGE_BYTES: u64 = 1 << 10;

/// The most pieces of a memory.
const MAX_PIECES: usize = 1 << 20;

/// An instruction by its unit and its number there. Number 0 is the host, before the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) unit: Unit,
    pub(super) number: u32,
}

/// The initial writes of the host.
pub(super) const HOST: Stamp = Stamp { unit: Unit::Load, number: 0 };

/// The sums that bytes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Not a sum that may be continued.
    Anything,
    /// An int32 sum of at most this many products.
    Products(u32),
    /// A uint32 sum of at most this many probabilities.
    Probabilities(u32),
}

/// The history of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    writer: Option<Stamp>,
    held: Held,
    /// Per unit, the last instruction that has read it since the last write.
    readers: Clock,
}

const UNTOUCHED: State = State { writer: None, held: Held::Anything, readers: [0; Unit::COUNT] };

/// A piece extends to the next one or to the end of its page.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u64,
    state: State,
}

/// The remaining work: each visited piece costs one step.
pub(super) struct Budget(u64);

impl Budget {
    /// Proportional to the program, and far more than compiled programs need.
    pub(super) fn of(instructions: usize) -> Budget {
        Budget((1 << 24) + ((instructions as u64) << 13))
    }

    /// Whether the budget is exhausted; the shadow is then incomplete.
    pub(super) fn is_spent(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, steps: usize) {
        self.0 = self.0.saturating_sub(steps as u64);
    }
}

/// An access to apply, and its conflicts.
pub(super) struct Visit<'a> {
    pub(super) stamp: Stamp,
    /// What has completed when the instruction starts.
    pub(super) known: &'a Clock,
    /// What must have completed before it starts; every access adds to it.
    pub(super) needed: Clock,
    /// Conflicts with instructions that are not known to have completed.
    pub(super) clashes: Vec<Clash>,
    pub(super) budget: &'a mut Budget,
}

/// An unordered conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    /// The earlier writer or reader; `None` if the bytes that are read were never written.
    pub(super) other: Option<Stamp>,
    /// The first conflicting bytes.
    pub(super) bytes: Range<u64>,
}

impl Visit<'_> {
    fn clash(&mut self, other: Option<Stamp>, bytes: Range<u64>) {
        if self.clashes.len() < Unit::COUNT
            && !self.clashes.iter().any(|clash| clash.other == other)
        {
            self.clashes.push(Clash { other, bytes });
        }
    }

    /// Requires an instruction to have completed; returns whether that is known.
    fn need(&mut self, Stamp { unit, number }: Stamp) -> bool {
        let unit = unit.index();
        self.needed[unit] = self.needed[unit].max(number);
        number <= self.known[unit]
    }
}

pub(super) struct Shadow {
    /// The first address.
    base: u64,
    /// The address after the last.
    end: u64,
    page_bits: u32,
    /// An empty page is untouched.
    pages: Vec<Vec<Piece>>,
    pieces: usize,
}

impl Shadow {
    /// The shadow of a range of which no byte is written.
    pub(super) fn new(bytes: Range<u64>) -> Shadow {
        let size = bytes.end.saturating_sub(bytes.start);
        let page_bytes = size.div_ceil(PAGES).max(PAGE_BYTES).next_power_of_two();
        let pages = vec![Vec::new(); size.div_ceil(page_bytes) as usize];
        Shadow {
            base: bytes.start,
            end: bytes.end,
            page_bits: page_bytes.trailing_zeros(),
            pages,
            pieces: 0,
        }
    }

    /// Reads a region; constants lie below the range of this memory. Writes outside the live range
    /// of the buffer do not count.
    pub(super) fn read(&mut self, region: &Region, life: Option<&Life>, visit: &mut Visit<'_>) {
        let (unit, number) = (visit.stamp.unit.index(), visit.stamp.number);
        self.each(region, visit, |pieces, range, end, visit| {
            for at in range {
                let bytes = pieces[at].start..pieces.get(at + 1).map_or(end, |next| next.start);
                let state = &mut pieces[at].state;
                match state.writer {
                    None => {
                        visit.clash(None, bytes);
                        // Report only once.
                        state.writer = Some(HOST);
                    }
                    Some(Stamp { unit, number })
                        if life.is_some_and(|life| !life.covers(unit.index(), number)) =>
                    {
                        visit.clash(None, bytes)
                    }
                    Some(writer) if !visit.need(writer) => visit.clash(Some(writer), bytes),
                    Some(_) => {}
                }
                state.readers[unit] = number;
            }
            0
        });
    }

    /// Writes a region whose runs do not overlap.
    pub(super) fn write(&mut self, region: &Region, held: Held, visit: &mut Visit<'_>) {
        let stamp = visit.stamp;
        self.each(region, visit, |pieces, range, end, visit| {
            for at in range.clone() {
                let Piece { start, state } = pieces[at];
                let bytes = || start..pieces.get(at + 1).map_or(end, |next| next.start);
                // Earlier accesses of the same unit are in order with a write.
                if let Some(writer) = state.writer.filter(|writer| writer.unit != stamp.unit)
                    && !visit.need(writer)
                {
                    visit.clash(Some(writer), bytes());
                }
                for (unit, number) in Unit::ALL.into_iter().zip(state.readers) {
                    let reader = Stamp { unit, number };
                    if number > 0 && unit != stamp.unit && !visit.need(reader) {
                        visit.clash(Some(reader), bytes());
                    }
                }
            }
            pieces[range.start].state = State { writer: Some(stamp), held, ..UNTOUCHED };
            pieces.drain(range.start + 1..range.end).len()
        });
    }

    /// The sums that every element of a region holds, by `terms`; `None` if they hold other sums.
    pub(super) fn sums(
        &mut self,
        region: &Region,
        visit: &mut Visit<'_>,
        terms: fn(Held) -> Option<u32>,
    ) -> Option<u32> {
        let mut most = Some(0);
        self.each(region, visit, |pieces, range, _, _| {
            for piece in &pieces[range] {
                most = most.zip(terms(piece.state.held)).map(|(most, terms)| most.max(terms));
            }
            0
        });
        most
    }

    /// The first unwritten bytes of a range.
    pub(super) fn unwritten(
        &mut self,
        bytes: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Option<Range<u64>> {
        let mut first = None;
        let region = Region::contiguous(bytes.start, bytes.end - bytes.start);
        self.each(&region, visit, |pieces, range, end, _| {
            let at = range.into_iter().find(|at| pieces[*at].state.writer.is_none());
            first = first.take().or_else(|| {
                at.map(|at| pieces[at].start..pieces.get(at + 1).map_or(end, |p| p.start))
            });
            0
        });
        first
    }

    /// Cuts pieces at the bounds of the region and passes them to a function page by page: the
    /// pieces of a page, the index range in them, and the end of the page. The function returns how
    /// many pieces it merged.
    fn each(
        &mut self,
        region: &Region,
        visit: &mut Visit<'_>,
        mut apply: impl FnMut(&mut Vec<Piece>, Range<usize>, u64, &mut Visit<'_>) -> usize,
    ) {
        if region.end() <= self.base {
            return;
        }
        for (start, bytes) in distinct(*region).runs() {
            if visit.budget.is_spent() {
                return;
            }
            visit.budget.spend(1);
            let end = (start + bytes).min(self.end);
            let mut from = start.max(self.base);
            while from < end {
                let page = (from - self.base) >> self.page_bits;
                let page_start = self.base + (page << self.page_bits);
                let page_end = page_start + (1 << self.page_bits);
                let to = end.min(page_end);
                let pieces = &mut self.pages[page as usize];
                let before = pieces.len();
                if before == 0 {
                    pieces.push(Piece { start: page_start, state: UNTOUCHED });
                }
                let first = cut(pieces, from);
                let last = if to == page_end { pieces.len() } else { cut(pieces, to) };
                let moved = if pieces.len() > before { pieces.len() / 16 } else { 0 };
                visit.budget.spend(last - first + moved);
                self.pieces += pieces.len() - before;
                self.pieces -= apply(pieces, first..last, page_end, visit);
                if self.pieces > MAX_PIECES {
                    visit.budget.spend(usize::MAX);
                }
                from = to;
            }
        }
    }
}

/// The piece that starts at an address of the page; cut if necessary.
fn cut(pieces: &mut Vec<Piece>, at: u64) -> usize {
    let index = pieces.partition_point(|piece| piece.start < at);
    if pieces.get(index).is_none_or(|piece| piece.start > at) {
        let state = pieces[index - 1].state;
        pieces.insert(index, Piece { start: at, state });
    }
    index
}

/// The same bytes with fewer runs, where loops repeat runs or runs are adjacent. The region is not
/// empty.
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
    let [(inner, inner_stride), (outer, outer_stride)] = loops;
    Region { base: region.base, bytes, inner, inner_stride, outer, outer_stride }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn bytes(region: Region) -> BTreeSet<u64> {
        region.runs().flat_map(|(at, bytes)| at..at + bytes).collect()
    }

    proptest! {
        #[test]
        fn distinct_runs_keep_the_bytes(
            (base, bytes_, inner, inner_stride, outer, outer_stride) in
                (0u64..40, 1u64..5, 1u64..5, 0u64..12, 1u64..5, 0u64..12),
        ) {
            let region = Region { base, bytes: bytes_, inner, inner_stride, outer, outer_stride };
            prop_assert_eq!(bytes(distinct(region)), bytes(region));
            prop_assert!(distinct(region).inner * distinct(region).outer <= inner * outer);
        }
    }
}
