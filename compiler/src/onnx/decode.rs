//! From protobuf messages to the checked model.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use vitcod_support::problems::Collector;

use super::error::{Fault, Place, Problem};
use super::external::ExternalFiles;
use super::functions::Functions;
use super::limits::Limits;
use super::model::{Graph, Model};
use super::proto::{GraphProto, ModelProto, OperatorSetIdProto};
use super::values::{Decoder, domain};
use super::{definitions, node, scan, schema};

/// The newest supported version of the file format: that of ONNX 1.23.
const NEWEST_IR_VERSION: i64 = 14;

/// Decodes the model. It is valid only if no problem was found.
pub(super) fn model(
    proto: ModelProto,
    folder: Option<&Path>,
    limits: &Limits,
    memory: u64,
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
    let mut opset = opset(proto.opset_import, problems);
    if !opset.contains_key("") {
        problems.push(|| Place::Model.has(Fault::NoOpset));
    }
    let external = ExternalFiles::new(folder);
    let mut decoder = Decoder { limits, memory, depth: 0, external, problems };
    let mut graph = decoder.graph(graph, "");
    let functions = Functions::decode(proto.functions, &mut decoder, &mut opset);
    functions.inline(&mut graph, limits, problems);
    definitions::order(&mut graph, problems);
    definitions::check(&graph, problems);
    Some(Model {
        ir_version,
        opset,
        producer_name: proto.producer_name.unwrap_or_default(),
        producer_version: proto.producer_version.unwrap_or_default(),
        graph,
    })
}

/// The opsets that a model or a function states.
pub(super) fn opset(
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
    opset
}

impl Decoder<'_> {
    /// A graph inside an attribute of a node.
    pub(super) fn nested(&mut self, bytes: Bytes, node: &str) -> Result<Graph, Fault> {
        if self.depth == self.limits.nesting {
            return Err(Fault::Nesting { limit: self.limits.nesting });
        }
        scan::scan(&bytes, &schema::GRAPH_PROTO, &mut self.memory).map_err(|error| error.fault)?;
        let proto = GraphProto::decode(bytes).map_err(Fault::Changed)?;
        self.depth += 1;
        let mut graph = self.graph(proto, &format!("{node}/"));
        self.depth -= 1;
        definitions::order(&mut graph, self.problems);
        Ok(graph)
    }

    /// A graph; the names of its nodes begin with `prefix`.
    fn graph(&mut self, proto: GraphProto, prefix: &str) -> Graph {
        if !proto.sparse_initializer.is_empty() {
            let found = proto.sparse_initializer.len();
            self.problems.push(|| Place::Model.has(Fault::Sparse { found }));
        }
        let names = node::names(&proto.node, prefix);
        let nodes = proto.node.into_iter().zip(names);
        let nodes = nodes.map(|(node, name)| self.node(node, name)).collect();
        let outputs = self.value_infos(proto.output, Place::Output);
        let (name, initializers) = (proto.name.unwrap_or_default(), BTreeMap::new());
        let mut graph = Graph { name, nodes, inputs: Vec::new(), outputs, initializers };
        graph.initializers = self.initializers(proto.initializer, &graph.used());
        graph.inputs = self.value_infos(proto.input, Place::Input);
        graph.inputs.retain(|input| !graph.initializers.contains_key(&input.name));
        graph
    }
}
