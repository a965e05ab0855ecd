//! Residence: where tensors live, in the scratchpad or in DRAM.

pub(crate) mod constant_pool;
pub(crate) mod padded_map;
pub(crate) mod storage;

#[cfg(test)]
mod tests;
