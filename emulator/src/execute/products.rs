//! Instructions of the MAC lines: `matmul`, `sddmm`, `spmm`, `encode` and `decode`.

use vitcod_isa::instr::table::{Decode, Encode, Matmul, Sddmm, Spmm};
use vitcod_isa::instr::{Sram, Width};
use vitcod_isa::numerics::{
    PRUNED, ProbabilityFormat, Scale, add_bias, biased_score, requantise_i8, requantise_i16,
    requantise_score,
};
use vitcod_isa::operands::{Channel, autoencoder_bytes, autoencoder_channels_at};

use super::Core;
use super::block::Block;
use super::fault::{OperandFault, below};
use crate::kernels::{Init, Matrix, MatrixMut, gemm_nn, gemm_nt};

/// The most bytes of keys that are gathered for one call of a kernel; at least one key is.
const GATHERED_BYTES: usize = 1 << 16;

impl Core {
    pub(super) fn matmul(&mut self, op: &Matmul, sram: &mut [u8]) -> Result<(), OperandFault> {
        let Matmul { m, n, more_runs, out, .. } = *op;
        let (columns, depth) = (usize::from(n), op.depth() as usize);
        let channels = if op.accumulate && out == Width::I32 {
            Vec::new()
        } else {
            channels(Block::vector(op.params, columns, Channel::BYTES as u32).bytes(sram))?
        };
        let bias: Vec<i32> = channels.iter().map(|channel| channel.bias).collect();
        let init = if op.accumulate {
            Block::new(op.acc, m, columns, 4, op.acc_stride).read_into(
                &mut self.sums,
                sram,
                i32::from_le_bytes,
            );
            Init::Accumulate
        } else {
            Init::Bias(&bias)
        };
        let windows;
        let a = if more_runs == 0 {
            Block::new(op.a, m, depth, 1, op.a_stride).int8(sram)
        } else {
            windows = gathered_runs(op, sram);
            Matrix::from_bytes(&windows, m.into(), depth, depth).expect("the copy has that size")
        };
        let b = Block::new(op.b, n, depth, 1, op.b_stride).int8(sram);
        gemm_nt(&mut self.scratch, a, b, &mut accumulators(&mut self.sums, m, columns), init);
        let dst = Block::new(op.dst, m, columns, out.bytes(), op.dst_stride);
        self.narrow(dst, out, sram, columns, |_, j| channels[j].scale);
        Ok(())
    }

    pub(super) fn sddmm(&mut self, op: &Sddmm, sram: &mut [u8]) -> Result<(), OperandFault> {
        let Sddmm { m, n, d, .. } = *op;
        let (keys, features) = (usize::from(n), usize::from(d));
        let q = Block::new(op.q, m, features, 1, op.q_stride).int8(sram);
        if op.indexed {
            self.indexed_scores(op, q, sram)?;
        } else {
            let k = Block::new(op.k, n, features, 1, op.k_stride).int8(sram);
            gemm_nt(
                &mut self.scratch,
                q,
                k,
                &mut accumulators(&mut self.sums, m, keys),
                Init::Zero,
            );
        }

        let mut scores: Vec<i16> = if op.biased {
            let bias = Block::vector(op.bias, self.sums.len(), 2).read(sram, i16::from_le_bytes);
            self.sums
                .iter()
                .zip(bias)
                .map(|(sum, bias)| biased_score(*sum, op.scale, bias))
                .collect()
        } else {
            self.sums.iter().map(|sum| requantise_score(*sum, op.scale)).collect()
        };
        if op.masked && keys > 0 {
            let mask = Block::new(op.mask, m, keys.div_ceil(8), 1, u32::from(n.div_ceil(8)));
            for (scores, kept) in scores.chunks_exact_mut(keys).zip(mask.rows(sram)) {
                for (j, score) in scores.iter_mut().enumerate() {
                    if kept[j / 8] >> (j % 8) & 1 == 0 {
                        *score = PRUNED;
                    }
                }
            }
        }
        let max = Block::vector(op.max, m.into(), 2);
        let mut maxima =
            if op.fresh { vec![PRUNED; m.into()] } else { max.read(sram, i16::from_le_bytes) };
        if keys > 0 {
            for (max, scores) in maxima.iter_mut().zip(scores.chunks_exact(keys)) {
                *max = scores.iter().copied().fold(*max, i16::max);
            }
        }
        max.write(sram, &maxima, i16::to_le_bytes);
        Block::new(op.dst, m, keys, 2, op.dst_stride).write(sram, &scores, i16::to_le_bytes);
        Ok(())
    }

    /// Computes the accumulators of scores with indexed keys.
    fn indexed_scores(
        &mut self,
        op: &Sddmm,
        q: Matrix<'_>,
        sram: &[u8],
    ) -> Result<(), OperandFault> {
        let Sddmm { m, n, d, limit, .. } = *op;
        let (queries, keys, features) = (usize::from(m), usize::from(n), usize::from(d));
        let index = Block::vector(op.index, keys, 2).read(sram, u16::from_le_bytes);
        below("index", index.iter().copied(), limit.into())?;
        self.sums.resize(queries * keys, 0);
        if queries == 0 || keys == 0 {
            return Ok(());
        }
        let rows = Block::new(op.k, limit, features, 1, op.k_stride);
        // Gather keys in chunks that keep the copy small, whatever their width.
        let at_once = (GATHERED_BYTES / features.max(1)).max(1);
        let mut gathered = Vec::new();
        for (part, index) in index.chunks(at_once).enumerate() {
            gathered.clear();
            index
                .iter()
                .for_each(|row| gathered.extend_from_slice(rows.row_bytes(sram, (*row).into())));
            let k = Matrix::from_bytes(&gathered, index.len(), features, features)
                .expect("the copy has that size");
            let sums = &mut self.sums[part * at_once..];
            let mut sums = MatrixMut::new(sums, queries, index.len(), keys)
                .expect("the columns lie in the rows");
            gemm_nt(&mut self.scratch, q, k, &mut sums, Init::Zero);
        }
        Ok(())
    }

    pub(super) fn spmm(&mut self, op: &Spmm, sram: &mut [u8]) {
        let Spmm { m, n, d, out, .. } = *op;
        let (keys, features) = (usize::from(n), usize::from(d));
        let scales: Vec<Scale> = if out == Width::I32 {
            Vec::new()
        } else {
            let sums_at = |at: Sram| Block::vector(at, m.into(), 4).read(sram, u32::from_le_bytes);
            let mut row_sums = sums_at(op.sum);
            if op.both {
                let others = sums_at(op.other_sum);
                row_sums
                    .iter_mut()
                    .zip(others)
                    .for_each(|(sum, other)| *sum = sum.wrapping_add(other));
            }
            row_sums.into_iter().map(|sum| op.scale.combine(Scale::reciprocal(sum))).collect()
        };
        let init = if op.accumulate {
            Block::new(op.acc, m, features, 4, op.acc_stride).read_into(
                &mut self.sums,
                sram,
                i32::from_le_bytes,
            );
            Init::Accumulate
        } else {
            Init::Zero
        };
        let p = Block::new(op.p, m, keys, 1, op.p_stride);
        let v = Block::new(op.v, n, features, 1, op.v_stride).int8(sram);
        if op.minifloat {
            // An integer of 12 bits is 64 times one int8 plus another.
            let format = ProbabilityFormat::of(op.minifloat);
            let numbers: Vec<i16> =
                p.rows(sram).flatten().map(|byte| format.decode(*byte)).collect();
            let mut product = |part: fn(i16) -> i16, sums: &mut Vec<i32>, init| {
                let part: Vec<u8> = numbers.iter().map(|number| part(*number) as u8).collect();
                let p = Matrix::from_bytes(&part, m.into(), keys, keys).expect("as many numbers");
                gemm_nn(&mut self.scratch, p, v, &mut accumulators(sums, m, features), init);
            };
            product(|number| number & 63, &mut self.sums, init);
            let mut high = Vec::new();
            product(|number| number >> 6, &mut high, Init::Zero);
            for (sum, high) in self.sums.iter_mut().zip(high) {
                *sum = sum.wrapping_add(high << 6);
            }
        } else {
            let p = p.int8(sram);
            gemm_nn(&mut self.scratch, p, v, &mut accumulators(&mut self.sums, m, features), init);
        }
        let dst = Block::new(op.dst, m, features, out.bytes(), op.dst_stride);
        self.narrow(dst, out, sram, features, |i, _| scales[i]);
    }

    /// Requantises rows of `columns` accumulators to the requested width; `scale` returns the scale
    /// of a row and a column.
    fn narrow(
        &self,
        dst: Block,
        out: Width,
        sram: &mut [u8],
        columns: usize,
        scale: impl Fn(usize, usize) -> Scale,
    ) {
        fn results<T>(
            sums: &[i32],
            columns: usize,
            narrow: impl Fn(i32, usize, usize) -> T,
        ) -> Vec<T> {
            let mut results = Vec::with_capacity(sums.len());
            for (i, row) in sums.chunks_exact(columns.max(1)).enumerate() {
                results.extend(row.iter().enumerate().map(|(j, sum)| narrow(*sum, i, j)));
            }
            results
        }
        match out {
            Width::I8 => {
                let results =
                    results(&self.sums, columns, |sum, i, j| requantise_i8(sum, scale(i, j)));
                dst.write(sram, &results, i8::to_le_bytes);
            }
            Width::I16 => {
                let results =
                    results(&self.sums, columns, |sum, i, j| requantise_i16(sum, scale(i, j)));
                dst.write(sram, &results, i16::to_le_bytes);
            }
            Width::I32 => dst.write(sram, &self.sums, i32::to_le_bytes),
        }
    }
}

/// The buffer as `m` rows of `columns` accumulators. Its contents are kept if the size does not
/// change.
fn accumulators(sums: &mut Vec<i32>, m: u16, columns: usize) -> MatrixMut<'_> {
    sums.resize(usize::from(m) * columns, 0);
    MatrixMut::new(sums, m.into(), columns, columns).expect("the buffer has that size")
}

/// Concatenates the runs of each row of the left operand.
fn gathered_runs(op: &Matmul, sram: &[u8]) -> Vec<u8> {
    let (rows, runs, bytes) = (usize::from(op.m), op.runs() as usize, usize::from(op.k));
    let mut gathered = Vec::with_capacity(rows * runs * bytes);
    for row in 0..rows {
        for run in 0..runs {
            let at = op.a.0 as usize + row * op.a_stride as usize + run * op.run_stride as usize;
            // Empty runs need not lie within the scratchpad.
            gathered.extend_from_slice(if bytes == 0 { &[] } else { &sram[at..at + bytes] });
        }
    }
    gathered
}

fn channels(bytes: &[u8]) -> Result<Vec<Channel>, OperandFault> {
    Channel::read_all(bytes).map_err(|error| ("params", error.into()))
}

pub(super) fn encode(op: &Encode, sram: &mut [u8]) -> Result<(), OperandFault> {
    let Encode { src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride, .. } = *op;
    AutoEncoder { src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride }
        .execute(sram)
}

pub(super) fn decode(op: &Decode, sram: &mut [u8]) -> Result<(), OperandFault> {
    let Decode { src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride, .. } = *op;
    AutoEncoder { src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride }
        .execute(sram)
}

/// The function of `encode` and `decode`.
struct AutoEncoder {
    src: Sram,
    params: Sram,
    dst: Sram,
    m: u16,
    d: u16,
    heads_in: u16,
    heads_out: u16,
    src_stride: u32,
    dst_stride: u32,
}

impl AutoEncoder {
    fn execute(&self, sram: &mut [u8]) -> Result<(), OperandFault> {
        let [features, heads_in, heads_out] =
            [self.d, self.heads_in, self.heads_out].map(usize::from);
        let params =
            Block::vector(self.params, autoencoder_bytes(heads_in, heads_out), 1).bytes(sram);
        let (weights, channels_at) = params.split_at(autoencoder_channels_at(heads_in, heads_out));
        let channels = channels(channels_at)?;
        let dst = Block::new(self.dst, self.m, heads_out * features, 1, self.dst_stride);
        if features == 0 || heads_out == 0 {
            return Ok(());
        }

        let src = Block::new(self.src, self.m, heads_in * features, 1, self.src_stride);
        let mut results = Vec::with_capacity(usize::from(self.m) * heads_out * features);
        let mut sums = vec![0i32; features];
        for token in src.rows(sram) {
            for (o, channel) in channels.iter().enumerate() {
                sums.fill(0);
                let weights =
                    weights[o * heads_in..][..heads_in].iter().map(|byte| i32::from(*byte as i8));
                for (weight, head) in weights.zip(token.chunks_exact(features)) {
                    for (sum, x) in sums.iter_mut().zip(head) {
                        *sum = sum.wrapping_add(weight * i32::from(*x as i8));
                    }
                }
                results.extend(
                    sums.iter()
                        .map(|sum| requantise_i8(add_bias(*sum, channel.bias), channel.scale)),
                );
            }
        }
        dst.write(sram, &results, i8::to_le_bytes);
        Ok(())
    }
}
