//! `load`, `store` and `gather`.

use vitcod_isa::instr::table::{Gather, Load, Store};

use super::block::Block;
use super::{Memory, OperandFault, fault};

/// The loops of a transfer. The offset of a run has one part for the source and one for the
/// destination.
struct Loops {
    bytes: u32,
    inner: u16,
    outer: u16,
    inner_strides: [u32; 2],
    outer_strides: [u32; 2],
}

impl Loops {
    fn copy(&self, src: &[u8], dst: &mut [u8]) {
        let bytes = self.bytes as usize;
        // There may be any number of empty runs.
        if bytes == 0 {
            return;
        }
        for i in 0..usize::from(self.outer) {
            for j in 0..usize::from(self.inner) {
                let [from, to] = [0, 1].map(|side| {
                    i * self.outer_strides[side] as usize + j * self.inner_strides[side] as usize
                });
                dst[to..][..bytes].copy_from_slice(&src[from..][..bytes]);
            }
        }
    }
}

pub(super) fn load(op: &Load, memory: &mut Memory) {
    let Load { dst, src, bytes, inner, outer, .. } = *op;
    let loops = Loops {
        bytes,
        inner,
        outer,
        inner_strides: [op.src_inner_stride, op.dst_inner_stride],
        outer_strides: [op.src_outer_stride, op.dst_outer_stride],
    };
    loops.copy(&memory.dram[src.0 as usize..], &mut memory.sram[dst.0 as usize..]);
}

pub(super) fn store(op: &Store, memory: &mut Memory) {
    let Store { src, dst, bytes, inner, outer, .. } = *op;
    let loops = Loops {
        bytes,
        inner,
        outer,
        inner_strides: [op.src_inner_stride, op.dst_inner_stride],
        outer_strides: [op.src_outer_stride, op.dst_outer_stride],
    };
    loops.copy(&memory.sram[src.0 as usize..], &mut memory.dram[dst.0 as usize..]);
}

pub(super) fn gather(op: &Gather, memory: &mut Memory) -> Result<(), OperandFault> {
    let Gather { dst, src, bytes, rows, limit, src_stride, dst_stride, index, .. } = *op;
    let indices = Block::vector(index, rows.into(), 2).read(&memory.sram, u16::from_le_bytes);
    fault::below("index", indices.iter().copied(), limit.into())?;
    let bytes = bytes as usize;
    if bytes == 0 {
        return Ok(());
    }
    for (i, index) in indices.into_iter().enumerate() {
        let from = src.0 as usize + usize::from(index) * src_stride as usize;
        let to = dst.0 as usize + i * dst_stride as usize;
        memory.sram[to..][..bytes].copy_from_slice(&memory.dram[from..][..bytes]);
    }
    Ok(())
}
