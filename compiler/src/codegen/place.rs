//! Placement: addresses for buffers, so that those which live at the same time do not overlap.
//!
//! Greedy: the largest (or longest-lived) buffer first, each at the lowest address where nothing lives that overlaps it in time. This is the
//! heuristic of TensorFlow Lite and of TVM; ties go to the earlier buffer, so that the result is the same everywhere.

use cranelift_entity::EntityRef as _;

use crate::tiled::{Addresses, BUFFER_ALIGN, Buffer, Lifetimes, Tasks};

/// Tasks per slice of time in the table of what is placed.
const SLICE: usize = 64;

/// A buffer with its size and its first and last task.
type Interval = (Buffer, u64, (usize, usize));

/// What is placed first: the largest key of a buffer's bytes and tasks.
type Order = fn(u64, u64) -> (u64, u64);

/// Addresses, or `None` where the heuristic finds none within `capacity` bytes.
///
/// Three orders are tried: by size, by lifetime, and by the product of both.
pub(super) fn run(tasks: &Tasks, lives: &Lifetimes, capacity: u64) -> Option<Addresses> {
    let mut buffers: Vec<Interval> = tasks
        .buffers
        .iter()
        .filter_map(|(buffer, bytes)| Some((buffer, bytes.next_multiple_of(BUFFER_ALIGN), lives[buffer]?)))
        .collect();
    let orders: [Order; 3] =
        [|bytes, life| (bytes, life), |bytes, life| (life, bytes), |bytes, life| (bytes * life, bytes)];
    orders.into_iter().find_map(|order| {
        buffers.sort_by_key(|(buffer, bytes, (first, last))| {
            (std::cmp::Reverse(order(*bytes, (last - first) as u64 + 1)), buffer.index())
        });
        place(&buffers, tasks.tasks.len(), capacity)
    })
}

/// Each buffer in turn at the lowest address that is free for its lifetime.
fn place(buffers: &[Interval], tasks: usize, capacity: u64) -> Option<Addresses> {
    let mut addresses = Addresses::new();
    let mut slices: Vec<Vec<usize>> = vec![Vec::new(); tasks / SLICE + 1];
    let mut placed: Vec<(u64, u64, (usize, usize))> = Vec::new();
    for &(buffer, bytes, life) in buffers {
        let range = life.0 / SLICE..=life.1 / SLICE;
        let mut taken: Vec<(u64, u64)> = slices[range.clone()]
            .iter()
            .flatten()
            .map(|other| placed[*other])
            .filter(|(_, _, (first, last))| *first <= life.1 && life.0 <= *last)
            .map(|(start, end, _)| (start, end))
            .collect();
        taken.sort_unstable();
        let mut address = 0;
        for (start, end) in taken {
            if address + bytes <= start {
                break;
            }
            address = address.max(end);
        }
        if address + bytes > capacity {
            return None;
        }
        addresses[buffer] = address as u32;
        slices[range].iter_mut().for_each(|slice| slice.push(placed.len()));
        placed.push((address, address + bytes, life));
    }
    Some(addresses)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Buffers with their first task and how many tasks they outlive it.
    fn buffers() -> impl Strategy<Value = Vec<(u64, usize, usize)>> {
        prop::collection::vec((1u64..200, 0usize..300, 0usize..150), 0..40)
    }

    fn place_all(buffers: &[(u64, usize, usize)], capacity: u64) -> Option<Vec<(u64, u64, usize, usize)>> {
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
}
