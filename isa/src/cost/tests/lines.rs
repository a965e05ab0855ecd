//! The instructions on MAC lines, against lines that are stepped cycle by cycle: random shapes,
//! machines and flags.
//!
//! The stepped line knows bytes, ports and registers, and none of the closed forms. What an
//! instruction takes a line for is the interval after which the same instruction could follow on
//! that line without waiting for a port: the difference between doing its work twice and once. What
//! then remains of the last result is part of the fill.

use proptest::prelude::*;

use super::{lines, matmul, spmm, vitcod};
use crate::cost::cost;
use crate::instr::table::{Decode, Encode, Matmul, Sddmm, Spmm};
use crate::instr::{Engine, Op, Sram, Width};
use crate::machine::Machine;
use crate::numerics::Scale;

/// What a line does for one result, or for the neighbouring results that its MACs make together.
#[derive(Clone)]
struct Work {
    /// Bytes of accumulators that are read before the first step.
    accumulators: u32,
    /// Bytes of operands on each side, by step.
    steps: Vec<[u32; 2]>,
    /// Bytes of the results.
    out: u32,
}

/// A line: three ports of `port` bytes, and a register in which results wait to be written while
/// the next are computed.
#[derive(Clone, Default)]
struct Line {
    /// Bytes left on both read ports, by step; the front is under way.
    reading: Vec<[u32; 2]>,
    /// Bytes left in the register.
    writing: u32,
}

/// Cycles in which a line does its work, item by item, up to its last write.
fn step(work: &[Work], port: u32) -> u64 {
    let mut line = Line::default();
    let mut items = work.iter();
    let mut current = None;
    let mut cycle = 0;
    loop {
        if current.is_none() {
            current = items.next();
            if let Some(Work { accumulators, steps, .. }) = current {
                line.reading = steps.clone();
                if *accumulators > 0 {
                    line.reading.insert(0, [*accumulators, 0]);
                }
            }
        }
        if current.is_none() && line.writing == 0 {
            return cycle;
        }
        line.writing = line.writing.saturating_sub(port);
        if let Some(bytes) = line.reading.first_mut() {
            *bytes = bytes.map(|bytes| bytes.saturating_sub(port));
            if *bytes == [0, 0] {
                line.reading.remove(0);
            }
        }
        if let Some(Work { out, .. }) = current
            && line.reading.is_empty()
            && line.writing == 0
        {
            line.writing = *out;
            current = None;
        }
        cycle += 1;
    }
}

/// Cycles for which the busiest of some lines is taken by work that is dealt to them in turn.
fn dealt(work: &[Work], count: u16, port: u32) -> u64 {
    let of_line = |line: u16| -> Vec<Work> {
        work.iter().skip(line.into()).step_by(count.into()).cloned().collect()
    };
    let interval =
        |work: Vec<Work>| step(&[work.clone(), work.clone()].concat(), port) - step(&work, port);
    (0..count).map(|line| interval(of_line(line))).max().unwrap_or(0)
}

/// Sums along the MACs of a line: each step multiplies as many neighbouring elements as the line
/// has MACs.
fn sums(results: u32, k: u32, macs: u32, accumulators: u32, out: u32) -> Vec<Work> {
    let steps = (0..k).step_by(macs as usize).map(|at| [(k - at).min(macs); 2]).collect();
    vec![Work { accumulators, steps, out }; results as usize]
}

/// Neighbouring features, one per MAC, each a sum over time; the factor of a step is one byte. A
/// part of a row that is narrower than the others comes in words of their width.
fn features(rows: u32, d: u32, terms: u32, macs: u32, accumulate: bool, out: u32) -> Vec<Work> {
    let width = macs.min(d);
    let accumulators = if accumulate { 4 * width } else { 0 };
    let part = Work { accumulators, steps: vec![[width, 1]; terms as usize], out: width * out };
    vec![part; (rows * d.div_ceil(macs)) as usize]
}

fn machine((macs, port_bytes): (u32, u32)) -> Machine {
    let mut machine = vitcod();
    (machine.lines.macs, machine.lines.port_bytes) = (macs, port_bytes);
    machine
}

fn machines() -> impl Strategy<Value = (u32, u32)> {
    (1u32..=16, 1u32..=20)
}

fn widths() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::I8), Just(Width::I16), Just(Width::I32)]
}

fn cycles(op: impl Into<Op>, machine: &Machine) -> u64 {
    let cost = cost(&op.into(), machine);
    assert_eq!(cost.latency, u64::from(machine.lines.fill_cycles));
    cost.cycles
}

proptest! {
    #[test]
    fn products_of_matrices(
        (m, n, k) in (1u16..8, 1u16..8, 1u16..40), count in 1u16..=12, shape in machines(), out in widths(), accumulate: bool,
    ) {
        let machine = machine(shape);
        let Op::Matmul(product) = matmul(m, n, k) else { unreachable!() };
        let op = Matmul { lines: lines(count), out, accumulate, ..product };
        let accumulators = if accumulate { 4 } else { 0 };
        let work = sums(u32::from(m) * u32::from(n), k.into(), shape.0, accumulators, out.bytes());
        prop_assert_eq!(cycles(op, &machine), dealt(&work, count, shape.1));
    }

    #[test]
    fn scores(
        (m, n, d) in (1u16..8, 1u16..8, 1u16..40), count in 1u16..=12, shape in machines(), indexed: bool, masked: bool,
    ) {
        let machine = machine(shape);
        let op = Sddmm {
            engine: Engine::Denser,
            fresh: true,
            indexed,
            masked,
            lines: lines(count),
            m,
            n,
            d,
            scale: Scale::ONE,
            q_stride: d.into(),
            k_stride: d.into(),
            dst_stride: 2 * u32::from(n),
            limit: n,
            ..Sddmm::ZERO
        };
        // Where keys lie, and which cells are pruned, takes no cycle.
        let work = sums(u32::from(m) * u32::from(n), d.into(), shape.0, 0, 2);
        prop_assert_eq!(cycles(op, &machine), dealt(&work, count, shape.1));
    }

    #[test]
    fn products_with_values(
        (m, n, d) in (1u16..8, 1u16..20, 1u16..40), count in 1u16..=12, shape in machines(), out in widths(), accumulate: bool,
    ) {
        let machine = machine(shape);
        let op = Spmm { lines: lines(count), out, accumulate, ..spmm(m, n, d) };
        let work = features(m.into(), d.into(), n.into(), shape.0, accumulate, out.bytes());
        prop_assert_eq!(cycles(op, &machine), dealt(&work, count, shape.1));
    }

    #[test]
    fn encoders_and_decoders(
        (m, d) in (1u16..8, 1u16..40), (heads_in, heads_out) in (1u16..7, 1u16..7), count in 1u16..=12, shape in machines(),
    ) {
        let machine = machine(shape);
        let (src_stride, dst_stride) = (u32::from(d) * u32::from(heads_in), u32::from(d) * u32::from(heads_out));
        let [src, params, dst] = [Sram(0); 3];
        let lines = lines(count);
        let encode = Encode { lines, src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride };
        let decode = Decode { lines, src, params, dst, m, d, heads_in, heads_out, src_stride, dst_stride };
        let work = features(u32::from(m) * u32::from(heads_out), d.into(), heads_in.into(), shape.0, false, 1);
        let stepped = dealt(&work, count, shape.1);
        prop_assert_eq!(cycles(encode, &machine), stepped);
        prop_assert_eq!(cycles(decode, &machine), stepped);
    }
}
