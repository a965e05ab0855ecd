//! The host's parts as programs carry them.
//!
//! The bytes are untrusted. Graphs are read as those of the machine are
//! ([`SavedGraph`](crate::ir::SavedGraph)): verified, with bounded tensors. Their work is bounded,
//! too, since a run executes them.

use serde::{Deserialize, Serialize};
use vitcod_isa::program::SavedIr;

use super::divide::products;
use super::{Host, Tensor};
use crate::ir::{Graph, LoadError, SavedGraph};

/// The most products that the host's parts may have: six times those of ViT-H/14.
const MOST_PRODUCTS: u128 = 1 << 40;

/// Why bytes are not the host's parts of a model.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The bytes are not JSON of the format.
    #[error("the host's part of the program is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// A part is not a valid graph.
    #[error("the host's part {place} the machine: {error}")]
    Graph {
        /// `before` or `after`.
        place: &'static str,
        /// What is wrong.
        error: LoadError,
    },
    /// A part would take too long.
    #[error("the host's parts have {found} products, more than {MOST_PRODUCTS}")]
    Work {
        /// The products of all parts.
        found: u128,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<SavedGraph>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<SavedGraph>,
}

impl Host {
    /// Saves the parts for a program.
    pub fn save(&self) -> SavedIr {
        let mut constants = Vec::new();
        let mut saved = |part: &Option<Graph>| {
            part.as_ref().map(|graph| SavedGraph::standalone(graph, &mut constants))
        };
        let saved = Saved {
            before: saved(&self.before),
            after: saved(&self.after),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
        };
        let json = serde_json::to_vec(&saved).expect("no maps, no failing serialisers");
        SavedIr { graph: json.into(), constants: constants.into() }
    }

    /// Loads the parts that a program carries. Their constants are slices of `saved`.
    ///
    /// # Errors
    /// The bytes are not valid. Never panics, and allocates in proportion to the bytes.
    pub fn load(saved: &SavedIr) -> Result<Host, HostError> {
        let Saved { inputs, outputs, before, after } = serde_json::from_slice(&saved.graph)?;
        let graph = |part: Option<SavedGraph>, place| {
            let loaded = part.map(|part| part.load_imported(&saved.constants));
            loaded.transpose().map_err(|error| HostError::Graph { place, error })
        };
        let host = Host {
            inputs,
            outputs,
            before: graph(before, "before")?,
            after: graph(after, "after")?,
        };
        let parts = host.before.iter().chain(&host.after);
        let found = parts.flat_map(|part| part.order.iter().map(|op| products(part, *op))).sum();
        if found > MOST_PRODUCTS { Err(HostError::Work { found }) } else { Ok(host) }
    }
}
