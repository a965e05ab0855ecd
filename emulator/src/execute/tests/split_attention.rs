//! Attention in blocks and lists against dense instructions with pruned cells.

use std::collections::BTreeMap;

use vitcod_isa::instr::{Cycles, Entries, SramBytes};
use vitcod_isa::lists::{
    ContextSet, LIST_ROW_BYTES, LineGroups, List, ListRow, Segment, Token, softmax_cycles,
};
use vitcod_isa::machine::Machine;

use super::lists::{int16s, put_list, uint32s};
use super::*;

/// Attention of a few heads, and which of its cells are kept.
#[derive(Clone, Debug)]
struct Case {
    heads: u16,
    m: u16,
    n: u16,
    d: u16,
    /// By head, query, key.
    kept: Vec<bool>,
    /// Keys of each head's block, in their order.
    columns: Vec<Vec<u16>>,
    /// Queries in the order of the list.
    order: Vec<u16>,
    wide: bool,
    lines: LineSet,
    /// Where the softmax of the list is cut.
    cut: prop::sample::Index,
    /// Which queries are in a batch, and the order of its tokens.
    packing: u64,
    machine: Machine,
    minifloat: bool,
    shift: ScoreShift,
}

impl Case {
    fn any() -> impl Strategy<Value = Case> {
        (1u16..4, 1u16..7, 1u16..20, 1u16..20, 1u16..=64).prop_flat_map(
            |(heads, m, n, d, count)| {
                let queries = heads * m;
                let keys: Vec<u16> = (0..n).collect();
                (
                    prop::collection::vec(prop::bool::weighted(0.3), usize::from(queries * n)),
                    prop::collection::vec(
                        prop::sample::subsequence(keys, 0..=usize::from(n)).prop_shuffle(),
                        usize::from(heads),
                    ),
                    Just((0..queries).collect::<Vec<u16>>()).prop_shuffle(),
                    any::<bool>(),
                    (any::<prop::sample::Index>(), any::<u64>(), machines()),
                    (any::<bool>(), 0..=8u8),
                )
                    .prop_map(
                        move |(kept, columns, order, wide, (cut, packing, machine), numbers)| {
                            let lines = LineSet { first: 0, count };
                            let (minifloat, shift) = (numbers.0, ScoreShift(numbers.1));
                            Case {
                                heads,
                                m,
                                n,
                                d,
                                kept,
                                columns,
                                order,
                                wide,
                                lines,
                                cut,
                                packing,
                                machine,
                                minifloat,
                                shift,
                            }
                        },
                    )
            },
        )
    }

    fn kept(&self, query: u16, key: u16) -> bool {
        self.kept[usize::from(query) * usize::from(self.n) + usize::from(key)]
    }

    /// The mask of a head's queries over the keys given.
    fn mask(&self, head: u16, keys: &[u16]) -> Vec<u8> {
        let row = |i| {
            let bits = |keys: &[u16]| {
                (0..keys.len())
                    .map(|bit| u8::from(self.kept(head * self.m + i, keys[bit])) << bit)
                    .sum()
            };
            keys.chunks(8).map(bits).collect::<Vec<u8>>()
        };
        (0..self.m).flat_map(row).collect()
    }

    /// The keys of a query that are kept and not in its head's block.
    fn listed(&self, query: u16) -> Vec<u16> {
        let block = &self.columns[usize::from(query / self.m)];
        // In any order, here backwards.
        (0..self.n).rev().filter(|key| self.kept(query, *key) && !block.contains(key)).collect()
    }

    /// Runs a head's scores and softmax over some keys, and returns the probabilities.
    fn dense(
        &self,
        run: &mut Run,
        head: u16,
        keys: &[u16],
        max: Sram,
        sum: Sram,
        other_max: Option<Sram>,
    ) -> (Op, Sram) {
        let (m, n, d) = (self.m, keys.len() as u16, self.d);
        let bench = &mut run.bench;
        let (scores, probabilities) =
            (bench.rows(m, 2 * u32::from(n)), bench.rows(1, u32::from(m) * u32::from(n)).0);
        let mask = bench.put(&self.mask(head, keys));
        let index = bench.put(&keys.iter().flat_map(|key| key.to_le_bytes()).collect::<Vec<u8>>());
        let width = u32::from(self.heads * d);
        let of_head = |at: Sram| Sram(at.0 + u32::from(head * d));
        run.execute(Sddmm {
            engine: Engine::Denser,
            fresh: true,
            indexed: true,
            masked: true,
            biased: false,
            lines: LINES,
            q: of_head(run.q),
            k: of_head(run.k),
            max,
            dst: scores.0,
            m,
            n,
            d,
            scale: run.score_scale,
            q_stride: width,
            k_stride: width,
            dst_stride: scores.1,
            index,
            mask,
            limit: self.n,
            bias: Sram(0),
        });
        let softmax = Softmax {
            engine: Engine::Denser,
            fresh: true,
            both: other_max.is_some(),
            minifloat: self.minifloat,
            shift: self.shift,
            src: scores.0,
            max,
            other_max: other_max.unwrap_or(Sram(0)),
            sum,
            dst: probabilities,
            m,
            n,
            src_stride: scores.1,
            dst_stride: n.into(),
        };
        (softmax.into(), probabilities)
    }

    /// The result of dense instructions.
    fn whole(&self, run: &mut Run) -> Vec<u8> {
        let width = u32::from(self.heads * self.d);
        let (dst, _) = run.bench.rows(1, u32::from(self.m) * width);
        let keys: Vec<u16> = (0..self.n).collect();
        for head in 0..self.heads {
            let [max, sum] = [2, 4].map(|element| run.bench.rows(1, element * u32::from(self.m)).0);
            let (softmax, p) = self.dense(run, head, &keys, max, sum, None);
            run.execute(softmax);
            run.execute(Spmm {
                engine: Engine::Denser,
                out: Width::I8,
                accumulate: false,
                both: false,
                minifloat: self.minifloat,
                lines: LINES,
                p,
                v: Sram(run.v.0 + u32::from(head * self.d)),
                sum,
                other_sum: Sram(0),
                acc: Sram(0),
                dst: Sram(dst.0 + u32::from(head * self.d)),
                m: self.m,
                n: self.n,
                d: self.d,
                scale: run.scale,
                p_stride: self.n.into(),
                v_stride: width,
                acc_stride: 0,
                dst_stride: width,
            });
        }
        run.bytes(dst, u32::from(self.m) * width)
    }

    /// The list of all entries outside of blocks, in random batches.
    fn list(&self) -> List {
        let mut random = SplitMix64::new(self.packing);
        let seats = LineGroups::new(self.d, self.lines.count, &self.machine).seats() as usize;
        let mut below = |limit: usize| (random.bits() % limit as u64) as usize;
        let mut list = List { segments: vec![Segment::default()], ..List::default() };
        let mut order = &self.order[..];
        while !order.is_empty() {
            let (batch, rest) = order.split_at(1 + below(order.len().min(seats)));
            order = rest;
            let mut free: Vec<u8> = (0..seats).map(|context| context as u8).collect();
            let mut held: Vec<Token> = Vec::new();
            let mut rows = BTreeMap::<u16, ContextSet>::new();
            for number in batch {
                let (head, query) = ((number / self.m) as u8, number % self.m);
                let (keys, context) = (self.listed(*number), free.swap_remove(below(free.len())));
                let entries = keys.len() as u16;
                for key in keys {
                    rows.entry(key).or_default().insert(context);
                }
                // Neighbours of the same number share a token, or not.
                match held.last_mut() {
                    Some(Token::Held(queries))
                        if list.rows.last().is_some_and(|last| last.query == query)
                            && below(2) == 0 =>
                    {
                        *queries += 1;
                    }
                    _ => held.push(Token::Held(1)),
                }
                list.rows.push(ListRow { query, entries, head, context });
            }
            // Rows in any order, and held queries in theirs between the rows of the batch before.
            let before = list.segments.last_mut().unwrap();
            let mut place = 0;
            for token in held {
                place += below(before.tokens.len() + 1 - place);
                before.tokens.insert(place, token);
                place += 1;
            }
            let mut tokens: Vec<Token> =
                rows.into_iter().map(|(key, uses)| Token::Row { key, uses }).collect();
            for last in (1..tokens.len()).rev() {
                tokens.swap(last, below(last + 1));
            }
            list.segments.push(Segment { cycles: [0; 2], tokens });
        }
        list
    }

    /// The result of blocks and a list.
    fn split(&self, run: &mut Run) -> Vec<u8> {
        let Case { heads, m, n, d, wide, lines, .. } = *self;
        let width = u32::from(heads * d);
        let queries = heads * m;
        let list = self.list();
        let rows = list.rows.clone();
        let entries: u32 = rows.iter().map(|row| u32::from(row.entries)).sum();
        let columns: u16 = self.columns.iter().map(|columns| columns.len() as u16).sum();

        let bench = &mut run.bench;
        // Heads without a block have neither maxima nor sums.
        let block_max = bench.put(&int16s(&vec![i16::MIN; queries.into()]));
        let block_sum = bench.put(&uint32s(&vec![0; queries.into()]));
        let acc = bench.put(&uint32s(&vec![0; usize::from(m) * width as usize]));
        let [max, sum, scores, p, block_p, dst] = [
            2 * u32::from(queries),
            4 * u32::from(queries),
            2 * entries,
            entries,
            u32::from(columns * m),
            u32::from(m) * width,
        ]
        .map(|bytes| bench.rows(1, bytes).0);

        let listed = SddmmList {
            engine: Engine::Sparser,
            wide,
            lines,
            q: run.q,
            k: run.k,
            max,
            dst: scores,
            m,
            n,
            d,
            heads,
            q_stride: width as u16,
            k_stride: width as u16,
            scale: run.score_scale,
            ..SddmmList::ZERO
        };
        let listed = put_list(bench, listed, list.clone(), &self.machine);
        let Op::SddmmList(SddmmList { rows: rows_at, .. }) = listed else { unreachable!() };
        run.execute(listed);
        let mut block_end = block_p;
        for (head, keys) in (0..heads).zip(&self.columns).filter(|(_, keys)| !keys.is_empty()) {
            let of_head = |at: Sram, element: u32| Sram(at.0 + u32::from(head * m) * element);
            let sum = of_head(block_sum, 4);
            let (softmax, _) =
                self.dense(run, head, keys, of_head(block_max, 2), sum, Some(of_head(max, 2)));
            let Op::Softmax(softmax) = softmax else { unreachable!() };
            run.execute(Softmax { dst: block_end, ..softmax });
            // The values of the block's keys side by side.
            let from = u32::from(head * d);
            let value = |key: &u16| {
                let at = (run.v.0 + u32::from(*key) * width + from) as usize;
                run.bench.memory.sram[at..at + usize::from(d)].to_vec()
            };
            let values: Vec<u8> = keys.iter().flat_map(value).collect();
            let v = run.bench.put(&values);
            run.execute(Spmm {
                engine: Engine::Denser,
                out: Width::I32,
                accumulate: false,
                both: false,
                minifloat: self.minifloat,
                lines: LINES,
                p: block_end,
                v,
                sum: Sram(0),
                other_sum: Sram(0),
                acc: Sram(0),
                dst: Sram(acc.0 + 4 * from),
                m,
                n: keys.len() as u16,
                d,
                scale: run.scale,
                p_stride: keys.len() as u32,
                v_stride: d.into(),
                acc_stride: 0,
                dst_stride: 4 * width,
            });
            block_end.0 += u32::from(m) * keys.len() as u32;
        }
        let (first, second) = rows.split_at(self.cut.index(rows.len() + 1));
        let before: u32 = first.iter().map(|row| u32::from(row.entries)).sum();
        for (part, at, from) in [(first, 0, 0), (second, first.len() as u32, before)] {
            let softmax = SoftmaxList {
                engine: Engine::Sparser,
                both: true,
                minifloat: self.minifloat,
                shift: self.shift,
                rows: Sram(rows_at.0 + LIST_ROW_BYTES as u32 * at),
                src: Sram(scores.0 + 2 * from),
                max,
                other_max: block_max,
                sum: Sram(sum.0 + 4 * at),
                dst: Sram(p.0 + from),
                m,
                heads,
                queries: part.len() as u16,
                entries: Entries(part.iter().map(|row| u32::from(row.entries)).sum()),
                cycles: Cycles(0),
            };
            let cycles = Cycles(softmax_cycles(&softmax, part, &self.machine));
            run.execute(SoftmaxList { cycles, ..softmax });
        }
        let product = SpmmList {
            engine: Engine::Sparser,
            wide,
            accumulate: columns > 0,
            minifloat: self.minifloat,
            lines,
            p,
            sum,
            block_sum,
            acc,
            v: run.v,
            dst,
            m,
            n,
            d,
            heads,
            v_stride: width as u16,
            dst_stride: width as u16,
            acc_stride: SramBytes(4 * width),
            scale: run.scale,
            ..SpmmList::ZERO
        };
        let product = put_list(&mut run.bench, product, list, &self.machine);
        run.execute(product);
        run.bytes(dst, u32::from(m) * width)
    }
}

/// Machines that differ in how they read rows.
fn machines() -> impl Strategy<Value = Machine> {
    let banked = (1u32..=64, 1u32..=16, 1u32..=2, 0u32..=6, 1u32..=6, 2u32..=140);
    let banked = banked.prop_map(|(count, ports, accesses, word, queue, accumulators)| {
        let mut machine = Machine::preset("vitcod").unwrap();
        let banks = machine.banks.as_mut().unwrap();
        (banks.count, banks.row_ports) = (count, ports);
        (banks.accesses_per_cycle, banks.word_bytes) = (accesses, 1 << word);
        let datapath = machine.datapath.as_mut().unwrap();
        (datapath.queued_rows, datapath.accumulators) = (queue, accumulators);
        machine
    });
    prop_oneof![Just(testing::vitcod()), banked]
}

/// A machine with queries, keys and values of all heads.
struct Run {
    bench: Bench,
    core: Core,
    q: Sram,
    k: Sram,
    v: Sram,
    score_scale: Scale,
    scale: Scale,
}

impl Run {
    fn new(case: &Case, seed: u64) -> Run {
        let mut bench = Bench::new(seed);
        let width = u32::from(case.heads * case.d);
        let [q, k, v] =
            [case.m, case.n, case.n].map(|rows| bench.rows(1, u32::from(rows) * width).0);
        let [score_scale, scale] = [0.05, 0.9].map(|scale| Scale::from_f64(scale).unwrap());
        Run { bench, core: Core::new(&case.machine), q, k, v, score_scale, scale }
    }

    fn execute(&mut self, op: impl Into<Op>) {
        self.core.execute(0, &Instr::new(op), &mut self.bench.memory).unwrap();
    }

    fn bytes(&self, at: Sram, bytes: u32) -> Vec<u8> {
        self.bench.memory.sram[at.0 as usize..][..bytes as usize].to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn blocks_and_a_list_give_the_bits_of_masked_attention(case in Case::any(), seed: u64) {
        let mut run = Run::new(&case, seed);
        let whole = case.whole(&mut run);
        prop_assert_eq!(case.split(&mut run), whole);
    }
}
