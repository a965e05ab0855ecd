//! Forms that exporters write, built by hand, and what the passes make of them.

mod attention;
mod canonicalise;
mod drop_dead_rows;
mod fusion;
mod mix_heads;
mod model;
mod registry;
mod windows;

use crate::ir::{BinaryFn, Graph, OpKind, Stage, TensorType, UnaryFn, Value};
use crate::passes::{self, Context, PassError};

/// An imported graph under construction. Operations are nodes named after what they do and a
/// running number.
struct Builder {
    graph: Graph,
    nodes: usize,
}

impl Builder {
    fn new() -> Builder {
        Builder { graph: Graph::new("test", Stage::Imported), nodes: 0 }
    }

    fn input(&mut self, shape: &[usize]) -> Value {
        self.graph.add_input("x", TensorType::f32(shape))
    }

    fn op(&mut self, kind: OpKind, operands: &[Value]) -> Value {
        let node = self.graph.add_node(format!("/{}_{}", kind.mnemonic(), self.nodes));
        self.nodes += 1;
        self.graph.push(kind, operands, &[node]).expect("tests build graphs that fit")
    }

    /// A constant whose elements, small multiples of 1/512, depend on its name.
    fn constant(&mut self, name: &str, shape: &[usize]) -> Value {
        let count = shape.iter().product::<usize>();
        let seed = name.bytes().fold(0, |seed, byte| (seed * 31 + usize::from(byte)) % 1009);
        let elements: Vec<f32> =
            (0..count).map(|i| ((i * 37 + seed) % 1009) as f32 / 512.0 - 1.0).collect();
        self.graph.add_f32(name, shape, &elements)
    }

    fn scalar(&mut self, x: f32) -> Value {
        self.graph.add_f32("", [], &[x])
    }

    fn unary(&mut self, f: UnaryFn, x: Value) -> Value {
        self.op(OpKind::Unary { f }, &[x])
    }

    fn binary(&mut self, f: BinaryFn, a: Value, b: Value) -> Value {
        self.op(OpKind::Binary { f }, &[a, b])
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        self.binary(BinaryFn::Add, a, b)
    }

    fn mul(&mut self, a: Value, b: Value) -> Value {
        self.binary(BinaryFn::Mul, a, b)
    }

    fn times(&mut self, x: Value, factor: f32) -> Value {
        let factor = self.scalar(factor);
        self.mul(x, factor)
    }

    fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        self.op(OpKind::Reshape { shape: shape.to_vec() }, &[x])
    }

    fn transpose(&mut self, x: Value, perm: &[usize]) -> Value {
        self.op(OpKind::Transpose { perm: perm.to_vec() }, &[x])
    }

    fn slice(&mut self, x: Value, axis: usize, start: usize, len: usize) -> Value {
        self.op(OpKind::Slice { axis, start, len, stride: 1 }, &[x])
    }

    fn concat(&mut self, axis: usize, parts: &[Value]) -> Value {
        self.op(OpKind::Concat { axis }, parts)
    }

    fn matmul(&mut self, a: Value, b: Value) -> Value {
        self.op(OpKind::MatMul {}, &[a, b])
    }

    fn softmax(&mut self, x: Value) -> Value {
        let axis = self.graph.ty(x).rank() - 1;
        self.op(OpKind::Softmax { axis }, &[x])
    }

    fn gather(&mut self, x: Value, axis: usize, shape: &[usize], indices: &[i64]) -> Value {
        let bytes: Vec<u8> = indices.iter().flat_map(|i| i.to_le_bytes()).collect();
        let indices = self.graph.add_const("", TensorType::new(crate::ir::Elem::I64, shape), bytes);
        self.op(OpKind::Gather { axis }, &[x, indices])
    }

    fn layer_norm(&mut self, x: Value, name: &str) -> Value {
        let channels = self.graph.ty(x).shape[self.graph.ty(x).rank() - 1];
        let gamma = self.constant(&format!("{name}.weight"), &[channels]);
        let beta = self.constant(&format!("{name}.bias"), &[channels]);
        self.op(OpKind::LayerNorm { eps: 1e-6 }, &[x, gamma, beta])
    }

    /// A product with weights, and a bias as the first operand of its sum.
    fn linear(&mut self, x: Value, outputs: usize, name: &str) -> Value {
        let inputs = self.graph.ty(x).shape[self.graph.ty(x).rank() - 1];
        let weight = self.constant(&format!("{name}.weight"), &[inputs, outputs]);
        let bias = self.constant(&format!("{name}.bias"), &[outputs]);
        let product = self.matmul(x, weight);
        self.add(bias, product)
    }

    fn finish(mut self, outputs: &[Value]) -> Graph {
        for (i, value) in outputs.iter().enumerate() {
            let shape = self.graph.ty(*value).shape.clone();
            self.graph.add_output(format!("y{i}"), *value, shape);
        }
        self.graph.verify().expect("tests build graphs that hold");
        self.graph
    }
}

/// The result of some passes.
fn run(graph: &Graph, names: &[&str]) -> Graph {
    passes::run_on_graph(graph, names, &Context::default())
        .unwrap_or_else(|error| panic!("{error}\n{graph}"))
}

fn canonical(graph: &Graph) -> Graph {
    run(graph, passes::CANONICALISE)
}

/// What the pipeline to the canonical form has to say.
fn error(graph: &Graph) -> PassError {
    passes::run_on_graph(graph, passes::CANONICALISE, &Context::default())
        .map(|graph| graph.to_string())
        .expect_err("not recognised")
}

/// Mnemonics and counts as text.
fn counts(graph: &Graph) -> String {
    let counts = graph.operator_counts();
    counts
        .iter()
        .map(|(mnemonic, count)| format!("{mnemonic} {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The only operation of a kind.
fn only<'g>(graph: &'g Graph, mnemonic: &str) -> &'g crate::ir::OpData {
    let mut found =
        graph.order.iter().map(|op| graph.op(*op)).filter(|op| op.kind.mnemonic() == mnemonic);
    let op = found.next().expect("there is one");
    assert!(found.next().is_none(), "{mnemonic} is not the only one:\n{graph}");
    op
}

fn floats(graph: &Graph, value: Value) -> Vec<f32> {
    graph.const_f32(value).expect("a float constant")
}
