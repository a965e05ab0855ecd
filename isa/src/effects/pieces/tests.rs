//! Pieces against a state per byte, and how many there are of the accesses of compiled models.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const UNLIMITED: Limits = Limits { steps: u64::MAX, pieces: usize::MAX };

/// Bytes of the memory. No region ends behind it.
const SIZE: u64 = 400;

/// The writer and the last reader.
type State = (usize, usize);

fn bytes(region: Region) -> BTreeSet<u64> {
    region.runs().flat_map(|(at, bytes)| at..at + bytes).collect()
}

fn any_region() -> impl Strategy<Value = Region> {
    // Some strides are the same again and again, as in tensors.
    let stride = || prop_oneof![Just(12u64), Just(24), 0u64..20];
    (0u64..150, 1u64..14, 1u64..8, stride(), 1u64..5, stride()).prop_map(
        |(base, bytes, inner, inner_stride, outer, outer_stride)| Region {
            base,
            bytes,
            inner,
            inner_stride,
            outer,
            outer_stride,
        },
    )
}

proptest! {
    #[test]
    fn distinct_runs_keep_the_bytes(region in any_region()) {
        prop_assert_eq!(bytes(distinct(region)), bytes(region));
        let runs = |region: Region| region.inner * region.outer;
        prop_assert!(runs(distinct(region)) <= runs(region));
    }

    #[test]
    fn lines_keep_the_bytes(region in any_region(), pitch in proptest::option::of(0u64..30)) {
        let runs = lines(distinct(region), pitch).flat_map(|line| {
            (0..line.count).flat_map(move |run| {
                let start = line.base + run * line.stride;
                start..start + line.bytes
            })
        });
        prop_assert_eq!(runs.collect::<BTreeSet<u64>>(), bytes(region));
    }

    #[test]
    fn every_byte_has_the_state_of_its_accesses(
        accesses in proptest::collection::vec((any_region(), any::<bool>()), 1..30),
    ) {
        let mut pieces: Pieces<State> = Pieces::new((0, 0), UNLIMITED);
        let mut expected = vec![(0, 0); SIZE as usize];
        for (time, (region, writes)) in accesses.into_iter().enumerate() {
            let touched = bytes(region);
            let before: BTreeSet<State> =
                touched.iter().map(|at| expected[*at as usize]).collect();
            let writes = writes && region.is_disjoint();
            let mut met = BTreeSet::new();
            let mut of_region = true;
            let mut meet = |state: State, bytes: Range<u64>| {
                // Overlapping runs meet what the first of them made.
                if state.1 != time + 1 {
                    met.insert(state);
                    of_region &= bytes.clone().all(|at| expected[at as usize] == state);
                }
                of_region &= !bytes.is_empty() && bytes.into_iter().all(|at| touched.contains(&at));
            };
            if writes {
                pieces.replace(&region, &(time + 1, 0), |state, bytes| meet(*state, bytes));
            } else {
                pieces.update(&region, |state, bytes| {
                    meet(*state, bytes);
                    state.1 = time + 1;
                });
            }
            prop_assert_eq!(met, before);
            prop_assert!(of_region);
            for at in touched {
                let state = &mut expected[at as usize];
                *state = if writes { (time + 1, 0) } else { (state.0, time + 1) };
            }
            let mut states = pieces.clone();
            for (at, expected) in expected.iter().enumerate() {
                let mut state = None;
                states.update(&Region::contiguous(at as u64, 1), |found, _| state = Some(*found));
                prop_assert_eq!(state, Some(*expected), "byte {}", at);
            }
            prop_assert_eq!(pieces.pieces, pieces.blocks.values().map(Block::pieces).sum::<usize>());
        }
    }
}

/// A tensor that is written in tiles, read by heads and read as a whole.
#[test]
fn tiles_of_a_tensor_are_a_few_pieces() {
    let (rows, width) = (1370, 768);
    let mut pieces = Pieces::new(0, UNLIMITED);
    let tile =
        |row, column, rows, columns| Region::rows(row * width + column, rows, columns, width);
    for row in (0..rows).step_by(137) {
        for column in (0..width).step_by(64) {
            pieces.replace(&tile(row, column, 137, 64), &1, |_, _| ());
        }
    }
    assert_eq!(pieces.pieces, 10 * 12 + 1);
    for head in 0..12 {
        let mut visited = 0;
        pieces.update(&tile(0, head * 64, rows, 64), |_, _| visited += 1);
        assert_eq!(visited, 10);
    }
    let steps = u64::MAX - pieces.limits.steps;
    assert!(steps < 10_000, "{steps}");
    pieces.replace(&Region::contiguous(0, rows * width), &2, |_, _| ());
    assert_eq!(pieces.pieces, 2);
}

#[test]
fn limits_hold() {
    for limits in [Limits { steps: 1000, pieces: 10 }, Limits { steps: 10, pieces: 1000 }] {
        let mut pieces = Pieces::new(0, limits);
        pieces.replace(&Region::rows(0, 1 << 40, 1, 2), &1, |_, _| ());
        assert!(!pieces.is_exhausted(), "one stride");
        pieces.replace(&Region::rows(0, 1 << 30, 1, 3), &2, |_, _| ());
        assert!(pieces.is_exhausted());
        assert!(pieces.pieces < 1000, "{}", pieces.pieces);
    }
}
