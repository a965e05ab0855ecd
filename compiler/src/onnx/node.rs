//! Decodes nodes from their protobuf form.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Fault;
use super::model::{Attribute, Node};
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, NodeProto, StringStringEntryProto};
use super::values::{Decoder, domain};

/// A unique name for each node; see [`Node::name`]. Those of a graph inside an attribute begin with
/// `prefix`, the node that holds it.
pub(super) fn names(nodes: &[NodeProto], prefix: &str) -> Vec<String> {
    let given: BTreeSet<&str> = nodes.iter().map(NodeProto::name).collect();
    let mut used = BTreeSet::new();
    let mut invented = BTreeSet::new();
    let mut names = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        if !node.name().is_empty() && used.insert(node.name()) {
            names.push(format!("{prefix}{}", node.name()));
            continue;
        }
        let mut name = match node.name() {
            "" => format!("#{index} {}", node.op_type()),
            repeated => format!("{repeated} #{index}"),
        };
        while given.contains(name.as_str()) || !invented.insert(name.clone()) {
            name.push('\'');
        }
        names.push(format!("{prefix}{name}"));
    }
    names
}

/// The module path that PyTorch's dynamo exporter writes into a node's metadata:
/// `: a.VisionTransformer/blocks.0: a.Block/blocks.0.attn: a.Attention/view: aten.view.default`
/// names the modules from the outside in, each with its class, and the operation itself last.
fn scope(metadata: &[StringStringEntryProto]) -> String {
    let namespace = metadata.iter().find(|entry| entry.key() == "namespace");
    let module = namespace.and_then(|entry| entry.value().rsplit('/').nth(1));
    let path = module.and_then(|module| module.split_once(": "));
    path.map(|(path, _class)| path.to_owned()).unwrap_or_default()
}

/// Converts empty names, which mark omitted operands and results, to `None`.
fn optional(names: Vec<String>) -> Vec<Option<String>> {
    names.into_iter().map(|name| Some(name).filter(|name| !name.is_empty())).collect()
}

impl Decoder<'_> {
    pub(super) fn node(&mut self, proto: NodeProto, name: String) -> Node {
        let mut node = Node {
            name,
            scope: scope(&proto.metadata_props),
            op_type: proto.op_type.unwrap_or_default(),
            domain: domain(proto.domain),
            inputs: optional(proto.input),
            outputs: optional(proto.output),
            attributes: BTreeMap::new(),
        };
        if node.op_type.is_empty() {
            self.problems.push(|| node.place().has(Fault::NoOperator));
        }
        for mut proto in proto.attribute {
            let name = proto.name.take().unwrap_or_default();
            let attribute = if name.is_empty() {
                Err(Fault::NoName)
            } else if node.attributes.contains_key(&name) {
                Err(Fault::Duplicate { name: name.clone() })
            } else {
                self.attribute(proto, &node.name)
            };
            match attribute {
                Ok(Some(attribute)) => {
                    node.attributes.insert(name, attribute);
                }
                Ok(None) => {}
                Err(fault) => self.problems.push(|| node.attribute_place(&name).has(fault)),
            }
        }
        node
    }

    /// The value; `None` if the error of its external file was reported before.
    pub(super) fn attribute(
        &mut self,
        mut proto: AttributeProto,
        node: &str,
    ) -> Result<Option<Attribute>, Fault> {
        let kind = proto.r#type();
        if let Some(name) = proto.ref_attr_name.take().filter(|name| !name.is_empty()) {
            return Ok(Some(Attribute::Reference(name)));
        }
        // Values of another kind are rejected. Missing numbers and strings have their default
        // values, because writers of proto3 omit zeros.
        if let Some(found) = filled(&proto).find(|&found| found != kind) {
            return Err(Fault::Attribute {
                expected: kind.as_str_name(),
                found: found.as_str_name(),
            });
        }
        Ok(Some(match kind {
            AttributeType::Float => Attribute::Float(proto.f.unwrap_or_default()),
            AttributeType::Int => Attribute::Int(proto.i.unwrap_or_default()),
            AttributeType::String => Attribute::String(proto.s.unwrap_or_default()),
            AttributeType::Floats => Attribute::Floats(proto.floats),
            AttributeType::Ints => Attribute::Ints(proto.ints),
            AttributeType::Strings => Attribute::Strings(proto.strings),
            AttributeType::Tensor => {
                let found = "no value";
                let tensor = proto.t.ok_or(Fault::Attribute { expected: "TENSOR", found })?;
                return Ok(self.tensor(tensor)?.map(Attribute::Tensor));
            }
            AttributeType::Graph => {
                let found = "no value";
                let bytes = proto.g.ok_or(Fault::Attribute { expected: "GRAPH", found })?;
                Attribute::Graph(Box::new(self.nested(bytes, node)?))
            }
            _ => {
                let expected = "FLOAT, INT, STRING, TENSOR, GRAPH, FLOATS, INTS or STRINGS";
                return Err(Fault::Attribute { expected, found: kind.as_str_name() });
            }
        }))
    }
}

/// The kinds of the values that an attribute holds.
fn filled(proto: &AttributeProto) -> impl Iterator<Item = AttributeType> {
    let fields = [
        (AttributeType::Float, proto.f.is_some()),
        (AttributeType::Int, proto.i.is_some()),
        (AttributeType::String, proto.s.is_some()),
        (AttributeType::Tensor, proto.t.is_some()),
        (AttributeType::Graph, proto.g.is_some()),
        (AttributeType::Floats, !proto.floats.is_empty()),
        (AttributeType::Ints, !proto.ints.is_empty()),
        (AttributeType::Strings, !proto.strings.is_empty()),
    ];
    fields.into_iter().filter(|(_, filled)| *filled).map(|(kind, _)| kind)
}
