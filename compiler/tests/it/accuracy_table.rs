//! What the rewrites and the levels of `--accuracy` are worth on models that are hard to quantise,
//! in decibels: a table that `cargo bless` writes. `docs/quantisation.md` quotes it.

use vitcod_compiler::calibration::seeded_noise;
use vitcod_compiler::ir::{Graph, OpKind};
use vitcod_compiler::passes::{Context, run_on_graph};
use vitcod_compiler::quantise::{Accuracy, Options};
use vitcod_testing::rescaled::{Factors, rescaled, rescaled_image};
use vitcod_testing::vit::{SMALL, Vit, vit};

use super::equalise::{PASSES, divided, sqnr};

/// Larger than [`SMALL`], so that a copied channel is little of the work.
const LARGER: Vit = Vit { heads: 2, head_dim: 16, hidden: 128, ..SMALL };

/// A hidden unit of the first MLP that reaches `factor` times further; the layer behind it reads a
/// tenth of that.
fn with_far_unit(graph: &Graph, factor: f32) -> Graph {
    const UNIT: usize = 5;
    let mut graph = graph.clone();
    let table =
        graph.order.iter().position(|op| matches!(graph.op(*op).kind, OpKind::Unary { .. }));
    let table = table.expect("an MLP has a function");
    let [source, reader] = [table - 1, table + 1].map(|i| graph.order[i]);
    for (op, operand, scale) in
        [(source, 1, factor), (source, 2, factor), (reader, 1, 10.0 / factor)]
    {
        let value = graph.op(op).operands[operand];
        let shape = graph.ty(value).shape.clone();
        let mut numbers = graph.const_f32(value).expect("weights are constants");
        let width = shape.get(1).copied().unwrap_or(1);
        for (i, number) in numbers.iter_mut().enumerate() {
            let unit = if op == source { i / width } else { i % width };
            *number *= if unit == UNIT { scale } else { 1.0 };
        }
        graph.op_mut(op).operands[operand] = graph.add_f32("scaled", shape, &numbers);
    }
    graph
}

#[test]
fn hard_models_reach_what_their_kind_reaches() {
    let plain = vit(LARGER, 1);
    let noise = |seed| seeded_noise(&plain, 32, seed);
    let (samples, inputs) = (noise(1), noise(2));
    let (other_image, factors) = rescaled_image(&plain, Factors::Any, 3);
    let same = [samples.clone(), inputs.clone()];
    let other = [divided(&samples, &factors), divided(&inputs, &factors)];
    let rows = [
        ("drawn ViT", plain.clone(), &same),
        ("channels and keys moved", rescaled(&plain, Factors::Any, 3), &same),
        ("image channels moved", other_image, &other),
        ("a hidden unit 300 times as far", with_far_unit(&plain, 300.0), &same),
    ];
    let mut table =
        format!("{:32}{:>10}{:>10}{:>10}{:>10}\n", "", "without", "fastest", "30", "exact");
    for (name, graph, [samples, inputs]) in rows {
        let with = |accuracy| {
            let quantise = Options { accuracy, ..Options::default() };
            let context = Context { samples: Some(samples), quantise, ..Context::default() };
            let fitted = run_on_graph(&graph, &PASSES, &context).unwrap();
            sqnr(&fitted, samples, inputs)
        };
        let ratios = [
            sqnr(&graph, samples, inputs),
            with(Accuracy::Fastest),
            with(Accuracy::default()),
            with(Accuracy::Exact),
        ];
        table += &format!("{name:32}");
        ratios.iter().for_each(|ratio| table += &format!("{ratio:>10.1}"));
        table.push('\n');
        assert!(ratios[2] >= 28.0 && ratios[3] >= ratios[1] - 0.5, "{table}");
    }
    insta::assert_snapshot!(table);
}
