//! Transfers of one run of bytes.

use super::table::{Load, Store};
use super::{Dram, Sram, Traffic};

impl Load {
    /// Loads contiguous bytes.
    pub const fn contiguous(dst: Sram, src: Dram, bytes: u32, traffic: Traffic) -> Load {
        Load { dst, src, bytes, traffic, inner: 1, outer: 1, ..Load::ZERO }
    }
}

impl Store {
    /// Stores contiguous bytes.
    pub const fn contiguous(dst: Dram, src: Sram, bytes: u32, traffic: Traffic) -> Store {
        Store { dst, src, bytes, traffic, inner: 1, outer: 1, ..Store::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use crate::effects::{Region, accesses};
    use crate::instr::{Dram, Instr, Op, Sram, Traffic};

    use super::{Load, Store};

    #[test]
    fn contiguous_transfers_touch_as_many_bytes_on_both_sides() {
        let (sram, dram, traffic) = (Sram(64), Dram(4096), Traffic::Weights);
        for op in [
            Op::from(Load::contiguous(sram, dram, 100, traffic)),
            Op::from(Store::contiguous(dram, sram, 100, traffic)),
        ] {
            let mut regions: Vec<Region> =
                accesses(&op).into_iter().map(|access| access.region).collect();
            regions.sort_by_key(|region| region.base);
            assert_eq!(regions, [Region::contiguous(64, 100), Region::contiguous(4096, 100)]);
            let instr = Instr::new(op);
            assert_eq!(Instr::decode(&instr.encode().unwrap()), Ok((instr, &[][..])));
        }
    }
}
