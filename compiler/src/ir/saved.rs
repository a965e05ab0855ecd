//! Graphs as programs carry them: JSON in which constants are offsets into the program's DRAM image
//! or, if no instruction reads them, into bytes that belong to the graph.
//!
//! Input is untrusted: sizes are bounded before allocation, references are checked when they occur,
//! and the graph is verified. Values are numbered as in [`Graph::compacted`], so that a compacted
//! graph prints the same after a round trip.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cranelift_entity::SecondaryMap;
use serde::{Deserialize, Serialize};
use vitcod_isa::program::SavedIr;

use super::infer::count;
use super::{Graph, Node, OpKind, Stage, TensorType, Value, VerifyError};

/// The most bytes of all inputs and results of a saved graph together: more than ten times those of
/// DeiT-Base.
pub const MAX_ACTIVATION_BYTES: usize = 1 << 30;

/// The version of the format: of the JSON, and of the operations and layouts of constants that it
/// refers to. A reader accepts no other version.
pub const SAVED_VERSION: u32 = 4;

/// Alignment of the graph's own constants.
const OWN_ALIGN: usize = 8;

/// Why bytes are not a valid saved graph.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not JSON of the format.
    #[error("the saved graph is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// The graph was saved by a compiler with another format version.
    #[error(
        "the graph was saved in version {found} of its form, this version reads {SAVED_VERSION}: compile the model again"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// A reference to an entity that does not exist, or a size that exceeds a limit.
    #[error("the saved graph is malformed: {0}")]
    Malformed(String),
    /// The graph violates the invariants of its stage.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// A split graph without the bytes of its constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedGraph {
    /// [`SAVED_VERSION`].
    pub version: u32,
    /// Name of the model.
    pub name: String,
    /// The stage: quantised (the default, omitted) or split.
    #[serde(default = "quantised", skip_serializing_if = "is_quantised")]
    pub stage: Stage,
    /// Names of the ONNX nodes.
    pub nodes: Vec<String>,
    /// The inputs; they define the first values.
    pub inputs: Vec<SavedInput>,
    /// Constants and operations in execution order; each defines the next values.
    pub body: Vec<SavedEntry>,
    /// The outputs.
    pub outputs: Vec<SavedOutput>,
}

fn quantised() -> Stage {
    Stage::Quantised
}

fn is_quantised(stage: &Stage) -> bool {
    *stage == Stage::Quantised
}

/// An input of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedInput {
    /// Name in the model.
    pub name: String,
    /// The type of its value.
    pub ty: TensorType,
    /// Shape in the model, if it differs from that of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// Whether it is inverted ([`GraphInput::inverted`](super::GraphInput::inverted)); omitted if
    /// not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inverted: bool,
}

/// An entity that defines values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SavedEntry {
    /// A constant, which defines one value.
    Const {
        /// Name in the model; empty for constants of the compiler.
        name: String,
        /// The type of its value.
        ty: TensorType,
        /// Offset of its bytes in the image, or in the graph's own constants.
        offset: u64,
        /// Whether the bytes are among the graph's own constants; omitted if false.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
    },
    /// An operation, which defines a value for each result.
    Op {
        /// The operation with its attributes.
        kind: OpKind,
        /// Indices of the values it reads.
        operands: Vec<u32>,
        /// Types of the results.
        results: Vec<TensorType>,
        /// Indices of its ONNX nodes.
        nodes: Vec<u32>,
    },
}

/// An output of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedOutput {
    /// Name in the model.
    pub name: String,
    /// Index of the value.
    pub value: u32,
    /// Shape in the model.
    pub shape: Vec<usize>,
}

impl SavedGraph {
    /// Saves a graph for a program. `address` returns the offset in the image of the bytes of a
    /// constant (a value of `graph`) if they are there; it is called once for each used constant,
    /// in order of use.
    pub fn save(graph: &Graph, address: impl FnMut(Value) -> Option<u64>) -> SavedIr {
        let mut constants = Vec::new();
        let saved = SavedGraph::new(graph, address, &mut constants);
        SavedIr { graph: saved.to_json().into(), constants: constants.into() }
    }

    /// The saved form of a graph all of whose constants are its own: appended to those given.
    pub(crate) fn standalone(graph: &Graph, constants: &mut Vec<u8>) -> SavedGraph {
        SavedGraph::new(graph, |_| None, constants)
    }

    /// The saved form of a graph; its own constants are appended to those given.
    fn new(
        graph: &Graph,
        address: impl FnMut(Value) -> Option<u64>,
        own: &mut Vec<u8>,
    ) -> SavedGraph {
        let inputs = graph.inputs.iter().map(|input| {
            let ty = graph.ty(input.value).clone();
            let shape = (input.shape != ty.shape).then(|| input.shape.clone());
            SavedInput { name: input.name.clone(), ty, shape, inverted: input.inverted }
        });
        // As in the text form, unused nodes are omitted.
        let used: BTreeSet<Node> =
            graph.order.iter().flat_map(|op| &graph.op(*op).nodes).copied().collect();
        let names = used.iter().map(|node| graph.node(*node).to_owned()).collect();
        let nodes: BTreeMap<Node, u32> = used.into_iter().zip(0..).collect();
        let mut writer = Writer {
            graph,
            address,
            body: Vec::new(),
            own,
            renamed: SecondaryMap::new(),
            defined: 0,
        };
        let inputs = inputs.collect();
        graph.inputs.iter().for_each(|input| writer.define(input.value));
        for op in &graph.order {
            let data = graph.op(*op);
            let operands = data.operands.iter().map(|operand| writer.index(*operand)).collect();
            let results = data.results.iter().map(|result| graph.ty(*result).clone()).collect();
            let nodes = data.nodes.iter().map(|node| nodes[node]).collect();
            writer.body.push(SavedEntry::Op { kind: data.kind.clone(), operands, results, nodes });
            data.results.iter().for_each(|result| writer.define(*result));
        }
        let outputs = graph.outputs.iter().map(|output| {
            let value = writer.index(output.value);
            SavedOutput { name: output.name.clone(), value, shape: output.shape.clone() }
        });
        let outputs = outputs.collect();
        SavedGraph {
            version: SAVED_VERSION,
            name: graph.name.clone(),
            stage: graph.stage,
            nodes: names,
            inputs,
            body: writer.body,
            outputs,
        }
    }

    /// Encodes the graph as JSON.
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no maps, no failing serialisers")
    }

    /// Loads a graph. Its constants are slices of `ir` and of the program's image, not copies.
    ///
    /// # Errors
    /// The bytes are not a valid saved graph, or a constant is not within the bytes. Never panics,
    /// and allocates in proportion to the bytes.
    pub fn load(ir: &SavedIr, image: &Bytes) -> Result<Graph, LoadError> {
        let SavedIr { graph: json, constants } = ir;
        // The field that every version has.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        match serde_json::from_slice::<Version>(json)?.version {
            SAVED_VERSION => {
                let saved = serde_json::from_slice::<SavedGraph>(json)?;
                let stages = [Stage::Quantised, Stage::Split];
                saved.graph(&stages, image, constants)
            }
            found => Err(LoadError::Version { found }),
        }
    }

    /// Loads what [`SavedGraph::standalone`] gave for a graph of the imported stage.
    ///
    /// # Errors
    /// As [`SavedGraph::load`].
    pub(crate) fn load_imported(self, constants: &Bytes) -> Result<Graph, LoadError> {
        match self.version {
            SAVED_VERSION => self.graph(&[Stage::Imported], &Bytes::new(), constants),
            found => Err(LoadError::Version { found }),
        }
    }

    fn graph(self, stages: &[Stage], image: &Bytes, constants: &Bytes) -> Result<Graph, LoadError> {
        if !stages.contains(&self.stage) {
            let expected: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
            return Err(LoadError::Malformed(format!(
                "expected a graph of the stage {}, found one of the {} stage",
                expected.join(" or "),
                self.stage
            )));
        }
        let mut graph = Graph::new(self.name, self.stage);
        let nodes: Vec<Node> = self.nodes.into_iter().map(|name| graph.add_node(name)).collect();
        let mut room = MAX_ACTIVATION_BYTES;
        let mut take = |ty: &TensorType| {
            room = room.checked_sub(size(ty)?).ok_or_else(|| {
                LoadError::Malformed(format!(
                    "inputs and results take more than {MAX_ACTIVATION_BYTES} bytes"
                ))
            })?;
            Ok::<(), LoadError>(())
        };
        for input in self.inputs {
            take(&input.ty)?;
            let shape = input.shape.unwrap_or_else(|| input.ty.shape.clone());
            let value = graph.add_input_of(input.name, input.ty, shape);
            graph.set_inverted(value, input.inverted);
        }
        for entry in self.body {
            match entry {
                SavedEntry::Const { name, ty, offset, own } => {
                    let (bytes_of, what) = if own {
                        (constants, "the constants of the graph")
                    } else {
                        (image, "the image")
                    };
                    let bytes = size(&ty)?;
                    let start = usize::try_from(offset).ok();
                    let range = start.and_then(|start| Some(start..start.checked_add(bytes)?));
                    let Some(range) = range.filter(|range| range.end <= bytes_of.len()) else {
                        return Err(LoadError::Malformed(format!(
                            "constant {name:?} exceeds {what}"
                        )));
                    };
                    graph.add_const(name, ty, bytes_of.slice(range));
                }
                SavedEntry::Op { kind, operands, results, nodes: of } => {
                    results.iter().try_for_each(&mut take)?;
                    let operands = operands
                        .into_iter()
                        .map(|i| value(&graph, i))
                        .collect::<Result<Vec<_>, _>>()?;
                    let node = |i: u32| {
                        let node = usize::try_from(i).ok().and_then(|i| nodes.get(i));
                        node.copied()
                            .ok_or_else(|| LoadError::Malformed(format!("no ONNX node {i}")))
                    };
                    let of = of.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
                    graph.push_typed(kind, &operands, results, &of);
                }
            }
        }
        for output in self.outputs {
            let value = value(&graph, output.value)?;
            graph.add_output(output.name, value, output.shape);
        }
        graph.verify()?;
        Ok(graph)
    }
}

/// A value that is already defined.
fn value(graph: &Graph, index: u32) -> Result<Value, LoadError> {
    let known = usize::try_from(index).is_ok_and(|index| index < graph.value_count());
    known
        .then(|| Value::from_u32(index))
        .ok_or_else(|| LoadError::Malformed(format!("v{index} is used before it is defined")))
}

/// Bytes of a tensor. It must not be empty: the work on empty tensors would be unbounded.
fn size(ty: &TensorType) -> Result<usize, LoadError> {
    let bytes = count(&ty.shape).and_then(|elements| elements.checked_mul(ty.elem.bytes()));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| LoadError::Malformed(format!("{ty} has no elements or too many")))
}

/// Renumbers values while it writes the body.
struct Writer<'g, F> {
    graph: &'g Graph,
    address: F,
    body: Vec<SavedEntry>,
    /// The graph's own constants, behind those of other graphs.
    own: &'g mut Vec<u8>,
    renamed: SecondaryMap<Value, Option<u32>>,
    defined: u32,
}

impl<F: FnMut(Value) -> Option<u64>> Writer<'_, F> {
    fn define(&mut self, value: Value) {
        self.renamed[value] = Some(self.defined);
        self.defined += 1;
    }

    /// The new index of a value. A constant is written at its first use.
    fn index(&mut self, value: Value) -> u32 {
        if let (None, Some(constant)) = (self.renamed[value], self.graph.constant(value)) {
            let (name, ty) = (constant.name.clone(), self.graph.ty(value).clone());
            let address = (self.address)(value);
            let offset = address.unwrap_or_else(|| {
                self.own.resize(self.own.len().next_multiple_of(OWN_ALIGN), 0);
                let start = self.own.len() as u64;
                self.own.extend_from_slice(&constant.bytes);
                start
            });
            let own = address.is_none();
            self.body.push(SavedEntry::Const { name, ty, offset, own });
            self.define(value);
        }
        self.renamed[value].expect("operands precede their uses")
    }
}

#[cfg(test)]
mod tests;
