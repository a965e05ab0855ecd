//! Shadow memory: the last writer and readers of each byte, exactly.

use std::ops::Range;

use super::buffers::Life;
use super::order::Clock;
use crate::effects::{Limits, Pieces, Region};
use crate::instr::Unit;

/// An instruction by its unit and its number there. Number 0 is the host, before the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) unit: Unit,
    pub(super) number: u32,
}

/// The initial writes of the host.
pub(super) const HOST: Stamp = Stamp { unit: Unit::Load, number: 0 };

/// What bytes hold, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Not a sum that may be continued.
    Anything,
    /// Constants: the address of the image, less that of the byte, modulo 2^64.
    Constants(u64),
    /// An int32 sum of at most this many products.
    Products(u32),
    /// A uint32 sum of at most this many probabilities.
    Probabilities(u32),
}

/// The history of a piece.
#[derive(Clone, Copy, Debug)]
struct State {
    writer: Option<Stamp>,
    held: Held,
    /// Per unit, the last instruction that has read it since the last write.
    readers: Clock,
}

const UNTOUCHED: State = State { writer: None, held: Held::Anything, readers: [0; Unit::COUNT] };

/// An access to apply, and its conflicts.
pub(super) struct Visit<'a> {
    pub(super) stamp: Stamp,
    /// What has completed when the instruction starts.
    pub(super) known: &'a Clock,
    /// What must have completed before it starts; every access adds to it.
    pub(super) needed: Clock,
    /// Conflicts with instructions that are not known to have completed.
    pub(super) clashes: Vec<Clash>,
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

/// A memory.
pub(super) struct Shadow {
    /// Constants lie below this address. They are not followed, because nothing writes them.
    base: u64,
    pieces: Pieces<State>,
}

impl Shadow {
    /// The shadow of a memory that holds constants below `base` and in which no other byte is
    /// written.
    pub(super) fn new(base: u64, limits: Limits) -> Shadow {
        let mut pieces = Pieces::new(UNTOUCHED, limits);
        let written = State { writer: Some(HOST), ..UNTOUCHED };
        pieces.replace(&Region::contiguous(0, base), &written, |_, _| ());
        Shadow { base, pieces }
    }

    /// Whether the limits are exhausted; the shadow is then incomplete.
    pub(super) fn is_exhausted(&self) -> bool {
        self.pieces.is_exhausted()
    }

    /// Reads a region. Writes outside the live range of the buffer do not count.
    pub(super) fn read(&mut self, region: &Region, life: Option<&Life>, visit: &mut Visit<'_>) {
        if region.end() <= self.base {
            return;
        }
        let (unit, number) = (visit.stamp.unit.index(), visit.stamp.number);
        self.pieces.update(region, |state, bytes| {
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
        });
    }

    /// Writes a region whose runs do not overlap.
    pub(super) fn write(&mut self, region: &Region, held: Held, visit: &mut Visit<'_>) {
        let stamp = visit.stamp;
        let written = State { writer: Some(stamp), held, ..UNTOUCHED };
        self.pieces.replace(region, &written, |state, bytes| {
            // Earlier accesses of the same unit are in order with a write.
            if let Some(writer) = state.writer.filter(|writer| writer.unit != stamp.unit)
                && !visit.need(writer)
            {
                visit.clash(Some(writer), bytes.clone());
            }
            for (unit, number) in Unit::ALL.into_iter().zip(state.readers) {
                let reader = Stamp { unit, number };
                if number > 0 && unit != stamp.unit && !visit.need(reader) {
                    visit.clash(Some(reader), bytes.clone());
                }
            }
        });
    }

    /// The sums that every element of a region holds, by `terms`; `None` if they hold other sums.
    pub(super) fn sums(&mut self, region: &Region, terms: fn(Held) -> Option<u32>) -> Option<u32> {
        let mut most = Some(0);
        self.pieces.update(region, |state, _| {
            most = most.zip(terms(state.held)).map(|(most, terms)| most.max(terms));
        });
        most
    }

    /// The addresses of the image from which a contiguous region was copied, if it was copied
    /// unchanged: the pieces, in order.
    pub(super) fn constants(&mut self, region: &Region) -> Option<Vec<Range<u64>>> {
        let mut pieces: Vec<(u64, Range<u64>)> = Vec::new();
        let mut known = true;
        self.pieces.update(region, |state, bytes| {
            if let Held::Constants(apart) = state.held {
                let image = |at: u64| at.wrapping_add(apart);
                pieces.push((bytes.start, image(bytes.start)..image(bytes.end)));
            } else {
                known = false;
            }
        });
        pieces.sort_by_key(|(at, _)| *at);
        let total: u64 = pieces.iter().map(|(_, image)| image.end - image.start).sum();
        // Of rows of a matrix only the first ones are passed.
        (known && total == region.total())
            .then(|| pieces.into_iter().map(|(_, image)| image).collect())
    }

    /// The first unwritten bytes of a range.
    pub(super) fn unwritten(&mut self, bytes: Range<u64>) -> Option<Range<u64>> {
        let mut first: Option<Range<u64>> = None;
        let region = Region::contiguous(bytes.start, bytes.end - bytes.start);
        self.pieces.update(&region, |state, bytes| {
            if state.writer.is_none()
                && first.as_ref().is_none_or(|first| bytes.start < first.start)
            {
                first = Some(bytes);
            }
        });
        first
    }
}
