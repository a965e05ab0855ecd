//! Instructions of the softmax units and of the vector unit.

use vitcod_isa::instr::Width;
use vitcod_isa::instr::table::{Add, Interpolate, LayerNorm, Lut, Softmax};
use vitcod_isa::numerics::{
    self, Interpolation, LayerNormParams, ProbabilityFormat, Quantised, layer_norm_row,
    round_shift, softmax_probs,
};

use super::OperandFault;
use super::block::Block;

pub(super) fn softmax(op: &Softmax, sram: &mut [u8]) {
    let Softmax { m, n, .. } = *op;
    let (rows, columns) = (usize::from(m), usize::from(n));
    let scores = Block::new(op.src, m, columns, 2, op.src_stride).read(sram, i16::from_le_bytes);
    let mut maxima = Block::vector(op.max, rows, 2).read(sram, i16::from_le_bytes);
    if op.both {
        let others = Block::vector(op.other_max, rows, 2).read(sram, i16::from_le_bytes);
        maxima.iter_mut().zip(others).for_each(|(max, other)| *max = other.max(*max));
    }
    let sum = Block::vector(op.sum, rows, 4);
    let mut sums = if op.fresh { vec![0; rows] } else { sum.read(sram, u32::from_le_bytes) };
    let format = ProbabilityFormat::of(op.minifloat);
    let mut probabilities = vec![0; scores.len()];
    for (i, (sum, max)) in sums.iter_mut().zip(maxima).enumerate() {
        let row = i * columns..(i + 1) * columns;
        let (scores, probabilities) = (&scores[row.clone()], &mut probabilities[row]);
        *sum = sum.wrapping_add(softmax_probs(scores, max, op.shift.0, format, probabilities));
    }
    sum.write(sram, &sums, u32::to_le_bytes);
    Block::new(op.dst, m, columns, 1, op.dst_stride).write(sram, &probabilities, u8::to_le_bytes);
}

pub(super) fn layer_norm(op: &LayerNorm, sram: &mut [u8]) -> Result<(), OperandFault> {
    let LayerNorm { m, n, .. } = *op;
    let columns = usize::from(n);
    let params = Block::vector(op.params, LayerNormParams::encoded_len(columns), 1).bytes(sram);
    let params = LayerNormParams::from_bytes(params).map_err(|error| ("params", error.into()))?;
    let src = Block::new(op.src, m, columns, 2, op.src_stride).read(sram, i16::from_le_bytes);
    let dst = Block::new(op.dst, m, columns, op.out.bytes(), op.dst_stride);
    match op.out {
        Width::I8 => dst.write(sram, &normalised(&src, &params), i8::to_le_bytes),
        Width::I16 => dst.write(sram, &normalised(&src, &params), i16::to_le_bytes),
        // Rejected by the checks.
        Width::I32 => {
            dst.write(sram, &normalised(&src, &params), |x: i16| i32::from(x).to_le_bytes())
        }
    }
    Ok(())
}

/// Normalises rows one after the other.
fn normalised<O: Quantised + Default>(src: &[i16], params: &LayerNormParams) -> Vec<O> {
    let mut results = vec![O::default(); src.len()];
    for (row, result) in
        src.chunks_exact(params.width()).zip(results.chunks_exact_mut(params.width()))
    {
        layer_norm_row(row, params, result);
    }
    results
}

pub(super) fn add(op: &Add, sram: &mut [u8]) {
    let Add { narrow, m, n, a_scale, b_scale, shift, .. } = *op;
    let columns = usize::from(n);
    let a = Block::new(op.a, m, columns, 2, op.a_stride).read(sram, i16::from_le_bytes);
    let b = Block::new(op.b, m, columns, 2, op.b_stride).read(sram, i16::from_le_bytes);
    let sum = |(a, b): (&i16, &i16)| {
        round_shift(
            i64::from(*a) * i64::from(a_scale) + i64::from(*b) * i64::from(b_scale),
            shift.0,
        )
    };
    let sums: Vec<i64> = a.iter().zip(&b).map(sum).collect();
    if narrow {
        let dst = Block::new(op.dst, m, columns, 1, op.dst_stride);
        dst.write(sram, &sums, |sum| i8::saturate(sum).to_le_bytes());
    } else {
        let dst = Block::new(op.dst, m, columns, 2, op.dst_stride);
        dst.write(sram, &sums, |sum| i16::saturate(sum).to_le_bytes());
    }
}

pub(super) fn lut(op: &Lut, sram: &mut [u8]) {
    let Lut { m, n, .. } = *op;
    let columns = usize::from(n);
    let mut table = [0; 256];
    table.copy_from_slice(Block::vector(op.table, 256, 1).bytes(sram));
    let table = numerics::Lut::from_bytes(&table);
    let src = Block::new(op.src, m, columns, 1, op.src_stride).read(sram, i8::from_le_bytes);
    Block::new(op.dst, m, columns, 1, op.dst_stride)
        .write(sram, &src, |x| table.apply(x).to_le_bytes());
}

pub(super) fn interpolate(op: &Interpolate, sram: &mut [u8]) -> Result<(), OperandFault> {
    let Interpolate { m, n, .. } = *op;
    let columns = usize::from(n);
    let table =
        Interpolation::from_bytes(Block::vector(op.table, Interpolation::BYTES, 1).bytes(sram))
            .map_err(|error| ("table", error.into()))?;
    let src = Block::new(op.src, m, columns, 2, op.src_stride).read(sram, i16::from_le_bytes);
    Block::new(op.dst, m, columns, 1, op.dst_stride)
        .write(sram, &src, |x| table.apply(x).to_le_bytes());
    Ok(())
}
