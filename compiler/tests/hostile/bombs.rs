//! Few nodes that ask for much: constants that unfold, products of them, extents without end.

use super::Case;
use super::writer::{BOOL, F16, F32, File, I64, Message, U8, int, integers, ints, name, tensor};

/// What a case of constants says when it is refused.
const BUDGET: &str = "less to compute at compile time";

/// A graph whose only computation is the sum of its input and of some constant.
fn with_constant(file: File, constant: &str) -> Vec<u8> {
    file.input("x", &[1, 4, 8])
        .node("Add", &["x", constant], &["y"], &[])
        .output("y", &[-1, -1, -1])
        .finish(17)
}

fn zeros(file: File, shape: &[i64], result: &str) -> File {
    let shape_name = format!("shape of {result}");
    file.initializer(&integers(&shape_name, shape)).node(
        "ConstantOfShape",
        &[&shape_name],
        &[result],
        &[],
    )
}

/// As many nodes as fit, each from the number of the node.
pub(super) fn filled(mut file: File, mut add: impl FnMut(File, usize) -> File) -> (File, usize) {
    let mut count = 0;
    while file.len() < super::FILE - 200 {
        file = add(file, count);
        count += 1;
    }
    (file, count)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::refused("zeros", with_constant(zeros(File::new(), &[1 << 26], "c"), "c"), BUDGET),
        Case::refused(
            "zeros without end",
            with_constant(zeros(File::new(), &[1 << 40], "c"), "c"),
            BUDGET,
        ),
        Case::refused(
            "extents that overflow",
            with_constant(zeros(File::new(), &[i64::MAX, i64::MAX, 0], "c"), "c"),
            "at most 16 dimensions and 2^40 elements",
        ),
        Case::refused("range", with_constant(range(File::new(), 0, 1 << 26, 1), "c"), BUDGET),
        Case::refused(
            "range without end",
            with_constant(range(File::new(), 0, i64::MAX, 1), "c"),
            "2^40 elements",
        ),
        Case::refused("range of a million, again and again", ranges(), BUDGET),
        Case::refused("tile", tile(), BUDGET),
        Case::refused("expanded scalars", expanded(), BUDGET),
        Case::refused("joined with itself", doubled("Concat", &[int("axis", 0)]), BUDGET),
        Case::refused("wide gather", gathered(), BUDGET),
        Case::refused("where", where_(), BUDGET),
        Case::refused("product of constants", product(), BUDGET),
        Case::refused("convolution of constants", convolution(), BUDGET),
        Case::refused("functions of constants", functions(), BUDGET),
        Case::refused("casts", casts(), BUDGET),
        Case::refused("transposed again and again", transposed(), BUDGET),
        Case::accepted("bytes as integers", bytes_as_integers()),
        Case::refused("halves used by thousands", halves(), BUDGET),
    ];
    cases.push(Case::refused(
        "an input without end",
        File::new()
            .input("x", &[1, 1 << 20, 1 << 20])
            .node("Relu", &["x"], &["y"], &[])
            .output("y", &[-1; 3])
            .finish(17),
        "tensors of at most",
    ));
    cases.push(Case::refused(
        "a number for each of many tokens",
        per_token(),
        "the remaining budget of this model",
    ));
    cases.push(Case::refused(
        "channels in another order",
        reordered(),
        "the remaining budget of this model",
    ));
    cases.push(Case::refused("activations doubled", activations(), "tensors of at most"));
    cases
}

fn range(file: File, start: i64, end: i64, step: i64) -> File {
    let scalar = |name: &str, value: i64| tensor(name, I64, &[], &value.to_le_bytes());
    file.initializer(&scalar("start", start))
        .initializer(&scalar("end", end))
        .initializer(&scalar("step", step))
        .node("Range", &["start", "end", "step"], &["range"], &[])
        .node("Cast", &["range"], &["c"], &[int("to", F32)])
}

fn ranges() -> Vec<u8> {
    let file = range(File::new(), 0, 1_000_000, 1);
    let (file, _) = filled(file, |file, i| {
        file.node("Range", &["start", "end", "step"], &[&format!("r{}", name(i))], &[])
    });
    with_constant(file, "c")
}

fn tile() -> Vec<u8> {
    let file = File::new()
        .initializer(&tensor("e", F32, &[1, 1], &[0; 4]))
        .initializer(&integers("repeats", &[8192, 8192]))
        .node("Tile", &["e", "repeats"], &["c"], &[]);
    with_constant(file, "c")
}

fn expanded() -> Vec<u8> {
    let file = File::new()
        .initializer(&tensor("e", F32, &[], &[0; 4]))
        .initializer(&integers("shape", &[1 << 16]));
    let (file, _) = filled(file, |file, i| {
        file.node("Expand", &["e", "shape"], &[&format!("c{}", name(i))], &[])
    });
    with_constant(file, "c0")
}

/// A constant that is twice as large after each of many nodes.
fn doubled(op_type: &str, attributes: &[Message]) -> Vec<u8> {
    let file = File::new().initializer(&tensor("c0", F32, &[1], &[0; 4]));
    let file = (0..60).fold(file, |file, i| {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        file.node(op_type, &[&from, &from], &[&to], attributes)
    });
    with_constant(file, "c60")
}

fn gathered() -> Vec<u8> {
    let file = zeros(File::new(), &[1, 4096], "table");
    let file = file.initializer(&tensor("index", U8, &[1_000_000], &[0; 1_000_000]));
    with_constant(file.node("Gather", &["table", "index"], &["c"], &[int("axis", 0)]), "c")
}

fn where_() -> Vec<u8> {
    let file = zeros(zeros(File::new(), &[4096, 1], "a"), &[1, 4096], "b");
    let file = file.initializer(&tensor("yes", BOOL, &[2, 1, 1], &[1, 0]));
    with_constant(file.node("Where", &["yes", "a", "b"], &["c"], &[]), "c")
}

fn product() -> Vec<u8> {
    let file = zeros(zeros(File::new(), &[1000, 1000], "a"), &[1000, 1000], "b");
    with_constant(file.node("MatMul", &["a", "b"], &["c"], &[]), "c")
}

fn convolution() -> Vec<u8> {
    let file = zeros(zeros(File::new(), &[1, 1, 1000, 1000], "a"), &[1, 1, 500, 500], "b");
    with_constant(file.node("Conv", &["a", "b"], &["c"], &[]), "c")
}

/// Nodes one after the other, each on the constant that the one before leaves.
fn one_by_one(file: File, count: usize, node: impl Fn(File, &str, &str, usize) -> File) -> Vec<u8> {
    let constant = |i: usize| format!("c{i}");
    let file = (0..count).fold(file, |file, i| node(file, &constant(i), &constant(i + 1), i));
    with_constant(file, &constant(count))
}

fn functions() -> Vec<u8> {
    one_by_one(zeros(File::new(), &[1 << 16], "c0"), 1000, |file, from, to, _| {
        file.node("Exp", &[from], &[to], &[])
    })
}

fn casts() -> Vec<u8> {
    one_by_one(zeros(File::new(), &[1 << 16], "c0"), 1000, |file, from, to, i| {
        file.node("Cast", &[from], &[to], &[int("to", if i % 2 == 0 { I64 } else { F32 })])
    })
}

fn transposed() -> Vec<u8> {
    let swap = [ints("perm", &[1, 0])];
    one_by_one(zeros(File::new(), &[256, 256], "c0"), 1000, |file, from, to, _| {
        file.node("Transpose", &[from], &[to], &swap)
    })
}

/// A table of bytes takes eight times as much as integers.
fn bytes_as_integers() -> Vec<u8> {
    let shape = tensor("table", U8, &[1_000_000], &vec![1; 1_000_000]);
    let file = File::new().initializer(&shape).initializer(&integers("index", &[0]));
    let file = file.node("Gather", &["table", "index"], &["i"], &[]).node(
        "Cast",
        &["i"],
        &["c"],
        &[int("to", F32)],
    );
    with_constant(file, "c")
}

fn halves() -> Vec<u8> {
    let file = File::new().initializer(&tensor("c0", F16, &[100_000], &vec![0; 200_000]));
    one_by_one(file, 1000, |file, from, to, _| file.node("Neg", &[from], &[to], &[]))
}

/// The sum with a column takes a constant of all tokens and channels.
fn per_token() -> Vec<u8> {
    let file = File::new().input("x", &[1, 2000, 2000]);
    let column = |i: i64| tensor(&format!("c{i}"), F32, &[2000, 1], &vec![i as u8; 8000]);
    let file = (0..8).fold(file, |file, i| {
        let [from, to] = [i, i + 1].map(|i| if i == 0 { "x".to_owned() } else { format!("y{i}") });
        file.initializer(&column(i)).node("Add", &[&from, &format!("c{i}")], &[&to], &[])
    });
    file.output("y8", &[-1; 3]).finish(17)
}

fn reordered() -> Vec<u8> {
    let file = File::new()
        .input("x", &[1, 2, 1 << 24])
        .initializer(&integers("shape", &[1, 2, 1 << 12, 1 << 12]));
    let file = file.initializer(&integers("back", &[1, 2, 1 << 24])).node(
        "Reshape",
        &["x", "shape"],
        &["a"],
        &[],
    );
    let file = file.node("Transpose", &["a"], &["b"], &[ints("perm", &[0, 1, 3, 2])]);
    file.node("Reshape", &["b", "back"], &["y"], &[]).output("y", &[-1; 3]).finish(17)
}

fn activations() -> Vec<u8> {
    let file = File::new().input("c0", &[1, 1, 4]);
    let file = (0..60).fold(file, |file, i| {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        file.node("Concat", &[&from, &from], &[&to], &[int("axis", 1)])
    });
    file.output("c60", &[-1; 3]).finish(17)
}
