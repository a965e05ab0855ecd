use std::fmt::Write as _;

use vitcod_isa::machine::Machine;

use super::*;
use crate::codegen::group::Group;
use crate::codegen::group::form::form;
use crate::codegen::group::tests::parsed;
use crate::codegen::lower::context::Planner;
use crate::codegen::residence::storage::Residence;
use crate::codegen::strategy::TileGrain;

/// Two heads of 3 queries, 4 keys and 2 features: a block of one key each, and 8 other entries.
const SPLIT: &str = r#"
graph "attention" split {
    v0 = input "q" : i8[3,4]*0.5
    v1 = input "k" : i8[4,4]*0.5
    v2 = input "v" : i8[4,4]*0.5
    v3 = const "block_keys" : byte[8] = x"0100010000000200"
    v4 = const "block_mask" : byte[6] = x"010101010101"
    v5, v6 = block_sddmm(v0, v1, v3, v4) {heads=2, scale=0.03} : i16[6], i16[2,3] @ n0
    v7 = const "csc" : byte[52] = x"00000000000000000100000003000000050000000600000007000000070000000800000000000000010000000200000001000200"
    v8, v9 = csc_sddmm(v0, v1, v7) {heads=2, scale=0.03} : i16[8], i16[2,3] @ n0
    v10, v11 = block_softmax(v5, v3, v6, v9) : i8[6], u32[2,3] @ n1
    v12, v13 = csc_softmax(v8, v7, v9, v6) : i8[8], u32[2,3] @ n1
    v14 = split_spmm(v2, v10, v11, v3, v12, v13, v7) {heads=2, scale=1.7, block=true, csc=true} : i8[3,4]*0.5 @ n2
    output "out" [3,4] = v14
    n0 = node "scores"
    n1 = node "softmax"
    n2 = node "product"
}
"#;

#[test]
fn heads_and_queries_are_divided_where_memory_is_short() {
    let graph = parsed(SPLIT);
    let mut machine = Machine::preset("vitcod").unwrap();
    let groups = form(&graph).unwrap();
    let [Group::SparseAttention(group)] = &groups[..] else { panic!("one group") };
    let residence = Residence::plan(&graph, &groups, 0);
    let mut text = String::new();
    for bytes in [4096, 1024, 800, 736, 64] {
        machine.sram.bytes = bytes;
        let planner = Planner::new(&graph, &machine, &residence, TileGrain::Coarse);
        match choose(&planner, group) {
            Ok(SparseAttentionPlan { tiling, buffers, .. }) => {
                writeln!(text, "{bytes} bytes: {tiling:?}\n  buffers {buffers}").unwrap();
            }
            Err(error) => writeln!(text, "{bytes} bytes: {error}").unwrap(),
        }
    }
    insta::assert_snapshot!(text);
}
