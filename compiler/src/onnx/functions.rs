//! Functions of the model: a call is replaced by the nodes of the function's body.

use std::collections::BTreeMap;

use vitcod_support::problems::Collector;

use super::decode;
use super::error::{Fault, Place, Problem};
use super::limits::Limits;
use super::model::{Attribute, Graph, Node};
use super::node;
use super::proto::FunctionProto;
use super::values::{Decoder, domain};

/// A function of the model.
struct Function {
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Values of attributes that a call leaves out.
    defaults: BTreeMap<String, Attribute>,
    nodes: Vec<Node>,
}

/// The functions of a model by domain and name.
pub(super) struct Functions(BTreeMap<(String, String), Function>);

impl Functions {
    /// Decodes the functions. Their opsets must be those of the model, to which domains that only
    /// functions use are added.
    pub(super) fn decode(
        protos: Vec<FunctionProto>,
        decoder: &mut Decoder<'_>,
        opset: &mut BTreeMap<String, i64>,
    ) -> Functions {
        let mut functions = BTreeMap::new();
        for proto in protos {
            let name = proto.name.unwrap_or_default();
            for (domain, found) in decode::opset(proto.opset_import, decoder.problems) {
                let expected = *opset.entry(domain.clone()).or_insert(found);
                if expected != found {
                    let function = name.clone();
                    let fault = Fault::FunctionOpset { domain, expected, found, function };
                    decoder.problems.push(|| Place::Model.has(fault));
                }
            }
            let mut defaults = BTreeMap::new();
            for mut attribute in proto.attribute_proto {
                let name = attribute.name.take().unwrap_or_default();
                match decoder.attribute(attribute, &name) {
                    Ok(Some(value)) => drop(defaults.insert(name, value)),
                    Ok(None) => {}
                    Err(fault) => decoder.problems.push(|| Place::Model.has(fault)),
                }
            }
            let names = node::names(&proto.node, "");
            let nodes = proto.node.into_iter().zip(names);
            let nodes = nodes.map(|(node, name)| decoder.node(node, name)).collect();
            let (inputs, outputs) = (proto.input, proto.output);
            let function = Function { inputs, outputs, defaults, nodes };
            functions.insert((domain(proto.domain), name), function);
        }
        Functions(functions)
    }

    /// Replaces all calls.
    pub(super) fn inline(
        &self,
        graph: &mut Graph,
        limits: &Limits,
        problems: &mut Collector<Problem>,
    ) {
        if self.0.is_empty() {
            return;
        }
        let mut inliner = Inliner { functions: self, limits, left: limits.nodes, problems };
        inliner.graph(graph, 0);
    }
}

struct Inliner<'a> {
    functions: &'a Functions,
    limits: &'a Limits,
    /// The nodes that may still be made.
    left: usize,
    problems: &'a mut Collector<Problem>,
}

impl Inliner<'_> {
    fn graph(&mut self, graph: &mut Graph, depth: usize) {
        let nodes = std::mem::take(&mut graph.nodes);
        for node in nodes {
            self.node(node, depth, &mut graph.nodes);
        }
    }

    /// Appends a node, or the nodes of the function that it calls.
    fn node(&mut self, mut node: Node, depth: usize, nodes: &mut Vec<Node>) {
        let called = (node.domain.clone(), node.op_type.clone());
        let Some(function) = self.functions.0.get(&called) else {
            for attribute in node.attributes.values_mut() {
                if let Attribute::Graph(graph) = attribute {
                    self.graph(graph, depth);
                }
            }
            nodes.push(node);
            return;
        };
        if let Err(fault) = self.check(&node, function, depth) {
            self.problems.push(|| node.place().has(fault));
            return;
        }
        let mut names: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for (formal, i) in function.inputs.iter().zip(0..) {
            names.insert(formal, node.inputs.get(i).cloned().flatten());
        }
        for (formal, i) in function.outputs.iter().zip(0..) {
            // An omitted result still needs a name inside the function.
            if let Some(Some(name)) = node.outputs.get(i) {
                names.insert(formal, Some(name.clone()));
            }
        }
        let call = Call { node: &node, names, defaults: &function.defaults };
        for body in &function.nodes {
            let body = call.instance(body);
            self.node(body, depth + 1, nodes);
        }
    }

    fn check(&mut self, call: &Node, function: &Function, depth: usize) -> Result<(), Fault> {
        if depth == self.limits.nesting {
            return Err(Fault::Nesting { limit: self.limits.nesting });
        }
        let left = self.left.checked_sub(function.nodes.len());
        self.left = left.ok_or(Fault::Nodes { limit: self.limits.nodes })?;
        for (what, formal, given) in [
            ("operands", function.inputs.len(), call.inputs.len()),
            ("results", function.outputs.len(), call.outputs.len()),
        ] {
            if given > formal {
                return Err(Fault::Call { what, expected: formal, found: given });
            }
        }
        Ok(())
    }
}

/// A call of a function.
struct Call<'a> {
    node: &'a Node,
    /// What the function's operands and results stand for.
    names: BTreeMap<&'a str, Option<String>>,
    defaults: &'a BTreeMap<String, Attribute>,
}

impl Call<'_> {
    /// A node of the function's body as this call computes it.
    fn instance(&self, body: &Node) -> Node {
        let mut node = body.clone();
        node.name = format!("{}/{}", self.node.name, body.name);
        node.scope.clone_from(&self.node.scope);
        for name in node.inputs.iter_mut().chain(&mut node.outputs) {
            *name = name.as_ref().and_then(|name| self.name(name));
        }
        node.attributes = body
            .attributes
            .iter()
            .filter_map(|(name, attribute)| Some((name.clone(), self.attribute(attribute)?)))
            .collect();
        node
    }

    /// What a name of the body stands for.
    fn name(&self, name: &str) -> Option<String> {
        let inner = || Some(format!("{}/{name}", self.node.name));
        self.names.get(name).cloned().unwrap_or_else(inner)
    }

    /// An attribute with its references resolved; `None` if neither the call nor the function has a
    /// value for it.
    fn attribute(&self, attribute: &Attribute) -> Option<Attribute> {
        match attribute {
            Attribute::Reference(name) => {
                self.node.attributes.get(name).or_else(|| self.defaults.get(name)).cloned()
            }
            Attribute::Graph(graph) => {
                let mut graph = graph.clone();
                graph.nodes = graph.nodes.iter().map(|node| self.instance(node)).collect();
                let name = |name: &mut String| *name = self.name(name).unwrap_or_default();
                graph.inputs.iter_mut().for_each(|input| name(&mut input.name));
                graph.outputs.iter_mut().for_each(|output| name(&mut output.name));
                graph.initializers = std::mem::take(&mut graph.initializers)
                    .into_iter()
                    .filter_map(|(name, tensor)| Some((self.name(&name)?, tensor)))
                    .collect();
                Some(Attribute::Graph(graph))
            }
            other => Some(other.clone()),
        }
    }
}
