//! The instructions on lists: small cases by hand.

use vitcod_isa::instr::{Cycles, Entries, SramBytes};
use vitcod_isa::lists::{
    LineGroups, List, ListError, ListRow, Phase, Segment, Token, softmax_cycles, state_cycles,
};
use vitcod_isa::machine::Machine;

use super::*;

pub(super) fn uint32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn int16s(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Rows of a list: query, entries, head, context.
pub(super) fn rows(rows: &[(u16, u16, u8, u8)]) -> Vec<ListRow> {
    let row = |(query, entries, head, context): &(u16, u16, u8, u8)| ListRow {
        query: *query,
        entries: *entries,
        head: *head,
        context: *context,
    };
    rows.iter().map(row).collect()
}

pub(super) fn key(key: u16, contexts: &[u8]) -> Token {
    Token::Row { key, uses: contexts.iter().copied().collect() }
}

pub(super) fn segment(tokens: &[Token]) -> Segment {
    Segment { cycles: [0; 2], tokens: tokens.to_vec() }
}

/// The machine of these tests: 2 contexts in each group.
fn machine() -> Machine {
    Machine::preset("vitcod").unwrap()
}

/// Of two lines, with a group each: query 1 of head 1 has keys 2 and 0, query 0 of head 0 has key
/// 1, query 1 of head 0 has none. Query 0 of head 1 is not in the list.
fn list() -> List {
    List {
        rows: rows(&[(1, 2, 1, 0), (0, 1, 0, 3), (1, 0, 0, 0)]),
        segments: vec![
            segment(&[Token::Held(1), Token::Held(1)]),
            segment(&[key(2, &[0]), Token::Held(1), key(1, &[3]), key(0, &[0])]),
            segment(&[]),
        ],
    }
}

/// Puts the list of an instruction, with its cycles, to addresses.
pub(super) fn put_list(
    bench: &mut Bench,
    op: impl Into<Op>,
    mut list: List,
    machine: &Machine,
) -> Op {
    let mut op = op.into();
    let (lines, d, wide) = match op {
        Op::SddmmList(op) => (op.lines, op.d, op.wide),
        Op::SpmmList(op) => (op.lines, op.d, op.wide),
        _ => unreachable!("it has tokens"),
    };
    let groups = LineGroups::new(d, lines.count, machine);
    let bytes = list.tokens_to_bytes(wide, &groups).unwrap();
    let (rows, tokens) = (bench.put(&list.rows_to_bytes()), bench.put(&bytes));
    let [queries, token_bytes] = [list.rows.len(), bytes.len()];
    let entries = list.rows.iter().map(|row| u32::from(row.entries)).sum();
    match &mut op {
        Op::SddmmList(op) => {
            (op.rows, op.tokens, op.queries) = (rows, tokens, queries as u16);
            (op.token_bytes, op.entries) = (SramBytes(token_bytes as u32), Entries(entries));
        }
        Op::SpmmList(op) => {
            (op.rows, op.tokens, op.queries) = (rows, tokens, queries as u16);
            (op.token_bytes, op.entries) = (SramBytes(token_bytes as u32), Entries(entries));
        }
        _ => {}
    }
    state_cycles(&mut op, &mut list, machine).unwrap();
    let bytes = list.tokens_to_bytes(wide, &groups).unwrap();
    bench.memory.sram[tokens.0 as usize..][..bytes.len()].copy_from_slice(&bytes);
    op
}

fn sddmm_list(bench: &mut Bench) -> SddmmList {
    let op = SddmmList {
        engine: Engine::Sparser,
        lines: LineSet { first: 3, count: 2 },
        q: bench.put(&[1, 2, 3, 4]),
        k: bench.put(&[5, 6, 7, 8, 9, 10]),
        max: bench.put(&[9; 8]),
        dst: bench.put(&[0; 6]),
        m: 2,
        n: 3,
        d: 1,
        heads: 2,
        q_stride: 2,
        k_stride: 2,
        scale: Scale::ONE,
        ..SddmmList::ZERO
    };
    match put_list(bench, op, list(), &machine()) {
        Op::SddmmList(op) => op,
        _ => unreachable!(),
    }
}

#[test]
fn scores_by_hand() {
    let mut bench = Bench::new(1);
    let op = sddmm_list(&mut bench);
    bench.expect_on(&machine(), op, |plain| {
        // Query 1 of head 1 is 4; its keys are 10 and 6. Query 0 of head 0 is 1, its key 7.
        plain.put::<6>(op.dst, 0, int16s(&[40, 24, 7]).try_into().unwrap());
        plain.put::<4>(op.max, 0, int16s(&[7, i16::MIN]).try_into().unwrap());
        plain.put::<2>(op.max, 6, int16s(&[40]).try_into().unwrap());
    });
}

/// Part of a list: queries 1 of head 1, 0 of head 1 and 0 of head 0, with two, no and one entries.
fn softmax_list(bench: &mut Bench) -> SoftmaxList {
    let rows = rows(&[(1, 2, 1, 7), (0, 0, 1, 7), (0, 1, 0, 255)]);
    let bytes: Vec<u8> = rows.iter().flat_map(|row| row.to_bytes()).collect();
    let op = SoftmaxList {
        engine: Engine::Sparser,
        both: true,
        minifloat: false,
        shift: ScoreShift(0),
        rows: bench.put(&bytes),
        src: bench.put(&int16s(&[0, 256, 1000])),
        max: bench.put(&int16s(&[1000, 0, 0, 256, 0, 0])),
        other_max: bench.put(&int16s(&[1256, 0, 0, -5, 0, 0])),
        sum: bench.put(&[0; 12]),
        dst: bench.put(&[0; 3]),
        m: 2,
        heads: 3,
        queries: 3,
        entries: Entries(3),
        cycles: Cycles(0),
    };
    SoftmaxList { cycles: Cycles(softmax_cycles(&op, &rows, &machine())), ..op }
}

#[test]
fn probabilities_by_hand() {
    let mut bench = Bench::new(2);
    let op = softmax_list(&mut bench);
    bench.expect_on(&machine(), op, |plain| {
        // An octave below the maximum is one half of 127.
        plain.put(op.dst, 0, [64, 127, 64]);
        plain.put::<12>(op.sum, 0, uint32s(&[191, 0, 64]).try_into().unwrap());
    });
    let mut bench = Bench::new(2);
    let list = softmax_list(&mut bench);
    // A layer less is read.
    let revolution = machine().organisation().unwrap().revolution_cycles() as u32;
    let cycles = Cycles(list.cycles.0 - 2 * revolution);
    let op = SoftmaxList { both: false, cycles, ..list };
    bench.expect_on(&machine(), op, |plain| {
        plain.put(op.dst, 0, [64, 127, 127]);
        plain.put::<12>(op.sum, 0, uint32s(&[191, 0, 127]).try_into().unwrap());
    });
}

#[test]
fn minifloats_and_shifted_scores_by_hand() {
    let mut bench = Bench::new(2);
    let minifloat = SoftmaxList { minifloat: true, ..softmax_list(&mut bench) };
    bench.expect_on(&machine(), minifloat, |plain| {
        // The first query: the maximum 256 is octave 1, below which 2 lies: 4096 / 4 and 4096 / 2.
        // The last one: 1256 is below octave 5; 1000 is 280 units below it, 4096 * 2^(-280/256) =
        // 1919.1, which is next to 60 * 32.
        let numbers = [1024, 2048, 1920];
        let bytes: [u8; 3] = [6 << 5, 7 << 5, (6 << 5) + 28];
        plain.put(minifloat.dst, 0, bytes);
        let [first, second, third] = numbers;
        let sums = uint32s(&[first + second, 0, third]);
        plain.put::<12>(minifloat.sum, 0, sums.try_into().unwrap());
    });
    let mut bench = Bench::new(2);
    let shifted = SoftmaxList { shift: ScoreShift(1), ..softmax_list(&mut bench) };
    bench.expect_on(&machine(), shifted, |plain| {
        // One octave of the units is two octaves now.
        plain.put(shifted.dst, 0, [32, 127, 32]);
        plain.put::<12>(shifted.sum, 0, uint32s(&[159, 0, 32]).try_into().unwrap());
    });
}

/// The list of [`sddmm_list`]. Before it, products of a block were added to the sums of head 0.
fn spmm_list(bench: &mut Bench) -> SpmmList {
    let op = SpmmList {
        engine: Engine::Sparser,
        wide: true,
        accumulate: true,
        minifloat: false,
        lines: LineSet { first: 0, count: 2 },
        p: bench.put(&[3, 1, 2]),
        sum: bench.put(&uint32s(&[4, 2, 0])),
        block_sum: bench.put(&uint32s(&[2, 4, 0, 0])),
        acc: bench.put(&uint32s(&[80, 0, 120, 0])),
        v: bench.put(&[10, 20, 30, 40, 50, 60]),
        dst: bench.put(&[9; 4]),
        m: 2,
        n: 3,
        d: 1,
        heads: 2,
        v_stride: 2,
        dst_stride: 2,
        acc_stride: SramBytes(8),
        scale: Scale::ONE,
        ..SpmmList::ZERO
    };
    match put_list(bench, op, list(), &machine()) {
        Op::SpmmList(op) => op,
        _ => unreachable!(),
    }
}

#[test]
fn products_by_hand() {
    let mut bench = Bench::new(3);
    let op = spmm_list(&mut bench);
    bench.expect_on(&machine(), op, |plain| {
        // Query 0 of head 0: (80 + 2 * 30) / (2 + 2). Query 0 of head 1 is not in the list. Query 1
        // of head 0: 120 / 4; of head 1: (3 * 60 + 1 * 20) / 4.
        plain.put(op.dst, 0, [35, 9, 30, 50]);
    });
    // The numbers are below 32, so they represent themselves, as minifloats too.
    let mut bench = Bench::new(3);
    let op = SpmmList { minifloat: true, ..spmm_list(&mut bench) };
    bench.expect_on(&machine(), op, |plain| plain.put(op.dst, 0, [35, 9, 30, 50]));
    let mut bench = Bench::new(3);
    let op = SpmmList { minifloat: true, ..spmm_list(&mut bench) };
    let p = op.p.0 as usize;
    bench.memory.sram[p..p + 3].copy_from_slice(&[33, 1, 63]);
    bench.expect_on(&machine(), op, |plain| {
        // 33 and 63 are the numbers with exponent 1. Query 1 of head 1: (33 * 60 + 1 * 20) / 4
        // saturates; query 0 of head 0: (80 + 63 * 30) / 4, too.
        plain.put(op.dst, 0, [127, 9, 30, 127]);
    });
}

/// The fault of an instruction after a change of the scratchpad.
fn fault_on<T: Into<Op>>(
    machine: &Machine,
    op: impl Fn(&mut Bench) -> T,
    change: impl FnOnce(&mut T, &mut [u8]),
) -> (&'static str, Reason) {
    let mut bench = Bench::new(4);
    let mut op = op(&mut bench);
    change(&mut op, &mut bench.memory.sram);
    let before = bench.memory.clone();
    let fault = Core::new(machine).execute(0, &Instr::new(op), &mut bench.memory).unwrap_err();
    assert!(bench.memory.sram == before.sram, "{fault}");
    (fault.operand, fault.reason)
}

fn fault<T: Into<Op>>(
    op: impl Fn(&mut Bench) -> T,
    change: impl FnOnce(&mut T, &mut [u8]),
) -> (&'static str, Reason) {
    fault_on(&machine(), op, change)
}

#[test]
fn lists_that_do_not_hold_together_are_faults() {
    let at = |at: Sram, offset: usize| at.0 as usize + offset;
    let of_list = |operand, error| (operand, Reason::List(error));
    let total = |found, stated| of_list("rows", ListError::Total { found, stated });
    // Of position 1, the query becomes 2.
    let beyond = of_list("rows", ListError::Query { position: 1, query: 2, limit: 2 });
    assert_eq!(fault(sddmm_list, |op, sram| sram[at(op.rows, 6)] = 2), beyond);
    assert_eq!(fault(softmax_list, |op, sram| sram[at(op.rows, 6)] = 2), beyond);
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.rows, 6)] = 2), beyond);
    let beyond = of_list("rows", ListError::Head { position: 2, head: 3, limit: 3 });
    assert_eq!(fault(softmax_list, |op, sram| sram[at(op.rows, 16)] = 3), beyond);

    assert_eq!(fault(sddmm_list, |op, _| op.entries = Entries(2)), total(3, 2));
    assert_eq!(fault(softmax_list, |op, _| op.entries = Entries(4)), total(3, 4));
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.rows, 2)] = 1), total(2, 3));

    // Headers have 6 bytes, held tokens one, rows with wide keys 4: the second token of segment 1
    // is the third query.
    let (segment, token) = (1, 0);
    let wrong = of_list("tokens", ListError::Key { segment, token, key: 258, limit: 3 });
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.tokens, 6 + 2 + 6 + 2)] = 1), wrong);
    let wrong = of_list("tokens", ListError::Vacant { segment, token, context: 1 });
    assert_eq!(fault(spmm_list, |op, sram| sram[at(op.tokens, 6 + 2 + 6 + 3)] = 2), wrong);
    let cut = of_list("tokens", ListError::Truncated { segment: 2 });
    assert_eq!(fault(sddmm_list, |op, _| op.token_bytes.0 -= 1), cut);
}

#[test]
fn other_cycles_than_those_of_the_machine_are_faults() {
    let at = |at: Sram, offset: usize| at.0 as usize + offset;
    let more = |cycles: &mut Cycles| cycles.0 += 1;
    let cycles = |(operand, reason): (&'static str, Reason)| match reason {
        Reason::List(ListError::Cycles { found, stated }) => (operand, stated - found),
        _ => panic!("{reason}"),
    };
    assert_eq!(cycles(fault(sddmm_list, |op, _| more(&mut op.cycles))), ("cycles", 1));
    assert_eq!(cycles(fault(softmax_list, |op, _| more(&mut op.cycles))), ("cycles", 1));
    assert_eq!(cycles(fault(spmm_list, |op, _| more(&mut op.cycles))), ("cycles", 1));
    // The second header states 9 cycles for segment 1, of scores or of products.
    let scores = fault(sddmm_list, |op, sram| sram[at(op.tokens, 6 + 2 + 2)] = 9);
    assert!(matches!(
        scores.1,
        Reason::List(ListError::Segment { segment: 1, phase: Phase::Scores, stated: 9, .. })
    ));
    let products = fault(spmm_list, |op, sram| sram[at(op.tokens, 6 + 2 + 4)] = 9);
    assert!(matches!(
        products.1,
        Reason::List(ListError::Segment { segment: 1, phase: Phase::Products, stated: 9, .. })
    ));
    let mut bench = Bench::new(4);
    let mut core = Core::new(&machine());
    let op = spmm_list(&mut bench);
    let other = Instr::new(SpmmList { cycles: Cycles(1), ..op });
    assert!(core.execute(0, &other, &mut bench.memory).is_err());
    // They do not count where operands have no addresses.
    core.set_placed(false);
    core.execute(0, &other, &mut bench.memory).unwrap();
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

proptest! {
    #[test]
    fn noise_is_executed_or_a_fault(
        seed: u64, noise in prop::collection::vec(0u8..6, 200),
        (m, n, d, heads) in (0u16..5, 0u16..7, 0u16..20, 0u16..4), lines in 1u16..=64,
        (queries, token_bytes, entries) in (0u16..6, 0u32..60, 0u32..20), flags in any::<[bool; 3]>(), placed: bool,
    ) {
        let mut bench = Bench::new(seed);
        let mut at = || Sram(4 * (bench.next() % 64) as u32);
        let [wide, accumulate, minifloat] = flags;
        let lines = LineSet { first: 0, count: lines };
        let (token_bytes, entries) = (SramBytes(token_bytes), Entries(entries));
        let (rows, tokens, engine) = (at(), at(), Engine::Sparser);
        let ops: [Op; 3] = [
            SddmmList {
                engine, wide, lines, rows, tokens, q: at(), k: at(), max: at(), dst: at(), m, n, d, heads, queries, token_bytes,
                entries, ..SddmmList::ZERO
            }.into(),
            SoftmaxList {
                engine, both: wide, minifloat, rows, src: at(), max: at(), other_max: at(), sum: at(), dst: at(), m, heads, queries,
                entries, ..SoftmaxList::ZERO
            }.into(),
            SpmmList {
                engine, wide, accumulate, minifloat, lines, rows, tokens, p: at(), sum: at(), block_sum: at(), acc: at(), v: at(),
                dst: at(), m, n, d, heads, queries, token_bytes, entries, ..SpmmList::ZERO
            }.into(),
        ];
        let mut core = Core::new(&machine());
        core.set_placed(placed);
        for op in ops {
            bench.memory.sram[..noise.len()].copy_from_slice(&noise);
            let _ = core.execute(0, &Instr::new(op), &mut bench.memory);
        }
    }
}
