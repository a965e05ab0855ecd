//! A file is a model or an error, a model a graph or an error, and a graph canonical or refused.

use bytes::Bytes;
use vitcod_compiler::import::{ImportOptions, import};
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, CANONICALISE, Context};

/// The target.
pub fn check(bytes: &[u8]) {
    let model = match onnx::parse(Bytes::copy_from_slice(bytes), None) {
        Err(error) => return drop(error.to_string()),
        Ok(model) => model,
    };
    let graph = match import(&model, &ImportOptions::default()) {
        Err(error) => return drop(error.to_string()),
        Ok(graph) => graph,
    };
    graph.verify().expect("what is imported is well-formed");
    match passes::run_on_graph(&graph, CANONICALISE, &Context::default()) {
        Err(error) => drop(error.to_string()),
        Ok(canonical) => canonical.verify().expect("passes keep graphs well-formed"),
    }
}
