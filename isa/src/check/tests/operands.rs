//! Operands of one instruction.

use super::*;

#[test]
fn counts_are_at_least_one() {
    assert_eq!(error(&of(Add { n: 0, ..add() })).lines().count(), 3);
    assert_eq!(
        error(&of(Matmul { k: 0, ..matmul() })),
        "0: a is empty: a count is 0\n0: b is empty: a count is 0"
    );
    let deep = Matmul { more_runs: 2, k: 43_691, a_stride: 0, b_stride: 0, ..matmul() };
    let deep = Matmul { b: Sram(0), acc: Sram(1 << 18), dst: Sram(1 << 18), ..deep };
    assert_eq!(error(&of(deep)), "0: sums of 131073 products, expected at most 65535");
    let gather = Gather {
        dst: Sram(0),
        src: Dram(256),
        bytes: 8,
        rows: 2,
        limit: 0,
        src_stride: 8,
        dst_stride: 8,
        index: Sram(16),
        traffic: Traffic::Params,
    };
    assert_eq!(error(&of(gather)), "0: src is empty: a count is 0");
    assert_eq!(error(&of(Gather { rows: 0, limit: 1, ..gather })).lines().count(), 2);
    let encode = Encode {
        lines: LineSet { first: 0, count: 1 },
        src: Sram(0),
        params: Sram(64),
        dst: Sram(128),
        m: 1,
        d: 16,
        heads_in: 3,
        heads_out: 0,
        src_stride: 48,
        dst_stride: 32,
    };
    assert_eq!(
        error(&of(encode)),
        "0: params is empty: a count is 0\n0: dst is empty: a count is 0"
    );
}

#[test]
fn operands_lie_in_memory() {
    let last = 320 * 1024 - 64;
    assert_eq!(check(&of(Add { dst: Sram(last), ..add() })), Ok(()));
    assert_eq!(
        error(&of(Add { dst: Sram(last + 2), ..add() })),
        "0: dst ends at 0x50002; the scratchpad has 0x50000 bytes"
    );
    assert_eq!(check(&of(Load { src: Dram(320), ..load() })), Ok(()));
    assert_eq!(
        error(&of(Load { src: Dram(321), ..load() })),
        "0: src ends at 0x181; DRAM has 0x180 bytes"
    );
    assert_eq!(
        error(&of(Load { src_inner_stride: u32::MAX, ..load() })),
        "0: src ends at 0x10000011f; DRAM has 0x180 bytes"
    );
}

#[test]
fn operands_are_aligned() {
    assert_eq!(
        error(&of(Add { a: Sram(1), ..add() })),
        "0: a starts at 0x1, expected a multiple of 2"
    );
    assert_eq!(
        error(&of(Add { b_stride: 33, ..add() })),
        "0: b has a stride of 33, expected a multiple of 2"
    );
    assert_eq!(
        error(&of(Matmul {
            out: Width::I8,
            acc: Sram(512),
            params: Sram(1030),
            dst_stride: 5,
            ..matmul()
        })),
        "0: params starts at 0x406, expected a multiple of 4"
    );
}

#[test]
fn nothing_is_written_twice() {
    assert_eq!(error(&of(Add { dst_stride: 30, ..add() })), "0: dst has rows that overlap");
    assert_eq!(error(&of(Load { dst_inner_stride: 0, ..load() })), "0: dst has rows that overlap");
    assert_eq!(check(&of(Load { src_inner_stride: 0, ..load() })), Ok(()), "reading twice is fine");
    let store = Store { dst: Dram(256), bytes: 8, inner: 4, outer: 4, ..store() };
    let transposed = Store { dst_inner_stride: 32, dst_outer_stride: 8, ..store };
    assert_eq!(check(&of(transposed)), Ok(()));
    assert_eq!(
        error(&of(Store { dst_inner_stride: 31, ..transposed })),
        "0: dst has rows that overlap"
    );
}

#[test]
fn a_result_replaces_an_operand_as_a_whole_or_not_at_all() {
    assert_eq!(error(&of(Add { dst: Sram(66), ..add() })), "0: b overlaps dst");
    assert_eq!(
        error(&of(Add { b: Sram(256), dst: Sram(0), dst_stride: 34, ..add() })),
        "0: a overlaps dst"
    );
    assert_eq!(error(&of(Matmul { dst: Sram(0), ..matmul() })), "0: a overlaps dst");
    assert_eq!(
        error(&of(Matmul { out: Width::I16, params: Sram(1024), dst_stride: 16, ..matmul() })),
        "0: acc overlaps dst",
        "elements of different width"
    );
    let softmax = Softmax {
        engine: Engine::Denser,
        fresh: true,
        max: Sram(256),
        sum: Sram(256),
        dst: Sram(512),
        m: 2,
        n: 16,
        src_stride: 32,
        dst_stride: 16,
        ..Softmax::ZERO
    };
    assert_eq!(error(&of(softmax)), "0: max overlaps sum");
    // Columns of one matrix beside columns of another.
    let columns = Add {
        a: Sram(0),
        b: Sram(64),
        dst: Sram(32),
        a_stride: 128,
        b_stride: 128,
        dst_stride: 128,
        ..add()
    };
    assert_eq!(check(&of(columns)), Ok(()));
}

#[test]
fn the_image_is_not_written() {
    assert_eq!(
        error(&of(Store { dst: Dram(255), ..store() })),
        "0: dst starts at 0xff, inside the image"
    );
}

#[test]
fn limits_of_the_machine() {
    assert_eq!(
        error(&of(Matmul { lines: LineSet { first: 1, count: 64 }, ..matmul() })),
        "0: lines 1+64 on a machine of 64"
    );
    let norm = LayerNorm {
        out: Width::I8,
        params: Sram(1 << 16),
        dst: Sram(1 << 15),
        m: 1,
        n: 8193,
        ..LayerNorm::ZERO
    };
    assert_eq!(error(&of(norm)), "0: rows of 8193 elements, expected at most 8192");
    assert_eq!(check(&of(LayerNorm { n: 8192, ..norm })), Ok(()));
    let wide = LayerNorm { out: Width::I32, n: 64, ..norm };
    assert_eq!(error(&of(wide)), "0: LayerNorm writes 8 or 16 bits");
}

#[test]
fn scores_with_an_index_have_a_table() {
    let sddmm = Sddmm {
        engine: Engine::Denser,
        fresh: true,
        indexed: true,
        masked: true,
        lines: LineSet { first: 0, count: 64 },
        k: Sram(1 << 12),
        max: Sram(2 << 12),
        dst: Sram(3 << 12),
        m: 2,
        n: 9,
        d: 8,
        scale: Scale::ONE,
        q_stride: 8,
        k_stride: 8,
        dst_stride: 18,
        index: Sram(4 << 12),
        mask: Sram(5 << 12),
        limit: 3,
        ..Sddmm::ZERO
    };
    assert_eq!(check(&of(sddmm)), Ok(()));
    assert_eq!(error(&of(Sddmm { limit: 0, ..sddmm })), "0: k is empty: a count is 0");
    let off = Sddmm {
        indexed: false,
        masked: false,
        limit: 0,
        index: Sram(1),
        mask: Sram(1 << 22),
        ..sddmm
    };
    assert_eq!(check(&of(off)), Ok(()), "what is switched off does not count");
}
