//! The instruction table: the only definition of the instructions.
//!
//! The operand structs, the encoder, the decoder, the disassembler, the reference (`docs/isa.md`)
//! and the generators of random instructions in tests are derived from it. Opcodes or mnemonics
//! used twice and words that are too long do not compile. Resources, memory accesses and costs of
//! an instruction are exhaustive matches elsewhere ([`Op::units`], [`crate::effects`],
//! [`crate::cost`]), so that the Rust compiler names every place that a new instruction needs.
//!
//! A field is `name: Type`; with `or bits` assembly may omit it, and these are its bits then. That
//! is for loops and strides of transfers, and for operands that a flag switches off; an address
//! that is omitted must not be accessed. Where fields lie in a word follows from their order and
//! types, see [`instr`](crate::instr).
//!
//! # Notation
//!
//! `x[i, j]` is element `j` of row `i` of the operand at address `x`, whose rows are `x_stride`
//! bytes apart and whose elements are contiguous. Integers are little-endian. `requantise` and the
//! other functions are those of [`crate::numerics`].

use super::derive::instructions;
use super::{
    Cycles, Dram, Engine, Entries, LineSet, ScoreShift, Shift, Sram, SramBytes, Traffic, Unit,
    Width,
};
use crate::numerics::Scale;

instructions! {
    /// Copies from DRAM into the scratchpad: for `i < outer`, `j < inner`, `bytes` bytes from
    /// `src + i * src_outer_stride + j * src_inner_stride` to
    /// `dst + i * dst_outer_stride + j * dst_inner_stride`.
    0x01 "load" Load {
        /// First byte written.
        dst: Sram,
        /// First byte read.
        src: Dram,
        /// Bytes of one run.
        bytes: u32,
        /// Runs of the inner loop.
        inner: u16 or 1,
        /// Runs of the outer loop.
        outer: u16 or 1,
        /// Bytes between runs of the inner loop in DRAM.
        src_inner_stride: u32 or 0,
        /// Bytes between runs of the outer loop in DRAM.
        src_outer_stride: u32 or 0,
        /// Bytes between runs of the inner loop in the scratchpad.
        dst_inner_stride: u32 or 0,
        /// Bytes between runs of the outer loop in the scratchpad.
        dst_outer_stride: u32 or 0,
        /// Kind of data.
        traffic: Traffic,
    }

    /// Copies from the scratchpad into DRAM; the loops are those of `load`.
    0x02 "store" Store {
        /// First byte read.
        src: Sram,
        /// First byte written.
        dst: Dram,
        /// Bytes of one run.
        bytes: u32,
        /// Runs of the inner loop.
        inner: u16 or 1,
        /// Runs of the outer loop.
        outer: u16 or 1,
        /// Bytes between runs of the inner loop in the scratchpad.
        src_inner_stride: u32 or 0,
        /// Bytes between runs of the outer loop in the scratchpad.
        src_outer_stride: u32 or 0,
        /// Bytes between runs of the inner loop in DRAM.
        dst_inner_stride: u32 or 0,
        /// Bytes between runs of the outer loop in DRAM.
        dst_outer_stride: u32 or 0,
        /// Kind of data.
        traffic: Traffic,
    }

    /// Gathers rows from DRAM: for `i < rows`, `bytes` bytes from `src + index[i] * src_stride` to
    /// `dst + i * dst_stride`. Each row pays whole bursts. An index not below `limit` stops the
    /// machine.
    0x03 "gather" Gather {
        /// First byte written.
        dst: Sram,
        /// Row 0 of the table.
        src: Dram,
        /// Bytes of one row.
        bytes: u32,
        /// Rows gathered.
        rows: u16,
        /// Rows of the table; at least 1.
        limit: u16,
        /// Bytes between rows of the table.
        src_stride: u32,
        /// Bytes between rows in the scratchpad.
        dst_stride: u32,
        /// The indices: `rows` unsigned 16-bit integers.
        index: Sram,
        /// Kind of data.
        traffic: Traffic,
    }

    /// Dense matrix product `dst[i, j] = requantise(init(i, j) + sum over l < runs * k of a[i, l] *
    /// b[j, l])` for `i < m`, `j < n`, on int8 operands with int32 accumulation. Both operands are
    /// contiguous along the sum (inter-MAC accumulation): `a` is activations, `b` weights. A row of
    /// `a` is `runs = 1 + more_runs` runs of `k` elements, `run_stride` bytes apart: one run if it
    /// is a row of a matrix, or one run for each line of a window of a map of pixels x channels;
    /// windows may overlap. Channel `j` is requantised by `params[j]`, 12 bytes each: int32 bias,
    /// int32 mantissa, shift, three zero bytes. `init` is the bias or, if `accumulate` is set, the
    /// int32 at `acc`. With `out=i32` the accumulators are written unchanged, and of `params` only
    /// the bias is used.
    0x10 "matmul" Matmul {
        /// The engine that executes.
        engine: Engine,
        /// Width of the results.
        out: Width,
        /// Whether to continue from the int32 at `acc` instead of the bias.
        accumulate: bool or 0,
        /// The lines that execute.
        lines: LineSet,
        /// The left operand, `m` rows of `runs` runs of `k` int8.
        a: Sram,
        /// The right operand, `n` rows of `runs * k` int8.
        b: Sram,
        /// `n` channel parameters; read unless int32 accumulators are continued as such.
        params: Sram or 0,
        /// Int32 accumulators to continue, `m` rows of `n`; read only if `accumulate` is set.
        acc: Sram or 0,
        /// The results, `m` rows of `n`.
        dst: Sram,
        /// Rows of `a`.
        m: u16,
        /// Rows of `b`.
        n: u16,
        /// Length of the runs that are summed over.
        k: u16,
        /// Bytes between rows of `a`.
        a_stride: u32,
        /// Bytes between rows of `b`.
        b_stride: u32,
        /// Bytes between rows of `acc`.
        acc_stride: u32 or 0,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
        /// Runs of a row of `a` after the first.
        more_runs: u16 or 0,
        /// Bytes between runs of a row of `a`.
        run_stride: u32 or 0,
    }

    /// Attention scores of one head: `dst[i, j] = requantise_score(sum over l < d of q[i, l] * k[j,
    /// l])` as int16 in units that are log2 / 256 or coarser (`softmax`), for `i < m` queries and
    /// `j < n` keys. Computed scores never have the smallest int16, which stands for a pruned
    /// entry. Row maxima are updated as scores are written: `max[i] = max(max[i], dst[i, j])`,
    /// beginning with the smallest int16 if `fresh` is set. If `indexed` is set, row `index[j]` of
    /// `k` is used in place of row `j`, so that keys may be anywhere and in any order; an index not
    /// below `limit` stops the machine. If `biased` is set, the score is `biased_score` with
    /// `bias[i, j]` instead of `requantise_score`. If `masked` is set, cells whose bit in `mask` is
    /// 0 are pruned, whatever their bias: `dst[i, j]` is the smallest int16, which raises no
    /// maximum.
    0x11 "sddmm" Sddmm {
        /// The engine that executes.
        engine: Engine,
        /// Whether `max` starts anew.
        fresh: bool,
        /// Whether `index` names the keys.
        indexed: bool or 0,
        /// Whether `mask` prunes cells.
        masked: bool or 0,
        /// Whether `bias` is added.
        biased: bool or 0,
        /// The lines that execute.
        lines: LineSet,
        /// Queries, `m` rows of `d` int8.
        q: Sram,
        /// Keys, `n` rows of `d` int8; `limit` rows if `indexed` is set.
        k: Sram,
        /// Row maxima, `m` int16.
        max: Sram,
        /// Scores, `m` rows of `n` int16.
        dst: Sram,
        /// Queries.
        m: u16,
        /// Keys.
        n: u16,
        /// Features.
        d: u16,
        /// Scale from the accumulator to the unit of scores.
        scale: Scale,
        /// Bytes between rows of `q`.
        q_stride: u32,
        /// Bytes between rows of `k`.
        k_stride: u32,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
        /// The rows of `k` that are the block's keys: `n` unsigned 16-bit integers.
        index: Sram or 0,
        /// Which cells are kept: `m` rows of `n` bits, low bits first, each row padded to whole
        /// bytes; rows are contiguous.
        mask: Sram or 0,
        /// Rows of `k`; at least 1.
        limit: u16 or 0,
        /// Biases of the scores, `m` contiguous rows of `n` int16 in the same units.
        bias: Sram or 0,
    }

    /// Unnormalised probabilities of `m` rows of `n` scores in units of `2^shift * log2 / 256`:
    /// `dst[i, j] = encode(src[i, j], max[i], shift)`, 0 for the smallest int16. They are int8, 127
    /// at the row's maximum, or minifloats if `minifloat` is set. Their row sums, of the integers
    /// that they represent, are `sum[i] += decode(dst[i, j])`, beginning with zero if `fresh` is
    /// set. The division by the sum is left to `spmm`. If `both` is set, the row's maximum is the
    /// larger of `max[i]` and `other_max[i]`: a row that spans both engines.
    0x12 "softmax" Softmax {
        /// The engine whose softmax unit executes.
        engine: Engine,
        /// Whether `sum` starts anew.
        fresh: bool,
        /// Whether `other_max` is used.
        both: bool or 0,
        /// Whether probabilities are minifloats instead of int8.
        minifloat: bool or 0,
        /// The unit of the scores is this power of two, in log2 / 256.
        shift: ScoreShift or 0,
        /// Scores, `m` rows of `n` int16.
        src: Sram,
        /// Row maxima, `m` int16.
        max: Sram,
        /// Row maxima of the other engine, `m` int16.
        other_max: Sram or 0,
        /// Row sums, `m` uint32.
        sum: Sram,
        /// Probabilities, `m` rows of `n` bytes.
        dst: Sram,
        /// Rows.
        m: u16,
        /// Scores of a row.
        n: u16,
        /// Bytes between rows of `src`.
        src_stride: u32,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
    }

    /// Product with the values: `dst[i, j] = requantise(init(i, j) + sum over l < n of decode(p[i,
    /// l]) * v[l, j])` for `i < m` queries and `j < d` features, with output-stationary (intra-MAC)
    /// accumulation. Row `i` is requantised by `scale / sum[i]`, or by `scale / (sum[i] +
    /// other_sum[i])` if `both` is set. `init` is zero or, if `accumulate` is set, the int32 at
    /// `acc`. With `out=i32` the accumulators are written unchanged and no sum is read.
    0x13 "spmm" Spmm {
        /// The engine that executes.
        engine: Engine,
        /// Width of the results.
        out: Width,
        /// Whether to continue from the int32 at `acc`.
        accumulate: bool or 0,
        /// Whether `other_sum` is used.
        both: bool or 0,
        /// Whether probabilities are minifloats instead of int8.
        minifloat: bool or 0,
        /// The lines that execute.
        lines: LineSet,
        /// Probabilities, `m` rows of `n` bytes.
        p: Sram,
        /// Values, `n` rows of `d` int8.
        v: Sram,
        /// Row sums, `m` uint32.
        sum: Sram or 0,
        /// Row sums of the other engine, `m` uint32.
        other_sum: Sram or 0,
        /// Int32 accumulators to continue, `m` rows of `d`; read only if `accumulate` is set.
        acc: Sram or 0,
        /// The results, `m` rows of `d`.
        dst: Sram,
        /// Queries.
        m: u16,
        /// Keys.
        n: u16,
        /// Features.
        d: u16,
        /// Scale of the product, before the division by the row sum.
        scale: Scale,
        /// Bytes between rows of `p`.
        p_stride: u32,
        /// Bytes between rows of `v`.
        v_stride: u32,
        /// Bytes between rows of `acc`.
        acc_stride: u32 or 0,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
    }

    /// Attention scores of the entries of a list: for each entry `e` of query `i` of head `h`, with
    /// key `j`, `dst[e] = requantise_score(sum over l < d of q[i, h * d + l] * k[j, h * d + l])`.
    /// `max[r]` becomes the largest score of query `r`, or the smallest int16 if it has no entry;
    /// maxima of queries that are not in the list are not written.
    0x18 "sddmm_list" SddmmList {
        /// The engine that executes.
        engine: Engine,
        /// Whether a key takes two bytes instead of one.
        wide: bool or 0,
        /// The lines that execute.
        lines: LineSet,
        /// Queries of the list, 6 bytes each.
        rows: Sram,
        /// Segments of tokens, `token_bytes` bytes.
        tokens: Sram,
        /// Queries, `m` rows of `heads * d` int8.
        q: Sram,
        /// Keys, `n` rows of `heads * d` int8.
        k: Sram,
        /// Row maxima by query, `heads * m` int16.
        max: Sram,
        /// Scores of the entries, int16.
        dst: Sram,
        /// Queries of a head.
        m: u16,
        /// Keys of a head.
        n: u16,
        /// Features of a head.
        d: u16,
        /// Heads, at most 256.
        heads: u16,
        /// Bytes between rows of `q`.
        q_stride: u16,
        /// Bytes between rows of `k`.
        k_stride: u16,
        /// Queries of the list.
        queries: u16,
        /// Bytes of `tokens`.
        token_bytes: SramBytes,
        /// Entries of the list.
        entries: Entries,
        /// Cycles that it takes.
        cycles: Cycles,
        /// Scale from the accumulator to the unit of scores.
        scale: Scale,
    }

    /// Unnormalised probabilities of the scores of a list, as `softmax` computes them for rows: for
    /// the query `r` at each position `t` of `rows` and each of its entries `e`, `dst[e] =
    /// encode(src[e], max[r], shift)`, and `sum[t]` becomes the sum of the integers they represent.
    /// If `both` is set, the row's maximum is the larger of `max[r]` and `other_max[r]`: a row that
    /// spans both engines. `rows` may be a part of a list, with the scores of its entries.
    0x19 "softmax_list" SoftmaxList {
        /// The engine whose softmax unit executes.
        engine: Engine,
        /// Whether `other_max` is used.
        both: bool or 0,
        /// Whether probabilities are minifloats instead of int8.
        minifloat: bool or 0,
        /// The unit of the scores is this power of two, in log2 / 256.
        shift: ScoreShift or 0,
        /// Queries of the list, 6 bytes each.
        rows: Sram,
        /// Scores of the entries, int16.
        src: Sram,
        /// Row maxima by query, `heads * m` int16.
        max: Sram,
        /// Row maxima by query of the other engine, `heads * m` int16.
        other_max: Sram or 0,
        /// Row sums by position in `rows`, `queries` uint32.
        sum: Sram,
        /// Probabilities of the entries, a byte each.
        dst: Sram,
        /// Queries of a head.
        m: u16,
        /// Heads, at most 256.
        heads: u16,
        /// Queries of the list.
        queries: u16,
        /// Entries of these queries.
        entries: Entries,
        /// Cycles that it takes.
        cycles: Cycles,
    }

    /// Product with the values of the entries of a list, over all heads, with output-stationary
    /// (intra-MAC) accumulation. Row `i` of head `h`, query `r` at position `t`, is
    /// `init(i, h * d + f)` and the sum over its entries `e`, with key `j`, of
    /// `decode(p[e]) * v[j, h * d + f]` for `f < d`; `dst[i, h * d + f]` is that sum, requantised
    /// by `scale / sum[t]`. `init` is zero or, if `accumulate` is set, the int32 at `acc`, to which
    /// `spmm` has added the products of a dense block; then the row is requantised by
    /// `scale / (sum[t] + block_sum[r])`. Results of queries
    /// that are not in the list are not written, although all of `dst` counts as written. The
    /// machine stops also at a query with more than 4095 minifloats.
    0x1a "spmm_list" SpmmList {
        /// The engine that executes.
        engine: Engine,
        /// Whether a key takes two bytes instead of one.
        wide: bool or 0,
        /// Whether to continue from the int32 at `acc`.
        accumulate: bool or 0,
        /// Whether probabilities are minifloats instead of int8.
        minifloat: bool or 0,
        /// The lines that execute.
        lines: LineSet,
        /// Queries of the list, 6 bytes each.
        rows: Sram,
        /// Segments of tokens, `token_bytes` bytes.
        tokens: Sram,
        /// Probabilities of the entries, a byte each.
        p: Sram,
        /// Row sums of the entries by position in `rows`, `queries` uint32.
        sum: Sram,
        /// Row sums of the blocks by query, `heads * m` uint32; read only if `accumulate` is set.
        block_sum: Sram or 0,
        /// Int32 accumulators to continue, `m` rows of `heads * d`; read only if `accumulate` is
        /// set.
        acc: Sram or 0,
        /// Values, `n` rows of `heads * d` int8.
        v: Sram,
        /// The results, `m` rows of `heads * d` int8.
        dst: Sram,
        /// Queries of a head.
        m: u16,
        /// Keys of a head.
        n: u16,
        /// Features of a head.
        d: u16,
        /// Heads, at most 256.
        heads: u16,
        /// Bytes between rows of `v`.
        v_stride: u16,
        /// Bytes between rows of `dst`.
        dst_stride: u16,
        /// Bytes between rows of `acc`.
        acc_stride: SramBytes or 0,
        /// Queries of the list.
        queries: u16,
        /// Bytes of `tokens`.
        token_bytes: SramBytes,
        /// Entries of the list.
        entries: Entries,
        /// Cycles that it takes.
        cycles: Cycles,
        /// Scale of the product, before the division by the row sum.
        scale: Scale,
    }

    /// LayerNorm of `m` rows of `n` int16, to int8 or int16, by the function `layer_norm_row`.
    /// `params` is its 16-byte header and 8 bytes per channel.
    0x20 "layernorm" LayerNorm {
        /// Width of the results: not `i32`.
        out: Width or 0,
        /// The rows, int16.
        src: Sram,
        /// Header and channels of the parameters.
        params: Sram,
        /// The results.
        dst: Sram,
        /// Rows.
        m: u16,
        /// Channels.
        n: u16,
        /// Bytes between rows of `src`.
        src_stride: u32,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
    }

    /// Rescaled add of two int16 matrices: `dst[i, j] = saturate(round_shift(a[i, j] * a_scale +
    /// b[i, j] * b_scale, shift))`, int16, or int8 if `narrow` is set.
    0x21 "add" Add {
        /// Whether the sum is int8.
        narrow: bool or 0,
        /// The left operand, int16.
        a: Sram,
        /// The right operand, int16.
        b: Sram,
        /// The sum, int16 or int8.
        dst: Sram,
        /// Rows.
        m: u16,
        /// Columns.
        n: u16,
        /// Multiplier of `a`.
        a_scale: i32,
        /// Multiplier of `b`.
        b_scale: i32,
        /// Right shift of the sum.
        shift: Shift,
        /// Bytes between rows of `a`.
        a_stride: u32,
        /// Bytes between rows of `b`.
        b_stride: u32,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
    }

    /// Looks up every int8: `dst[i, j] = table[src[i, j]]`, where the index is an unsigned byte
    /// (`-1` is entry 255).
    0x22 "lut" Lut {
        /// The elements looked up, int8.
        src: Sram,
        /// 256 int8.
        table: Sram,
        /// The results, int8.
        dst: Sram,
        /// Rows.
        m: u16,
        /// Columns.
        n: u16,
        /// Bytes between rows of `src`.
        src_stride: u32,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
    }

    /// Interpolates a function at every int16 from its values at the multiples of 256: `dst[i, j] =
    /// saturate(round_shift(table[s] * (256 - f) + table[s + 1] * f, 16))`, int8, where `s =
    /// floor(src[i, j] / 256) + 128` and `f` is the remainder. Values have 8 fraction bits.
    0x23 "interpolate" Interpolate {
        /// The arguments, int16.
        src: Sram,
        /// 257 int16: the values at -32768, -32512, ..., 32768, times 256.
        table: Sram,
        /// The results, int8.
        dst: Sram,
        /// Rows.
        m: u16,
        /// Columns.
        n: u16,
        /// Bytes between rows of `src`.
        src_stride: u32,
        /// Bytes between rows of `dst`.
        dst_stride: u32,
    }

    /// The auto-encoder's encoder: compresses `heads_in` heads of `d` features to `heads_out`,
    /// `dst[i, o * d + f] = requantise(bias[o] + sum)`, int8, for `i < m` tokens, with the sum of
    /// `src[i, h * d + f] * weights[o, h]` over `h < heads_in`. `params` is `heads_out` rows of
    /// `heads_in` int8 weights, padded to a multiple of 4, then `heads_out` channel parameters as
    /// in `matmul`.
    0x30 "encode" Encode {
        /// The lines that execute.
        lines: LineSet,
        /// Tokens, int8.
        src: Sram,
        /// Weights and channel parameters.
        params: Sram,
        /// The results, int8.
        dst: Sram,
        /// Tokens.
        m: u16,
        /// Features of a head.
        d: u16,
        /// Heads read.
        heads_in: u16,
        /// Heads written.
        heads_out: u16,
        /// Bytes between tokens of `src`.
        src_stride: u32,
        /// Bytes between tokens of `dst`.
        dst_stride: u32,
    }

    /// The auto-encoder's decoder: the function of `encode`, on the decoder lines, from compressed
    /// heads to all heads.
    0x31 "decode" Decode {
        /// The lines that execute.
        lines: LineSet,
        /// Tokens, int8.
        src: Sram,
        /// Weights and channel parameters.
        params: Sram,
        /// The results, int8.
        dst: Sram,
        /// Tokens.
        m: u16,
        /// Features of a head.
        d: u16,
        /// Heads read.
        heads_in: u16,
        /// Heads written.
        heads_out: u16,
        /// Bytes between tokens of `src`.
        src_stride: u32,
        /// Bytes between tokens of `dst`.
        dst_stride: u32,
    }

    /// Only waits and signals, on `unit`.
    0x40 "sync" Sync {
        /// The unit that executes it.
        unit: Unit,
    }

    /// Every unit waits until all units have completed the instructions before it. Has no tokens.
    0x41 "barrier" Barrier {}

    /// The end of the program, its last instruction; the machine stops when all units have
    /// completed.
    0x42 "halt" Halt {}
}
