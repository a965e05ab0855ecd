//! The form in which programs carry the host's parts.

use vitcod_isa::program::SavedIr;

use super::{Host, HostError, Tensors};
use crate::ir::{Graph, OpKind, Stage, TensorType};

/// A part that multiplies its input by a constant matrix.
fn part(rows: usize) -> Graph {
    let mut graph = Graph::new("part", Stage::Imported);
    let x = graph.add_input("x", TensorType::f32([rows, 2]));
    let w = graph.add_f32("w", [2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let y = graph.push(OpKind::MatMul {}, &[x, w], &[]).unwrap();
    graph.add_output("y", y, [rows, 2]);
    graph
}

fn host() -> Host {
    Host { inputs: Vec::new(), outputs: Vec::new(), before: Some(part(1)), after: Some(part(3)) }
}

/// The parts with other JSON.
fn edited(from: &str, to: &str) -> SavedIr {
    let saved = host().save();
    let text = String::from_utf8(saved.graph.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    SavedIr { graph: text.replacen(from, to, 1).into(), ..saved }
}

fn refusal(saved: &SavedIr) -> String {
    Host::load(saved).unwrap_err().to_string()
}

#[test]
fn parts_survive() {
    let saved = host().save();
    let loaded = Host::load(&saved).unwrap();
    assert_eq!(loaded.save(), saved);
    let x = ndarray::arr2(&[[1.0, 1.0]]).into_dyn();
    let mut tensors = Tensors::from([("x".to_owned(), x)]);
    loaded.run_before(&mut tensors).unwrap();
    assert_eq!(tensors["y"], ndarray::arr2(&[[4.0, 6.0]]).into_dyn());
    assert_eq!(loaded.crossing_bytes(), 4 * 2 + 4 * 6);
}

#[test]
fn what_is_no_part_is_refused() {
    assert!(matches!(
        Host::load(&SavedIr { graph: "{".into(), ..host().save() }),
        Err(HostError::Json(_))
    ));
    let of_machine = refusal(&edited("\"stage\":\"imported\"", "\"stage\":\"quantised\""));
    assert!(of_machine.contains("before the machine") && of_machine.contains("imported"));
    let without = SavedIr { constants: Default::default(), ..host().save() };
    assert!(refusal(&without).contains("exceeds the constants of the graph"));
    assert!(refusal(&edited("[1,2]", "[7,2]")).contains("before the machine"));
    assert!(refusal(&edited("\"version\":", "\"version\":9")).contains("compile the model again"));
}

#[test]
fn work_is_bounded() {
    // Each part has nine products of matrices of 2^12 x 2^12.
    let mut graph = Graph::new("part", Stage::Imported);
    let x = graph.add_input("x", TensorType::f32([1, 1]));
    let shape = vec![1 << 12, 1 << 12];
    let wide = graph.push(OpKind::Expand { shape }, &[x], &[]).unwrap();
    let mut product = wide;
    for _ in 0..9 {
        product = graph.push(OpKind::MatMul {}, &[wide, product], &[]).unwrap();
    }
    graph.add_output("y", product, [1 << 12, 1 << 12]);
    let parts = Host { before: Some(graph.clone()), after: Some(graph.clone()), ..host() };
    let found = refusal(&parts.save());
    assert!(found.contains("products, more than"), "{found}");
}
