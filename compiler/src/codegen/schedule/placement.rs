//! Placement: addresses for buffers, so that those which live at the same time do not overlap.
//!
//! Greedy with repair: the largest (or longest-lived) buffer first, each at the lowest address
//! where nothing lives that overlaps it in time. This is the heuristic of TensorFlow Lite and of
//! TVM; ties go to the earlier buffer, so that the result is the same everywhere. A buffer that
//! finds no address displaces those that live meanwhile and comes before them from now on; they are
//! placed again around it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use cranelift_entity::EntityRef as _;

use super::live_bytes;
use crate::tiled::{Addresses, BUFFER_ALIGN, Buffer, Lifetimes, Tasks};

/// Tasks per slice of time in the table of what is placed.
const SLICE: usize = 64;

/// A buffer with its size and its first and last task.
type Interval = (Buffer, u64, (usize, usize));

/// What is placed first: the largest key of a buffer's bytes and tasks.
type Order = fn(u64, u64) -> (u64, u64);

/// What comes first: what displaced others most often, then by [`Order`], then the earlier buffer;
/// its index.
type Turn = (Reverse<(u32, (u64, u64))>, usize, usize);

/// Addresses, or `None` where the heuristic finds none within `capacity` bytes.
///
/// Three orders are tried: by size, by lifetime, and by the product of both.
pub(super) fn run(tasks: &Tasks, lives: &Lifetimes, capacity: u64) -> Option<Addresses> {
    let buffers: Vec<Interval> = tasks
        .buffers
        .iter()
        .filter_map(|(buffer, bytes)| {
            Some((buffer, bytes.next_multiple_of(BUFFER_ALIGN), lives[buffer]?))
        })
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
    orders
        .into_iter()
        .find_map(|order| Placement::new(&buffers, order, tasks.tasks.len(), capacity).run())
}

/// A placement in the making.
struct Placement<'a> {
    buffers: &'a [Interval],
    order: Order,
    capacity: u64,
    addresses: Vec<Option<u64>>,
    /// How often each buffer displaced others.
    displacing: Vec<u32>,
    /// Those that have no address.
    waiting: BTreeSet<Turn>,
    /// Per slice of time, those that have one and live then.
    slices: Vec<Vec<usize>>,
}

impl<'a> Placement<'a> {
    fn new(buffers: &'a [Interval], order: Order, tasks: usize, capacity: u64) -> Placement<'a> {
        let mut placement = Placement {
            buffers,
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

    /// All addresses; `None` where more had to be placed again than there is.
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

    /// The slices of time in which a buffer lives.
    fn span(&self, index: usize) -> RangeInclusive<usize> {
        let (.., (first, last)) = self.buffers[index];
        first / SLICE..=last / SLICE
    }

    fn turn(&self, index: usize) -> Turn {
        let (buffer, bytes, (first, last)) = self.buffers[index];
        let key = (self.order)(bytes, (last - first) as u64 + 1);
        (Reverse((self.displacing[index], key)), buffer.index(), index)
    }

    /// Those that have an address and live while a buffer does, some of them several times.
    fn neighbours(&self, index: usize) -> impl Iterator<Item = usize> {
        let (.., (start, end)) = self.buffers[index];
        let lives = move |other: &usize| {
            let (.., (first, last)) = self.buffers[*other];
            first <= end && start <= last
        };
        self.slices[self.span(index)].iter().flatten().copied().filter(lives)
    }

    /// The lowest address that is free for the lifetime of a buffer.
    fn gap(&self, index: usize) -> Option<u64> {
        let taken = |other: usize| {
            self.addresses[other].map(|start| (start, start + self.buffers[other].1))
        };
        let mut taken: Vec<(u64, u64)> = self.neighbours(index).filter_map(taken).collect();
        taken.sort_unstable();
        let (_, bytes, _) = self.buffers[index];
        let mut address = 0;
        for (start, end) in taken {
            if address + bytes <= start {
                break;
            }
            address = address.max(end);
        }
        (address + bytes <= self.capacity).then_some(address)
    }

    /// Takes the addresses of those that live while a buffer does and have displaced fewer others:
    /// it comes before them. Says in how many slices all of them are.
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

    /// Buffers with their first task and how many tasks they outlive it.
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
        // Only their number matters.
        tasks.tasks = vec![super::super::prefetch::tests::idle(); 450];
        let addresses = run(&tasks, &lives, capacity)?;
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
        fn there_is_room_where_all_fit_side_by_side(buffers in buffers()) {
            let bytes = buffers.iter().map(|(bytes, ..)| bytes.next_multiple_of(BUFFER_ALIGN)).sum();
            prop_assert!(place_all(&buffers, bytes).is_some());
        }
    }

    /// Bytes that live at the busiest task: what no placement undercuts.
    fn peak(buffers: &[(u64, usize, usize)]) -> u64 {
        let live = |at: usize| {
            let lives =
                buffers.iter().filter(|(_, first, rest)| (*first..=first + rest).contains(&at));
            lives.map(|(bytes, ..)| bytes.next_multiple_of(BUFFER_ALIGN)).sum()
        };
        buffers.iter().map(|(_, first, _)| live(*first)).max().unwrap_or(0)
    }

    /// The least capacity that any placement takes. Some order in which each buffer goes to the
    /// lowest free place is optimal: that by rising address of an optimal placement.
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
                let place = taken.into_iter().fold((0, false), |(at, found), (start, end)| {
                    if found || at + bytes <= start { (at, true) } else { (at.max(end), false) }
                });
                top.push((place.0, place.0 + bytes));
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

    /// Small cases against all placements there are: the heuristic is never better, as nothing can
    /// be, and hardly ever worse.
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
            let found = found.expect("there is room where all fit side by side");
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
