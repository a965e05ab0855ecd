//! What a model's file says of itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use vitcod_compiler::onnx::{Graph, Model};

/// What a file holds.
#[derive(Serialize)]
pub(super) struct Exported {
    /// The program that wrote the file last, and its version; may be empty.
    pub(super) producer_name: String,
    pub(super) producer_version: String,
    /// Which of PyTorch's exporters wrote the graph; absent where it does not tell.
    pub(super) exporter: Option<Exporter>,
    /// The version of `ai.onnx`.
    pub(super) opset: i64,
    pub(super) nodes: usize,
    /// How many nodes of each operator there are.
    pub(super) operators: BTreeMap<String, usize>,
    #[serde(skip)]
    pub(super) open_dimensions: BTreeSet<String>,
}

/// PyTorch's exporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exporter {
    /// Of TorchScript, `dynamo=False`.
    Legacy,
    /// `dynamo=True`.
    Dynamo,
}

impl Exporter {
    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Exporter::Legacy => "legacy",
            Exporter::Dynamo => "dynamo",
        }
    }

    /// That of a graph. Files do not name it, but nodes bear its mark, also after tools that change
    /// some of them: paths of modules, as `/blocks/blocks.0/attn/MatMul`, or a prefix, as
    /// `node_MatMul_60`.
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
            // The default domain is always there.
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
