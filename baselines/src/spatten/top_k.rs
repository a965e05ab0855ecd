//! Cycles of the top-k engine, a quickselect on random scores.
//!
//! The original's simulator draws scores and pivots from a seeded generator and counts the rounds.
//! This is its loop with its generator, seed 0, so that totals are comparable to the cycle. The
//! cycles are those of one draw, not a mean.

/// Cycles of a round beside the comparisons: comparators, zero eliminator, FIFO, next state.
const ROUND_CYCLES: u64 = 4;

/// Cycles in which the engine selects all of `tokens` scores, `comparators` at once; `at_once`
/// scores enter and leave in a cycle. The simulator is run on the scores that are fetched, and `k`
/// is their number.
pub(super) fn cycles(tokens: u32, comparators: u32, at_once: u32) -> u64 {
    let buffer = u64::from(tokens.div_ceil(at_once));
    let mut random = Mt19937::new(0);
    // `uniform_int_distribution<int>` of libstdc++ from 0 to 2^31 - 1.
    let mut scores: Vec<u32> = (0..tokens).map(|_| random.next() >> 1).collect();
    let mut cycles = 2 * buffer;
    while !scores.is_empty() {
        let position = random.up_to(scores.len() as u32) as usize;
        let pivot = scores.get(position).copied().unwrap_or_else(|| after_last(scores.len()));
        cycles += (scores.len() / comparators as usize) as u64 + ROUND_CYCLES;
        let equal = scores.iter().filter(|score| **score == pivot).count();
        scores.retain(|score| *score < pivot);
        // Fewer than k are left of the pivot in every round. If with it they are not k, the
        // original goes on among them, until none is left.
        if scores.len() + equal >= tokens as usize {
            break;
        }
    }
    cycles
}

/// What the original reads after the last of some scores. Its pivot's position may be one too far,
/// and C++ does not define what is there. In our runs, at the resources of the tests, it was this:
/// a larger score of a round before while the vector has capacity left, which doubles as it grows,
/// and a number below all scores behind a full one.
fn after_last(scores: usize) -> u32 {
    if scores.is_power_of_two() { 0 } else { u32::MAX }
}

/// The generator `std::mt19937` (Matsumoto and Nishimura, 1998).
struct Mt19937 {
    state: [u32; SIZE],
    index: usize,
}

const SIZE: usize = 624;

impl Mt19937 {
    fn new(seed: u32) -> Mt19937 {
        let mut state = [seed; SIZE];
        for i in 1..SIZE {
            let before = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = before.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Mt19937 { state, index: SIZE }
    }

    /// 32 uniform bits.
    fn next(&mut self) -> u32 {
        if self.index == SIZE {
            for i in 0..SIZE {
                let joined = (self.state[i] & 1 << 31) | (self.state[(i + 1) % SIZE] & !(1 << 31));
                let mixed = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % SIZE] ^ (joined >> 1) ^ mixed;
            }
            self.index = 0;
        }
        let mut bits = self.state[self.index];
        self.index += 1;
        bits ^= bits >> 11;
        bits ^= bits << 7 & 0x9d2c_5680;
        bits ^= bits << 15 & 0xefc6_0000;
        bits ^ bits >> 18
    }

    /// A uniform number from 0 to `last`, as `uniform_int_distribution` of libstdc++ draws it
    /// (Lemire's method).
    fn up_to(&mut self, last: u32) -> u32 {
        let range = last + 1;
        let mut product = u64::from(self.next()) * u64::from(range);
        if (product as u32) < range {
            let threshold = range.wrapping_neg() % range;
            while (product as u32) < threshold {
                product = u64::from(self.next()) * u64::from(range);
            }
        }
        (product >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_standard_one() {
        // The 10,000th number that the C++ standard states for the default seed.
        let mut random = Mt19937::new(5489);
        assert_eq!((0..10_000).map(|_| random.next()).last(), Some(4_123_659_995));
    }

    /// Printed by `simTopK` of the original, compiled with GCC and run by us with seed 0, 16
    /// comparators and parallelism 4.
    const PRINTED: [(u32, u64); 6] =
        [(125, 111), (108, 87), (104, 78), (88, 63), (62, 55), (46, 47)];

    #[test]
    fn cycles_are_those_of_the_originals_simulator() {
        for (tokens, printed) in PRINTED {
            assert_eq!(cycles(tokens, 16, 4), printed, "{tokens}");
        }
        assert_eq!(cycles(1, 16, 4), 2 + 4);
    }
}
