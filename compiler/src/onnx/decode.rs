//! From protobuf messages to the checked model.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use super::error::{Fault, Place, Problem};
use super::external::ExternalFiles;
use super::limits::Limits;
use super::model::{Dim, Graph, Model, ValueInfo};
use super::proto::tensor_shape_proto::Dimension;
use super::proto::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use super::tensor::{DataType, Tensor, TensorFault};
use super::{node, payload, values};

/// The newest version of the file format that is read: that of ONNX 1.23.
const NEWEST_IR_VERSION: i64 = 14;

/// The problems found so far.
#[derive(Debug)]
pub(super) struct Problems {
    limit: usize,
    pub(super) list: Vec<Problem>,
    pub(super) omitted: usize,
}

impl Problems {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), list: Vec::new(), omitted: 0 }
    }

    /// Takes a problem; it is made only while there is room.
    pub(super) fn push(&mut self, problem: impl FnOnce() -> Problem) {
        if self.list.len() < self.limit {
            self.list.push(problem());
        } else {
            self.omitted += 1;
        }
    }
}

/// The model; what it holds is sound only where no problem was found.
pub(super) fn model(
    proto: ModelProto,
    folder: Option<&Path>,
    limits: &Limits,
    problems: &mut Problems,
) -> Option<Model> {
    let ir_version = proto.ir_version.unwrap_or_default();
    let Some(graph) = proto.graph else {
        problems.push(|| Place::Model.has(Fault::NoGraph));
        return None;
    };
    if !(3..=NEWEST_IR_VERSION).contains(&ir_version) {
        let fault = Fault::IrVersion { newest: NEWEST_IR_VERSION, found: ir_version };
        problems.push(|| Place::Model.has(fault));
    }
    let opset = opset(proto.opset_import, problems);
    let functions = proto.functions.into_iter();
    let functions = functions
        .map(|function| (domain(function.domain), function.name.unwrap_or_default()))
        .collect();
    let external = ExternalFiles::new(folder);
    let graph = Decoder { limits, external, problems }.graph(graph);
    values::check(&graph, problems);
    Some(Model {
        ir_version,
        opset,
        producer_name: proto.producer_name.unwrap_or_default(),
        producer_version: proto.producer_version.unwrap_or_default(),
        functions,
        graph,
    })
}

fn opset(imports: Vec<OperatorSetIdProto>, problems: &mut Problems) -> BTreeMap<String, i64> {
    let mut opset = BTreeMap::new();
    for import in imports {
        let domain = domain(import.domain);
        let found = import.version.unwrap_or_default();
        let known = *opset.entry(domain.clone()).or_insert(found);
        if found < 1 || known != found {
            problems.push(|| Place::Model.has(Fault::Opset { domain, found }));
        }
    }
    if !opset.contains_key("") {
        problems.push(|| Place::Model.has(Fault::NoOpset));
    }
    opset
}

/// A domain with the two spellings of the default one made equal.
pub(super) fn domain(found: Option<String>) -> String {
    found.filter(|domain| domain != "ai.onnx").unwrap_or_default()
}

/// What decoding a graph needs at hand.
pub(super) struct Decoder<'a> {
    limits: &'a Limits,
    external: ExternalFiles<'a>,
    pub(super) problems: &'a mut Problems,
}

impl Decoder<'_> {
    fn graph(&mut self, proto: GraphProto) -> Graph {
        if !proto.sparse_initializer.is_empty() {
            let found = proto.sparse_initializer.len();
            self.problems.push(|| Place::Model.has(Fault::Sparse { found }));
        }
        let initializers = self.initializers(proto.initializer);
        let mut inputs = self.value_infos(proto.input, Place::Input);
        inputs.retain(|input| !initializers.contains_key(&input.name));
        let outputs = self.value_infos(proto.output, Place::Output);
        let names = node::names(&proto.node);
        let nodes = proto.node.into_iter().zip(names);
        let nodes = nodes.map(|(node, name)| self.node(node, name)).collect();
        Graph { name: proto.name.unwrap_or_default(), nodes, inputs, outputs, initializers }
    }

    fn initializers(&mut self, protos: Vec<TensorProto>) -> BTreeMap<String, Tensor> {
        let mut initializers = BTreeMap::new();
        for (index, mut proto) in protos.into_iter().enumerate() {
            let Some(name) = proto.name.take().filter(|name| !name.is_empty()) else {
                let place = Place::Initializer(format!("#{index}"));
                self.problems.push(|| place.has(Fault::NoName));
                continue;
            };
            // A tensor that cannot be read still defines its name.
            let tensor = self.tensor(proto).unwrap_or_else(|fault| {
                self.problems.push(|| Place::Initializer(name.clone()).has(fault));
                None
            });
            match initializers.entry(name) {
                Entry::Vacant(new) => {
                    new.insert(tensor.unwrap_or_else(Tensor::empty));
                }
                Entry::Occupied(known) => {
                    let name = known.key().clone();
                    let place = Place::Initializer(name.clone());
                    self.problems.push(|| place.has(Fault::Duplicate { name }));
                }
            }
        }
        initializers
    }

    /// The tensor; `None` where its external file was reported before.
    pub(super) fn tensor(&mut self, proto: TensorProto) -> Result<Option<Tensor>, Fault> {
        payload::tensor(proto, self.limits.rank, &mut self.external)
    }

    fn value_infos(
        &mut self,
        protos: Vec<ValueInfoProto>,
        place: impl Fn(String) -> Place,
    ) -> Vec<ValueInfo> {
        let mut infos = Vec::with_capacity(protos.len());
        for (index, proto) in protos.into_iter().enumerate() {
            let Some(name) = proto.name.clone().filter(|name| !name.is_empty()) else {
                self.problems.push(|| place(format!("#{index}")).has(Fault::NoName));
                continue;
            };
            // A value of no readable type still defines its name.
            let (data_type, shape) = self.tensor_type(proto).unwrap_or_else(|fault| {
                self.problems.push(|| place(name.clone()).has(fault));
                (DataType::F32, Vec::new())
            });
            infos.push(ValueInfo { name, data_type, shape });
        }
        infos
    }

    fn tensor_type(&self, proto: ValueInfoProto) -> Result<(DataType, Vec<Dim>), Fault> {
        let nothing = |found| Fault::NoTensorType { found };
        let tensor = proto.r#type.ok_or(nothing("no type"))?;
        let tensor = tensor.tensor_type.ok_or(nothing("another kind of type"))?;
        let data_type = payload::data_type(tensor.elem_type.unwrap_or_default())?;
        let dims = tensor.shape.ok_or(nothing("no shape"))?.dim;
        if dims.len() > self.limits.rank {
            let (limit, found) = (self.limits.rank, dims.len());
            return Err(TensorFault::Rank { limit, found }.into());
        }
        let dim = |(axis, dim): (usize, Dimension)| {
            Ok(match (dim.dim_value, dim.dim_param) {
                (Some(found), _) => Dim::Known(
                    usize::try_from(found).map_err(|_| TensorFault::Dimension { axis, found })?,
                ),
                (None, Some(name)) if !name.is_empty() => Dim::Symbol(name),
                (None, _) => Dim::Unknown,
            })
        };
        let shape: Result<_, TensorFault> = dims.into_iter().enumerate().map(dim).collect();
        Ok((data_type, shape?))
    }
}
