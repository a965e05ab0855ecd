//! Placement: addresses for buffers, so that those which live at the same time do not overlap.
//!
//! Greedy by size: the largest buffer first, each at the lowest address where nothing lives that overlaps it in time. This is the
//! heuristic of TensorFlow Lite and of TVM; ties go to the earlier buffer, so that the result is the same everywhere.

use cranelift_entity::SecondaryMap;

use super::prefetch::Lifetimes;
use super::task::{Buffer, Tasks, index};

/// Alignment of buffers: that of the widest element and of the ports.
const ALIGN: u64 = 16;

/// Tasks per slice of time in the table of what is placed.
const SLICE: usize = 64;

/// Addresses, or `None` where the heuristic finds none within `capacity` bytes.
pub(super) fn run(tasks: &Tasks, lives: &Lifetimes, capacity: u64) -> Option<SecondaryMap<Buffer, u32>> {
    let mut buffers: Vec<(Buffer, u64, (usize, usize))> = tasks
        .buffers
        .iter()
        .filter_map(|(buffer, bytes)| Some((buffer, bytes.next_multiple_of(ALIGN), lives[buffer]?)))
        .collect();
    buffers.sort_by_key(|(buffer, bytes, (first, last))| (std::cmp::Reverse((*bytes, last - first)), index(*buffer)));

    let mut addresses = SecondaryMap::new();
    let mut slices: Vec<Vec<usize>> = vec![Vec::new(); tasks.tasks.len() / SLICE + 1];
    let mut placed: Vec<(u64, u64, (usize, usize))> = Vec::new();
    for (buffer, bytes, life) in buffers {
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
