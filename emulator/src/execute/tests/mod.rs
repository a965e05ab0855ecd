//! Each instruction against a plain reading of the instruction table: element by element, by
//! address, without the kernels.

mod faults;
mod lists;
mod split_attention;

use proptest::prelude::*;
use vitcod_isa::instr::table::*;
use vitcod_isa::instr::{
    Dram, Engine, Instr, LineSet, Op, ScoreShift, Shift, Sram, Traffic, Width,
};
use vitcod_isa::numerics::{
    LayerNormParams, Scale, layer_norm_row, requantise, requantise_i8, requantise_i16,
};
use vitcod_isa::operands::{Channel, autoencoder_channels_at};
use vitcod_support::random::SplitMix64;

use super::block::Block;
use super::*;
use vitcod_isa::testing;

const LINES: LineSet = LineSet { first: 0, count: 64 };

/// Memory full of pseudo-random bytes, and where free space of the scratchpad begins.
struct Bench {
    memory: Memory,
    free: u32,
    random: SplitMix64,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let mut bench = Bench {
            memory: Memory::new(&testing::program([], &[])).unwrap(),
            free: 0,
            random: SplitMix64::new(seed),
        };
        let bytes = bench.random(bench.memory.sram.len() + bench.memory.dram.len());
        let (sram, dram) = bytes.split_at(bench.memory.sram.len());
        bench.memory.sram.copy_from_slice(sram);
        bench.memory.dram.copy_from_slice(dram);
        bench
    }

    fn next(&mut self) -> u64 {
        self.random.bits()
    }

    fn random(&mut self, count: usize) -> Vec<u8> {
        let words = count.div_ceil(8);
        let mut bytes: Vec<u8> = (0..words).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }

    /// A place for `rows` rows of `bytes` bytes, and a stride that leaves gaps.
    fn rows(&mut self, rows: u16, bytes: u32) -> (Sram, u32) {
        let stride = bytes.next_multiple_of(4) + 4 * (self.next() % 3) as u32;
        let at = self.free.next_multiple_of(8);
        self.free = at + u32::from(rows) * stride;
        (Sram(at), stride)
    }

    /// Writes bytes to a new place.
    fn put(&mut self, bytes: &[u8]) -> Sram {
        let (at, _) = self.rows(1, bytes.len() as u32);
        self.memory.sram[at.0 as usize..][..bytes.len()].copy_from_slice(bytes);
        at
    }

    fn scale(&mut self) -> Scale {
        Scale::from_f64((self.next() % 1000 + 1) as f64 / 40_000.0).unwrap()
    }

    fn channels(&mut self, count: u16) -> Vec<u8> {
        let channel =
            |bench: &mut Bench| Channel { bias: bench.next() as i32 >> 18, scale: bench.scale() };
        (0..count).flat_map(|_| channel(self).to_bytes()).collect()
    }

    /// Executes an instruction and compares all memory with what the plain reading gives.
    fn expect(self, op: impl Into<Op>, plain: impl FnOnce(&mut Plain)) {
        self.expect_on(&testing::vitcod(), op, plain);
    }

    /// [`Bench::expect`] on a machine.
    fn expect_on(mut self, machine: &Machine, op: impl Into<Op>, plain: impl FnOnce(&mut Plain)) {
        let mut expected = Plain { old: self.memory.sram.clone(), new: self.memory.sram.clone() };
        let dram = self.memory.dram.clone();
        plain(&mut expected);
        let instr = Instr::new(op);
        Core::new(machine).execute(0, &instr, &mut self.memory).unwrap();
        assert!(self.memory.sram == expected.new, "{instr}");
        assert!(self.memory.dram == dram, "{instr}");
    }
}

/// The scratchpad before and after an instruction.
struct Plain {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Plain {
    fn get<const N: usize>(&self, at: Sram, offset: usize) -> [u8; N] {
        self.old[at.0 as usize + offset..][..N].try_into().unwrap()
    }

    fn i8(&self, at: Sram, stride: u32, i: usize, j: usize) -> i32 {
        i8::from_le_bytes(self.get(at, i * stride as usize + j)).into()
    }

    fn i16(&self, at: Sram, stride: u32, i: usize, j: usize) -> i16 {
        i16::from_le_bytes(self.get(at, i * stride as usize + 2 * j))
    }

    fn i32(&self, at: Sram, stride: u32, i: usize, j: usize) -> i32 {
        i32::from_le_bytes(self.get(at, i * stride as usize + 4 * j))
    }

    fn u32(&self, at: Sram, i: usize) -> u32 {
        u32::from_le_bytes(self.get(at, 4 * i))
    }

    fn channel(&self, at: Sram, j: usize) -> Channel {
        Channel::from_bytes(&self.get(at, 12 * j)).unwrap()
    }

    fn put<const N: usize>(&mut self, at: Sram, offset: usize, bytes: [u8; N]) {
        self.new[at.0 as usize + offset..][..N].copy_from_slice(&bytes);
    }

    /// Writes element (i, j) of a result from its accumulator.
    fn result(
        &mut self,
        at: Sram,
        stride: u32,
        (i, j): (usize, usize),
        out: Width,
        sum: i32,
        scale: Scale,
    ) {
        let row = i * stride as usize;
        match out {
            Width::I8 => self.put(at, row + j, requantise_i8(sum, scale).to_le_bytes()),
            Width::I16 => self.put(at, row + 2 * j, requantise_i16(sum, scale).to_le_bytes()),
            Width::I32 => self.put(at, row + 4 * j, sum.to_le_bytes()),
        }
    }
}

fn loops(rows: u16, columns: u16) -> impl Iterator<Item = (usize, usize)> {
    (0..usize::from(rows)).flat_map(move |i| (0..usize::from(columns)).map(move |j| (i, j)))
}

fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(Width::ALL)
}

fn engine() -> impl Strategy<Value = Engine> {
    prop::sample::select(Engine::ALL)
}

/// The integer that a minifloat represents, by its definition in real numbers.
fn number_of(byte: u8) -> u32 {
    let (exponent, mantissa) = (i32::from(byte / 32), f64::from(byte % 32));
    let number = if exponent == 0 { mantissa } else { (32.0 + mantissa) * 2f64.powi(exponent - 1) };
    number as u32
}

/// The minifloat next to a number, halves up, by search, and what it represents.
fn minifloat_of(real: f64) -> (u8, u32) {
    let distance = |byte: &u8| (f64::from(number_of(*byte)) - real).abs();
    let nearest = (0..=u8::MAX).rev().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.map(|byte| (byte, number_of(byte))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn matmul(
        seed: u64, engine in engine(), out in width(), accumulate: bool,
        m in 1u16..9, n in 1u16..70, runs in 1u16..4, k in 1u16..50,
    ) {
        let mut bench = Bench::new(seed);
        // Windows overlap in part.
        let (a, run_stride) = bench.rows(runs + m, u32::from(k) + 8);
        let a_stride = bench.next() as u32 % (run_stride + 1);
        let (b, b_stride) = bench.rows(n, u32::from(runs) * u32::from(k));
        let (acc, acc_stride) = bench.rows(m, 4 * u32::from(n));
        let (dst, dst_stride) = bench.rows(m, out.bytes() * u32::from(n));
        let channels = bench.channels(n);
        let params = bench.put(&channels);
        let op = Matmul {
            engine, out, accumulate, lines: LINES, a, b, params, acc, dst, m, n, k, a_stride, b_stride, acc_stride, dst_stride,
            more_runs: runs - 1, run_stride,
        };
        bench.expect(op, |plain| for (i, j) in loops(m, n) {
            let channel = plain.channel(params, j);
            let init = if accumulate { plain.i32(acc, acc_stride, i, j) } else { channel.bias };
            let product = |(run, l): (usize, usize)| {
                let left = Sram(a.0 + run as u32 * run_stride);
                plain.i8(left, a_stride, i, l) * plain.i8(b, b_stride, j, run * usize::from(k) + l)
            };
            let sum = loops(runs, k).map(product).fold(init, i32::wrapping_add);
            plain.result(dst, dst_stride, (i, j), out, sum, channel.scale);
        });
    }

    #[test]
    fn sddmm(
        seed: u64, engine in engine(), fresh: bool, indexed: bool, masked: bool, biased: bool,
        m in 1u16..9, n in 1u16..40, d in 1u16..50,
    ) {
        let mut bench = Bench::new(seed);
        let limit = 30;
        let (q, q_stride) = bench.rows(m, d.into());
        let (k, k_stride) = bench.rows(if indexed { limit } else { n }, d.into());
        let (max, _) = bench.rows(1, 2 * u32::from(m));
        let (dst, dst_stride) = bench.rows(m, 2 * u32::from(n));
        let mask_row = n.div_ceil(8);
        let (mask, _) = bench.rows(1, u32::from(m * mask_row));
        let (bias, _) = bench.rows(1, 2 * u32::from(m) * u32::from(n));
        let rows: Vec<u16> = (0..n).map(|_| bench.next() as u16 % limit).collect();
        let index = bench.put(&rows.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>());
        let scale = bench.scale();
        let op = Sddmm {
            engine, fresh, indexed, masked, biased, lines: LINES, q, k, max, dst, m, n, d, scale, q_stride, k_stride,
            dst_stride, index, mask, limit, bias,
        };
        bench.expect(op, |plain| for i in 0..m.into() {
            let mut row_max = if fresh { i16::MIN } else { plain.i16(max, 0, 0, i) };
            for (j, row) in rows.iter().enumerate() {
                let row = if indexed { usize::from(*row) } else { j };
                let sum = (0..d.into()).map(|l| plain.i8(q, q_stride, i, l) * plain.i8(k, k_stride, row, l)).sum();
                let [bits] = plain.get(mask, i * usize::from(mask_row) + j / 8);
                let kept = !masked || bits & 1 << (j % 8) != 0;
                let bias = if biased { plain.i16(bias, 2 * u32::from(n), i, j).into() } else { 0i64 };
                let score = if kept { (requantise(sum, scale) + bias).clamp(-32767, 32767) as i16 } else { i16::MIN };
                row_max = row_max.max(score);
                plain.put(dst, i * dst_stride as usize + 2 * j, score.to_le_bytes());
            }
            plain.put(max, 2 * i, row_max.to_le_bytes());
        });
    }

    #[test]
    fn softmax(
        seed: u64, engine in engine(), fresh: bool, both: bool, minifloat: bool, shift in 0u8..4,
        m in 1u16..9, n in 1u16..40,
    ) {
        let mut bench = Bench::new(seed);
        let (src, src_stride) = bench.rows(m, 2 * u32::from(n));
        // Near enough to each other for probabilities other than 0 and 127.
        for at in (0..bench.free as usize).step_by(2) {
            let score = (bench.next() % 1000) as i16;
            bench.memory.sram[at..][..2].copy_from_slice(&score.to_le_bytes());
        }
        let max: Vec<u8> = (0..m).flat_map(|i| (900 + 50 * i as i16).to_le_bytes()).collect();
        let other: Vec<u8> = (0..m).flat_map(|i| (1300 - 50 * i as i16).to_le_bytes()).collect();
        let (max, other_max) = (bench.put(&max), bench.put(&other));
        let (sum, _) = bench.rows(1, 4 * u32::from(m));
        let (dst, dst_stride) = bench.rows(m, n.into());
        let shift = ScoreShift(shift);
        let op = Softmax {
            engine, fresh, both, minifloat, shift, src, max, other_max, sum, dst, m, n, src_stride, dst_stride,
        };
        bench.expect(op, |plain| for i in 0..m.into() {
            let mut row_max = plain.i16(max, 0, 0, i);
            if both {
                row_max = row_max.max(plain.i16(other_max, 0, 0, i));
            }
            let mut total = if fresh { 0 } else { plain.u32(sum, i) };
            for j in 0..n.into() {
                let octaves = |score: i32| f64::from(score << shift.0) / 256.0;
                let (max, score) = (i32::from(row_max), i32::from(plain.i16(src, src_stride, i, j)));
                let score = octaves(score.min(max));
                let (byte, number) = if minifloat {
                    minifloat_of(4096.0 * (score - (octaves(max).floor() + 1.0)).exp2())
                } else {
                    let number = (127.0 * (score - octaves(max)).exp2() + 0.5).floor();
                    (number as u8, number as u32)
                };
                total = total.wrapping_add(number);
                plain.put(dst, i * dst_stride as usize + j, [byte]);
            }
            plain.put(sum, 4 * i, total.to_le_bytes());
        });
    }

    #[test]
    fn spmm(
        seed: u64, engine in engine(), out in width(), accumulate: bool, both: bool, minifloat: bool,
        m in 1u16..9, n in 1u16..40, d in 1u16..70,
    ) {
        let mut bench = Bench::new(seed);
        let (p, p_stride) = bench.rows(m, n.into());
        let (v, v_stride) = bench.rows(n, d.into());
        let (acc, acc_stride) = bench.rows(m, 4 * u32::from(d));
        let (dst, dst_stride) = bench.rows(m, out.bytes() * u32::from(d));
        let sums: Vec<u8> = (0..m).flat_map(|i| (u32::from(i) * 97).to_le_bytes()).collect();
        let (sum, other_sum) = (bench.put(&sums), bench.put(&sums));
        let scale = bench.scale();
        let op = Spmm {
            engine, out, accumulate, both, minifloat, lines: LINES, p, v, sum, other_sum, acc, dst, m, n, d, scale,
            p_stride, v_stride, acc_stride, dst_stride,
        };
        bench.expect(op, |plain| for (i, j) in loops(m, d) {
            let init = if accumulate { plain.i32(acc, acc_stride, i, j) } else { 0 };
            let factor = |l| match (minifloat, plain.i8(p, p_stride, i, l)) {
                (true, byte) => number_of(byte as u8) as i32,
                (false, number) => number,
            };
            let product = |l| factor(l) * plain.i8(v, v_stride, l, j);
            let total = (0..n.into()).map(product).fold(init, i32::wrapping_add);
            let divisor = plain.u32(sum, i) + if both { plain.u32(other_sum, i) } else { 0 };
            plain.result(dst, dst_stride, (i, j), out, total, scale.combine(Scale::reciprocal(divisor)));
        });
    }

    #[test]
    fn encode_and_decode(seed: u64, decode: bool, m in 1u16..9, d in 1u16..20, heads_in in 1u16..7, heads_out in 1u16..7) {
        let mut bench = Bench::new(seed);
        let (src, src_stride) = bench.rows(m, u32::from(heads_in * d));
        let (dst, dst_stride) = bench.rows(m, u32::from(heads_out * d));
        let channels_at = autoencoder_channels_at(heads_in.into(), heads_out.into());
        let mut bytes = bench.random(channels_at);
        bytes.extend(bench.channels(heads_out));
        let params = bench.put(&bytes);
        let lines = LINES;
        let op: Op = if decode {
            Decode { lines, src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride }.into()
        } else {
            Encode { lines, src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride }.into()
        };
        bench.expect(op, |plain| for ((i, o), f) in loops(m, heads_out).flat_map(|io| (0..usize::from(d)).map(move |f| (io, f))) {
            let channel = plain.channel(Sram(params.0 + channels_at as u32), o);
            let head = |h| plain.i8(src, src_stride, i, h * usize::from(d) + f) * plain.i8(params, heads_in.into(), o, h);
            let sum = (0..heads_in.into()).map(head).fold(channel.bias, i32::wrapping_add);
            plain.result(dst, dst_stride, (i, o * usize::from(d) + f), Width::I8, sum, channel.scale);
        });
    }

    #[test]
    fn layer_norm(seed: u64, m in 1u16..6, n in 1u16..60, wide: bool) {
        let mut bench = Bench::new(seed);
        let (src, src_stride) = bench.rows(m, 2 * u32::from(n));
        let out = if wide { Width::I16 } else { Width::I8 };
        let (dst, dst_stride) = bench.rows(m, out.bytes() * u32::from(n));
        let channels: Vec<f64> = (0..n).map(|j| f64::from(j) * 0.1 - 1.0).collect();
        let constants = LayerNormParams::new(&channels, &channels, 1e-6, 0.01, 0.02).unwrap();
        let params = bench.put(&constants.to_bytes());
        bench.expect(LayerNorm { out, src, params, dst, m, n, src_stride, dst_stride }, |plain| for i in 0..m.into() {
            let row: Vec<i16> = (0..n.into()).map(|j| plain.i16(src, src_stride, i, j)).collect();
            let (mut narrow, mut wide) = (vec![0i8; n.into()], vec![0i16; n.into()]);
            layer_norm_row(&row, &constants, &mut narrow);
            layer_norm_row(&row, &constants, &mut wide);
            for (j, (narrow, wide)) in narrow.into_iter().zip(wide).enumerate() {
                let at = i * dst_stride as usize + out.bytes() as usize * j;
                match out {
                    Width::I16 => plain.put(dst, at, wide.to_le_bytes()),
                    _ => plain.put(dst, at, narrow.to_le_bytes()),
                }
            }
        });
    }

    #[test]
    fn add(
        seed: u64, narrow: bool, m in 1u16..6, n in 1u16..60, a_scale: i32, b_scale: i32, shift in 0u8..63, in_place: bool,
    ) {
        let mut bench = Bench::new(seed);
        let (a, a_stride) = bench.rows(m, 2 * u32::from(n));
        let (b, b_stride) = bench.rows(m, 2 * u32::from(n));
        let in_place = in_place && !narrow;
        let (dst, dst_stride) = if in_place { (a, a_stride) } else { bench.rows(m, 2 * u32::from(n)) };
        let op = Add { narrow, a, b, dst, m, n, a_scale, b_scale, shift: Shift(shift), a_stride, b_stride, dst_stride };
        bench.expect(op, |plain| for (i, j) in loops(m, n) {
            let scaled = |at, stride, scale| i128::from(plain.i16(at, stride, i, j)) * i128::from(scale);
            let sum = scaled(a, a_stride, a_scale) + scaled(b, b_stride, b_scale);
            let half = if shift == 0 { 0 } else { 1i128 << (shift - 1) };
            let rounded = (sum + half) >> shift;
            let row = i * dst_stride as usize;
            if narrow {
                plain.put(dst, row + j, (rounded.clamp(-128, 127) as i8).to_le_bytes());
            } else {
                plain.put(dst, row + 2 * j, (rounded.clamp(-32768, 32767) as i16).to_le_bytes());
            }
        });
    }

    #[test]
    fn lut(seed: u64, m in 1u16..6, n in 1u16..60) {
        let mut bench = Bench::new(seed);
        let (src, src_stride) = bench.rows(m, n.into());
        let (dst, dst_stride) = bench.rows(m, n.into());
        let bytes = bench.random(256);
        let table = bench.put(&bytes);
        bench.expect(Lut { src, table, dst, m, n, src_stride, dst_stride }, |plain| for (i, j) in loops(m, n) {
            let index = plain.i8(src, src_stride, i, j) as u8;
            let entry = bytes[usize::from(index)];
            plain.put(dst, i * dst_stride as usize + j, [entry]);
        });
    }

    #[test]
    fn interpolate(seed: u64, m in 1u16..6, n in 1u16..60) {
        let mut bench = Bench::new(seed);
        let (src, src_stride) = bench.rows(m, 2 * u32::from(n));
        let (dst, dst_stride) = bench.rows(m, n.into());
        let bytes = bench.random(514);
        let table = bench.put(&bytes);
        let value = |s: usize| f64::from(i16::from_le_bytes([bytes[2 * s], bytes[2 * s + 1]]));
        bench.expect(Interpolate { src, table, dst, m, n, src_stride, dst_stride }, |plain| for (i, j) in loops(m, n) {
            let x = (f64::from(plain.i16(src, src_stride, i, j)) + 32768.0) / 256.0;
            let (s, part) = (x as usize, x.fract());
            // Every step is exact in f64.
            let y = (value(s) * (1.0 - part) + value(s + 1) * part) / 256.0;
            let rounded = (y + 0.5).floor().clamp(-128.0, 127.0) as i8;
            plain.put(dst, i * dst_stride as usize + j, [rounded as u8]);
        });
    }

    #[test]
    fn transfers(seed: u64, bytes in 1u32..20, inner in 1u16..5, outer in 1u16..5, gaps: [u8; 4]) {
        let gap = |i: usize| u32::from(gaps[i] % 7);
        let (near, far) = (bytes + gap(0), bytes + gap(1));
        let (near_outer, far_outer) = (near * u32::from(inner) + gap(2), far * u32::from(inner) + gap(3));
        let (sram, dram, traffic) = (Sram(40), Dram(1000), Traffic::Inputs);
        let load = Load {
            dst: sram, src: dram, bytes, inner, outer, traffic, src_inner_stride: far, src_outer_stride: far_outer,
            dst_inner_stride: near, dst_outer_stride: near_outer,
        };
        let pairs: Vec<(usize, usize)> = loops(outer, inner)
            .flat_map(|(i, j)| (0..bytes as usize).map(move |byte| (
                40 + i * near_outer as usize + j * near as usize + byte,
                1000 + i * far_outer as usize + j * far as usize + byte,
            )))
            .collect();
        let bench = Bench::new(seed);
        let far_bytes = bench.memory.dram.clone();
        bench.expect(load, |plain| pairs.iter().for_each(|(near, far)| plain.new[*near] = far_bytes[*far]));

        let store = Store {
            src: sram, dst: dram, bytes, inner, outer, traffic, dst_inner_stride: far, dst_outer_stride: far_outer,
            src_inner_stride: near, src_outer_stride: near_outer,
        };
        let mut memory = Bench::new(seed).memory;
        let mut expected = memory.dram.clone();
        pairs.iter().for_each(|(near, far)| expected[*far] = memory.sram[*near]);
        Core::new(&testing::vitcod()).execute(0, &Instr::new(store), &mut memory).unwrap();
        prop_assert!(memory.dram == expected);
    }

    #[test]
    fn gather(seed: u64, bytes in 1u32..20, indices in prop::collection::vec(0u16..30, 1..12)) {
        let mut bench = Bench::new(seed);
        let rows = indices.len() as u16;
        let index = bench.put(&indices.iter().flat_map(|index| index.to_le_bytes()).collect::<Vec<u8>>());
        let (dst, dst_stride) = bench.rows(rows, bytes);
        let op = Gather {
            dst, src: Dram(500), bytes, rows, limit: 30, src_stride: bytes + 3, dst_stride, index, traffic: Traffic::Activations,
        };
        let dram = bench.memory.dram.clone();
        bench.expect(op, |plain| for (i, byte) in loops(rows, bytes as u16) {
            let from = 500 + usize::from(indices[i]) * (bytes as usize + 3) + byte;
            plain.put(dst, i * dst_stride as usize + byte, [dram[from]]);
        });
    }

    /// A row of attention that spans both engines, cut anywhere, gives the bits of the uncut row.
    #[test]
    fn a_split_row_of_attention_equals_the_whole(seed: u64, m in 1u16..6, n in 2u16..40, d in 1u16..20, cut in 1u16..40, minifloat: bool) {
        let cut = cut.min(n - 1);
        let mut bench = Bench::new(seed);
        let (q, q_stride) = bench.rows(m, d.into());
        let (k, k_stride) = bench.rows(n, d.into());
        let (v, v_stride) = bench.rows(n, d.into());
        let (scores, dst_stride) = bench.rows(m, 2 * u32::from(n));
        let (p, p_stride) = bench.rows(m, n.into());
        let (acc, acc_stride) = bench.rows(m, 4 * u32::from(d));
        let [max, other_max, sum, other_sum] = [2, 2, 4, 4].map(|element| bench.rows(1, element * u32::from(m)).0);
        let results = [(); 2].map(|()| bench.rows(m, d.into()));
        let score_scale = Scale::from_f64(0.05).unwrap();
        let scale = Scale::from_f64(0.9).unwrap();

        // Columns `from..to` on one engine; its maximum and sum, and those of the other engine.
        let part = |engine, from: u16, to: u16, [max, other_max, sum, other_sum]: [Sram; 4], both| {
            let n = to - from;
            let at = |base: Sram, step: u32| Sram(base.0 + u32::from(from) * step);
            let sddmm = Sddmm {
                engine, fresh: true, indexed: false, masked: false, biased: false, lines: LINES, q, k: at(k, k_stride), max, dst: at(scores, 2), m, n, d,
                scale: score_scale, q_stride, k_stride, dst_stride, index: Sram(0), mask: Sram(0), limit: 0, bias: Sram(0),
            };
            let softmax = Softmax {
                engine, fresh: true, both, minifloat, shift: ScoreShift(0), src: at(scores, 2), max, other_max, sum, dst: at(p, 1), m, n,
                src_stride: dst_stride, dst_stride: p_stride,
            };
            let spmm = Spmm {
                engine, out: Width::I8, accumulate: false, both, minifloat, lines: LINES, p: at(p, 1), v: at(v, v_stride), sum, other_sum, acc,
                dst: results[0].0, m, n, d, scale, p_stride, v_stride, acc_stride, dst_stride: results[0].1,
            };
            (Op::from(sddmm), Op::from(softmax), spmm)
        };
        let whole = part(Engine::Denser, 0, n, [max, other_max, sum, other_sum], false);
        let dense = part(Engine::Denser, 0, cut, [max, other_max, sum, other_sum], true);
        let sparse = part(Engine::Sparser, cut, n, [other_max, max, other_sum, sum], true);
        let first = Spmm { out: Width::I32, dst: acc, dst_stride: acc_stride, ..dense.2 };
        let second = Spmm { accumulate: true, dst: results[1].0, dst_stride: results[1].1, ..sparse.2 };
        let mut core = Core::new(&testing::vitcod());
        for op in [whole.0, whole.1, whole.2.into(), dense.0, sparse.0, dense.1, sparse.1, first.into(), second.into()] {
            core.execute(0, &Instr::new(op), &mut bench.memory).unwrap();
        }
        let [a, b] = results.map(|(at, stride)| Block::new(at, m, d.into(), 1, stride).read(&bench.memory.sram, i8::from_le_bytes));
        prop_assert_eq!(a, b);
    }
}
