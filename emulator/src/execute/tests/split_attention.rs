//! Attention in blocks and lists against dense instructions with pruned cells.

use vitcod_isa::instr::Entries;
use vitcod_isa::operands::{LineGroups, block_keys_to_bytes, list_keys_to_bytes};

use super::lists::{int16s, rows, uint32s};
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
                    any::<prop::sample::Index>(),
                    (any::<bool>(), 0..=8u8),
                )
                    .prop_map(
                        move |(kept, columns, order, wide, cut, (minifloat, shift))| {
                            let lines = LineSet { first: 0, count };
                            let shift = ScoreShift(shift);
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

    /// The result of blocks and a list.
    fn split(&self, run: &mut Run) -> Vec<u8> {
        let Case { heads, m, n, d, wide, lines, .. } = *self;
        let width = u32::from(heads * d);
        let queries = heads * m;
        let listed: Vec<Vec<u16>> = self.order.iter().map(|query| self.listed(*query)).collect();
        let (names, keys): (Vec<(u16, u16)>, Vec<u16>) = (
            self.order
                .iter()
                .zip(&listed)
                .map(|(query, keys)| (*query, keys.len() as u16))
                .collect(),
            listed.concat(),
        );
        let entries = keys.len() as u32;
        let columns: u16 = self.columns.iter().map(|columns| columns.len() as u16).sum();

        let bench = &mut run.bench;
        // Heads without a block have neither maxima nor sums.
        let block_max = bench.put(&int16s(&vec![i16::MIN; queries.into()]));
        let block_sum = bench.put(&uint32s(&vec![0; queries.into()]));
        let (rows_at, keys_at) =
            (bench.put(&rows(&names)), bench.put(&list_keys_to_bytes(&keys, wide).unwrap()));
        let block_keys = bench.put(&block_keys_to_bytes(&self.columns).unwrap());
        let [max, sum, scores, p, block_p, dst] = [
            2 * u32::from(queries),
            4 * u32::from(queries),
            2 * entries,
            entries,
            u32::from(columns * m),
            u32::from(m) * width,
        ]
        .map(|bytes| bench.rows(1, bytes).0);

        run.execute(SddmmList {
            engine: Engine::Sparser,
            wide,
            lines,
            rows: rows_at,
            keys: keys_at,
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
            entries: Entries(entries),
            scale: run.score_scale,
        });
        let mut block_end = block_p;
        for (head, keys) in (0..heads).zip(&self.columns).filter(|(_, keys)| !keys.is_empty()) {
            let of_head = |at: Sram, element: u32| Sram(at.0 + u32::from(head * m) * element);
            let (softmax, _) = self.dense(
                run,
                head,
                keys,
                of_head(block_max, 2),
                of_head(block_sum, 4),
                Some(of_head(max, 2)),
            );
            let Op::Softmax(softmax) = softmax else { unreachable!() };
            run.execute(Softmax { dst: block_end, ..softmax });
            block_end.0 += u32::from(m) * keys.len() as u32;
        }
        let (first, second) = names.split_at(self.cut.index(names.len() + 1));
        let before: u32 = first.iter().map(|(_, entries)| u32::from(*entries)).sum();
        for (part, at, from) in [(first, 0, 0), (second, first.len() as u32, before)] {
            run.execute(SoftmaxList {
                engine: Engine::Sparser,
                both: true,
                minifloat: self.minifloat,
                shift: self.shift,
                rows: Sram(rows_at.0 + 4 * at),
                src: Sram(scores.0 + 2 * from),
                max,
                other_max: block_max,
                sum: Sram(sum.0 + 4 * at),
                dst: Sram(p.0 + from),
                count: part.len() as u16,
                queries,
                entries: Entries(part.iter().map(|(_, entries)| u32::from(*entries)).sum()),
            });
        }
        let steps = names.iter().map(|(query, entries)| {
            u32::from(*entries) + self.columns[usize::from(query / m)].len() as u32
        });
        let groups = LineGroups::new(d, lines.count, testing::vitcod().lines.macs);
        run.execute(SpmmList {
            engine: Engine::Sparser,
            wide,
            list: entries > 0,
            block: columns > 0,
            minifloat: self.minifloat,
            lines,
            rows: rows_at,
            keys: keys_at,
            p,
            sum,
            block_keys,
            block_p,
            block_sum,
            v: run.v,
            dst,
            m,
            n,
            d,
            heads,
            columns,
            v_stride: width as u16,
            dst_stride: width as u16,
            entries: Entries(entries),
            steps: Entries(groups.busiest(steps) as u32),
            scale: run.scale,
        });
        run.bytes(dst, u32::from(m) * width)
    }
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
        Run { bench, core: Core::new(&testing::vitcod()), q, k, v, score_scale, scale }
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
