//! Lists in DRAM: what lowering makes of the patterns of split attention, appended to the image of constants.
//!
//! How many bytes they take is known only after lowering, so lowered tasks name them by addresses of their own, beyond all others, and
//! [`place`] moves everything to where it belongs.

use std::collections::BTreeMap;

use vitcod_isa::instr::field::MAX_DRAM;
use vitcod_isa::instr::{Dram, Op as Instruction};

use super::storage::{DRAM_ALIGN, Storages};
use super::task::Tasks;
use crate::ir::Op;

/// Address of the first list until it is placed. Everything else lies below.
pub(super) const LISTS: u64 = MAX_DRAM / 2;

/// The lists of a program.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    /// Their bytes, each list aligned.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the lists of each operation.
    pub(super) of_layer: BTreeMap<Op, u64>,
}

impl Lists {
    /// Appends a list that a layer reads; returns its address before [`place`].
    pub(super) fn add(&mut self, layer: Op, bytes: Vec<u8>) -> Dram {
        let start = self.bytes.len().next_multiple_of(DRAM_ALIGN as usize);
        self.bytes.resize(start, 0);
        *self.of_layer.entry(layer).or_default() += bytes.len() as u64;
        self.bytes.extend(bytes);
        Dram(LISTS + start as u64)
    }
}

/// Gives the lists their place behind the constants, in storages and tasks.
pub(super) fn place(lists: &mut Lists, storages: &mut Storages, tasks: &mut Tasks) {
    let aligned = lists.bytes.len().next_multiple_of(DRAM_ALIGN as usize);
    lists.bytes.resize(aligned, 0);
    let (start, moved) = (storages.image_bytes, aligned as u64);
    storages.extend_image(moved);
    for task in &mut tasks.tasks {
        let address = match &mut task.op {
            Instruction::Load(load) => &mut load.src,
            Instruction::Store(store) => &mut store.dst,
            _ => continue,
        };
        match address.0 {
            list if list >= LISTS => address.0 = start + (list - LISTS),
            other if other >= start => address.0 = other + moved,
            _ => {}
        }
    }
}
