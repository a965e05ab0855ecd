//! Random well-formed graphs of every stage, for tests and fuzzing, drawn by SplitMix64.
//!
//! Every operation occurs, with extents of a few elements. The functions they compute are
//! meaningless, but their parameters decode, so that the interpreters can run them.

mod float;
mod quantised;
#[cfg(test)]
mod tests;

use vitcod_isa::machine::Machine;

use crate::ir::{Elem, Graph, Node, OpKind, Stage, TensorType, Value};
use crate::split::{self, GlobalTokens, Packing};
use vitcod_support::random::SplitMix64;

/// The most steps of generation; some append several operations.
const MAX_STEPS: usize = 10;

/// A graph of a stage, determined by the seed. It verifies, and its values are numbered in order of
/// appearance.
pub fn graph(stage: Stage, seed: u64) -> Graph {
    Generator::new(stage, seed, &[]).run(stage)
}

/// A graph as [`graph`] generates, whose first choices are given by bytes: a fuzzer that changes a
/// byte changes one choice. The remaining choices and the elements of constants follow from a fixed
/// seed.
pub fn graph_by(stage: Stage, choices: &[u8]) -> Graph {
    Generator::new(stage, 0, choices).run(stage)
}

struct Generator<'a> {
    graph: Graph,
    random: SplitMix64,
    /// The remaining choices.
    choices: std::slice::Iter<'a, u8>,
    /// Values that operations and outputs may read.
    pool: Vec<Value>,
}

impl<'a> Generator<'a> {
    fn new(stage: Stage, seed: u64, choices: &'a [u8]) -> Generator<'a> {
        let stage = if stage == Stage::Split { Stage::Quantised } else { stage };
        let (graph, random) = (Graph::new("", stage), SplitMix64::new(seed));
        let mut generator = Generator { graph, random, choices: choices.iter(), pool: Vec::new() };
        generator.graph.name = generator.name();
        generator
    }

    fn run(mut self, stage: Stage) -> Graph {
        let steps = 1 + self.below(MAX_STEPS);
        for _ in 0..steps {
            match stage {
                Stage::Imported => self.imported(),
                Stage::Canonical => self.canonical(),
                Stage::Quantised | Stage::Split => self.quantised(),
            }
        }
        self.outputs();
        let graph = self.graph.compacted();
        if stage != Stage::Split {
            return graph;
        }
        let machine = Machine::preset("vitcod").expect("a preset");
        let globals = GlobalTokens::Above(self.random.bits() as usize % 4);
        split::run(&graph, &machine, globals, Packing::default())
            .expect("masks keep an entry of each row")
            .0
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        // A byte selects among at most 256 values.
        let choice = if n <= 256 { self.choices.next() } else { None };
        choice.map_or_else(
            || (self.random.bits() % n as u64) as usize,
            |choice| usize::from(*choice) % n,
        )
    }

    /// A small extent.
    fn extent(&mut self) -> usize {
        1 + self.below(5)
    }

    /// Some columns, divided into up to three groups of channels.
    fn channel_groups(&mut self, columns: usize) -> Vec<usize> {
        let first = 1 + self.below(columns);
        let second = if first < columns { 1 + self.below(columns - first) } else { 0 };
        let groups = [first, second, columns - first - second];
        groups.into_iter().filter(|group| *group > 0).collect()
    }

    /// The operands of `pixels`: an image, perhaps with factors of its channels.
    fn image_operands(&mut self, image: Value, channels: usize) -> Vec<Value> {
        if self.one_in(2) {
            return vec![image];
        }
        let factors = (0..channels).map(|_| 0.25 + self.random.normal().abs() as f32);
        let factors: Vec<f32> = factors.collect();
        let mut operands = vec![image, self.graph.add_f32("factors", [channels], &factors)];
        if self.one_in(2) {
            let offsets: Vec<f32> = (0..channels).map(|_| self.random.normal() as f32).collect();
            operands.push(self.graph.add_f32("offsets", [channels], &offsets));
        }
        operands
    }

    /// Whether the channels of an image are the last dimension, and its shape.
    fn image_shape(&mut self, [channels, height, width]: [usize; 3]) -> (bool, [usize; 4]) {
        match self.one_in(3) {
            true => (true, [1, height, width, channels]),
            false => (false, [1, channels, height, width]),
        }
    }

    /// True once in `n` times.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// A positive step or scale.
    fn real(&mut self) -> f64 {
        (1.0 + self.below(1 << 20) as f64) * 2f64.powi(-10 - self.below(20) as i32)
    }

    /// A typical name of a model, or one with characters that the text form escapes.
    fn name(&mut self) -> String {
        const PARTS: [&str; 10] =
            ["blocks", "0", "/", ".", "attn", "MatMul", " ", "\"", "\\", "\n\t\u{301}é\0"];
        let parts = self.below(5);
        (0..parts).map(|_| self.pick(&PARTS)).collect()
    }

    /// Adds an input with a unique name, which a program requires.
    fn input(&mut self, ty: TensorType) -> Value {
        let shape = ty.shape.clone();
        self.input_of(ty, shape)
    }

    /// An input with its shape in the model.
    fn input_of(&mut self, ty: TensorType, shape: Vec<usize>) -> Value {
        let name = format!("{}{}", self.name(), self.graph.inputs.len());
        let input = self.graph.add_input_of(name, ty, shape);
        self.pool.push(input);
        input
    }

    fn constant(&mut self, ty: TensorType, bytes: Vec<u8>) -> Value {
        let name = self.name();
        self.graph.add_const(name, ty, bytes)
    }

    /// A constant of random bytes.
    fn bytes(&mut self, elem: Elem, shape: impl Into<Vec<usize>>, step: Option<f64>) -> Value {
        let ty = TensorType { elem, shape: shape.into(), step };
        let bytes = (0..ty.bytes()).map(|_| self.random.bits() as u8).collect();
        self.constant(ty, bytes)
    }

    /// One to three nodes, known before or new; mostly none.
    fn nodes(&mut self) -> Vec<Node> {
        let count = self.below(6).saturating_sub(2);
        let known: Vec<Node> = self.graph.nodes().map(|(node, _)| node).collect();
        let nodes = (0..count).map(|_| match known.is_empty() || self.one_in(2) {
            true => {
                let name = self.name();
                self.graph.add_node(name)
            }
            false => self.pick(&known),
        });
        nodes.collect()
    }

    /// Appends an operation if the operands are valid.
    fn push(&mut self, kind: OpKind, operands: &[Value]) -> Option<Value> {
        let nodes = self.nodes();
        let result = self.graph.push(kind, operands, &nodes).ok()?;
        self.pool.push(result);
        Some(result)
    }

    /// Appends an operation whose result types carry steps.
    fn push_typed(
        &mut self,
        kind: OpKind,
        operands: &[Value],
        types: Vec<TensorType>,
    ) -> Vec<Value> {
        let nodes = self.nodes();
        self.graph.push_typed(kind, operands, types, &nodes)
    }

    /// A value of the pool that `fits`, or a new input of type `otherwise`.
    fn value(&mut self, fits: impl Fn(&TensorType) -> bool, otherwise: TensorType) -> Value {
        let fitting: Vec<Value> =
            self.pool.iter().copied().filter(|value| fits(self.graph.ty(*value))).collect();
        if fitting.is_empty() || self.one_in(5) {
            self.input(otherwise)
        } else {
            self.pick(&fitting)
        }
    }

    fn outputs(&mut self) {
        let is_number = |ty: &TensorType| matches!(ty.elem, Elem::F32 | Elem::I8 | Elem::I16);
        let mut numbers: Vec<Value> =
            self.pool.iter().copied().filter(|value| is_number(self.graph.ty(*value))).collect();
        if numbers.is_empty() {
            let elem = if self.graph.stage.is_float() { Elem::F32 } else { Elem::I8 };
            let step = (elem == Elem::I8).then_some(1.0);
            numbers.push(self.input(TensorType { step, ..TensorType::new(elem, [1, 1]) }));
        }
        let more = self.pick(&numbers);
        for value in [numbers[numbers.len() - 1], more] {
            let (name, shape) = (self.name(), self.graph.ty(value).shape.clone());
            let name = format!("{name}{}", self.graph.outputs.len());
            if self.graph.stage != Stage::Imported && shape.len() == 2 && self.one_in(4) {
                let map = if self.one_in(2) { vec![shape[0]] } else { vec![1, shape[0]] };
                let ty = TensorType {
                    shape: [&[1, shape[1]], &map[..]].concat(),
                    ..self.graph.ty(value).clone()
                };
                let shape = ty.shape.clone();
                let planes =
                    self.graph.push_typed(OpKind::Planes { map }, &[value], vec![ty], &[])[0];
                self.graph.add_output(name, planes, shape);
                continue;
            }
            let shape = if self.one_in(2) { [&[1], &shape[..]].concat() } else { shape };
            self.graph.add_output(name, value, shape);
        }
    }
}
