//! Very many of something small: nodes, operands, results, names, dimensions, problems.

use super::Case;
use super::bombs::filled;
use super::writer::{F32, File, Message, int, integers, ints, name, tensor};

fn graph() -> File {
    File::new().input("x", &[1, 4, 8])
}

/// What a case says that is refused for its size.
const LARGE: &str = "at most 65536 operations and operands";

pub(super) fn cases() -> Vec<Case> {
    // As many nodes as fit into a file, and as fit into a graph.
    let long = |op_type: &'static str| chained(usize::MAX, op_type);
    let short = |op_type: &'static str| chained(30_000, op_type);
    vec![
        Case::refused("nothing but nodes", nothing(), "allowed for a file of this size"),
        Case::refused("unsupported nodes", long("Foo"), "unsupported operator"),
        Case::refused("a long chain of functions", long("Relu"), LARGE),
        Case::accepted("a chain of functions", short("Relu")),
        Case::refused("a chain of softmaxes", short("Softmax"), "expected attention scores"),
        Case::accepted("a chain of sums with itself", doubled("Add")),
        Case::refused(
            "a chain of products with itself",
            doubled("Mul"),
            "mul of two computed tensors",
        ),
        Case::accepted("a chain of transposes", transposes()),
        Case::accepted("a chain of joins", joins()),
        Case::refused("many operands", many_operands("Sum", &[]), LARGE),
        Case::refused("many joined", many_operands("Concat", &[int("axis", 1)]), LARGE),
        Case::accepted("many joined again and again", joined_again()),
        Case::refused("many results", many_results(), LARGE),
        Case::accepted("many dimensions", many_dimensions()),
        Case::refused("many attributes", many_attributes(), "allowed for a file of this size"),
        Case::refused("a long name in each problem", long_problems(), "and 300 more"),
        Case::accepted("many initializers", many_initializers()),
        Case::accepted("many outputs", many_outputs()),
        Case::accepted("an attribute of many strings", many_strings()),
    ]
}

/// A chain of nodes of one operand each, as long as fits or as is said, and the end of it as
/// output.
fn chain(mut file: File, most: usize, add: impl Fn(File, &str, &str) -> File) -> Vec<u8> {
    let value = |i: usize| if i == 0 { "x".to_owned() } else { format!("c{}", name(i)) };
    let mut count = 0;
    while file.len() < super::FILE - 200 && count < most {
        file = add(file, &value(count), &value(count + 1));
        count += 1;
    }
    file.output(&value(count), &[-1; 3]).finish(17)
}

fn chained(most: usize, op_type: &str) -> Vec<u8> {
    chain(graph(), most, |file, from, to| file.node(op_type, &[from], &[to], &[]))
}

fn doubled(op_type: &str) -> Vec<u8> {
    chain(graph(), 20_000, |file, from, to| file.node(op_type, &[from, from], &[to], &[]))
}

fn transposes() -> Vec<u8> {
    let swap = [ints("perm", &[0, 2, 1])];
    chain(graph(), 20_000, |file, from, to| file.node("Transpose", &[from], &[to], &swap))
}

fn joins() -> Vec<u8> {
    let file = File::new().input("x", &[1, 1, 8]);
    chain(file, 20_000, |file, from, to| {
        file.node("Concat", &[from, "x"], &[to], &[int("axis", 1)])
    })
}

fn nothing() -> Vec<u8> {
    let empty = Message::default();
    (0..500_000).fold(File::new(), |file, _| file.add_node(&empty)).finish(17)
}

fn many_operands(op_type: &str, attributes: &[Message]) -> Vec<u8> {
    let operands = vec!["x"; 330_000];
    graph().node(op_type, &operands, &["y"], attributes).output("y", &[-1; 3]).finish(17)
}

/// Nodes of 64 operands, one of them the result of the node before.
fn joined_again() -> Vec<u8> {
    chain(File::new().input("x", &[1, 1, 8]), 1000, |file, from, to| {
        let operands = [&["x"; 63][..], &[from]].concat();
        file.node("Concat", &operands, &[to], &[int("axis", 1)])
    })
}

fn many_results() -> Vec<u8> {
    let count = 80_000;
    let names: Vec<String> = (0..count).map(|i| format!("s{}", name(i))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let file = File::new()
        .input("x", &[1, count as i64, 8])
        .initializer(&integers("sizes", &vec![1; count]));
    let file = file.node("Split", &["x", "sizes"], &names, &[int("axis", 1)]);
    file.node("Concat", &names, &["y"], &[int("axis", 1)]).output("y", &[-1; 3]).finish(17)
}

fn many_dimensions() -> Vec<u8> {
    let last = 30_000;
    let wide = [&[1; 14][..], &[4, 8]].concat();
    let value = |i: usize| format!("c{}", name(i));
    let file =
        graph().initializer(&integers("narrow", &[1, 4, 8])).initializer(&integers("wide", &wide));
    let file = file.node("Reshape", &["x", "wide"], &["c0"], &[]);
    let file =
        (0..last).fold(file, |file, i| file.node("Relu", &[&value(i)], &[&value(i + 1)], &[]));
    file.node("Reshape", &[&value(last), "narrow"], &["y"], &[]).output("y", &[-1; 3]).finish(17)
}

/// A node with a name of half a megabyte and as many bad attributes as fit.
fn many_attributes() -> Vec<u8> {
    let long = "\u{1}".repeat(500_000);
    let bad = Message::default().bytes(1, "").int(20, 2);
    let node = (0..60_000)
        .fold(Message::default().bytes(4, "Relu").bytes(3, &long), |node, _| node.bytes(5, &bad.0));
    graph().add_node(&node).finish(17)
}

/// Nodes with long names that take five times as much to show, each with a problem.
fn long_problems() -> Vec<u8> {
    let file = (0..400).fold(graph(), |file, i| {
        let long = format!("{}{i}", "\u{1}".repeat(2500));
        let node = Message::default()
            .bytes(3, &long)
            .bytes(4, "Foo")
            .bytes(1, "x")
            .bytes(2, format!("y{}", name(i)));
        file.add_node(&node)
    });
    file.finish(17)
}

fn many_initializers() -> Vec<u8> {
    let scalar = |i: usize| tensor(&format!("t{}", name(i)), F32, &[1], &[0; 4]);
    let (file, _) = filled(graph(), |file, i| file.initializer(&scalar(i)));
    file.node("Relu", &["x"], &["y"], &[]).output("y", &[-1; 3]).finish(17)
}

fn many_outputs() -> Vec<u8> {
    let (file, _) = filled(graph(), |file, i| {
        let y = format!("y{}", name(i));
        file.node("Relu", &["x"], &[&y], &[]).output(&y, &[1, 4, 8])
    });
    file.finish(17)
}

fn many_strings() -> Vec<u8> {
    let strings = (0..500_000)
        .fold(Message::default().bytes(1, "s").int(20, 8), |message, _| message.bytes(9, ""));
    let node = Message::default().bytes(4, "Relu").bytes(1, "x").bytes(2, "y").bytes(5, &strings.0);
    graph().add_node(&node).output("y", &[-1; 3]).finish(17)
}
