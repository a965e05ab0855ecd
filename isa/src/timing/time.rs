//! Time on the DRAM channel: cycles and an exact fraction.

use crate::machine::MILLIBYTES_PER_BYTE;

/// A point in time: `part` fractions after the start of `cycle`, where [`Bandwidth`] or [`Clock`]
/// says how many fractions make a cycle.
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

impl Bandwidth {
    /// Fractions of a cycle.
    pub(super) fn fractions(self) -> u64 {
        self.0
    }
}

/// A clock beside the machine's, counted from the same start. A cycle has as many fractions as the
/// clock has periods in a millisecond, so that every period begins at a whole number of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Periods in a millisecond.
    kilohertz: u64,
    /// Cycles of the machine in a millisecond.
    machine: u64,
}

impl Clock {
    /// A clock of `mhz` beside a machine of `machine_mhz`, which is rounded to kHz.
    pub(super) fn new(mhz: u32, machine_mhz: f64) -> Clock {
        let machine = ((machine_mhz * 1000.0).round() as u64).max(1);
        Clock { kilohertz: (u64::from(mhz) * 1000).max(1), machine }
    }

    /// The first period that begins no earlier than a time in fractions of this clock.
    pub(super) fn first(self, time: Time) -> u64 {
        let fractions = u128::from(time.cycle) * u128::from(self.kilohertz) + u128::from(time.part);
        saturated(fractions.div_ceil(u128::from(self.machine)))
    }

    /// The beginning of a period.
    pub(super) fn time(self, period: u64) -> Time {
        let fractions = u128::from(period) * u128::from(self.machine);
        let each = u128::from(self.kilohertz);
        Time { cycle: saturated(fractions / each), part: (fractions % each) as u64 }
    }

    /// The period in which a time lies, in other fractions of a cycle.
    pub(super) fn within(self, time: Time, fractions: u64) -> u64 {
        let whole = u128::from(time.cycle) * u128::from(fractions) + u128::from(time.part);
        let per_period = u128::from(self.machine) * u128::from(fractions);
        saturated(whole.saturating_mul(self.kilohertz.into()) / per_period)
    }
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
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
    fn periods_begin_at_exact_times() {
        // 12 periods in 5 cycles.
        let clock = Clock::new(1200, 500.0);
        let periods = [0, 1, 2, 3, 11, 12, 13];
        let times = periods.map(|period| clock.time(period));
        assert_eq!(times.map(Time::ceil), [0, 1, 1, 2, 5, 5, 6]);
        assert_eq!(times[5], Time::at(5));
        assert_eq!(times.map(|time| clock.first(time)), periods);
        // Cycle 1 begins within the third period.
        assert_eq!(clock.first(Time::at(1)), 3);
        let bandwidth = Bandwidth::new(153_600);
        let bursts = [0, 1, 2, 3].map(|n| bandwidth.end(Time::at(1), n * 64));
        assert_eq!(bursts.map(|time| clock.within(time, bandwidth.fractions())), [2, 3, 4, 5]);
    }

    #[test]
    fn the_largest_transfer_does_not_overflow() {
        let end = Bandwidth::new(1).end(Time::at(u64::MAX), u64::MAX);
        assert_eq!(end.ceil(), u64::MAX);
    }
}
