//! Streams of words between the banks and a unit's slots.
//!
//! A stream visits the rows of an operand in order, in *windows*: as many consecutive rows as have
//! no more words than there are banks, where each counts as many as any of them can have. If a row
//! alone has more, its runs are visited in windows of as many words as there are banks; so are
//! contiguous rows, as one run. The words of a window may arrive in any order, each distinct word
//! once. A *layer* is a set of words in different banks; a slot delivers a layer per revolution of
//! the banks. A window takes as many layers as it has words in one bank (ours; that so many suffice
//! is immediate, because banks are independent).
//!
//! Words of consecutive rows are in different banks if the rows are contiguous, or if the stride in
//! words has no common factor with the number of banks. The compiler chooses strides so.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::machine::{MAX_BANKS, Organisation};

use crate::periodic::{Summand, periodic};

/// The words of a stream, and the layers in which the banks deliver them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) words: u64,
    pub(super) layers: u64,
}

impl Stream {
    pub(super) fn and(self, other: Stream) -> Stream {
        Stream {
            words: self.words.saturating_add(other.words),
            layers: self.layers.saturating_add(other.layers),
        }
    }
}

impl Summand for Stream {
    fn plus(self, other: Stream) -> Stream {
        self.and(other)
    }

    fn times(self, count: u64) -> Stream {
        Stream {
            words: self.words.saturating_mul(count),
            layers: self.layers.saturating_mul(count),
        }
    }
}

/// Rows of an operand in the order in which a stream visits them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) base: u64,
    pub(super) count: u64,
    pub(super) stride: u64,
    /// Runs of a row, and the bytes between them.
    pub(super) runs: u64,
    pub(super) run_stride: u64,
    /// Bytes of a run.
    pub(super) bytes: u64,
}

impl Rows {
    /// Rows of a matrix.
    pub(super) fn new(base: u64, count: u64, bytes: u64, stride: u64) -> Rows {
        Rows { base, count, stride, runs: 1, run_stride: 0, bytes }
    }

    /// The rows `offset` bytes further on.
    pub(super) fn at(self, offset: u64) -> Rows {
        Rows { base: self.base.saturating_add(offset), ..self }
    }

    /// Bytes of a row.
    pub(super) fn depth(self) -> u64 {
        self.runs.saturating_mul(self.bytes)
    }
}

/// The banks, as streams see them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) banks: u64,
    pub(super) word: u64,
}

impl Geometry {
    pub(super) fn new(organisation: Organisation<'_>) -> Geometry {
        Geometry {
            banks: organisation.banks.count.into(),
            word: organisation.banks.word_bytes.into(),
        }
    }

    /// The stream of some rows.
    pub(super) fn stream(self, rows: Rows) -> Stream {
        let Rows { count, stride, runs, bytes, .. } = rows;
        let base = rows.base % self.word;
        if count == 0 || runs == 0 || bytes == 0 {
            return Stream::default();
        }
        if runs == 1 && (count == 1 || stride == bytes) {
            return self.contiguous(base, bytes.saturating_mul(count));
        }
        let words = runs.saturating_mul(self.words_of_run(base, rows));
        if words > self.banks {
            // A row is several windows; its runs are.
            return self.sum(count, stride, |row| {
                self.sum(runs, rows.run_stride, |run| self.contiguous_run(base + row + run, bytes))
            });
        }
        let window = self.banks / words;
        let of = |count: u64, offset: u64| {
            self.window(Rows { base: (base + offset) % self.word, count, ..rows })
        };
        // Banks that turn by some words change no load: only the position within a word matters.
        let full = count / window;
        let windows = self.sum(full, window.saturating_mul(stride), |offset| of(window, offset));
        let offset = (full * window % self.word) * (stride % self.word);
        windows.and(of(count % window, offset))
    }

    /// As many rows of one run as that, but any rows at multiples of the stride, in any order: each
    /// is a window by itself, and begins where it takes the most words.
    pub(super) fn anywhere(self, rows: Rows) -> Stream {
        if rows.bytes == 0 {
            return Stream::default();
        }
        // Rows begin at all multiples of this within a word, beside the offset of the first.
        let apart = 1 << rows.stride.trailing_zeros().min(self.word.trailing_zeros());
        let start = self.word - apart + rows.base % apart;
        let words = (start + rows.bytes).div_ceil(self.word);
        Stream { words, layers: words.div_ceil(self.banks) }.times(rows.count)
    }

    /// The sum of streams `stride` bytes apart.
    pub(super) fn sum(self, count: u64, stride: u64, of: impl Fn(u64) -> Stream) -> Stream {
        periodic(count, stride, self.word, of)
    }

    /// The most words of a run.
    fn words_of_run(self, base: u64, rows: Rows) -> u64 {
        let strides = [base, rows.stride, rows.run_stride];
        if strides.iter().all(|stride| stride.is_multiple_of(self.word)) {
            rows.bytes.div_ceil(self.word)
        } else {
            (rows.bytes + 2 * (self.word - 1)) / self.word
        }
    }

    fn contiguous_run(self, base: u64, bytes: u64) -> Stream {
        self.contiguous(base, bytes)
    }

    /// The stream of contiguous bytes.
    pub(super) fn contiguous(self, base: u64, bytes: u64) -> Stream {
        if bytes == 0 {
            return Stream::default();
        }
        let words = (base % self.word + bytes).div_ceil(self.word);
        Stream { words, layers: words.div_ceil(self.banks) }
    }

    /// The stream of some bytes anywhere, `(address, bytes)`, in windows of as many of them as have
    /// no more words than there are banks.
    pub(super) fn windows(self, bytes: impl Iterator<Item = (u64, u64)>) -> Stream {
        let mut sum = Stream::default();
        let mut window = BTreeSet::new();
        for (at, bytes) in bytes {
            let words = self.words(at, bytes);
            let new = words.clone().filter(|word| !window.contains(word)).count();
            if window.len() + new > self.banks as usize {
                sum = sum.and(self.layers(window.iter().copied()));
                window.clear();
            }
            window.extend(words);
        }
        sum.and(self.layers(window.into_iter()))
    }

    /// Rows that are one window.
    fn window(self, rows: Rows) -> Stream {
        if rows.runs == 1 {
            return self.rising(rows);
        }
        let runs = |row: u64| {
            let at = rows.base + row * rows.stride;
            (0..rows.runs).map(move |run| (at + run * rows.run_stride, rows.bytes))
        };
        self.distinct((0..rows.count).flat_map(runs))
    }

    /// Rows of one run that are one window. Their words come in rising order, so that a word is
    /// distinct unless the row before has it.
    fn rising(self, rows: Rows) -> Stream {
        let Rows { base, count, stride, bytes, .. } = rows;
        let whole_words = stride > 0 && stride.is_multiple_of(self.word);
        if whole_words && base % self.word + bytes <= self.word {
            // One word each, in as many banks as the stride reaches.
            let reached = self.banks / greatest_divisor(stride / self.word, self.banks);
            return Stream { words: count, layers: count.div_ceil(reached) };
        }
        let mut load = [0u64; MAX_BANKS as usize];
        let (mut distinct, mut next) = (0, 0);
        for row in 0..count {
            let words = self.words(base + row * stride, bytes);
            for word in words.start.max(next)..words.end {
                load[(word % self.banks) as usize] += 1;
                distinct += 1;
            }
            next = words.end.max(next);
        }
        Stream { words: distinct, layers: load.into_iter().max().unwrap_or(0) }
    }

    /// The distinct words of a window, and the most of them in a bank.
    fn distinct(self, bytes: impl Iterator<Item = (u64, u64)>) -> Stream {
        let mut words: Vec<u64> = bytes.flat_map(|(at, bytes)| self.words(at, bytes)).collect();
        words.sort_unstable();
        words.dedup();
        self.layers(words.into_iter())
    }

    /// The words of some bytes.
    fn words(self, at: u64, bytes: u64) -> Range<u64> {
        at / self.word..(at + bytes).div_ceil(self.word)
    }

    /// The stream of distinct words that may arrive in any order.
    fn layers(self, words: impl ExactSizeIterator<Item = u64>) -> Stream {
        let count = words.len() as u64;
        let mut load = [0u64; MAX_BANKS as usize];
        words.for_each(|word| load[(word % self.banks) as usize] += 1);
        Stream { words: count, layers: load.into_iter().max().unwrap_or(0) }
    }
}

/// The greatest common divisor.
fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// The layers of a stream, word by word.
    fn plain(geometry: Geometry, rows: Rows) -> Stream {
        let Rows { base, count, stride, runs, run_stride, bytes } = rows;
        let words_of = |at: u64| at / geometry.word..(at + bytes).div_ceil(geometry.word);
        let aligned = [base, stride, run_stride].iter().all(|at| at % geometry.word == 0);
        let most = runs
            * if aligned {
                bytes.div_ceil(geometry.word)
            } else {
                (bytes + 2 * (geometry.word - 1)) / geometry.word
            };
        let mut windows: Vec<BTreeSet<u64>> = Vec::new();
        if runs == 1 && (count == 1 || stride == bytes) {
            let all: Vec<u64> =
                (base / geometry.word..(base + bytes * count).div_ceil(geometry.word)).collect();
            windows.extend(
                all.chunks(geometry.banks as usize).map(|words| words.iter().copied().collect()),
            );
        } else if most > geometry.banks {
            for run in (0..count)
                .flat_map(|row| (0..runs).map(move |run| base + row * stride + run * run_stride))
            {
                let words: Vec<u64> = words_of(run).collect();
                windows.extend(
                    words
                        .chunks(geometry.banks as usize)
                        .map(|words| words.iter().copied().collect()),
                );
            }
        } else {
            let rows: Vec<u64> = (0..count).collect();
            for rows in rows.chunks((geometry.banks / most.max(1)).max(1) as usize) {
                let runs = rows.iter().flat_map(|row| {
                    (0..runs).map(move |run| base + row * stride + run * run_stride)
                });
                windows.push(runs.flat_map(words_of).collect());
            }
        }
        let layers = |set: &BTreeSet<u64>| {
            let mut load: BTreeMap<u64, u64> = BTreeMap::new();
            set.iter().for_each(|word| *load.entry(word % geometry.banks).or_default() += 1);
            Stream { words: set.len() as u64, layers: load.into_values().max().unwrap_or_default() }
        };
        windows.iter().map(layers).fold(Stream::default(), Stream::and)
    }

    #[test]
    fn strides_without_a_common_factor_spread_over_all_banks() {
        let geometry = Geometry { banks: 32, word: 64 };
        let rows = |stride| geometry.stream(Rows::new(0, 64, 64, stride));
        assert_eq!(rows(64), Stream { words: 64, layers: 2 });
        assert_eq!(rows(192), Stream { words: 64, layers: 2 });
        // 12 words: only every fourth bank.
        assert_eq!(rows(768), Stream { words: 64, layers: 8 });
        assert_eq!(rows(2048), Stream { words: 64, layers: 64 });
        assert_eq!(rows(0), Stream { words: 2, layers: 2 });
        // Rows that do not begin with a word take part of two; neighbours share one.
        assert_eq!(geometry.stream(Rows::new(16, 3, 50, 60)), Stream { words: 3, layers: 1 });
        // Windows of 3 lines of a map, of which neighbours share pixels.
        let windows = Rows { base: 0, count: 4, stride: 6, runs: 3, run_stride: 678, bytes: 9 };
        assert_eq!(geometry.stream(windows), Stream { words: 4, layers: 1 });
    }

    #[test]
    fn windows_of_bytes_anywhere_have_no_more_words_than_there_are_banks() {
        let geometry = Geometry { banks: 4, word: 64 };
        let of = |bytes: &[(u64, u64)]| geometry.windows(bytes.iter().copied());
        // All in one word, whatever the order.
        assert_eq!(of(&[(0, 2), (62, 2), (8, 2), (0, 2)]), Stream { words: 1, layers: 1 });
        // Four words in different banks, then a fifth: two windows.
        let apart: Vec<(u64, u64)> = (0..5).map(|word| (word * 64, 4)).collect();
        assert_eq!(of(&apart), Stream { words: 5, layers: 2 });
        // Four words of one bank.
        let same: Vec<(u64, u64)> = (0..4).map(|word| (word * 256, 4)).collect();
        assert_eq!(of(&same), Stream { words: 4, layers: 4 });
        // The second one does not fit with the first; what has more words than there are banks is
        // a window by itself.
        assert_eq!(of(&[(0, 192), (192, 128)]), Stream { words: 5, layers: 2 });
        assert_eq!(of(&[(0, 384)]), Stream { words: 6, layers: 2 });
        assert_eq!(of(&[]), Stream::default());
    }

    proptest! {
        #[test]
        fn rows_anywhere_take_as_many_words_as_any(
            banks in 1u64..20, word in prop_oneof![Just(1u64), Just(4), Just(16), Just(64)],
            base in 0u64..200, bytes in 1u64..300, stride in 0u64..300, count in 0u64..5,
        ) {
            let geometry = Geometry { banks, word };
            let of = |base: u64| geometry.contiguous(base, bytes);
            // Beginnings repeat after as many rows as a word has bytes.
            let all: Vec<Stream> = (0..word).map(|row| of(base + row * stride)).collect();
            let words = all.iter().map(|row| row.words).max().unwrap();
            let layers = all.iter().map(|row| row.layers).max().unwrap();
            let found = geometry.anywhere(Rows::new(base, count, bytes, stride));
            prop_assert_eq!(found, Stream { words, layers }.times(count));
        }

        #[test]
        fn closed_forms_count_every_word(
            banks in 1u64..20, word in prop_oneof![Just(1u64), Just(4), Just(16), Just(64)],
            base in 0u64..200, count in 0u64..40, bytes in 1u64..300, apart in 0u64..200, aligned: bool,
            runs in 1u64..4, run_stride in 0u64..500,
        ) {
            let geometry = Geometry { banks, word };
            let align = |stride: u64| if aligned { stride.next_multiple_of(word) } else { stride };
            let (base, stride, run_stride) = (align(base), align(bytes + apart), align(run_stride));
            let rows = Rows { base, count, stride, runs, run_stride, bytes };
            prop_assert_eq!(geometry.stream(rows), plain(geometry, rows));
        }
    }
}
