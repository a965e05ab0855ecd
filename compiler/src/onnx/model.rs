//! An ONNX model whose structure has been checked.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Fault, Place, Problem};
use super::tensor::{DataType, Tensor};

/// An ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The version of the file format, 3 or later.
    pub ir_version: i64,
    /// Opsets by domain. The default domain is the empty string, which is always present; a file
    /// may also spell it `ai.onnx`.
    pub opset: BTreeMap<String, i64>,
    /// The program that wrote the file; may be empty.
    pub producer_name: String,
    /// Version of that program; may be empty.
    pub producer_version: String,
    /// The graph of the model. Functions of the model are inlined.
    pub graph: Graph,
}

/// A graph in static single assignment form, with its nodes in an order of execution.
///
/// Every value (named by an input, an initialiser or a node's output) is defined once, and before
/// its uses. A graph inside an attribute also uses values of the graphs around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The graph's name; may be empty.
    pub name: String,
    /// The operations: in the order of the file if that is an order of execution.
    pub nodes: Vec<Node>,
    /// The inputs of the file without those that have an initialiser.
    pub inputs: Vec<ValueInfo>,
    /// The outputs of the file.
    pub outputs: Vec<ValueInfo>,
    /// Constants by the name of their value.
    pub initializers: BTreeMap<String, Tensor>,
}

impl Graph {
    /// The number of nodes of each operator.
    pub fn operator_counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for node in &self.nodes {
            *counts.entry(node.op_type.as_str()).or_default() += 1;
        }
        counts
    }

    /// Names of the dimensions that the inputs leave open.
    pub fn open_dimensions(&self) -> BTreeSet<&str> {
        let dims = self.inputs.iter().flat_map(|input| &input.shape);
        let names = dims.filter_map(|dim| match dim {
            Dim::Symbol(name) => Some(name.as_str()),
            Dim::Known(_) | Dim::Unknown => None,
        });
        names.collect()
    }

    /// The names that the nodes use, also those in graphs inside attributes, which may define some
    /// of them.
    pub(crate) fn used(&self) -> BTreeSet<&str> {
        let mut used: BTreeSet<&str> =
            self.outputs.iter().map(|output| output.name.as_str()).collect();
        for node in &self.nodes {
            used.extend(node.used());
        }
        used
    }
}

/// An input or output of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueInfo {
    /// The value's name.
    pub name: String,
    /// Element type of the tensor.
    pub data_type: DataType,
    /// Shape, outermost dimension first.
    pub shape: Vec<Dim>,
}

/// One dimension of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A fixed extent.
    Known(usize),
    /// A named extent, such as `batch`.
    Symbol(String),
    /// An extent without a name.
    Unknown,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// A unique name: that of the file, `NAME #12` if node 12 repeats a name, or `#12 MatMul` if
    /// the node has none. Nodes count from 0.
    pub name: String,
    /// Path of the module in the exported program, such as `blocks.0.attn`; empty if the exporter
    /// does not state it. PyTorch's dynamo exporter does.
    pub scope: String,
    /// The operator.
    pub op_type: String,
    /// The operator's domain; the default one is the empty string.
    pub domain: String,
    /// Names of the operands; `None` for an omitted optional one.
    pub inputs: Vec<Option<String>>,
    /// Names of the results; `None` for an omitted optional one.
    pub outputs: Vec<Option<String>>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A floating-point number.
    Float(f32),
    /// An integer.
    Int(i64),
    /// A string.
    String(String),
    /// A constant tensor.
    Tensor(Tensor),
    /// A list of floating-point numbers.
    Floats(Vec<f32>),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of strings.
    Strings(Vec<String>),
    /// A graph, such as a branch of an If.
    Graph(Box<Graph>),
    /// An attribute of the function that holds the node, by its name. Inlined nodes have none.
    Reference(String),
}

impl Attribute {
    /// The name of the kind in ONNX.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "FLOAT",
            Self::Int(_) => "INT",
            Self::String(_) => "STRING",
            Self::Tensor(_) => "TENSOR",
            Self::Floats(_) => "FLOATS",
            Self::Ints(_) => "INTS",
            Self::Strings(_) => "STRINGS",
            Self::Graph(_) => "GRAPH",
            Self::Reference(_) => "a reference to an attribute of a function",
        }
    }
}

/// Attributes by kind: `Ok(None)` if the node has no attribute of that name.
///
/// # Errors
/// [`Fault::Attribute`] if the attribute has another kind.
impl Node {
    /// A FLOAT attribute.
    pub fn float(&self, name: &str) -> Result<Option<f32>, Box<Problem>> {
        self.attribute(name, "FLOAT", |attribute| match attribute {
            Attribute::Float(value) => Some(*value),
            _ => None,
        })
    }

    /// An INT attribute.
    pub fn int(&self, name: &str) -> Result<Option<i64>, Box<Problem>> {
        self.attribute(name, "INT", |attribute| match attribute {
            Attribute::Int(value) => Some(*value),
            _ => None,
        })
    }

    /// A STRING attribute.
    pub fn string(&self, name: &str) -> Result<Option<&str>, Box<Problem>> {
        self.attribute(name, "STRING", |attribute| match attribute {
            Attribute::String(value) => Some(value.as_str()),
            _ => None,
        })
    }

    /// A TENSOR attribute.
    pub fn tensor(&self, name: &str) -> Result<Option<&Tensor>, Box<Problem>> {
        self.attribute(name, "TENSOR", |attribute| match attribute {
            Attribute::Tensor(value) => Some(value),
            _ => None,
        })
    }

    /// A FLOATS attribute.
    pub fn floats(&self, name: &str) -> Result<Option<&[f32]>, Box<Problem>> {
        self.attribute(name, "FLOATS", |attribute| match attribute {
            Attribute::Floats(values) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// An INTS attribute.
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>, Box<Problem>> {
        self.attribute(name, "INTS", |attribute| match attribute {
            Attribute::Ints(values) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// A GRAPH attribute.
    pub fn graph(&self, name: &str) -> Result<Option<&Graph>, Box<Problem>> {
        self.attribute(name, "GRAPH", |attribute| match attribute {
            Attribute::Graph(graph) => Some(&**graph),
            _ => None,
        })
    }

    /// The names that the node uses, also those of its graphs' nodes.
    pub(crate) fn used(&self) -> BTreeSet<&str> {
        let mut used: BTreeSet<&str> = self.inputs.iter().flatten().map(String::as_str).collect();
        for attribute in self.attributes.values() {
            if let Attribute::Graph(graph) = attribute {
                used.extend(graph.used());
            }
        }
        used
    }

    /// The place of the node in messages.
    pub fn place(&self) -> Place {
        Place::Node { name: self.name.clone(), op_type: self.op_type.clone() }
    }

    /// The place of an attribute in messages.
    pub(crate) fn attribute_place(&self, name: &str) -> Place {
        Place::Attribute {
            node: self.name.clone(),
            op_type: self.op_type.clone(),
            attribute: name.to_owned(),
        }
    }

    fn attribute<'a, T>(
        &'a self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Attribute) -> Option<T>,
    ) -> Result<Option<T>, Box<Problem>> {
        let Some(attribute) = self.attributes.get(name) else {
            return Ok(None);
        };
        read(attribute).map(Some).ok_or_else(|| {
            let found = attribute.kind();
            let fault = Fault::Attribute { expected, found };
            Box::new(self.attribute_place(name).has(fault))
        })
    }
}
