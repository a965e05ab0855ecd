//! The constants that lowering makes from the patterns of split attention: a pool in DRAM after the
//! constants of the graph.
//!
//! Its size is known only after lowering, so lowered tasks use provisional addresses above all
//! others, and [`place`] moves the pool to its final address.

use std::collections::BTreeMap;

use vitcod_isa::instr::field::MAX_DRAM;
use vitcod_isa::instr::{Dram, Op as Instruction};

use crate::codegen::residence::storage::{DRAM_ALIGN, Residence};
use crate::ir::Op;
use crate::tiled::Tasks;

/// The provisional address of the pool. All other addresses are lower.
pub(crate) const POOL_START: u64 = MAX_DRAM / 2;

/// The pool of a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConstantPool {
    /// The bytes, each constant aligned.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of each operation.
    pub(crate) of_layer: BTreeMap<Op, u64>,
}

impl ConstantPool {
    /// Appends a constant of a layer; returns its provisional address.
    pub(crate) fn add(&mut self, layer: Op, bytes: Vec<u8>) -> Dram {
        *self.of_layer.entry(layer).or_default() += bytes.len() as u64;
        Dram(POOL_START + self.append(&bytes))
    }

    fn append(&mut self, bytes: &[u8]) -> u64 {
        let start = self.bytes.len().next_multiple_of(DRAM_ALIGN as usize);
        self.bytes.resize(start, 0);
        self.bytes.extend(bytes);
        start as u64
    }
}

/// Places the pool after the constants of the graph, in residence and tasks.
pub(crate) fn place(pool: &mut ConstantPool, residence: &mut Residence, tasks: &mut Tasks) {
    let aligned = pool.bytes.len().next_multiple_of(DRAM_ALIGN as usize);
    pool.bytes.resize(aligned, 0);
    let (start, moved) = (residence.image_bytes, aligned as u64);
    residence.extend_image(moved);
    for task in &mut tasks.tasks {
        let address = match &mut task.op {
            Instruction::Load(load) => &mut load.src,
            Instruction::Store(store) => &mut store.dst,
            _ => continue,
        };
        match address.0 {
            list if list >= POOL_START => address.0 = start + (list - POOL_START),
            other if other >= start => address.0 = other + moved,
            _ => {}
        }
    }
}
