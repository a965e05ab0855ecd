//! The instructions on lists: small cases by hand.

use vitcod_isa::instr::Entries;
use vitcod_isa::operands::{ListRow, block_keys_to_bytes};

use super::*;

pub(super) fn rows(rows: &[(u16, u16)]) -> Vec<u8> {
    rows.iter()
        .flat_map(|(query, entries)| ListRow { query: *query, entries: *entries }.to_bytes())
        .collect()
}

pub(super) fn uint32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn int16s(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Two heads of one feature, two queries and three keys. Query 3 has keys 2 and 0, query 0 has key
/// 1, the others have none.
fn sddmm_list(bench: &mut Bench) -> SddmmList {
    SddmmList {
        engine: Engine::Sparser,
        wide: false,
        lines: LINES,
        rows: bench.put(&rows(&[(3, 2), (1, 0), (0, 1), (2, 0)])),
        keys: bench.put(&[2, 0, 1]),
        q: bench.put(&[1, 2, 3, 4]),
        k: bench.put(&[5, 6, 7, 8, 9, 10]),
        max: bench.put(&[0; 8]),
        dst: bench.put(&[0; 6]),
        m: 2,
        n: 3,
        d: 1,
        heads: 2,
        q_stride: 2,
        k_stride: 2,
        entries: Entries(3),
        scale: Scale::ONE,
    }
}

#[test]
fn scores_by_hand() {
    let mut bench = Bench::new(1);
    let op = sddmm_list(&mut bench);
    bench.expect(op, |plain| {
        // Query 3 is query 1 of head 1, 4; its keys are 10 and 6. Query 0 is 1, its key 7.
        plain.put::<6>(op.dst, 0, int16s(&[40, 24, 7]).try_into().unwrap());
        plain.put::<8>(op.max, 0, int16s(&[7, i16::MIN, i16::MIN, 40]).try_into().unwrap());
    });
}

/// Part of a list: queries 4 and 0 of 5, with two entries and one.
fn softmax_list(bench: &mut Bench) -> SoftmaxList {
    SoftmaxList {
        engine: Engine::Sparser,
        both: true,
        minifloat: false,
        shift: ScoreShift(0),
        rows: bench.put(&rows(&[(4, 2), (1, 0), (0, 1)])),
        src: bench.put(&int16s(&[0, 256, 1000])),
        max: bench.put(&int16s(&[1000, 0, 0, 0, 256])),
        other_max: bench.put(&int16s(&[1256, 0, 0, 0, -5])),
        sum: bench.put(&[0; 12]),
        dst: bench.put(&[0; 3]),
        count: 3,
        queries: 5,
        entries: Entries(3),
    }
}

#[test]
fn probabilities_by_hand() {
    let mut bench = Bench::new(2);
    let op = softmax_list(&mut bench);
    bench.expect(op, |plain| {
        // An octave below the maximum is one half of 127.
        plain.put(op.dst, 0, [64, 127, 64]);
        plain.put::<12>(op.sum, 0, uint32s(&[191, 0, 64]).try_into().unwrap());
    });
    let mut bench = Bench::new(2);
    let op = SoftmaxList { both: false, ..softmax_list(&mut bench) };
    bench.expect(op, |plain| {
        plain.put(op.dst, 0, [64, 127, 127]);
        plain.put::<12>(op.sum, 0, uint32s(&[191, 0, 127]).try_into().unwrap());
    });
}

#[test]
fn minifloats_and_shifted_scores_by_hand() {
    let mut bench = Bench::new(2);
    let minifloat = SoftmaxList { minifloat: true, ..softmax_list(&mut bench) };
    bench.expect(minifloat, |plain| {
        // Query 4: the maximum 256 is octave 1, below which 2 lies: 4096 / 4 and 4096 / 2. Query 0:
        // 1256 is below octave 5; 1000 is 280 units below it, 4096 * 2^(-280/256) = 1919.1, which
        // is next to 60 * 32.
        let numbers = [1024, 2048, 1920];
        let bytes: [u8; 3] = [6 << 5, 7 << 5, (6 << 5) + 28];
        plain.put(minifloat.dst, 0, bytes);
        let [first, second, third] = numbers;
        let sums = uint32s(&[first + second, 0, third]);
        plain.put::<12>(minifloat.sum, 0, sums.try_into().unwrap());
    });
    let mut bench = Bench::new(2);
    let shifted = SoftmaxList { shift: ScoreShift(1), ..softmax_list(&mut bench) };
    bench.expect(shifted, |plain| {
        // One octave of the units is two octaves now.
        plain.put(shifted.dst, 0, [32, 127, 32]);
        plain.put::<12>(shifted.sum, 0, uint32s(&[159, 0, 32]).try_into().unwrap());
    });
}

/// The list of [`sddmm_list`]; a block of keys 2 and 1 in head 0 and of none in head 1.
fn spmm_list(bench: &mut Bench) -> SpmmList {
    SpmmList {
        engine: Engine::Sparser,
        wide: true,
        list: true,
        block: true,
        minifloat: false,
        lines: LineSet { first: 0, count: 2 },
        rows: bench.put(&rows(&[(3, 2), (1, 0), (0, 1), (2, 0)])),
        keys: bench.put(&[2, 0, 0, 0, 1, 0]),
        p: bench.put(&[3, 1, 2]),
        sum: bench.put(&uint32s(&[4, 0, 2, 0])),
        block_keys: bench.put(&block_keys_to_bytes(&[vec![2, 1], vec![]]).unwrap()),
        block_p: bench.put(&[1, 1, 0, 4]),
        block_sum: bench.put(&uint32s(&[2, 4, 0, 0])),
        v: bench.put(&[10, 20, 30, 40, 50, 60]),
        dst: bench.put(&[9; 4]),
        m: 2,
        n: 3,
        d: 1,
        heads: 2,
        columns: 2,
        v_stride: 2,
        dst_stride: 2,
        entries: Entries(3),
        // Two groups of one line. Queries take 2, 2, 3 and, though there is nothing to add, 1: the
        // first group takes 3 and 0.
        steps: Entries(5),
        scale: Scale::ONE,
    }
}

#[test]
fn products_by_hand() {
    let mut bench = Bench::new(3);
    let op = spmm_list(&mut bench);
    bench.expect(op, |plain| {
        // Query 0: (1 * 50 + 1 * 30 + 2 * 30) / 4. Query 2: nothing. Query 1: 4 * 30 / 4. Query 3:
        // (3 * 60 + 1 * 20) / 4.
        plain.put(op.dst, 0, [35, 0, 30, 50]);
    });
    // The numbers are below 32, so they represent themselves, as minifloats too.
    let mut bench = Bench::new(3);
    let op = SpmmList { minifloat: true, ..spmm_list(&mut bench) };
    bench.expect(op, |plain| plain.put(op.dst, 0, [35, 0, 30, 50]));
    let mut bench = Bench::new(3);
    let op = SpmmList { minifloat: true, ..spmm_list(&mut bench) };
    let p = op.p.0 as usize;
    bench.memory.sram[p..p + 3].copy_from_slice(&[33, 1, 63]);
    bench.expect(op, |plain| {
        // 33 and 63 are the numbers with exponent 1. Query 3: (33 * 60 + 1 * 20) / 4 saturates;
        // query 0: (1 * 50 + 1 * 30 + 63 * 30) / 4, too.
        plain.put(op.dst, 0, [127, 0, 30, 127]);
    });
}

#[test]
fn a_row_has_no_more_minifloats_than_fit() {
    let cut = |op: &mut SpmmList, sram: &mut [u8]| {
        // 4,096 entries of query 3, in scratchpad that all operands share.
        op.entries = Entries(4096);
        (op.keys, op.p, op.wide, op.block) = (Sram(2048), Sram(2048), false, false);
        sram[2048..6144].fill(0);
        let at = op.rows.0 as usize;
        sram[at..at + 16].copy_from_slice(&rows(&[(3, 4096), (1, 0), (0, 0), (2, 0)]));
        (op.steps, op.minifloat) = (Entries(4096), true);
    };
    let most = |found| Reason::Terms { query: 3, found, most: 4095 };
    assert_eq!(fault(spmm_list, cut), ("rows", most(4096)));
}

/// The fault of an instruction after a change of the scratchpad.
fn fault<T: Into<Op>>(
    op: impl Fn(&mut Bench) -> T,
    change: impl FnOnce(&mut T, &mut [u8]),
) -> (&'static str, Reason) {
    let mut bench = Bench::new(4);
    let mut op = op(&mut bench);
    change(&mut op, &mut bench.memory.sram);
    let before = bench.memory.clone();
    let fault =
        Core::new(&testing::vitcod()).execute(0, &Instr::new(op), &mut bench.memory).unwrap_err();
    assert!(bench.memory.sram == before.sram, "{fault}");
    (fault.operand, fault.reason)
}

#[test]
fn lists_that_do_not_hold_together_are_faults() {
    let at = |at: Sram, offset: usize| at.0 as usize + offset;
    let total = |found, stated| Reason::Total { found, stated };
    // Of position 1, the query becomes 4 and 3.
    let beyond = Reason::Index { position: 1, index: 4, limit: 4 };
    let twice = Reason::Repeated { position: 1, query: 3 };
    assert_eq!(fault(sddmm_list, |op, sram| sram[at(op.rows, 4)] = 4), ("rows", beyond.clone()));
    assert_eq!(fault(sddmm_list, |op, sram| sram[at(op.rows, 4)] = 3), ("rows", twice.clone()));
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.rows, 4)] = 4), ("rows", beyond));
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.rows, 4)] = 3), ("rows", twice));
    let beyond = Reason::Index { position: 0, index: 4, limit: 4 };
    assert_eq!(fault(softmax_list, |op, _| op.queries = 4), ("rows", beyond));

    assert_eq!(fault(sddmm_list, |op, _| op.entries = Entries(2)), ("rows", total(3, 2)));
    assert_eq!(fault(softmax_list, |op, _| op.entries = Entries(4)), ("rows", total(3, 4)));
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.rows, 2)] = 1), ("rows", total(2, 3)));
    assert_eq!(fault(spmm_list, |op, _| op.list = false), ("rows", total(3, 0)));

    let key = |position, index| Reason::Index { position, index, limit: 3 };
    assert_eq!(fault(sddmm_list, |op, sram| sram[at(op.keys, 1)] = 3), ("keys", key(1, 3)));
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.keys, 5)] = 1), ("keys", key(2, 257)));
    assert_eq!(
        fault(spmm_list, |op, sram| sram[at(op.block_keys, 6)] = 5),
        ("block_keys", key(1, 5))
    );
    assert_eq!(
        fault(spmm_list, |op, sram| sram[at(op.block_keys, 2)] = 1),
        ("block_keys", total(3, 2))
    );

    assert_eq!(
        fault(spmm_list, |op, _| op.steps = Entries(4)),
        ("steps", Reason::Steps { found: 5, stated: 4 })
    );
    // Without a block, the queries take 2, 1, 1 and 1 steps.
    let listed = |op: &mut SpmmList, _: &mut [u8]| op.block = false;
    assert_eq!(fault(spmm_list, listed), ("steps", Reason::Steps { found: 3, stated: 5 }));
}

#[test]
fn a_key_that_the_index_of_scores_invents_is_a_fault() {
    let scores = |bench: &mut Bench| Sddmm {
        engine: Engine::Denser,
        fresh: true,
        indexed: true,
        masked: false,
        biased: false,
        lines: LINES,
        q: bench.put(&[1]),
        k: bench.put(&[1, 2]),
        max: bench.put(&[0; 2]),
        dst: bench.put(&[0; 4]),
        m: 1,
        n: 2,
        d: 1,
        scale: Scale::ONE,
        q_stride: 1,
        k_stride: 1,
        dst_stride: 4,
        index: bench.put(&[1, 0, 2, 0]),
        mask: Sram(0),
        limit: 2,
        bias: Sram(0),
    };
    let (operand, reason) = fault(scores, |_, _| {});
    assert_eq!((operand, reason), ("index", Reason::Index { position: 1, index: 2, limit: 2 }));
}

#[test]
fn keys_too_wide_to_be_copied_together_are_scored_one_by_one() {
    let mut bench = Bench::new(5);
    let (m, n, d) = (2, 3, 40_000);
    let [q, k] = [m, n].map(|rows| bench.rows(1, u32::from(rows) * u32::from(d)).0);
    let [max, dst, other_max, other_dst] =
        [2, 6, 2, 6].map(|bytes| bench.rows(1, u32::from(m) * bytes).0);
    let index = bench.put(&[2, 0, 0, 0, 1, 0]);
    let plain = Sddmm {
        engine: Engine::Denser,
        fresh: true,
        indexed: false,
        masked: false,
        biased: false,
        lines: LINES,
        q,
        k,
        max,
        dst,
        m,
        n,
        d,
        scale: Scale::from_f64(0.001).unwrap(),
        q_stride: d.into(),
        k_stride: d.into(),
        dst_stride: 6,
        index,
        mask: Sram(0),
        limit: n,
        bias: Sram(0),
    };
    let mut core = Core::new(&testing::vitcod());
    for op in [plain, Sddmm { indexed: true, max: other_max, dst: other_dst, ..plain }] {
        core.execute(0, &Instr::new(op), &mut bench.memory).unwrap();
    }
    let scores = |at| Block::new(at, m, 3, 2, 6).read(&bench.memory.sram, i16::from_le_bytes);
    let (plain, indexed) = (scores(dst), scores(other_dst));
    assert_eq!(indexed, [2, 0, 1, 5, 3, 4].map(|cell: usize| plain[cell]));
}
