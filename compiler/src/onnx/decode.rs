//! From protobuf messages to the checked model.

use std::collections::BTreeMap;
use std::path::Path;

use vitcod_support::problems::Collector;

use super::error::{Fault, Place, Problem};
use super::external::ExternalFiles;
use super::limits::Limits;
use super::model::{Graph, Model};
use super::proto::{GraphProto, ModelProto, OperatorSetIdProto};
use super::values::{Decoder, domain};
use super::{definitions, node};

/// The newest supported version of the file format: that of ONNX 1.23.
const NEWEST_IR_VERSION: i64 = 14;

/// Decodes the model. It is valid only if no problem was found.
pub(super) fn model(
    proto: ModelProto,
    folder: Option<&Path>,
    limits: &Limits,
    problems: &mut Collector<Problem>,
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
    definitions::check(&graph, problems);
    Some(Model {
        ir_version,
        opset,
        producer_name: proto.producer_name.unwrap_or_default(),
        producer_version: proto.producer_version.unwrap_or_default(),
        functions,
        graph,
    })
}

fn opset(
    imports: Vec<OperatorSetIdProto>,
    problems: &mut Collector<Problem>,
) -> BTreeMap<String, i64> {
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
}
