//! Placement: addresses for buffers, so that buffers with overlapping live ranges do not share
//! bytes.
//!
//! The algorithm is greedy with repair. It places the largest (or longest-lived) buffer first, each
//! at the lowest address that is free for its live range. This is the heuristic of TensorFlow Lite
//! and of TVM. Ties go to the earlier buffer, so that the result is deterministic. A buffer that
//! finds no address displaces the buffers of its live range and precedes them from then on. They
//! are placed again around it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use cranelift_entity::EntityRef as _;

use crate::codegen::schedule::live_bytes::live_bytes;
#[cfg(test)]
use crate::tiled::BUFFER_ALIGN;
use crate::tiled::{Addresses, Alignments, Buffer, Lifetimes, Tasks};

/// Tasks per time slice of the table of placed buffers.
const SLICE: usize = 64;

/// A buffer with its size and its first and last task.
type Interval = (Buffer, u64, (usize, usize));

/// The sort key of a buffer, from its bytes and the number of tasks in its live range. The largest
/// key is placed first.
type Order = fn(u64, u64) -> (u64, u64);

/// The turn of a buffer: the one that displaced others most often first, then by [`Order`], then
/// the earlier buffer. The last field is its index.
type Turn = (Reverse<(u32, (u64, u64))>, usize, usize);

/// Addresses, or `None` where the heuristic finds none within `capacity` bytes.
///
/// Buffers begin at their alignments, and take multiples of `align` bytes.
///
/// Three orders are tried: by size, by length of the live range, and by their product.
pub(super) fn run(
    tasks: &Tasks,
    lives: &Lifetimes,
    (alignments, align): (&Alignments, u64),
    capacity: u64,
) -> Option<Addresses> {
    let buffers: Vec<Interval> = tasks
        .buffers
        .iter()
        .filter_map(|(buffer, bytes)| Some((buffer, bytes.next_multiple_of(align), lives[buffer]?)))
        .collect();
    let sizes = buffers.iter().map(|(_, bytes, life)| (*bytes, *life));
    if live_bytes(tasks.tasks.len(), sizes).any(|live| live > capacity) {
        return None;
    }
    let orders: [Order; 3] = [
        |bytes, life| (bytes, life),
        |bytes, life| (life, bytes),
        |bytes, life| (bytes * life, bytes),
    ];
    orders.into_iter().find_map(|order| {
        Placement::new(&buffers, alignments, order, tasks.tasks.len(), capacity).run()
    })
}

/// An incomplete placement.
struct Placement<'a> {
    buffers: &'a [Interval],
    alignments: &'a Alignments,
    order: Order,
    capacity: u64,
    addresses: Vec<Option<u64>>,
    /// How often each buffer displaced others.
    displacing: Vec<u32>,
    /// The buffers without an address.
    waiting: BTreeSet<Turn>,
    /// Per time slice, the buffers that live in it and have an address.
    slices: Vec<Vec<usize>>,
}

impl<'a> Placement<'a> {
    fn new(
        buffers: &'a [Interval],
        alignments: &'a Alignments,
        order: Order,
        tasks: usize,
        capacity: u64,
    ) -> Placement<'a> {
        let mut placement = Placement {
            buffers,
            alignments,
            order,
            capacity,
            addresses: vec![None; buffers.len()],
            displacing: vec![0; buffers.len()],
            waiting: BTreeSet::new(),
            slices: vec![Vec::new(); tasks / SLICE + 1],
        };
        placement.waiting = (0..buffers.len()).map(|index| placement.turn(index)).collect();
        placement
    }

    /// All addresses. `None` if repair placed more buffer slots again than there are.
    fn run(mut self) -> Option<Addresses> {
        let mut effort: usize = (0..self.buffers.len()).map(|index| self.span(index).count()).sum();
        while let Some((.., index)) = self.waiting.pop_first() {
            if let Some(address) = self.gap(index) {
                self.addresses[index] = Some(address);
                let span = self.span(index);
                self.slices[span].iter_mut().for_each(|slice| slice.push(index));
            } else {
                effort = effort.checked_sub(self.displace(index))?;
            }
        }
        let mut addresses = Addresses::new();
        for ((buffer, ..), address) in self.buffers.iter().zip(self.addresses) {
            addresses[*buffer] = address? as u32;
        }
        Some(addresses)
    }

    /// The time slices in which a buffer lives.
    fn span(&self, index: usize) -> RangeInclusive<usize> {
        let (.., (first, last)) = self.buffers[index];
        first / SLICE..=last / SLICE
    }

    fn turn(&self, index: usize) -> Turn {
        let (buffer, bytes, (first, last)) = self.buffers[index];
        let key = (self.order)(bytes, (last - first) as u64 + 1);
        (Reverse((self.displacing[index], key)), buffer.index(), index)
    }

    /// The buffers with an address whose live range overlaps that of a buffer. Some appear more
    /// than once.
    fn neighbours(&self, index: usize) -> impl Iterator<Item = usize> {
        let (.., (start, end)) = self.buffers[index];
        let lives = move |other: &usize| {
            let (.., (first, last)) = self.buffers[*other];
            first <= end && start <= last
        };
        self.slices[self.span(index)].iter().flatten().copied().filter(lives)
    }

    /// The lowest address that is free for the live range of a buffer.
    fn gap(&self, index: usize) -> Option<u64> {
        let taken = |other: usize| {
            self.addresses[other].map(|start| (start, start + self.buffers[other].1))
        };
        let mut taken: Vec<(u64, u64)> = self.neighbours(index).filter_map(taken).collect();
        taken.sort_unstable();
        let (buffer, bytes, _) = self.buffers[index];
        let mut address = 0;
        for (start, end) in taken {
            if address + bytes <= start {
                break;
            }
            address = address.max(end.next_multiple_of(self.alignments[buffer]));
        }
        (address + bytes <= self.capacity).then_some(address)
    }

    /// Removes the addresses of the neighbours that have displaced fewer buffers than this one,
    /// which precedes them from then on. Returns the number of slices of all of them.
    fn displace(&mut self, index: usize) -> usize {
        self.displacing[index] += 1;
        let weaker = |other: &usize| self.displacing[*other] < self.displacing[index];
        let displaced: BTreeSet<usize> = self.neighbours(index).filter(weaker).collect();
        let mut slices = self.span(index).count();
        for other in &displaced {
            let span = self.span(*other);
            slices += span.clone().count();
            self.slices[span].iter_mut().for_each(|slice| slice.retain(|placed| placed != other));
            self.addresses[*other] = None;
            self.waiting.insert(self.turn(*other));
        }
        self.waiting.insert(self.turn(index));
        slices
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vitcod_support::random::SplitMix64;

    use super::*;
    use crate::codegen::schedule::prefetch::tests::idle;

    /// Buffers: bytes, first task, and the number of tasks from the first to the last.
    fn buffers() -> impl Strategy<Value = Vec<(u64, usize, usize)>> {
        prop::collection::vec((1u64..200, 0usize..300, 0usize..150), 0..40)
    }

    fn place_all(
        buffers: &[(u64, usize, usize)],
        capacity: u64,
    ) -> Option<Vec<(u64, u64, usize, usize)>> {
        let mut tasks = Tasks::default();
        let mut lives = Lifetimes::new();
        for (bytes, first, rest) in buffers {
            let buffer = tasks.buffers.push(*bytes);
            lives[buffer] = Some((*first, first + rest));
        }
        // Only the number of tasks matters.
        tasks.tasks = vec![idle(); 450];
        let addresses =
            run(&tasks, &lives, (&Alignments::with_default(BUFFER_ALIGN), BUFFER_ALIGN), capacity)?;
        let placed = |(buffer, bytes): (Buffer, &u64)| {
            let (first, last) = lives[buffer].unwrap();
            (u64::from(addresses[buffer]), *bytes, first, last)
        };
        Some(tasks.buffers.iter().map(placed).collect())
    }

    proptest! {
        #[test]
        fn buffers_that_live_together_do_not_overlap(buffers in buffers(), capacity in 200u64..3000) {
            let Some(placed) = place_all(&buffers, capacity) else { return Ok(()) };
            for (index, (address, bytes, first, last)) in placed.iter().enumerate() {
                prop_assert!(address % BUFFER_ALIGN == 0 && address + bytes <= capacity);
                for (other, other_bytes, other_first, other_last) in &placed[..index] {
                    let together = first <= other_last && other_first <= last;
                    prop_assert!(!together || address + bytes <= *other || other + other_bytes <= *address);
                }
            }
        }

        #[test]
        fn buffers_that_fit_side_by_side_are_placed(buffers in buffers()) {
            let bytes = buffers.iter().map(|(bytes, ..)| bytes.next_multiple_of(BUFFER_ALIGN)).sum();
            prop_assert!(place_all(&buffers, bytes).is_some());
        }
    }

    /// Bytes that live at the busiest task: a lower bound for every placement.
    fn peak(buffers: &[(u64, usize, usize)]) -> u64 {
        let live = |at: usize| {
            let lives =
                buffers.iter().filter(|(_, first, rest)| (*first..=first + rest).contains(&at));
            lives.map(|(bytes, ..)| bytes.next_multiple_of(BUFFER_ALIGN)).sum()
        };
        buffers.iter().map(|(_, first, _)| live(*first)).max().unwrap_or(0)
    }

    /// The least capacity of any placement. Some order in which each buffer goes to the lowest free
    /// address is optimal: that of an optimal placement by ascending address.
    fn least(buffers: &mut Vec<(u64, usize, usize)>, fixed: usize) -> u64 {
        if fixed == buffers.len() {
            let mut top: Vec<(u64, u64)> = Vec::new();
            for (index, (bytes, first, rest)) in buffers.iter().enumerate() {
                let together =
                    buffers[..index].iter().zip(&top).filter(|((_, other, other_rest), _)| {
                        *other <= first + rest && *first <= other + other_rest
                    });
                let mut taken: Vec<(u64, u64)> = together.map(|(_, taken)| *taken).collect();
                taken.sort_unstable();
                let bytes = bytes.next_multiple_of(BUFFER_ALIGN);
                let lowest = taken.into_iter().fold((0, false), |(at, found), (start, end)| {
                    if found || at + bytes <= start { (at, true) } else { (at.max(end), false) }
                });
                top.push((lowest.0, lowest.0 + bytes));
            }
            return top.into_iter().map(|(_, end)| end).max().unwrap_or(0);
        }
        let mut best = u64::MAX;
        for index in fixed..buffers.len() {
            buffers.swap(fixed, index);
            best = best.min(least(buffers, fixed + 1));
            buffers.swap(fixed, index);
        }
        best
    }

    /// Compares small cases with an exhaustive search: the heuristic never beats it and is rarely
    /// worse.
    #[test]
    fn placement_is_near_the_optimum() {
        let mut random = SplitMix64::new(1);
        let mut draw = |below: u64| random.bits() % below;
        let [mut optimal, mut heuristic, mut worse] = [0; 3];
        for _ in 0..200 {
            let mut buffers: Vec<(u64, usize, usize)> = (0..6)
                .map(|_| (16 * (1 + draw(20)), draw(12) as usize, draw(6) as usize))
                .collect();
            let exact = least(&mut buffers, 0);
            assert!(exact >= peak(&buffers));
            let found = (exact..)
                .step_by(BUFFER_ALIGN as usize)
                .find(|capacity| place_all(&buffers, *capacity).is_some());
            let found = found.expect("buffers that fit side by side are placed");
            assert!(place_all(&buffers, exact - BUFFER_ALIGN).is_none(), "{buffers:?}");
            (optimal, heuristic, worse) =
                (optimal + exact, heuristic + found, worse + u64::from(found > exact));
        }
        assert!(
            heuristic * 100 <= optimal * 101 && worse <= 20,
            "{heuristic} bytes for {optimal}, {worse} worse"
        );
    }
}
