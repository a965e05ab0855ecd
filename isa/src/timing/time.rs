//! Time on the DRAM channel: cycles and an exact fraction.

use crate::machine::MILLIBYTES_PER_BYTE;

/// A point in time: `part` fractions after the start of `cycle`, where [`Bandwidth`] says how many
/// fractions make a cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    cycle: u64,
    part: u64,
}

impl Time {
    /// The start of a cycle.
    pub(super) fn at(cycle: u64) -> Time {
        Time { cycle, part: 0 }
    }

    /// The first cycle that starts no earlier.
    pub(super) fn ceil(self) -> u64 {
        self.cycle.saturating_add(u64::from(self.part > 0))
    }

    /// A number of cycles later.
    pub(super) fn later(self, cycles: u64) -> Time {
        Time { cycle: self.cycle.saturating_add(cycles), part: self.part }
    }
}

/// Thousandths of a byte per cycle. A cycle has as many fractions, so that a byte takes a thousand
/// of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bandwidth(u64);

impl Bandwidth {
    pub(super) fn new(millibytes_per_cycle: u64) -> Bandwidth {
        Bandwidth(millibytes_per_cycle)
    }

    /// When a transfer that starts at `start` ends.
    pub(super) fn end(self, start: Time, bytes: u64) -> Time {
        let parts = u128::from(start.part) + u128::from(bytes) * u128::from(MILLIBYTES_PER_BYTE);
        let (cycles, part) = (parts / u128::from(self.0), parts % u128::from(self.0));
        Time {
            cycle: start.cycle.saturating_add(u64::try_from(cycles).unwrap_or(u64::MAX)),
            part: part as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_add_up_exactly() {
        // 64 bytes at 153.6 per cycle are 5/12 of a cycle.
        let bandwidth = Bandwidth::new(153_600);
        let ends =
            std::iter::successors(Some(Time::default()), |start| Some(bandwidth.end(*start, 64)));
        let ends: Vec<Time> = ends.take(13).collect();
        assert_eq!(ends[1].ceil(), 1);
        assert_eq!(ends[2].ceil(), 1);
        assert_eq!(ends[3].ceil(), 2);
        assert_eq!(ends[12], Time::at(5));
    }

    #[test]
    fn the_largest_transfer_does_not_overflow() {
        let end = Bandwidth::new(1).end(Time::at(u64::MAX), u64::MAX);
        assert_eq!(end.ceil(), u64::MAX);
    }
}
