//! Information from a model's file.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use vitcod_compiler::onnx::{Graph, Model};

/// The contents of a file.
#[derive(Serialize)]
pub(super) struct Exported {
    /// The program that wrote the file last, and its version; may be empty.
    pub(super) producer_name: String,
    pub(super) producer_version: String,
    /// Which of PyTorch's exporters wrote the graph; absent if unknown.
    pub(super) exporter: Option<Exporter>,
    /// The opset of `ai.onnx`.
    pub(super) opset: i64,
    pub(super) nodes: usize,
    /// The number of nodes of each operator.
    pub(super) operators: BTreeMap<String, usize>,
    #[serde(skip)]
    pub(super) open_dimensions: BTreeSet<String>,
}

/// PyTorch's exporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exporter {
    /// Based on TorchScript, `dynamo=False`.
    Legacy,
    /// Based on torch.export, `dynamo=True`.
    Dynamo,
}

impl Exporter {
    /// Name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Exporter::Legacy => "legacy",
            Exporter::Dynamo => "dynamo",
        }
    }

    /// Infers the exporter of a graph. Files do not name it, but the names of nodes have its style,
    /// even after tools that change some of them: paths of modules, such as
    /// `/blocks/blocks.0/attn/MatMul`, or a prefix, such as `node_MatMul_60`.
    fn of(graph: &Graph) -> Option<Exporter> {
        let of_node = |name: &str| match name {
            _ if name.starts_with('/') => Some(Exporter::Legacy),
            _ if name.starts_with("node_") => Some(Exporter::Dynamo),
            _ => None,
        };
        graph.nodes.iter().find_map(|node| of_node(&node.name))
    }
}

impl Exported {
    pub(super) fn of(model: &Model) -> Exported {
        let graph = &model.graph;
        Exported {
            producer_name: model.producer_name.clone(),
            producer_version: model.producer_version.clone(),
            exporter: Exporter::of(graph),
            // The default domain is always present.
            opset: model.opset.get("").copied().unwrap_or_default(),
            nodes: graph.nodes.len(),
            operators: graph
                .operator_counts()
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            open_dimensions: graph.open_dimensions().into_iter().map(str::to_owned).collect(),
        }
    }
}
