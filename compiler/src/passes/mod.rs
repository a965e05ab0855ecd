//! Passes: what turns one graph into another.
//!
//! Every pass is a [`Pass`] in [`PASSES`]: its name, what it does, the stage that it takes and the stage that it gives. [`run`] runs
//! some of them in the order given and verifies the graph after each. Nothing else orders passes: a pass that needs another one
//! to have run before says so by its stage.
//!
//! All passes here are exact in real numbers: they only change what rounding does.

mod canonicalise;
mod cone;
mod cse;
mod demand;
mod error;
mod gelu;
mod layer_norm;
mod polynomial;
#[cfg(test)]
mod tests;

pub use error::{PassError, Problem};

use crate::ir::{Graph, Stage};

/// A pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Name on the command line and in errors.
    pub name: &'static str,
    /// What it does, in a paragraph.
    pub doc: &'static str,
    /// The stage of the graphs that it takes.
    pub requires: Stage,
    /// The stage of the graphs that it gives.
    pub establishes: Stage,
    run: fn(&Graph) -> Result<Graph, Vec<Problem>>,
}

/// Every pass, in the order of the usual pipeline.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "cse",
        doc: "Merges operations of equal kind on equal operands, and constants with equal elements: exporters write \
              the same subexpression once per use, and alias or copy equal initialisers.",
        requires: Stage::Imported,
        establishes: Stage::Imported,
        run: |graph| Ok(cse::run(graph)),
    },
    Pass {
        name: "layer-norm",
        doc: "Makes one layer_norm of (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) written out, the square as a power \
              or a product, the quotient also as a product with the reciprocal. A following scale and offset per \
              channel are left to canonicalise.",
        requires: Stage::Imported,
        establishes: Stage::Imported,
        run: |graph| Ok(layer_norm::run(graph)),
    },
    Pass {
        name: "gelu",
        doc: "Makes one unary of x (1 + erf(x / sqrt 2)) / 2 and of its tanh approximation, however the products and sums \
              are arranged: subexpressions are compared as polynomials in x and in the value of erf or tanh.",
        requires: Stage::Imported,
        establishes: Stage::Imported,
        run: |graph| Ok(gelu::run(graph)),
    },
    Pass {
        name: "canonicalise",
        doc: "From n-dimensional tensors to matrices of tokens x channels. Reshapes, transposes, slices and gathers become \
              views of matrices and vanish; products with constants become linear layers, selections of their outputs \
              rows of their weights; convolutions become patches and linear layers; products around a softmax \
              become attention, those across heads combinations of heads; factors and offsets per channel are folded into the \
              operation before; what is added to joined tokens is added before they are joined.",
        requires: Stage::Imported,
        establishes: Stage::Canonical,
        run: canonicalise::run,
    },
    Pass {
        name: "demand",
        doc: "Computes only the rows (tokens) that an output depends on: selections of rows move towards the inputs, \
              through attention to its queries.",
        requires: Stage::Canonical,
        establishes: Stage::Canonical,
        run: |graph| Ok(demand::run(graph)),
    },
];

/// The passes from an imported to a canonical graph, in order.
pub const CANONICALISE: &[&str] = &["cse", "layer-norm", "gelu", "canonicalise", "demand"];

/// The pass of a name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<&'static Pass, PassError> {
    PASSES.iter().find(|pass| pass.name == name).ok_or_else(|| PassError::Unknown {
        name: name.to_string(),
        known: PASSES.iter().map(|pass| pass.name).collect::<Vec<_>>().join(", "),
    })
}

impl Pass {
    /// Runs the pass and verifies what it gives.
    ///
    /// # Errors
    /// The graph is of another stage; or holds what the pass cannot express, with all such places; or the result is malformed, which
    /// is a defect of the pass.
    pub fn run(&self, graph: &Graph) -> Result<Graph, PassError> {
        if graph.stage != self.requires {
            return Err(PassError::Stage { pass: self.name, requires: self.requires, found: graph.stage });
        }
        let result = (self.run)(graph).map_err(|problems| PassError::Unrecognised { pass: self.name, problems })?;
        result.verify().map_err(|source| PassError::Malformed { pass: self.name, source })?;
        debug_assert_eq!(result.stage, self.establishes);
        Ok(result)
    }
}

/// Runs passes by name, and calls `after` with each pass and its result.
///
/// # Errors
/// A name is unknown (nothing runs then), or the first pass that fails, as [`Pass::run`].
pub fn run(graph: &Graph, names: &[&str], mut after: impl FnMut(&Pass, &Graph)) -> Result<Graph, PassError> {
    let passes = names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut current = graph.clone();
    for pass in passes {
        current = pass.run(&current)?;
        after(pass, &current);
    }
    Ok(current)
}
