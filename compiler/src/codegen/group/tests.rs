use super::*;
use crate::codegen::group::form::form;
use crate::codegen::group::fuse::{with_mlps, with_projections};
use crate::ir::text::parse;

/// A block of a transformer of 8 tokens: two heads of 16 features, an MLP of 128 channels.
pub(in crate::codegen) const BLOCK: &str = r#"
graph "block" quantised {
    v0 = input "x" : i16[8,32]*0.001
    v1 = const "norm1" : byte[272] = seed 1
    v2 = qlayer_norm(v0, v1) : i8[8,32]*0.02 @ n0
    v3 = const "wq" : i8[32,32] = seed 2
    v4 = const "bq" : channel[32] = seed 3
    v5 = qlinear(v2, v3, v4) : i8[8,32]*0.02 @ n1
    v6 = const "wk" : i8[32,32] = seed 4
    v7 = qlinear(v2, v6, v4) : i8[8,32]*0.02 @ n2
    v8 = const "wv" : i8[32,32] = seed 5
    v9 = qlinear(v2, v8, v4) : i8[8,32]*0.02 @ n3
    v10 = sddmm(v5, v7) {heads=2, scale=0.05} : i16[2,8,8] @ n4
    v11, v12 = qsoftmax(v10) : i8[2,8,8], u32[2,8] @ n5
    v13 = spmm(v11, v12, v9) {scale=2.0} : i8[8,32]*0.01 @ n6
    v14 = const "wo" : i8[32,32] = seed 6
    v15 = qlinear(v13, v14, v4) : i16[8,32]*0.001 @ n7
    v16 = qadd(v0, v15) {a_scale=1000, b_scale=1000, shift=10} : i16[8,32]*0.001 @ n8
    v17 = const "norm2" : byte[272] = seed 7
    v18 = qlayer_norm(v16, v17) : i8[8,32]*0.02 @ n9
    v19 = const "w1" : i8[128,32] = seed 8
    v20 = const "b1" : channel[128] = seed 9
    v21 = qlinear(v18, v19, v20) : i8[8,128]*0.02 @ n10
    v22 = const "gelu" : byte[256] = seed 10
    v23 = lut(v21, v22) : i8[8,128]*0.02 @ n11
    v24 = const "w2" : i8[32,128] = seed 11
    v25 = qlinear(v23, v24, v4) : i16[8,32]*0.001 @ n12
    v26 = qadd(v16, v25) {a_scale=1000, b_scale=1000, shift=10} : i16[8,32]*0.001 @ n13
    output "y" [8,32] = v26
    n0 = node "norm1"
    n1 = node "q"
    n2 = node "k"
    n3 = node "v"
    n4 = node "scores"
    n5 = node "softmax"
    n6 = node "product"
    n7 = node "projection"
    n8 = node "add1"
    n9 = node "norm2"
    n10 = node "fc1"
    n11 = node "gelu"
    n12 = node "fc2"
    n13 = node "add2"
}
"#;

/// The graph of a text.
#[track_caller]
pub(in crate::codegen) fn parsed(text: &str) -> Graph {
    let graph = parse(text, &mut |_| Err("there are no files".to_owned()));
    graph.unwrap_or_else(|problems| panic!("{}", problems.render("graph", text)))
}

/// Groups as text: one line each, with the nodes of their operations.
fn text(graph: &Graph, groups: &[Group]) -> String {
    let line = |group: &Group| {
        let ops = group.ops();
        let names: Vec<String> = ops.iter().map(|op| graph.layer_name(*op)).collect();
        let kind = format!("{group:?}");
        let kind = kind.split('(').next().unwrap_or_default().to_owned();
        let copied = match group {
            Group::Copy(CopyGroup { from, to, at }) => format!("{from} -> {to:?} at {at}"),
            _ => String::new(),
        };
        format!("{kind}: {}{copied}\n", names.join(" -> "))
    };
    groups.iter().map(line).collect()
}

#[test]
fn lookups_and_adds_join_the_linear_layer_before_them() {
    let graph = parsed(BLOCK);
    insta::assert_snapshot!(text(&graph, &form(&graph).unwrap()));
}

#[test]
fn projections_join_the_attention_that_alone_reads_them() {
    let graph = parsed(BLOCK);
    let groups = with_projections(&form(&graph).unwrap(), &graph).unwrap();
    insta::assert_snapshot!(text(&graph, &groups));
}

#[test]
fn a_projection_with_a_second_reader_stays_alone() {
    let graph = parsed(&BLOCK.replace("    output", "    output \"k\" [8,32] = v7\n    output"));
    let groups = with_projections(&form(&graph).unwrap(), &graph).unwrap();
    insta::assert_snapshot!(text(&graph, &groups));
}

#[test]
fn both_layers_of_an_mlp_become_one_group() {
    let graph = parsed(BLOCK);
    let groups = with_mlps(&form(&graph).unwrap(), &graph).unwrap();
    insta::assert_snapshot!(text(&graph, &groups));
}

#[test]
fn a_second_output_of_a_value_is_copied() {
    let graph = parsed(&BLOCK.replace("    n0 =", "    output \"z\" [8,32] = v26\n    n0 ="));
    insta::assert_snapshot!(text(&graph, &form(&graph).unwrap()));
}

#[test]
fn scores_with_two_softmaxes_are_a_problem() {
    let second = "v13 = spmm(v11, v12, v9) {scale=2.0} : i8[8,32]*0.01 @ n6\n    \
                  v27, v28 = qsoftmax(v10) : i8[2,8,8], u32[2,8] @ n5";
    let graph =
        parsed(&BLOCK.replace("v13 = spmm(v11, v12, v9) {scale=2.0} : i8[8,32]*0.01 @ n6", second));
    insta::assert_snapshot!(form(&graph).unwrap_err().to_string());
}
