//! The bursts of a transfer, in the order in which it asks for them.

use crate::effects::{Region, Space, accesses};
use crate::instr::Op;
use crate::instr::table::Gather;
use crate::periodic::periodic;

use super::channel::Direction;

/// What a transfer asks of the DRAM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) direction: Direction,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    /// These bytes.
    Region(Region),
    /// Rows of a table, which are known only at run time.
    Rows(Gather),
}

impl Request {
    /// What an operation asks; nothing if it is no transfer.
    pub(crate) fn of(op: &Op) -> Option<Request> {
        if let Op::Gather(gather) = op {
            return Some(Request { direction: Direction::Read, what: What::Rows(*gather) });
        }
        let access = accesses(op).into_iter().find(|access| access.space == Space::Dram)?;
        let direction = if access.mode.writes() { Direction::Write } else { Direction::Read };
        Some(Request { direction, what: What::Region(access.region) })
    }

    /// The addresses of its bursts; those of [`in_place_of_gather`] for a gather.
    pub(crate) fn addresses(&self, burst: u64) -> Box<dyn Iterator<Item = u64>> {
        match self.what {
            What::Region(region) => Box::new(of_region(region, burst)),
            What::Rows(gather) => Box::new(in_place_of_gather(gather, burst)),
        }
    }
}

/// Addresses of the bursts of a region: run by run, each with the aligned bursts that it touches.
pub(crate) fn of_region(region: Region, burst: u64) -> impl Iterator<Item = u64> {
    let runs = (region.bytes > 0).then(|| region.runs());
    runs.into_iter().flatten().flat_map(move |(at, bytes)| {
        (at / burst..=(at + (bytes - 1)) / burst).map(move |number| number * burst)
    })
}

/// Number of aligned bursts that the runs of a region touch. Runs joined by [`Region::merged`]
/// share bursts.
pub(crate) fn bursts(region: Region, burst: u64) -> u64 {
    // The position of a run within its burst repeats after at most `burst` runs.
    let of_run = |base: u64| (base % burst + region.bytes).div_ceil(burst);
    let of_inner = |base: u64| {
        periodic(region.inner, region.inner_stride, burst, |offset| of_run(base + offset))
    };
    if region.bytes == 0 {
        return 0;
    }
    periodic(region.outer, region.outer_stride, burst, |offset| {
        of_inner(region.base % burst + offset)
    })
}

/// Bursts that are paid for a row of a gather: one more than it fills if it may straddle them.
pub(crate) fn of_row(gather: &Gather, burst: u64) -> u64 {
    let bytes = u64::from(gather.bytes);
    let aligned =
        gather.src.0.is_multiple_of(burst) && u64::from(gather.src_stride).is_multiple_of(burst);
    if aligned { bytes.div_ceil(burst) } else { (bytes + burst - 1).div_ceil(burst) }
}

/// Addresses of bursts in place of those of a gather, whose rows are known only at run time: rows
/// at equal distances in the table.
pub(crate) fn in_place_of_gather(gather: Gather, burst: u64) -> impl Iterator<Item = u64> {
    let apart = (u64::from(gather.limit) / u64::from(gather.rows).max(1)).max(1);
    (0..u64::from(gather.rows)).flat_map(move |row| {
        let index = (row * apart).min(u64::from(gather.limit).saturating_sub(1));
        let first = (gather.src.0 + index * u64::from(gather.src_stride)) / burst;
        (first..first + of_row(&gather, burst)).map(move |number| number * burst)
    })
}
