//! Split graphs compute the bits of quantised ones, whatever the masks and the global tokens; what
//! must be rejected; who is a global token.

use proptest::prelude::*;
use proptest::sample::subsequence;
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::autoencoder_bytes;
use vitcod_support::random::SplitMix64;

use super::pass::{self, Choice};
use super::{GlobalTokens, HeadSplit, Packing, SplitError, run};
use crate::estimate::Estimate;
use crate::interp::{QuantisedInterpreter, Tensor};
use crate::ir::layout::{Patterns, mask_operand};
use crate::ir::{Elem, Graph, OpKind, Stage, TensorType, Value};
use crate::masks::{Mask, Partition};

/// The attention of these heads' masks, queries, keys and values being inputs of `d` features a
/// head.
fn attention(masks: &[Mask], d: usize) -> Graph {
    attention_on(masks, d, masks.len())
}

/// As [`attention`], on queries that are decoded from so many heads where these are fewer.
fn attention_on(masks: &[Mask], d: usize, compressed: usize) -> Graph {
    let (heads, m, n) = (masks.len(), masks[0].queries(), masks[0].keys());
    let mut graph = Graph::new("attention", Stage::Quantised);
    let nodes =
        ["/attn/MatMul", "/attn/Softmax", "/attn/MatMul_1"].map(|node| graph.add_node(node));
    let ty = |rows: usize, heads: usize| TensorType::quantised(Elem::I8, [rows, heads * d], 0.5);
    let inputs = [("q", m, compressed), ("k", n, heads), ("v", n, heads)];
    let [mut q, k, v] = inputs.map(|(name, rows, heads)| graph.add_input(name, ty(rows, heads)));
    if compressed < heads {
        let params = vec![0; autoencoder_bytes(compressed, heads)];
        let params =
            graph.add_const("decoder", TensorType::new(Elem::Byte, [params.len()]), params);
        let kind = OpKind::Decode { heads_in: compressed, heads_out: heads };
        q = graph.push_typed(kind, &[q, params], vec![ty(m, heads)], &[])[0];
    }
    let (mask, bytes) = mask_operand(masks.iter());
    let mask = graph.add_const("mask", mask, bytes);
    // Scores over some octaves.
    let kind = OpKind::Sddmm { heads, scale: Scale::from_f64(0.03).unwrap(), windows: 1 };
    let scores = vec![TensorType::new(Elem::I16, [heads, m, n])];
    let scores = graph.push_typed(kind, &[q, k, mask], scores, &nodes[..1])[0];
    let types =
        vec![TensorType::new(Elem::I8, [heads, m, n]), TensorType::new(Elem::U32, [heads, m])];
    let soft = graph.push_typed(OpKind::QSoftmax { shift: 0 }, &[scores], types, &nodes[1..2]);
    let kind = OpKind::Spmm { scale: Scale::from_f64(1.7).unwrap(), windows: 1 };
    let out = graph.push_typed(kind, &[soft[0], soft[1], v], vec![ty(m, heads)], &nodes[2..])[0];
    graph.add_output("out", out, [m, heads * d]);
    graph.verify().unwrap();
    graph
}

fn drawn(rows: &[&str]) -> Mask {
    Mask::from_fn(rows.len(), rows[0].len(), |query, key| rows[query].as_bytes()[key] == b'x')
}

fn machine() -> Machine {
    Machine::preset("vitcod-ideal").unwrap()
}

/// The outputs of a graph, a fixed function of the seed.
fn outputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let mut random = SplitMix64::new(seed);
    let mut next = || random.bits() as i8;
    let inputs: Vec<Tensor> = graph
        .inputs
        .iter()
        .map(|input| Tensor::I8((0..graph.ty(input.value).elements()).map(|_| next()).collect()))
        .collect();
    QuantisedInterpreter::new(graph).unwrap().run(&inputs).unwrap()
}

/// Splits by given global tokens of each head, in their order.
fn split_by(graph: &Graph, globals: &[Vec<u16>]) -> Graph {
    let choose = &mut |layer: &pass::Layer<'_>| Choice {
        partitions: layer
            .masks
            .iter()
            .zip(globals)
            .map(|(mask, globals)| Partition::new(mask, globals))
            .collect(),
        estimate: Estimate::default(),
        reason: String::new(),
    };
    pass::run(graph, choose).unwrap().0
}

fn operations(graph: &Graph) -> Vec<&'static str> {
    graph.order.iter().map(|op| graph.op(*op).kind.mnemonic()).collect()
}

#[test]
fn before_and_after() {
    let graph = attention(&[drawn(&["xxxx", "x.x.", "x..x"]), drawn(&["x.x.", ".xx.", "..xx"])], 2);
    let (split, report) =
        run(&graph, &machine(), GlobalTokens::Above(2), Packing::default()).unwrap();
    split.verify().unwrap();
    insta::assert_snapshot!(format!("{graph}\n{split}"));
    assert_eq!(report.len(), 1);
    assert_eq!(report[0].layer, "/attn/MatMul");
    assert_eq!(report[0].reason, "keys with more than 2 kept entries");
    let head = HeadSplit { globals: 1, cells: 3, cells_kept: 3, nonzeros: 5 };
    assert_eq!(report[0].heads, [head, HeadSplit { nonzeros: 3, ..head }]);
    let patterns = Patterns::read(&split, split.op(split.order[1])).unwrap();
    let entries: Vec<_> = patterns.csc.unwrap().entries().collect();
    let expected =
        [(0, 1, 0), (0, 2, 0), (0, 2, 1), (0, 3, 0), (0, 3, 2), (1, 0, 0), (1, 1, 1), (1, 3, 2)];
    assert_eq!(entries, expected);
}

#[test]
fn parts_without_work_have_no_operations() {
    let masks = [drawn(&["xx.", "xx.", "x.."]), drawn(&["x..", "x..", "x.."])];
    let graph = attention(&masks, 1);
    let of = |theta_d| {
        operations(
            &run(&graph, &machine(), GlobalTokens::Above(theta_d), Packing::default()).unwrap().0,
        )
    };
    assert_eq!(of(0), ["block_sddmm", "block_softmax", "split_spmm"]);
    assert_eq!(of(2), ["block_sddmm", "csc_sddmm", "block_softmax", "csc_softmax", "split_spmm"]);
    assert_eq!(of(3), ["csc_sddmm", "csc_softmax", "split_spmm"]);

    let all = attention(&[drawn(&["xx", "xx"])], 1);
    let (split, report) = run(&all, &machine(), GlobalTokens::Auto, Packing::default()).unwrap();
    assert_eq!(operations(&split), ["sddmm", "qsoftmax", "spmm"]);
    assert_eq!(split.op(split.order[0]).operands.len(), 2);
    assert_eq!(report[0].reason, "the mask keeps every entry: attention stays dense");
}

/// Columns that all queries keep are global tokens above a threshold; the cost model need not take
/// them, but what it takes costs no more.
#[test]
fn full_columns_are_global_tokens() {
    for name in ["vitcod", "vitcod-sim"] {
        let tokens = 64;
        let mask = |globals: &'static [usize]| {
            Mask::from_fn(tokens, tokens, move |query, key| globals.contains(&key) || query == key)
        };
        let expected: [&[usize]; 3] = [&[0, 7, 8, 9, 10, 33, 50, 63], &[0], &[3, 5, 9, 12]];
        let graph = attention(&expected.map(mask), 64);
        let machine = Machine::preset(name).unwrap();
        let (split, above) =
            run(&graph, &machine, GlobalTokens::Above(32), Packing::default()).unwrap();
        let keys = Patterns::read(&split, split.op(split.order[0])).unwrap().keys.unwrap();
        let found: Vec<Vec<usize>> =
            keys.iter().map(|keys| keys.iter().map(|key| usize::from(*key)).collect()).collect();
        assert_eq!(found, expected, "{name}");
        let (_, chosen) = run(&graph, &machine, GlobalTokens::Auto, Packing::default()).unwrap();
        let cost = |report: &[super::Polarised]| report[0].estimate.weighted_cycles();
        assert!(cost(&chosen) <= cost(&above), "{name}: {}", chosen[0].reason);
    }
}

/// Compressed queries take lines to decode and less of the channel: 20 tokens by 1 head of 8
/// features instead of 2.
#[test]
fn decoding_counts() {
    let masks = [drawn(&["x.x"; 20]), drawn(&["xx."; 20])];
    let (plain, compressed) = (attention(&masks, 8), attention_on(&masks, 8, 1));
    // On a single line, the lines are the busiest unit.
    let mut machine = machine();
    machine.lines.count = 1;
    let estimate = |graph| {
        run(graph, &machine, GlobalTokens::Above(0), Packing::default()).unwrap().1[0].estimate
    };
    let (with, without) = (estimate(&compressed), estimate(&plain));
    // 20 tokens of 2 heads, 8 features in a line at a time: 40 rounds of 1 term.
    assert_eq!(with.cycles, without.cycles + 40);
    assert_eq!(without.dram_bytes - with.dram_bytes, 160);
}

#[test]
fn what_cannot_be_split_is_located() {
    let rejected = |change: &dyn Fn(&mut Graph)| {
        let mut graph = attention(&[drawn(&["xx", "x."])], 1);
        change(&mut graph);
        run(&graph, &machine(), GlobalTokens::Auto, Packing::default()).unwrap_err().to_string()
    };
    let last = |graph: &Graph, place: usize| graph.op(graph.order[place]).results[0];
    let pruned = attention(&[drawn(&["xx", "xx"]), drawn(&["xx", ".."])], 1);
    let error = run(&pruned, &machine(), GlobalTokens::Auto, Packing::default()).unwrap_err();
    assert!(matches!(error, SplitError::Unsupported(_)));
    insta::assert_snapshot!(error, @r"
    attention cannot be split:
    /attn/MatMul (op0 sddmm): head 1: row 1 is pruned entirely by its mask
    ");
    insta::assert_snapshot!(rejected(&|graph| graph.add_output("scores", last(graph, 0), [4])), @r"
    attention cannot be split:
    /attn/MatMul (op0 sddmm): more than a softmax reads its masked scores
    ");
    insta::assert_snapshot!(rejected(&|graph| graph.add_output("p", last(graph, 1), [4])), @r"
    attention cannot be split:
    /attn/MatMul (op0 sddmm): more than one product reads its masked probabilities
    ");
    insta::assert_snapshot!(rejected(&|graph| {
        let mask = graph.add_const("mask", TensorType::new(Elem::Byte, [1, 2, 1]), vec![4, 1]);
        graph.op_mut(graph.order[0]).operands[2] = mask;
    }), @r"
    attention cannot be split:
    /attn/MatMul (op0 sddmm): the mask has bits past the last key, or too many tokens
    ");
    assert_eq!(
        rejected(&|graph| graph.stage = Stage::Canonical),
        "the graph is canonical, not quantised"
    );
}

#[test]
fn the_verifier_reads_patterns() {
    let (split, _) = run(
        &attention(&[drawn(&["xxx", "x.x", "x.."]), drawn(&["xxx", "x..", "x.."])], 1),
        &machine(),
        GlobalTokens::Above(2),
        Packing::default(),
    )
    .unwrap();
    split.verify().unwrap();
    for op in &split.order {
        for (i, operand) in split.op(*op).operands.iter().enumerate() {
            let Some(constant) = split.constant(*operand) else { continue };
            let with = |value: &dyn Fn(&mut Graph) -> Value| {
                let mut graph = split.clone();
                let value = value(&mut graph);
                graph.op_mut(*op).operands[i] = value;
                graph.verify().unwrap_err()
            };
            let ty = split.ty(*operand).clone();
            with(&|graph| graph.add_const("", ty.clone(), vec![0xff; constant.bytes.len()]));
            with(&|graph| graph.add_input("variable", ty.clone()));
            let longer = TensorType::new(Elem::Byte, [constant.bytes.len() + 1]);
            with(&|graph| {
                graph.add_const("", longer.clone(), [&constant.bytes[..], &[0]].concat())
            });
            with(&|graph| graph.add_const("", TensorType::new(Elem::Byte, [0]), vec![]));
        }
    }
}

/// A mask of any kind in which every query keeps a key: sparse, dense, full columns, one entry a
/// row.
fn any_mask(queries: usize, keys: usize) -> impl Strategy<Value = Mask> {
    let density = prop_oneof![Just(0.0), Just(0.1), Just(0.5), Just(1.0)];
    let columns = prop::collection::vec(prop::bool::weighted(0.2), keys);
    let sure = prop::collection::vec(0..keys, queries);
    (density, prop::option::of(columns), sure).prop_flat_map(move |(density, columns, sure)| {
        prop::collection::vec(prop::bool::weighted(density), queries * keys).prop_map(move |bits| {
            let column = |key: usize| columns.as_ref().is_some_and(|columns| columns[key]);
            Mask::from_fn(queries, keys, |query, key| {
                bits[query * keys + key] || column(key) || sure[query] == key
            })
        })
    })
}

fn any_masks() -> impl Strategy<Value = Vec<Mask>> {
    (1..4usize, 1..20usize, 1..20usize)
        .prop_flat_map(|(heads, m, n)| prop::collection::vec(any_mask(m, n), heads))
}

/// Masks with global tokens of each head, in any order.
fn any_globals() -> impl Strategy<Value = (Vec<Mask>, Vec<Vec<u16>>)> {
    any_masks().prop_flat_map(|masks| {
        let keys: Vec<u16> = (0..masks[0].keys() as u16).collect();
        let some = subsequence(keys.clone(), 0..=keys.len()).prop_shuffle();
        let globals = prop::collection::vec(some, masks.len());
        (Just(masks), globals)
    })
}

fn any_machine() -> impl Strategy<Value = Machine> {
    ((1..=256u32, 1..=256u32, 1..=256u32), 1..=64u32, 0.5..400.0f64).prop_map(
        |(lines, scores, bandwidth)| {
            let mut machine = machine();
            (machine.lines.count, machine.lines.macs, machine.lines.port_bytes) = lines;
            machine.softmax.scores_per_cycle = scores;
            machine.dram.bytes_per_cycle = bandwidth;
            machine
        },
    )
}

proptest! {
    #[test]
    fn any_threshold_same_bits(masks in any_masks(), theta_d in 0..20usize, d in 1..4usize, seed: u64) {
        let graph = attention(&masks, d);
        let (split, report) = run(&graph, &machine(), GlobalTokens::Above(theta_d), Packing::default()).unwrap();
        split.verify().unwrap();
        prop_assert_eq!(outputs(&split, seed), outputs(&graph, seed));
        for (head, mask) in report[0].heads.iter().zip(&masks) {
            prop_assert_eq!(head.cells_kept + head.nonzeros, mask.kept());
        }
    }

    #[test]
    fn any_machine_same_bits(masks in any_masks(), machine in any_machine(), d in 1..4usize, seed: u64) {
        let graph = attention(&masks, d);
        let (split, report) = run(&graph, &machine, GlobalTokens::Auto, Packing::default()).unwrap();
        split.verify().unwrap();
        prop_assert_eq!(outputs(&split, seed), outputs(&graph, seed));
        prop_assert_eq!(&run(&graph, &machine, GlobalTokens::Auto, Packing::default()).unwrap().1, &report, "the same every time");
        for theta_d in [0, masks[0].queries()] {
            let (_, other) = run(&graph, &machine, GlobalTokens::Above(theta_d), Packing::default()).unwrap();
            let [auto, fixed] = [&report, &other].map(|layers| layers[0].estimate.weighted_cycles());
            prop_assert!(auto <= fixed, "no fewer than all or none");
        }
    }

    #[test]
    fn any_global_tokens_in_any_order_same_bits((masks, globals) in any_globals(), d in 1..4usize, seed: u64) {
        let graph = attention(&masks, d);
        let split = split_by(&graph, &globals);
        split.verify().unwrap();
        prop_assert_eq!(outputs(&split, seed), outputs(&graph, seed));
    }
}
