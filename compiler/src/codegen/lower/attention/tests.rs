use std::fmt::Write as _;

use vitcod_isa::machine::Machine;

use super::*;
use crate::codegen::group::Group;
use crate::codegen::group::form::form;
use crate::codegen::group::fuse::with_projections;
use crate::codegen::group::tests::{BLOCK, parsed};
use crate::codegen::lower::context::Planner;
use crate::codegen::residence::storage::Residence;
use crate::codegen::strategy::TileGrain;

/// The decisions about the attention of [`BLOCK`] in DRAM with scratchpads of some bytes.
fn chosen(fused: bool, scratchpads: &[u32]) -> String {
    let graph = parsed(BLOCK);
    let mut machine = Machine::preset("vitcod").unwrap();
    let mut groups = form(&graph).unwrap();
    if fused {
        groups = with_projections(&groups, &graph).unwrap();
    }
    let residence = Residence::plan(&graph, &groups, 0);
    let group = groups.iter().find_map(|group| match group {
        Group::Attention(group) => Some(group),
        _ => None,
    });
    let mut text = String::new();
    for bytes in scratchpads {
        machine.sram.bytes = *bytes;
        let planner = Planner::new(&graph, &machine, &residence, TileGrain::Coarse, 0);
        writeln!(text, "{bytes} bytes:").unwrap();
        let plan = match choose(&planner, group.unwrap()) {
            Ok(plan) => plan,
            Err(error) => {
                writeln!(text, "  {error}").unwrap();
                continue;
            }
        };
        for decision in plan.decisions(&graph) {
            writeln!(text, "  {}: {}", decision.subject, decision.chosen).unwrap();
            for other in &decision.alternatives {
                let (name, cycles, bytes) = (&other.name, other.cycles, other.dram_bytes);
                writeln!(text, "    {name}: {cycles} cycles, {bytes} bytes").unwrap();
            }
        }
    }
    text
}

#[test]
fn stripes_are_lower_where_memory_is_short_and_heads_overlap_where_two_fit() {
    insta::assert_snapshot!(chosen(false, &[8192, 2048, 1024, 640, 128]));
}

#[test]
fn projections_take_buffers_for_weights_and_their_operands() {
    insta::assert_snapshot!(chosen(true, &[8192, 3072, 1536]));
}
