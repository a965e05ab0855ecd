//! Rows that nobody needs.

use super::{counts, floats, only, run};
use crate::ir::{BinaryFn, Graph, OpKind, Stage, TensorType, Value};

fn push(graph: &mut Graph, kind: OpKind, operands: &[Value]) -> Value {
    graph.push(kind, operands, &[]).expect("tests build graphs that fit")
}

fn rows(graph: &mut Graph, x: Value, start: usize, len: usize) -> Value {
    push(graph, OpKind::Slice { axis: 0, start, len, stride: 1 }, &[x])
}

fn linear(graph: &mut Graph, x: Value, outputs: usize) -> Value {
    let inputs = graph.ty(x).matrix().1;
    let weight = graph.add_f32("w", [outputs, inputs], &vec![1.0; outputs * inputs]);
    let bias = graph.add_f32("b", [outputs], &vec![1.0; outputs]);
    push(graph, OpKind::Linear {}, &[x, weight, bias])
}

#[test]
fn selections_move_through_attention_to_queries() {
    let mut graph = Graph::new("test", Stage::Canonical);
    let x = graph.add_input("x", TensorType::f32([4, 6]));
    let [q, k, v] = [(); 3].map(|()| linear(&mut graph, x, 6));
    let elements: Vec<f32> = (0..2 * 4 * 4).map(|i| i as f32).collect();
    let bias = graph.add_f32("bias", [2, 4, 4], &elements);
    let y =
        push(&mut graph, OpKind::Attention { heads: 2, scale: 1.0, windows: 1 }, &[q, k, v, bias]);
    let y = linear(&mut graph, y, 6);
    let y = push(&mut graph, OpKind::Binary { f: BinaryFn::Add }, &[x, y]);
    let y = rows(&mut graph, y, 1, 1);
    graph.add_output("y", y, [1, 6]);
    let graph = run(&graph, &["drop-dead-rows"]);
    insta::assert_snapshot!(graph);
    let bias = only(&graph, "attention").operands[3];
    assert_eq!(floats(&graph, bias), [4.0, 5.0, 6.0, 7.0, 20.0, 21.0, 22.0, 23.0]);
}

#[test]
fn what_is_needed_twice_is_computed_once() {
    let mut graph = Graph::new("test", Stage::Canonical);
    let x = graph.add_input("x", TensorType::f32([8, 2]));
    let y = linear(&mut graph, x, 3);
    let (a, b) = (rows(&mut graph, y, 2, 1), rows(&mut graph, y, 3, 2));
    let b = rows(&mut graph, b, 1, 1);
    graph.add_output("a", a, [3]);
    graph.add_output("b", b, [3]);
    let graph = run(&graph, &["drop-dead-rows"]);
    assert_eq!(counts(&graph), "linear 1, slice 3");
    assert_eq!(graph.ty(only(&graph, "linear").results[0]).shape, [3, 3]);
}

#[test]
fn parts_of_joined_tokens_that_nobody_needs_vanish() {
    let mut graph = Graph::new("test", Stage::Canonical);
    let x = graph.add_input("x", TensorType::f32([3, 2]));
    let constant = graph.add_f32("c", [2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let y = linear(&mut graph, x, 2);
    let joined = push(&mut graph, OpKind::Concat { axis: 0 }, &[constant, y]);
    let across = rows(&mut graph, joined, 1, 2);
    graph.add_output("across", across, [2, 2]);
    let first = run(&graph, &["drop-dead-rows"]);
    assert_eq!(counts(&first), "concat 1, linear 1, slice 1");
    assert_eq!(floats(&first, only(&first, "concat").operands[0]), [3.0, 4.0]);

    let within = rows(&mut graph, joined, 3, 1);
    graph.outputs.clear();
    graph.add_output("within", within, [1, 2]);
    assert_eq!(counts(&run(&graph, &["drop-dead-rows"])), "linear 1, slice 1");
}
