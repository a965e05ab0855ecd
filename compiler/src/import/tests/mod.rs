//! Models built by hand.

mod errors;
mod extremes;
mod folding;
mod operators;
mod quantised;

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};

use super::{ImportError, ImportOptions, import};
use crate::interp::FloatInterpreter;
use crate::ir::Graph;
use crate::onnx::{self, Attribute, DataType, Dim, Model, Node, Tensor, ValueInfo};

/// A model under construction.
struct Builder {
    model: Model,
}

impl Builder {
    fn new(opset: i64) -> Builder {
        let graph = onnx::Graph {
            name: "test".into(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            initializers: BTreeMap::new(),
        };
        let opset = BTreeMap::from([(String::new(), opset)]);
        let (producer_name, producer_version) = ("test".into(), String::new());
        Builder { model: Model { ir_version: 8, opset, producer_name, producer_version, graph } }
    }

    fn input(mut self, name: &str, shape: &[usize]) -> Builder {
        let shape = shape.iter().map(|extent| Dim::Known(*extent)).collect();
        self.model.graph.inputs.push(ValueInfo {
            name: name.into(),
            data_type: DataType::F32,
            shape,
        });
        self
    }

    /// A dimension that is named `batch`.
    fn batch(mut self, input: usize, axis: usize) -> Builder {
        self.model.graph.inputs[input].shape[axis] = Dim::Symbol("batch".into());
        self
    }

    fn floats(mut self, name: &str, shape: &[usize], elements: &[f32]) -> Builder {
        let data: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = Tensor::new(DataType::F32, shape.to_vec(), data.into()).unwrap();
        self.model.graph.initializers.insert(name.into(), tensor);
        self
    }

    fn scalar(self, name: &str, element: i64) -> Builder {
        self.integers_of(name, &[], &[element])
    }

    fn integers(self, name: &str, elements: &[i64]) -> Builder {
        self.integers_of(name, &[elements.len()], elements)
    }

    fn integers_of(mut self, name: &str, shape: &[usize], elements: &[i64]) -> Builder {
        let data: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = Tensor::new(DataType::I64, shape.to_vec(), data.into()).unwrap();
        self.model.graph.initializers.insert(name.into(), tensor);
        self
    }

    /// A node, its operands and results separated by spaces; `_` leaves one out.
    fn node(
        mut self,
        op_type: &str,
        inputs: &str,
        outputs: &str,
        attributes: &[(&str, Attribute)],
    ) -> Builder {
        let names = |list: &str| {
            list.split_whitespace().map(|name| Some(name.to_owned()).filter(|n| n != "_")).collect()
        };
        self.model.graph.nodes.push(Node {
            name: format!("/{op_type}_{}", self.model.graph.nodes.len()),
            scope: String::new(),
            op_type: op_type.into(),
            domain: String::new(),
            inputs: names(inputs),
            outputs: names(outputs),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        });
        self
    }

    /// An output of some shape, -1 for an extent not told.
    fn output(mut self, name: &str, shape: &[isize]) -> Builder {
        let shape = shape
            .iter()
            .map(|extent| usize::try_from(*extent).map_or(Dim::Unknown, Dim::Known))
            .collect();
        self.model.graph.outputs.push(ValueInfo {
            name: name.into(),
            data_type: DataType::F32,
            shape,
        });
        self
    }

    fn import(&self) -> Graph {
        let graph = import(&self.model, &ImportOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
        graph.verify().unwrap_or_else(|error| panic!("{error}"));
        graph
    }

    fn refusal(&self) -> ImportError {
        import(&self.model, &ImportOptions::default())
            .map(|graph| graph.to_string())
            .expect_err("cannot be imported")
    }
}

fn ints(elements: &[i64]) -> Attribute {
    Attribute::Ints(elements.to_vec())
}

/// Shape and elements of the outputs for inputs 0, 1, 2, ... of the graph's shapes.
fn run(graph: &Graph) -> Vec<(Vec<usize>, Vec<f32>)> {
    let inputs = graph.inputs.iter().map(|input| {
        let shape = &input.shape;
        let elements = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        ArrayD::from_shape_vec(IxDyn(shape), elements).unwrap()
    });
    let inputs: Vec<ArrayD<f32>> = inputs.collect();
    let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    let outputs = FloatInterpreter::new(graph).unwrap().run(&views).unwrap();
    outputs.into_iter().map(|y| (y.shape().to_vec(), y.iter().copied().collect())).collect()
}

/// Mnemonics in order.
fn mnemonics(graph: &Graph) -> Vec<&'static str> {
    graph.order.iter().map(|op| graph.op(*op).kind.mnemonic()).collect()
}
