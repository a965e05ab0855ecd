use std::fmt::Write as _;

use crate::codegen::group::Group;
use crate::codegen::group::form::form;
use crate::codegen::group::tests::{BLOCK, parsed};
use crate::codegen::residence::storage::{MemorySpace, Residence};
use crate::ir::Graph;

/// Where the results of groups live: memory, live range, bytes and padded map, one line each, with
/// the storage of each, which several values may share.
fn text(graph: &Graph, groups: &[Group], budget: u64) -> String {
    let residence = Residence::plan(graph, groups, budget);
    let mut text = format!("{budget} bytes:\n");
    for value in groups.iter().flat_map(|group| group.results(graph)) {
        let location = residence.location(value);
        let data = residence.data(location);
        let space = match data.space {
            MemorySpace::Sram => "scratchpad",
            MemorySpace::Dram(_) => "DRAM",
        };
        let (first, last) = data.live_range;
        let layer = graph.layer_name(graph.producer(value).unwrap().0);
        write!(text, "  {layer}: {} row {} in {space}", location.storage, location.row).unwrap();
        write!(text, ", groups {first}..={last}, {} bytes", data.bytes()).unwrap();
        if let Some(map) = data.padded_map {
            write!(text, ", {map:?}").unwrap();
        }
        text.push('\n');
    }
    writeln!(text, "  resident per group: {:?}", residence.resident_bytes).unwrap();
    text
}

#[test]
fn tensors_with_the_most_accesses_per_group_stay_on_chip_first() {
    let graph = parsed(BLOCK);
    let groups = form(&graph).unwrap();
    let texts: String = [2048, 1024, 0].map(|budget| text(&graph, &groups, budget)).concat();
    insta::assert_snapshot!(texts);
}

/// Two convolutions of 3 x 3 with padding over a map of 4 x 4.
const CONVOLUTIONS: &str = r#"
graph "convolutions" quantised {
    v0 = input "x" : i8[16,16]*0.02
    v1 = const "w1" : i8[16,16] = seed 1
    v2 = const "b" : channel[16] = seed 2
    v3 = qlinear(v0, v1, v2) : i8[16,16]*0.02 @ n0
    v4 = patches(v3) {map=[4,4], kernel=[3,3], stride=[1,1], pad=[1,1,1,1]} : i8[16,144]*0.02 @ n1
    v5 = const "w2" : i8[16,144] = seed 3
    v6 = qlinear(v4, v5, v2) : i8[16,16]*0.02 @ n1
    v7 = patches(v6) {map=[4,4], kernel=[2,2], stride=[2,2], pad=[0,0,0,0]} : i8[4,64]*0.02 @ n2
    v8 = const "w3" : i8[16,64] = seed 4
    v9 = qlinear(v7, v8, v2) : i8[4,16]*0.02 @ n2
    output "y" [4,16] = v9
    n0 = node "expand"
    n1 = node "conv1"
    n2 = node "conv2"
}
"#;

#[test]
fn maps_that_windows_reach_over_are_padded() {
    let graph = parsed(CONVOLUTIONS);
    insta::assert_snapshot!(text(&graph, &form(&graph).unwrap(), 1 << 20));
}

#[test]
fn a_padded_map_with_another_reader_is_spilled() {
    let read_again = CONVOLUTIONS.replace(
        "    output",
        "    v10 = const \"lut\" : byte[256] = seed 5\n    v11 = lut(v3, v10) : i8[16,16]*0.02 @ n3\n    output \"z\" [16,16] = v11\n    n3 = node \"lookup\"\n    output",
    );
    let graph = parsed(&read_again);
    insta::assert_snapshot!(text(&graph, &form(&graph).unwrap(), 1 << 20));
}

/// Two linear layers into the rows of a concat, of which a slice is read.
const CONCAT: &str = r#"
graph "concat" quantised {
    v0 = input "x" : i8[4,16]*0.02
    v1 = const "w" : i8[16,16] = seed 1
    v2 = const "b" : channel[16] = seed 2
    v3 = qlinear(v0, v1, v2) : i8[4,16]*0.02 @ n0
    v4 = qlinear(v0, v1, v2) : i8[4,16]*0.02 @ n1
    v5 = concat(v3, v4) {axis=0} : i8[8,16]*0.02 @ n2
    v6 = slice(v5) {axis=0, start=6, len=2, stride=1} : i8[2,16]*0.02 @ n3
    v7 = qlinear(v6, v1, v2) : i8[2,16]*0.02 @ n3
    output "y" [2,16] = v7
    n0 = node "first"
    n1 = node "second"
    n2 = node "concat"
    n3 = node "last"
}
"#;

#[test]
fn operands_of_a_concat_share_its_storage() {
    let graph = parsed(CONCAT);
    insta::assert_snapshot!(text(&graph, &form(&graph).unwrap(), 1 << 20));
}
