//! From imported to canonical graphs.
//!
//! One walk over the operations in order assigns each value of the imported graph a [`Meaning`] in
//! the canonical one. Operations that only move elements change the meaning and emit nothing;
//! computing operations ask for their operands as matrices and append to the canonical graph. An
//! operation without a meaning is recorded as a problem, and operations that depend on it are
//! skipped, so that one run finds all problems and reports each once.

mod attention;
mod builder;
mod column_map;
mod columns;
mod constants;
mod elementwise;
mod flags;
mod forms;
mod image;
mod joined;
mod linear;
mod monomial;
mod movement;
mod picked;
mod view;

use cranelift_entity::SecondaryMap;
use vitcod_support::problems::{Collector, Problems};

pub use self::forms::FORMS;

use self::attention::Scores;
use self::builder::Builder;
use self::flags::{Flags, Read};
use self::image::{Image, Reading};
use self::view::View;
use super::cse;
use super::error::{Problem, Unsupported};
use crate::ir::{Elem, Graph, GraphInput, Op, OpData, OpKind, TensorType, Value};

/// What a value of the imported graph stands for in the canonical one.
#[derive(Clone, Debug)]
enum Meaning {
    /// A constant of the imported graph.
    Constant,
    /// An image that is an input, normalised.
    Image(Image),
    /// A view of a matrix.
    View(View),
    /// Attention scores: products of queries and keys, scaled and biased.
    Scores(Scores),
    /// The softmax of scores.
    Probabilities(Scores),
    /// Probabilities with queries and keys exchanged.
    Transposed(Scores),
    /// Whether probabilities are NaN. They never are: a row without a kept key is rejected.
    NotNumbers,
    /// A function of an integer input.
    Flags(Flags),
    /// Unsupported; a problem was recorded.
    Unknown,
}

impl Meaning {
    fn name(&self) -> &'static str {
        match self {
            Meaning::Constant => "a constant",
            Meaning::Image(_) => "an image",
            Meaning::View(_) => "tokens",
            Meaning::Scores(_) => "attention scores",
            Meaning::Probabilities(_) => "attention probabilities",
            Meaning::Transposed(_) => "transposed attention probabilities",
            Meaning::NotNumbers => "a condition that is always false",
            Meaning::Flags(_) => "integers of an input",
            Meaning::Unknown => "an unrecognised value",
        }
    }
}

/// The state of the walk.
struct Canonicaliser<'a> {
    source: &'a Graph,
    /// How inputs of rank 4 are read.
    reading: Reading,
    builder: Builder<'a>,
    meanings: SecondaryMap<Value, Option<Meaning>>,
    /// How integer inputs of the new graph are read.
    reads: SecondaryMap<Value, Option<Read>>,
}

/// The place of something without a canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The i-th input.
    Input(usize),
    /// An operation. Those that depend on it are not obstacles by themselves.
    Operation(Op),
    /// The i-th output, of which only the layout is wrong.
    Output(usize),
}

/// Everything in a graph that has no canonical form.
#[derive(Debug)]
pub(crate) struct Obstacles {
    /// The places with their problems: inputs, operations in order, outputs.
    pub(crate) found: Vec<(Obstacle, Problem)>,
    /// The number of operations without a form, with those that depend on others.
    unknown: usize,
}

/// Converts an imported graph to a canonical one.
pub(super) fn run(graph: &Graph) -> Result<Graph, Problems<Problem>> {
    // Unused operations must not cause errors.
    read(&graph.compacted()).map_err(|obstacles| {
        let mut problems = Collector::new();
        obstacles.found.into_iter().for_each(|(_, problem)| problems.push(|| problem));
        problems.finish().expect_err("a graph without canonical form has an obstacle")
    })
}

/// What has no canonical form in a compacted graph; `None` if it has one.
pub(crate) fn obstacles(graph: &Graph) -> Option<Obstacles> {
    read(graph).err()
}

/// Converts a graph. Nothing in a model tells an image from tokens, or the place of an image's
/// channels: each reading is tried, and if none works, the obstacles of the one that comes furthest
/// are returned.
fn read(source: &Graph) -> Result<Graph, Obstacles> {
    let mut furthest: Option<Obstacles> = None;
    for reading in image::readings(source) {
        let obstacles = match read_as(source, reading) {
            Ok(canonical) => return Ok(canonical),
            Err(obstacles) => obstacles,
        };
        if furthest.as_ref().is_none_or(|other| obstacles.unknown < other.unknown) {
            furthest = Some(obstacles);
        }
    }
    Err(furthest.expect("there is a reading"))
}

/// Converts a graph whose inputs of rank 4 are read in one way.
fn read_as(source: &Graph, reading: Reading) -> Result<Graph, Obstacles> {
    let mut found = Vec::new();
    let mut walk = Canonicaliser {
        source,
        reading,
        builder: Builder::new(source),
        meanings: SecondaryMap::new(),
        reads: SecondaryMap::new(),
    };
    for (i, input) in source.inputs.iter().enumerate() {
        let meaning = walk.input(input).unwrap_or_else(|unsupported| {
            let problem = Problem::new(format!("input {:?}", input.name), unsupported);
            found.push((Obstacle::Input(i), problem));
            Meaning::Unknown
        });
        walk.meanings[input.value] = Some(meaning);
    }
    for id in &source.order {
        let op = source.op(*id);
        walk.builder.nodes.clone_from(&op.nodes);
        let mut meaning = walk.operation(op).unwrap_or_else(|unsupported| {
            found.push((Obstacle::Operation(*id), Problem::at_op(source, op, unsupported)));
            Meaning::Unknown
        });
        if let (Meaning::View(view), Some(step)) = (&mut meaning, source.ty(op.results[0]).step) {
            view.step = Some(step);
        }
        walk.meanings[op.results[0]] = Some(meaning);
    }
    walk.builder.nodes.clear();
    for (i, output) in source.outputs.iter().enumerate() {
        match walk.output(output.value) {
            Ok(Some(value)) => {
                walk.builder.graph.add_output(&output.name, value, output.shape.clone())
            }
            Ok(None) => {}
            Err(unsupported) => {
                let problem = Problem::new(format!("output {:?}", output.name), unsupported);
                found.push((Obstacle::Output(i), problem));
            }
        }
    }
    if found.is_empty() {
        return Ok(cse::run(&walk.builder.graph));
    }
    let is_unknown =
        |op: &&Op| matches!(walk.meanings[source.op(**op).results[0]], Some(Meaning::Unknown));
    let unknown = source.order.iter().filter(is_unknown).count();
    Err(Obstacles { found, unknown })
}

impl Canonicaliser<'_> {
    fn input(
        &mut self,
        GraphInput { name, value, shape, .. }: &GraphInput,
    ) -> Result<Meaning, Unsupported> {
        let (ty, reading) = (self.source.ty(*value), self.reading);
        let mut add = |ty| self.builder.graph.add_input_of(name, ty, shape.clone());
        match (ty.elem, &ty.shape[..]) {
            _ if ty.shape.contains(&0) => {
                Err(Unsupported::new(ty.to_string(), "extents of at least 1"))
            }
            (Elem::F32, [1, _, _, _]) if reading != Reading::Tokens => {
                Ok(Meaning::Image(Image::new(add(ty.clone()), &ty.shape, reading)))
            }
            (Elem::F32, [1, rows, outer, inner]) => {
                let matrix = add(TensorType { shape: vec![*rows, outer * inner], ..ty.clone() });
                Ok(Meaning::View(View::row_major(matrix, &ty.shape, 2)))
            }
            (Elem::F32, [1, rows, columns] | [rows, columns]) => {
                let matrix = TensorType { shape: vec![*rows, *columns], ..ty.clone() };
                let matrix = add(matrix);
                Ok(Meaning::View(View::row_major(matrix, &ty.shape, ty.rank() - 1)))
            }
            (Elem::I64, [1, n] | [n]) => {
                let input = add(TensorType::new(Elem::I64, [*n]));
                Ok(Meaning::Flags(Flags::of(input, &ty.shape)))
            }
            _ => {
                let expected = "an image f32[1,c,h,w], tokens f32[1,n,c] or f32[n,c], or integers i64[1,n] or i64[n]";
                Err(Unsupported::new(ty.to_string(), expected))
            }
        }
    }

    /// The value of an output; `None` if its problem has been reported.
    fn output(&mut self, value: Value) -> Result<Option<Value>, Unsupported> {
        match self.meaning(value) {
            Meaning::Unknown => Ok(None),
            Meaning::View(view) => {
                let along = |dim: &[view::Walk], axis| dim.iter().all(|walk| walk.axis == axis);
                if let [first, channels, map @ ..] = &view.dims[..]
                    && (1..=2).contains(&map.len())
                    && first.is_empty()
                    && !channels.is_empty()
                    && along(channels, view::Axis::Column)
                    && map.iter().any(|dim| !dim.is_empty())
                    && map.iter().all(|dim| along(dim, view::Axis::Row))
                {
                    let rows: Vec<usize> = (2..view.dims.len()).collect();
                    let matrix = self.builder.layout(&view, &rows, &[1])?;
                    let map = view.shape()[2..].to_vec();
                    return self.builder.push(OpKind::Planes { map }, &[matrix]).map(Some);
                }
                let rows = view.dims.iter().take_while(|dim| along(dim, view::Axis::Row));
                let split = rows.count();
                self.builder.matrix(&view, split).map(Some)
            }
            other => Err(Unsupported::new(other.name(), "tokens")),
        }
    }

    fn meaning(&self, value: Value) -> Meaning {
        match self.source.constant(value) {
            Some(_) => Meaning::Constant,
            None => self.meanings[value].clone().unwrap_or(Meaning::Unknown),
        }
    }

    fn operation(&mut self, op: &OpData) -> Result<Meaning, Unsupported> {
        let mut operands: Vec<Meaning> =
            op.operands.iter().map(|operand| self.meaning(*operand)).collect();
        if operands.iter().any(|meaning| matches!(meaning, Meaning::Unknown)) {
            return Ok(Meaning::Unknown);
        }
        for meaning in &operands {
            if let Meaning::Scores(scores)
            | Meaning::Probabilities(scores)
            | Meaning::Transposed(scores) = meaning
            {
                self.builder.charge(scores.size())?;
            }
        }
        let ty = self.source.ty(op.results[0]);
        if ty.shape.contains(&0) {
            return Err(Unsupported::new(format!("a result {ty}"), "a tensor with elements"));
        }
        if let Some(image) = self.of_image(op, &operands)? {
            return Ok(Meaning::Image(image));
        }
        for operand in &mut operands {
            if let Meaning::Image(image) = operand {
                *operand = Meaning::View(self.pixels(image)?);
            }
        }
        match &op.kind {
            OpKind::Unary { f } => self.unary(*f, &operands[0]),
            OpKind::Binary { f } => self.binary(*f, op, &operands),
            OpKind::Convert { to } => self.convert(*to, &operands[0]),
            OpKind::Select {} => self.select(op, &operands),
            OpKind::MatMul {} => self.matmul(op, &operands),
            OpKind::Conv { stride, pad, dilation, group } => {
                self.convolution(op, &operands[0], *stride, *pad, *dilation, *group)
            }
            OpKind::LayerNorm { eps } => self.layer_norm(op, &operands[0], *eps),
            OpKind::Softmax { axis } => self.softmax(op, &operands[0], *axis),
            OpKind::Concat { axis } => self.concat(op, &operands, *axis),
            OpKind::Gather { axis } if matches!(operands[1], Meaning::Flags(_)) => {
                self.embed(op, &operands, *axis)
            }
            OpKind::Reshape { .. }
            | OpKind::Expand { .. }
            | OpKind::Transpose { .. }
            | OpKind::Slice { .. }
            | OpKind::Gather { .. } => self.movement(op, &operands[0]),
            OpKind::Pad { axis, before, after } => {
                self.pad(op, &operands[0], *axis, [*before, *after])
            }
            OpKind::ReduceMean { axes, .. } => self.mean(op, &operands[0], axes),
            OpKind::GatherElements { .. } | OpKind::TopIndices { .. } => Err(Unsupported::new(
                "indices that depend on computed numbers",
                "indices that are constants or inputs",
            )),
            OpKind::ReduceMax { .. } => Err(Unsupported::new(
                "a maximum of computed numbers",
                "one within a softmax of attention scores",
            )),
            OpKind::FakeQuantise { .. } => Err(Unsupported::new(
                "quantising and dequantising again",
                "a step noted on the tensor, as the pass `absorb-qdq` does",
            )),
            OpKind::Pixels { .. }
            | OpKind::Planes { .. }
            | OpKind::PickRows {}
            | OpKind::Patches { .. }
            | OpKind::Embed {}
            | OpKind::Linear {}
            | OpKind::Table { .. }
            | OpKind::MixHeads { .. }
            | OpKind::Attention { .. }
            | OpKind::QEmbed {}
            | OpKind::QLinear {}
            | OpKind::Encode { .. }
            | OpKind::Decode { .. }
            | OpKind::QLayerNorm {}
            | OpKind::Lut { .. }
            | OpKind::QAdd { .. }
            | OpKind::Sddmm { .. }
            | OpKind::QSoftmax { .. }
            | OpKind::Spmm { .. }
            | OpKind::BlockSddmm { .. }
            | OpKind::CscSddmm { .. }
            | OpKind::BlockSoftmax { .. }
            | OpKind::CscSoftmax { .. }
            | OpKind::SplitSpmm { .. } => {
                Err(Unsupported::new("an operation of a later stage", "an imported operation"))
            }
        }
    }
}

/// The error for an operand of the wrong kind.
fn unexpected(found: &Meaning, expected: &str) -> Unsupported {
    Unsupported::new(found.name(), expected)
}
