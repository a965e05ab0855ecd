//! Seeded random numbers, the same on every platform.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator with a seed.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of mean 0 and standard deviation 1: the sum of twelve uniform 32-bit numbers minus
    /// 6 (Irwin-Hall), exact in f64. It uses no logarithm, whose last bits differ between
    /// platforms.
    pub fn normal(&mut self) -> f64 {
        let sum: u64 =
            (0..6).map(|_| self.bits()).map(|bits| (bits >> 32) + (bits & 0xffff_ffff)).sum();
        sum as f64 / 4_294_967_296.0 - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_0_gives_the_published_output() {
        assert_eq!(SplitMix64::new(0).bits(), 0xe220_a839_7b1d_cdaf);
    }
}
