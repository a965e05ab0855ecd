//! Sets of contexts.

use super::groups::MAX_CONTEXTS;

const WORDS: usize = MAX_CONTEXTS as usize / 64;

/// A set of contexts of all groups: context `c` of group `g` has the number `g * contexts + c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContextSet([u64; WORDS]);

impl ContextSet {
    /// No context.
    pub const EMPTY: ContextSet = ContextSet([0; WORDS]);

    /// Adds a context.
    pub fn insert(&mut self, context: u8) {
        self.0[usize::from(context) / 64] |= 1 << (context % 64);
    }

    /// Whether a context is in the set.
    pub fn contains(&self, context: u8) -> bool {
        self.0[usize::from(context) / 64] >> (context % 64) & 1 == 1
    }

    /// Whether no context is in the set.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Number of contexts.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The contexts, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        let words = self.0.into_iter().enumerate();
        words.flat_map(|(place, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some((64 * place) as u8 + bit as u8)
            })
        })
    }

    /// The groups of so many contexts that have contexts in the set, and how many.
    pub fn by_group(&self, contexts: u32) -> impl Iterator<Item = (usize, u64)> {
        let contexts = contexts.max(1) as usize;
        let mut left = self.iter().map(move |context| usize::from(context) / contexts).peekable();
        std::iter::from_fn(move || {
            let group = left.next()?;
            let mut uses = 1;
            while left.next_if_eq(&group).is_some() {
                uses += 1;
            }
            Some((group, uses))
        })
    }

    /// The bits of the first contexts, low bits first, as many bytes as there are.
    pub fn to_bytes(&self, bytes: &mut [u8]) {
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = (self.0[place / 8] >> (8 * (place % 8))) as u8;
        }
    }

    /// The set of these bits; bytes beyond all contexts are ignored.
    pub fn from_bytes(bytes: &[u8]) -> ContextSet {
        let mut set = ContextSet::EMPTY;
        for (place, byte) in bytes.iter().enumerate().take(8 * WORDS) {
            set.0[place / 8] |= u64::from(*byte) << (8 * (place % 8));
        }
        set
    }
}

impl FromIterator<u8> for ContextSet {
    fn from_iter<I: IntoIterator<Item = u8>>(contexts: I) -> ContextSet {
        let mut set = ContextSet::EMPTY;
        contexts.into_iter().for_each(|context| set.insert(context));
        set
    }
}
