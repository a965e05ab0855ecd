//! Costs worked out by hand, and against models that go cycle by cycle and burst by burst.

mod banks;
mod bursts;
mod lines;
mod lists;
mod streams;

use super::*;
use crate::effects::Region;
use crate::instr::{Dram, Engine, Sram, Traffic, Width};

fn vitcod() -> Machine {
    Machine::preset("vitcod-ideal").unwrap()
}

fn matmul(m: u16, n: u16, k: u16) -> Op {
    Matmul {
        engine: Engine::Denser,
        out: Width::I8,
        lines: LineSet { first: 0, count: 64 },
        m,
        n,
        k,
        a_stride: k.into(),
        b_stride: k.into(),
        dst_stride: n.into(),
        ..Matmul::ZERO
    }
    .into()
}

#[test]
fn no_cycle_multiplies_elements_of_two_runs() {
    // Windows of 3 lines of 3 pixels x 3 channels: 9 elements take two cycles.
    let Op::Matmul(product) = matmul(112, 16, 9) else { unreachable!("it is one") };
    let cost = cost(
        &Matmul { more_runs: 2, run_stride: 678, a_stride: 6, b_stride: 27, ..product }.into(),
        &vitcod(),
    );
    assert_eq!(cost.cycles, 112 * 16 / 64 * 3 * 2);
    assert_eq!(cost.macs, 112 * 16 * 27);
    // Channels of 8 leave no MAC idle.
    let cost = super::cost(&Matmul { k: 24, more_runs: 2, ..product }.into(), &vitcod());
    assert_eq!(cost.cycles, 112 * 16 / 64 * 9);
}

#[test]
fn a_matrix_product_fills_every_mac_where_shapes_allow() {
    let cost = cost(&matmul(197, 64, 192), &vitcod());
    assert_eq!(cost.cycles, 197 * 64 * 192 / 512);
    assert_eq!(cost.macs, 197 * 64 * 192);
}

#[test]
fn ragged_shapes_waste_the_last_round_and_the_last_step() {
    assert_eq!(cost(&matmul(1, 65, 9), &vitcod()).cycles, 2 * 2);
}

#[test]
fn a_wide_result_is_bound_by_the_write_port() {
    let mut machine = vitcod();
    machine.lines.port_bytes = 1;
    let Op::Matmul(mut op) = matmul(64, 1, 1) else { unreachable!() };
    op.out = Width::I32;
    assert_eq!(cost(&op.into(), &machine).cycles, 4);
}

fn load(src: u64, bytes: u32, inner: u16, stride: u32) -> Op {
    Load {
        src: Dram(src),
        bytes,
        inner,
        outer: 1,
        src_inner_stride: stride,
        dst_inner_stride: bytes,
        traffic: Traffic::Weights,
        ..Load::ZERO
    }
    .into()
}

#[test]
fn runs_pay_whole_bursts_and_neighbours_share_them() {
    let burst_bytes = |op| cost(&op, &vitcod()).burst_bytes;
    assert_eq!(burst_bytes(load(0, 16, 14, 16)), 4 * 64, "one run of 224 bytes");
    assert_eq!(burst_bytes(load(0, 16, 14, 64)), 14 * 64);
    assert_eq!(burst_bytes(load(60, 8, 1, 0)), 2 * 64, "straddles a boundary");
    // Offsets 0, 48, 32, 16 within the burst, twenty times: only the second straddles.
    assert_eq!(burst_bytes(load(0, 32, 80, 48)), (80 + 20) * 64);
}

#[test]
fn each_gathered_row_pays_whole_bursts() {
    let gather = |bytes, src_stride| {
        let gather = Gather {
            dst: Sram(0),
            src: Dram(0),
            bytes,
            rows: 10,
            limit: 100,
            src_stride,
            dst_stride: bytes,
            index: Sram(0),
            traffic: Traffic::Params,
        };
        let cost = cost(&gather.into(), &vitcod());
        assert_eq!(
            (cost.dram_bytes, cost.sram.read_bytes(), cost.sram.written_bytes()),
            (bytes as u64 * 10, 20, bytes as u64 * 10)
        );
        cost.burst_bytes
    };
    assert_eq!(gather(64, 64), 10 * 64);
    assert_eq!(gather(48, 64), 10 * 64);
    // A row of 48 bytes may straddle a boundary.
    assert_eq!(gather(48, 48), 10 * 128);
}

#[test]
fn periodic_sums_equal_plain_ones() {
    for (count, stride) in [(1, 7), (5, 48), (200, 24), (64, 64), (1000, 1)] {
        let region = Region {
            base: 13,
            bytes: 40,
            inner: count,
            inner_stride: stride,
            outer: 3,
            outer_stride: 100,
        };
        let plain: u64 = region.runs().map(|(at, bytes)| (at % 64 + bytes).div_ceil(64)).sum();
        assert_eq!(bursts(region, 64), plain, "{count} runs, {stride} apart");
    }
}

fn lines(count: u16) -> LineSet {
    LineSet { first: 0, count }
}

fn spmm(m: u16, n: u16, d: u16) -> Spmm {
    Spmm {
        engine: Engine::Denser,
        out: Width::I8,
        lines: lines(64),
        m,
        n,
        d,
        scale: crate::numerics::Scale::ONE,
        p_stride: n.into(),
        v_stride: d.into(),
        dst_stride: d.into(),
        ..Spmm::ZERO
    }
}

#[test]
fn products_with_the_values_fill_every_mac_where_shapes_allow() {
    // 8 lines hold the 64 features of a token, so 64 lines hold 8 tokens at a time: 25 rounds of
    // 197 keys.
    let cost = cost(&spmm(197, 197, 64).into(), &vitcod());
    assert_eq!((cost.cycles, cost.latency), (25 * 197, 12));
    assert_eq!(cost.macs, 197 * 197 * 64);
    // Values through one port, one probability per line through the other; row sums once.
    assert_eq!(cost.sram.read_bytes(), 197 * 197 * (64 + 8) + 4 * 197);
    assert_eq!(cost.sram.written_bytes(), 197 * 64);
}

#[test]
fn narrow_features_leave_macs_idle() {
    assert_eq!(cost(&spmm(64, 10, 3).into(), &vitcod()).cycles, 10);
    // 4 bytes for each of 8 accumulators come through the port before the first term.
    let more = Spmm { accumulate: true, ..spmm(8, 10, 64) };
    assert_eq!(cost(&more.into(), &vitcod()).cycles, 10 + 4);
    // They leave through it too, which takes longer than one term.
    let wide = Spmm { out: Width::I32, ..spmm(8, 1, 64) };
    assert_eq!(cost(&wide.into(), &vitcod()).cycles, 4);
}

#[test]
fn the_encoder_is_a_short_product_per_head() {
    let encode = Encode {
        lines: lines(4),
        m: 197,
        d: 64,
        heads_in: 3,
        heads_out: 2,
        src_stride: 192,
        dst_stride: 128,
        ..Encode::ZERO
    };
    let cost = cost(&encode.into(), &vitcod());
    // 197 tokens of 2 heads in 8 parts each, dealt to 4 lines, 3 terms each.
    assert_eq!(cost.cycles, 197 * 2 * 8 / 4 * 3);
    assert_eq!(cost.macs, 197 * 64 * 6);
    // Parameters: 6 weights padded to 8, 2 channels.
    assert_eq!(cost.sram.read_bytes(), 197 * 2 * 3 * 64 + 32);
}

#[test]
fn scores_are_written_with_their_row_maxima() {
    let sddmm = Sddmm {
        engine: Engine::Sparser,
        lines: lines(64),
        m: 16,
        n: 64,
        d: 64,
        scale: crate::numerics::Scale::ONE,
        q_stride: 64,
        k_stride: 64,
        dst_stride: 128,
        ..Sddmm::ZERO
    };
    let plain = cost(&sddmm.into(), &vitcod());
    assert_eq!(plain.cycles, 16 * 8);
    assert_eq!(plain.sram.written_bytes(), 16 * 64 * 2 + 16 * 2);
    assert_eq!(plain.sram.read_bytes(), 16 * 64 * 64 + 16 * 64 + 16 * 2);
    // Index and mask are read once; pruned cells cost as much as others.
    let scattered =
        cost(&Sddmm { indexed: true, masked: true, limit: 197, ..sddmm }.into(), &vitcod());
    assert_eq!(scattered.cycles, plain.cycles);
    assert_eq!(scattered.sram.read_bytes(), plain.sram.read_bytes() + 64 * 2 + 16 * 8);
    // Each line has 16 scores, whose biases fill four words of 8 bytes.
    let biased = cost(&Sddmm { biased: true, ..sddmm }.into(), &vitcod());
    assert_eq!(biased.cycles, plain.cycles + 4);
    assert_eq!(biased.sram.read_bytes(), plain.sram.read_bytes() + 16 * 64 * 2);
}

#[test]
fn rows_take_whole_words() {
    let softmax = Softmax {
        engine: Engine::Denser,
        fresh: true,
        m: 10,
        n: 197,
        src_stride: 394,
        dst_stride: 197,
        ..Softmax::ZERO
    };
    let softmax = cost(&softmax.into(), &vitcod());
    assert_eq!((softmax.cycles, softmax.latency, softmax.macs), (10 * 25, 8, 0));
    assert_eq!(
        (softmax.sram.read_bytes(), softmax.sram.written_bytes()),
        (10 * 394 + 20, 10 * 197 + 40)
    );

    let lut = Lut { m: 3, n: 48, src_stride: 48, dst_stride: 48, ..Lut::ZERO };
    let lut = cost(&lut.into(), &vitcod());
    assert_eq!(
        (lut.cycles, lut.sram.read_bytes(), lut.sram.written_bytes()),
        (9, 3 * 48 + 256, 3 * 48)
    );
}

#[test]
fn synchronisation_takes_a_cycle() {
    let one = Cost { cycles: 1, ..Cost::default() };
    assert_eq!(cost(&Sync { unit: crate::instr::Unit::Load }.into(), &vitcod()), one);
    assert_eq!(cost(&Barrier {}.into(), &vitcod()), one);
    assert_eq!(cost(&Halt {}.into(), &vitcod()), one);
}
