//! ConstantPool in DRAM: what lowering makes of the patterns of split attention, appended to the image of
//! constants.
//!
//! How many bytes they take is known only after lowering, so lowered tasks name them by addresses
//! of their own, beyond all others, and [`place`] moves everything to where it belongs.

use std::collections::BTreeMap;

use vitcod_isa::instr::field::MAX_DRAM;
use vitcod_isa::instr::{Dram, Op as Instruction};

use crate::codegen::residence::storage::{DRAM_ALIGN, Residence};
use crate::ir::{Constant, Graph, Op};
use crate::tiled::Tasks;

/// Address of the first list until it is placed. Everything else lies below.
pub(crate) const POOL_START: u64 = MAX_DRAM / 2;

/// The pool of a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConstantPool {
    /// Their bytes, each list aligned.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the pool of each operation.
    pub(crate) of_layer: BTreeMap<Op, u64>,
    /// Where the constants of the reference start: addresses of those that tasks load too, and of
    /// the others their place behind the pool.
    reference: BTreeMap<Shared, Place>,
    /// Address of the first list.
    start: u64,
}

/// A constant's bytes, which a graph shares with those that were made of it: the address in memory
/// and the length.
type Shared = (usize, usize);

fn shared(constant: &Constant) -> Shared {
    (constant.bytes.as_ptr() as usize, constant.bytes.len())
}

/// Where a constant of the reference starts.
#[derive(Clone, Copy, Debug)]
enum Place {
    Address(u64),
    Behind(u64),
}

impl ConstantPool {
    /// Appends a list that a layer reads; returns its address before [`place`].
    pub(crate) fn add(&mut self, layer: Op, bytes: Vec<u8>) -> Dram {
        *self.of_layer.entry(layer).or_default() += bytes.len() as u64;
        Dram(POOL_START + self.append(&bytes))
    }

    /// Finds the constants of the reference, and keeps those that no task loads: the masks that the
    /// pool were made of.
    pub(crate) fn keep(&mut self, reference: &Graph, graph: &Graph, residence: &Residence) {
        for (value, address) in &residence.constants {
            if let Some(constant) = graph.constant(*value) {
                self.reference.insert(shared(constant), Place::Address(*address));
            }
        }
        let operands = reference.order.iter().flat_map(|op| &reference.op(*op).operands);
        for value in operands.chain(reference.outputs.iter().map(|output| &output.value)) {
            if let Some(constant) = reference.constant(*value)
                && !self.reference.contains_key(&shared(constant))
            {
                let start = self.append(&constant.bytes);
                self.reference.insert(shared(constant), Place::Behind(start));
            }
        }
    }

    /// Where a constant of the reference starts in the image.
    pub(crate) fn address(&self, constant: &Constant) -> u64 {
        match self.reference[&shared(constant)] {
            Place::Address(address) => address,
            Place::Behind(offset) => self.start + offset,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> u64 {
        let start = self.bytes.len().next_multiple_of(DRAM_ALIGN as usize);
        self.bytes.resize(start, 0);
        self.bytes.extend(bytes);
        start as u64
    }
}

/// Gives the pool their place behind the constants, in residence and tasks.
pub(crate) fn place(pool: &mut ConstantPool, residence: &mut Residence, tasks: &mut Tasks) {
    let aligned = pool.bytes.len().next_multiple_of(DRAM_ALIGN as usize);
    pool.bytes.resize(aligned, 0);
    let (start, moved) = (residence.image_bytes, aligned as u64);
    pool.start = start;
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
