//! The instructions on lists: what the words, requantisers and dividers take, worked out by hand.

use super::{lines, vitcod};
use crate::cost::cost;
use crate::cost::lists::{list_limits, softmax_limits};
use crate::effects::Data;
use crate::instr::table::{SddmmList, SoftmaxList, SpmmList};
use crate::instr::{Cycles, Engine, Entries, Op, Sram, SramBytes};
use crate::lists::ListRow;
use crate::machine::Machine;
use crate::numerics::Scale;

fn scores() -> SddmmList {
    SddmmList {
        engine: Engine::Sparser,
        lines: lines(64),
        m: 10,
        n: 10,
        d: 64,
        heads: 3,
        q_stride: 192,
        k_stride: 192,
        queries: 20,
        // A header and 30 tokens of 4 bytes, and a few bytes that are none.
        token_bytes: SramBytes(6 + 30 * 4 + 3),
        entries: Entries(130),
        cycles: Cycles(77),
        scale: Scale::ONE,
        ..SddmmList::ZERO
    }
}

fn product() -> SpmmList {
    SpmmList {
        engine: Engine::Sparser,
        accumulate: true,
        lines: lines(64),
        m: 10,
        n: 10,
        d: 64,
        heads: 3,
        v_stride: 192,
        dst_stride: 192,
        acc_stride: SramBytes(768),
        queries: 20,
        token_bytes: SramBytes(6 + 30 * 4 + 3),
        entries: Entries(130),
        cycles: Cycles(78),
        scale: Scale::ONE,
        ..SpmmList::ZERO
    }
}

#[test]
fn instructions_state_their_cycles() {
    let machine = vitcod();
    let scores_cost = cost(&scores().into(), &machine);
    assert_eq!((scores_cost.cycles, scores_cost.latency), (77, 12));
    assert_eq!(scores_cost.macs, 130 * 64);
    let read = |data: Data| scores_cost.sram.read[data as usize];
    // Every query and every row once; the default of 2 contexts in 8 groups makes tokens of 4
    // bytes.
    assert_eq!(read(Data::Activations), (20 + 30) * 64);
    assert_eq!(read(Data::Indices), 20 * 6 + 129);
    assert_eq!(scores_cost.sram.written[Data::Scores as usize], 130 * 2);
    assert_eq!(scores_cost.sram.written[Data::Statistics as usize], 20 * 2);
    // No more rows than entries.
    let few = SddmmList { entries: Entries(7), ..scores() };
    assert_eq!(cost(&few.into(), &machine).sram.read[Data::Activations as usize], (20 + 7) * 64);

    let product_cost = cost(&product().into(), &machine);
    assert_eq!((product_cost.cycles, product_cost.latency), (78, 12));
    let read = |data: Data| product_cost.sram.read[data as usize];
    assert_eq!(read(Data::Activations), 30 * 64 + 20 * 256);
    assert_eq!((read(Data::Probabilities), read(Data::Statistics)), (130, 2 * 20 * 4));
    assert_eq!(product_cost.sram.written_bytes(), 20 * 64);
    let alone = SpmmList { accumulate: false, minifloat: true, ..product() };
    let alone = cost(&alone.into(), &machine);
    assert_eq!(alone.sram.read[Data::Activations as usize], 30 * 64);
    assert_eq!(alone.shifted, 130 * 64);
}

/// Machine `vitcod` with 4 banks, 2 slots for writes of the sparser engine, and no other slots.
fn banked() -> Machine {
    let mut machine = Machine::preset("vitcod").unwrap();
    let (banks, slots) = (machine.banks.as_mut().unwrap(), machine.slots.as_mut().unwrap());
    banks.count = 4;
    slots.sparser_write = 2;
    machine
}

/// Queries of a head with this many entries each.
fn rows(rows: &[(u8, u16, u16)]) -> Vec<ListRow> {
    rows.iter()
        .map(|(head, query, entries)| ListRow {
            query: *query,
            entries: *entries,
            head: *head,
            context: 0,
        })
        .collect()
}

#[test]
fn words_of_scores() {
    let machine = banked();
    let revolution = machine.organisation().unwrap().revolution_cycles();
    let op = SddmmList {
        rows: Sram(0),
        tokens: Sram(4096),
        max: Sram(8192),
        dst: Sram(16384),
        token_bytes: SramBytes(640),
        lines: lines(64),
        ..scores()
    };
    // A word of rows, 10 of tokens in 3 layers: 4 revolutions of a slot. Written are a word of
    // maxima, and scores: 192 and 64 bytes and 40, of which none begins within a word: 5 words, 2
    // layers. 3 layers are 2 revolutions of two slots.
    let list = rows(&[(0, 0, 96), (0, 1, 32), (2, 9, 20)]);
    let limit = |op: SddmmList, rows: &[ListRow]| list_limits(&op.into(), rows, &machine);
    assert_eq!(limit(op, &list), 4 * revolution);
    let few = SddmmList { token_bytes: SramBytes(10), ..op };
    assert_eq!(limit(few, &list), 2 * revolution);
    // 20 rows of 14 scores begin within words except the first: 9 and 19 words, 7 layers, and a
    // word of maxima, a window for all queries; 8 layers are 4 revolutions.
    let ragged: Vec<(u8, u16, u16)> = (0..20).map(|i| (0, i, 14)).collect();
    assert_eq!(limit(SddmmList { m: 20, ..few }, &rows(&ragged)), 4 * revolution);
    // 20,000 scores are 625 words in 157 layers; 64 lines requantise 256 in a cycle, and one 4.
    let many = rows(&[(0, 0, 20_000)]);
    let many_op = SddmmList { entries: Entries(20_000), ..few };
    assert_eq!(limit(many_op, &many), 79 * revolution);
    assert_eq!(limit(SddmmList { lines: lines(1), ..many_op }, &many), 5000);
    assert_eq!(list_limits(&many_op.into(), &many, &vitcod()), 0, "an ideal machine");
}

#[test]
fn words_of_products() {
    let machine = banked();
    let revolution = machine.organisation().unwrap().revolution_cycles();
    let op = SpmmList {
        rows: Sram(0),
        tokens: Sram(4096),
        p: Sram(8192),
        sum: Sram(16384),
        block_sum: Sram(20480),
        acc: Sram(32768),
        dst: Sram(65536),
        token_bytes: SramBytes(64),
        ..product()
    };
    let limit = |op: SpmmList, rows: &[ListRow]| list_limits(&Op::from(op), rows, &machine);
    // A layer each of rows, tokens, probabilities and sums.
    let list = rows(&[(0, 0, 30), (1, 1, 30), (2, 2, 4)]);
    let alone = SpmmList { accumulate: false, ..op };
    assert_eq!(limit(alone, &list), 4 * revolution);
    // Numbers 0, 11 and 22 are in two words, of different banks. Accumulators are 3 * 4 words from
    // 0, 16 and 32 on: 3 layers.
    assert_eq!(limit(op, &list), (4 + 1 + 3) * revolution);
    // 200 queries on 32 dividers take 7 * 32 cycles, and 12,800 results 50.
    let many: Vec<(u8, u16, u16)> = (0..200).map(|i| (0, i, 0)).collect();
    let many = rows(&many);
    let mut fast = machine.clone();
    fast.slots.as_mut().unwrap().sparser_read = 64;
    fast.slots.as_mut().unwrap().sparser_write = 64;
    let large = SpmmList { m: 200, queries: 200, ..alone };
    let revolution = fast.organisation().unwrap().revolution_cycles();
    // Rows 5, tokens 1, no probabilities, sums 4: 10 layers. Results, 3 words apart, in windows of
    // 4 words: 50 layers.
    assert_eq!(list_limits(&large.into(), &many, &fast), (7 * 32).max(revolution));
    fast.datapath.as_mut().unwrap().dividers = 200;
    assert_eq!(list_limits(&large.into(), &many, &fast), revolution.max(50));
}

#[test]
fn softmax_of_a_list() {
    let op = SoftmaxList {
        engine: Engine::Sparser,
        both: true,
        rows: Sram(0),
        src: Sram(4096),
        max: Sram(8192),
        other_max: Sram(12288),
        sum: Sram(16384),
        dst: Sram(20480),
        m: 10,
        heads: 3,
        queries: 3,
        entries: Entries(101),
        cycles: Cycles(99),
        ..SoftmaxList::ZERO
    };
    let list = rows(&[(0, 0, 100), (1, 1, 0), (2, 2, 1)]);
    // An ideal machine does not pad rows.
    let ideal = cost(&op.into(), &vitcod());
    assert_eq!((ideal.cycles, ideal.latency, ideal.elements), (99, 8, 101));
    assert_eq!(ideal.sram.read_bytes(), 3 * 6 + 202 + 2 * 3 * 2);
    assert_eq!(ideal.sram.written_bytes(), 3 * 4 + 101);
    assert_eq!(softmax_limits(&op, &list, &vitcod()), 13);
    let machine = banked();
    // Read is a layer of rows, of scores and of maxima twice; revolutions with writes alternate.
    let revolution = machine.organisation().unwrap().revolution_cycles();
    assert_eq!(softmax_limits(&op, &list, &machine), 2 * 4 * revolution);
    let mut fast = machine;
    fast.slots.as_mut().unwrap().softmax = 64;
    fast.softmax.scores_per_cycle = 1;
    let revolution = fast.organisation().unwrap().revolution_cycles();
    assert_eq!(softmax_limits(&op, &list, &fast), (2 * revolution).max(100 + 1 + 1));
}
