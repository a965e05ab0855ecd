use std::fmt::Write as _;

use vitcod_isa::machine::Machine;

use super::allocation::Lines;
use super::division::HeadGroup;
use super::stripe::{Stripe, Work};
use super::*;
use crate::codegen::group::Group;
use crate::codegen::group::form::form;
use crate::codegen::group::tests::{BLOCK, parsed};
use crate::codegen::lower::context::Planner;
use crate::codegen::residence::storage::Residence;
use crate::codegen::strategy::TileGrain;
use crate::ir::Graph;
use crate::split::{self, GlobalTokens, Packing};

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

/// The tilings of the only sparse attention of a graph, in DRAM, each with the largest scratchpad
/// of at most 4096 bytes for which it is chosen, down to the smallest one.
fn chosen(graph: &Graph) -> String {
    let mut machine = Machine::preset("vitcod-ideal").unwrap();
    let groups = form(graph).unwrap();
    let group = groups.iter().find_map(|group| match group {
        Group::SparseAttention(group) => Some(group),
        _ => None,
    });
    let residence = Residence::plan(graph, &groups, 0);
    let mut text = String::new();
    let mut last = String::new();
    let mut memo = Memo::default();
    for bytes in (0..=4096).rev() {
        machine.sram.bytes = bytes;
        let planner = Planner::new(graph, &machine, &residence, TileGrain::Coarse, 0);
        match choose(&planner, &mut memo, group.unwrap()) {
            Ok(SparseAttentionPlan {
                head_groups, lines, heads_overlap, results, buffers, ..
            }) => {
                let overlap = if heads_overlap { "overlap" } else { "do not overlap" };
                let groups: String =
                    head_groups.iter().map(|group| described(group, &lines)).collect();
                let found = format!(
                    "head groups {overlap}, results {results:?}\n  buffers {buffers}\n{groups}"
                );
                if found != last {
                    write!(text, "{bytes} bytes: {found}").unwrap();
                    last = found;
                }
            }
            Err(error) => {
                writeln!(text, "{bytes} bytes: {error}").unwrap();
                break;
            }
        }
    }
    text
}

/// A head group, a line for each stripe.
fn described(HeadGroup { heads, stripes, .. }: &HeadGroup, lines: &Lines) -> String {
    let stripes = stripes.iter().map(|Stripe { rows, work, .. }| match work {
        Work::Full => format!("  heads {heads:?}, queries {rows:?}: in full\n"),
        Work::Split { columns, list } => {
            let list = list.as_ref().map_or(String::new(), |list| {
                format!(
                    ", a list of {} queries on {} groups; {} of {} entries to the sparser softmax \
                     unit",
                    list.list.rows.len(),
                    lines.groups,
                    list.sparser_softmax.1,
                    list.entries
                )
            });
            format!("  heads {heads:?}, queries {rows:?}: columns {columns:?}{list}\n")
        }
    });
    stripes.collect()
}

#[test]
fn head_groups_stop_overlapping_and_then_merge_where_memory_is_short() {
    insta::assert_snapshot!(chosen(&parsed(SPLIT)));
}

#[test]
fn stripes_are_lower_where_memory_is_short() {
    // All queries keep key 0, which becomes the block, and one or two others.
    let mask = "    v27 = const \"mask\" : byte[2,8,1] = x\"07070d1931618111070b0d1931618111\"\n";
    let masked =
        BLOCK.replace("    v10 = sddmm(v5, v7)", &format!("{mask}    v10 = sddmm(v5, v7, v27)"));
    let machine = Machine::preset("vitcod").unwrap();
    let (graph, _) =
        split::run(&parsed(&masked), &machine, GlobalTokens::Above(4), Packing::default()).unwrap();
    insta::assert_snapshot!(chosen(&graph));
}
