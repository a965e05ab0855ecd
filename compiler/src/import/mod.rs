//! From ONNX models to graphs of the imported stage.
//!
//! [`import`] walks the nodes in order. [`OPERATORS`] names the function that translates each
//! operator to operations of the IR. An operation whose operands are all constants is evaluated at
//! once, which removes shape arithmetic, class tokens and aliased parameters. The result is the
//! computation on the model's inputs, with all shapes known.
//!
//! - Floats of every width become f32; arithmetic in half precision is not imitated.
//! - Integers and booleans of every width are `i64`; true is 1. They are constants, or inputs and
//!   what depends on these: row numbers of tables, and which keys of attention count. An input of
//!   bytes with three dimensions or more is an image, and becomes f32.
//! - Parameters stored as little-endian f32 are not copied: constants share the memory of the
//!   model's file.
//! - Dynamic dimensions are bound by [`ImportOptions::dims`].
//! - Operations are named by their node, after its module where the exporter says which:
//!   `blocks.0.attn.qkv/node_linear`.
//!
//! One run reports all problems: a node that depends on a failed one is skipped, unless its
//! operator is unsupported as well.
//!
//! # Bounds
//!
//! The model is untrusted. Before allocation, shapes are checked against overflow and the largest
//! rank, a computed tensor against [`MAX_ACTIVATION_BYTES`](crate::ir::MAX_ACTIVATION_BYTES), the
//! size of the graph against a limit, and all evaluated constants against budgets of work and
//! memory that grow with the model's parameters. A file of a megabyte takes less than 200 MB
//! (`tests/hostile`).

mod call;
mod control;
mod cut;
mod error;
mod fold;
mod open_image;
mod operators;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cranelift_entity::SecondaryMap;

use crate::ir::{Elem, Graph, Stage, TensorType, Value};
use crate::onnx::{self, DataType, Dim, Model, Place, TensorFault, ValueInfo};
use call::Call;
pub use error::{Fault, ImportError, Problem};
use fold::Budget;
pub use operators::{CONTRIBUTED, OPERATORS, OPSETS, Operator};
use vitcod_support::problems::Collector;

/// The most dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 16;

/// How to import a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Extents of dynamic dimensions by name, such as `batch`. Others have extent 1, except for
    /// those of an image that follow from the weights: its channels, and its size if a single one
    /// fits.
    pub dims: BTreeMap<String, usize>,
    /// Names of tensors to compute instead of the model's outputs; without any, those. Operations
    /// and inputs that only the others need are left out.
    pub outputs: Vec<String>,
    /// Names of tensors that become inputs: what computes them is left out, and so are inputs that
    /// nothing else needs. Their shapes follow from the model's inputs.
    pub inputs: Vec<String>,
}

impl ImportOptions {
    /// Whether a part of the model is imported.
    fn cuts(&self) -> bool {
        !(self.outputs.is_empty() && self.inputs.is_empty())
    }
}

/// Imports a model. The graph is compacted ([`Graph::compacted`]).
///
/// # Errors
/// All unsupported or invalid parts of the model, and names in `options` that the model does not
/// have.
pub fn import(model: &Model, options: &ImportOptions) -> Result<Graph, ImportError> {
    match open_image::infer(model, options) {
        Some(inferred) => inferred,
        None => import_with(model, options, &Extents::new()),
    }
}

/// Extents of open dimensions, by input and axis, that the weights tell.
type Extents = BTreeMap<(usize, usize), usize>;

fn import_with<'m>(
    model: &'m Model,
    options: &'m ImportOptions,
    extents: &Extents,
) -> Result<Graph, ImportError> {
    let mut importer = Importer {
        model,
        opset: model.opset.get("").copied().unwrap_or(0),
        graph: Graph::new(model.graph.name.clone(), Stage::Imported),
        scopes: vec![&model.graph],
        values: BTreeMap::new(),
        budget: Budget::of(model),
        data_types: DataTypes::new(),
        problems: Collector::new(),
    };
    importer.check_options(options);
    importer.check_opset();
    for (index, input) in model.graph.inputs.iter().enumerate() {
        let known = |axis: usize| extents.get(&(index, axis)).copied();
        let value = importer.input(input, options, &known);
        let slot = importer.noted(value);
        importer.values.insert(&input.name, slot);
    }
    let is_needed = if options.outputs.is_empty() {
        vec![true; model.graph.nodes.len()]
    } else {
        let names = [&options.outputs[..], &options.inputs].concat();
        cut::needed(&model.graph, &names)
    };
    for (node, _) in model.graph.nodes.iter().zip(is_needed).filter(|(_, is_needed)| *is_needed) {
        importer.node(node);
    }
    if options.outputs.is_empty() {
        for output in &model.graph.outputs {
            let added = importer.output(output, options);
            importer.noted(added);
        }
    } else {
        importer.cut_outputs(&options.outputs);
    }
    let graph = if options.cuts() {
        importer.cut_inputs(&options.inputs)
    } else {
        importer.graph.compacted()
    };
    importer.problems.finish().map_err(|problems| ImportError { problems })?;
    Ok(graph)
}

/// The element types of constants that come from the model.
type DataTypes = SecondaryMap<Value, Option<DataType>>;

/// The meaning of the name of an ONNX value.
#[derive(Clone, Copy, Debug)]
enum Slot {
    /// A value of the graph.
    Known(Value),
    /// An unsupported value; its problem was recorded.
    Failed,
    /// A result that the translation does not produce, such as the mask of Dropout. Using it is a
    /// problem.
    Omitted,
}

/// The results of a node; `None` for those that its translation does not produce.
type Results = Vec<Option<Value>>;

/// The state of the walk over a model.
struct Importer<'m> {
    model: &'m Model,
    /// The opset of the default domain.
    opset: i64,
    graph: Graph,
    /// The graph that is walked, last, and those around it.
    scopes: Vec<&'m onnx::Graph>,
    values: BTreeMap<&'m str, Slot>,
    budget: Budget,
    data_types: DataTypes,
    problems: Collector<Problem>,
}

impl<'m> Importer<'m> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(|| problem);
    }

    fn noted(&mut self, value: Result<Slot, Box<Problem>>) -> Slot {
        value.unwrap_or_else(|problem| {
            self.report(*problem);
            Slot::Failed
        })
    }

    /// Checks that every dimension in the options exists.
    fn check_options(&mut self, options: &ImportOptions) {
        let symbols = self.model.graph.open_dimensions();
        for name in options.dims.keys().filter(|name| !symbols.contains(name.as_str())) {
            let names: Vec<&str> = symbols.iter().copied().collect();
            let expected = match names[..] {
                [] => "no names of dimensions, since no input has a dynamic one".to_owned(),
                _ => format!("names of dynamic dimensions ({})", names.join(", ")),
            };
            self.report(*Fault::mismatch(expected, format!("{name:?}")).at(Place::Model));
        }
    }

    fn check_opset(&mut self) {
        if !OPSETS.contains(&self.opset) {
            let fault =
                Fault::Opset { oldest: *OPSETS.start(), newest: *OPSETS.end(), found: self.opset };
            self.report(*fault.at(Place::Model));
        }
    }

    /// An input; `known` gives extents of open dimensions.
    fn input(
        &mut self,
        input: &ValueInfo,
        options: &ImportOptions,
        known: &dyn Fn(usize) -> Option<usize>,
    ) -> Result<Slot, Box<Problem>> {
        let place = || Place::Input(input.name.clone());
        let elem = match input.data_type {
            float if is_float(float) => Elem::F32,
            // The numbers of an image, as cameras store it.
            DataType::U8 if input.shape.len() > 2 => Elem::F32,
            DataType::I64 | DataType::I32 | DataType::Bool => Elem::I64,
            other => {
                return Err(Fault::mismatch(
                    "elements of a float type, i32, i64 or bool",
                    other.to_string(),
                )
                .at(place()));
            }
        };
        let extent = |(axis, dim): (usize, &Dim)| {
            let default = known(axis).unwrap_or(1);
            match dim {
                Dim::Known(extent) => *extent,
                Dim::Symbol(name) => options.dims.get(name).copied().unwrap_or(default),
                Dim::Unknown => default,
            }
        };
        let shape: Vec<usize> = input.shape.iter().enumerate().map(extent).collect();
        fold::check_activation(&shape).map_err(|fault| fault.at(place()))?;
        Ok(Slot::Known(self.graph.add_input(input.name.clone(), TensorType::new(elem, shape))))
    }

    fn node(&mut self, node: &'m onnx::Node) {
        let translated = self.translate(node).unwrap_or_else(|problem| {
            self.report(*problem);
            None
        });
        // All results of a failed node have failed; other missing results are omitted ones.
        let missing = if translated.is_some() { Slot::Omitted } else { Slot::Failed };
        let mut results = translated.unwrap_or_default().into_iter();
        for name in &node.outputs {
            let slot = results.next().flatten().map_or(missing, Slot::Known);
            if let Some(name) = name {
                self.values.insert(name, slot);
            }
        }
    }

    /// Translates a node; `None` if an operand has failed.
    fn translate(&mut self, node: &'m onnx::Node) -> Result<Option<Results>, Box<Problem>> {
        let all = |results: Vec<Value>| results.into_iter().map(Some).collect();
        match (&node.domain[..], &node.op_type[..]) {
            ("", "If") => return Ok(self.branch(node)?.map(all)),
            ("", "Loop") => return Ok(self.unroll(node)?.map(all)),
            _ => {}
        }
        let operator = operators::find(self.model, node).map_err(|fault| fault.at(node.place()))?;
        let Some(operands) = self.operands(node)? else { return Ok(None) };
        let mut call = self.call(node, operands);
        let results = (operator.translate)(&mut call)?;
        Ok(Some(call.results(results)))
    }

    fn call<'a>(&'a mut self, node: &'a onnx::Node, operands: Vec<Option<Value>>) -> Call<'a> {
        let Importer { opset, graph, budget, data_types, .. } = self;
        Call::new(node, *opset, graph, budget, data_types, operands)
    }

    /// The operands of a node; `None` if one has failed.
    fn operands(
        &mut self,
        node: &'m onnx::Node,
    ) -> Result<Option<Vec<Option<Value>>>, Box<Problem>> {
        let mut operands = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            operands.push(match name {
                None => None,
                Some(name) => match self.value(name, &node.place())? {
                    Some(value) => Some(value),
                    None => return Ok(None),
                },
            });
        }
        Ok(Some(operands))
    }

    /// The value of a name that is used at a place; `None` if it has failed.
    fn value(&mut self, name: &'m str, place: &Place) -> Result<Option<Value>, Box<Problem>> {
        let slot = match self.values.get(name) {
            Some(slot) => *slot,
            None => {
                let slot = self.initializer(name);
                let slot = self.noted(slot);
                self.values.insert(name, slot);
                slot
            }
        };
        match slot {
            Slot::Known(value) => Ok(Some(value)),
            Slot::Failed => Ok(None),
            Slot::Omitted => {
                let found = format!("{name:?}, a secondary result of its operator");
                Err(Fault::mismatch("values that are computed", found).at(place.clone()))
            }
        }
    }

    fn initializer(&mut self, name: &str) -> Result<Slot, Box<Problem>> {
        let place = || Place::Initializer(name.to_owned());
        let tensor = self.scopes.iter().rev().find_map(|graph| graph.initializers.get(name));
        let tensor = tensor.ok_or_else(|| {
            Fault::Model(onnx::Fault::Undefined { name: name.to_owned() }).at(place())
        })?;
        let value = constant(&mut self.graph, &mut self.budget, name, tensor)
            .map_err(|fault| fault.at(place()))?;
        self.data_types[value] = Some(tensor.data_type());
        Ok(Slot::Known(value))
    }

    fn output(
        &mut self,
        output: &'m ValueInfo,
        options: &ImportOptions,
    ) -> Result<Slot, Box<Problem>> {
        let place = Place::Output(output.name.clone());
        let is_integer = matches!(output.data_type, DataType::I64 | DataType::I32 | DataType::Bool);
        if !is_float(output.data_type) && !is_integer {
            let expected = "elements of a float type, i32, i64 or bool";
            return Err(Fault::mismatch(expected, output.data_type.to_string()).at(place));
        }
        let Some(value) = self.value(&output.name, &place)? else { return Ok(Slot::Failed) };
        let ty = self.graph.ty(value).clone();
        if ty.elem != if is_integer { Elem::I64 } else { Elem::F32 } {
            let expected = format!("a tensor of {}", output.data_type);
            return Err(Fault::mismatch(expected, ty.to_string()).at(place));
        }
        let fits = |(dim, extent): (&Dim, &usize)| match dim {
            Dim::Known(expected) => expected == extent,
            Dim::Symbol(name) => options.dims.get(name).is_none_or(|bound| bound == extent),
            Dim::Unknown => true,
        };
        if output.shape.len() != ty.rank() || !output.shape.iter().zip(&ty.shape).all(fits) {
            let dims: Vec<String> = output.shape.iter().map(dim_text).collect();
            let expected = format!("the shape that the model declares, [{}]", dims.join(","));
            return Err(Fault::mismatch(expected, ty.to_string()).at(place));
        }
        self.graph.add_output(output.name.clone(), value, ty.shape);
        Ok(Slot::Known(value))
    }
}

fn dim_text(dim: &Dim) -> String {
    match dim {
        Dim::Known(extent) => extent.to_string(),
        Dim::Symbol(name) => name.clone(),
        Dim::Unknown => "?".to_owned(),
    }
}

fn is_float(data_type: DataType) -> bool {
    matches!(data_type, DataType::F32 | DataType::F64 | DataType::F16 | DataType::Bf16)
}

/// Adds a tensor as a constant. f32 elements are shared, others are converted.
fn constant(
    graph: &mut Graph,
    budget: &mut Budget,
    name: &str,
    tensor: &onnx::Tensor,
) -> Result<Value, Fault> {
    let shape = tensor.dims();
    fold::count(shape)?;
    let faulty = |fault: TensorFault| Fault::Model(fault.into());
    let elem = if is_float(tensor.data_type()) { Elem::F32 } else { Elem::I64 };
    let ty = TensorType::new(elem, shape);
    let bytes = if tensor.data_type() == DataType::F32 {
        tensor.data().clone()
    } else {
        budget.charge_constant(&ty)?;
        match elem {
            Elem::F32 => fold::f32_bytes(tensor.to_f32().map_err(faulty)?.iter().copied()),
            _ => fold::i64_bytes(tensor.to_i64().map_err(faulty)?),
        }
    };
    Ok(graph.add_const(name, ty, bytes))
}
