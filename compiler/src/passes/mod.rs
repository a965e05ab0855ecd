//! Passes: what turns one graph into another, and at last into a program.
//!
//! This is their registry: every pass is a [`Pass`] in [`PASSES`]: its name, what it does, the
//! level that it takes and the level that it gives, what else it needs, and what of the results it
//! keeps. [`run`] runs some of them in the order given and verifies the [`Module`] after each.
//! Nothing else orders passes: a pass that needs another one to have run before says so by its
//! level.

// The passes that live here.
mod absorb_qdq;
mod canonicalise;
mod cse;
mod drop_dead_rows;
mod gelu;
mod layer_norm;

// What they are made of and run by.
mod context;
mod error;
mod module;
mod pass;
mod pattern;
mod polynomial;
#[cfg(test)]
mod tests;

use ndarray::ArrayViewD;

pub use self::canonicalise::FORMS;
pub use self::context::{Context, Need, Notes};
pub use self::error::{PassError, Problem};
pub use self::module::{Level, Module, ModuleError};
pub use self::pass::{Keeps, Pass, find, run, run_on_graph};

use self::pass::{Failure, Run};
use crate::autoencoder::Choice;
use crate::ir::{Graph, Stage};
use crate::{autoencoder, codegen, masks, quantise};

/// Every pass, in the order of the usual pipeline.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "absorb-qdq",
        doc: "Takes the quantisation that a model brings (QDQ form) out of the graph: every tensor that is quantised has the int8 step \
              noted in its type whose range holds that of the model's integers. Exact for symmetric int8; what rounds between \
              operations that later become one is dropped.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        keeps: Keeps::Approximately,
        run: Run::Graph(|graph, _| Ok(absorb_qdq::run(graph))),
    },
    Pass {
        name: "cse",
        doc: "Merges operations of equal kind on equal operands, and constants with equal elements: exporters write \
              the same subexpression once per use, and alias or copy equal initialisers.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        keeps: Keeps::Bits,
        run: Run::Graph(|graph, _| Ok(cse::run(graph))),
    },
    Pass {
        name: "layer-norm",
        doc: "Makes one layer_norm of (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) written out, the square as a power \
              or a product, the quotient also as a product with the reciprocal, the dividend also scaled per channel, the \
              mean also the unbiased one. An epsilon that is added to the root is squared and added to the mean. A following \
              scale and offset per channel are left to canonicalise.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(layer_norm::run(graph))),
    },
    Pass {
        name: "gelu",
        doc: "Makes one unary of x (1 + erf(x / sqrt 2)) / 2 and of its tanh approximation, however the products and sums \
              are arranged: subexpressions are compared as polynomials in x and in the value of erf or tanh.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(gelu::run(graph))),
    },
    Pass {
        name: "canonicalise",
        doc: "From n-dimensional tensors to matrices of tokens x channels. Reshapes, transposes, slices and gathers become \
              views of matrices and vanish; products with constants become linear layers, selections of their outputs \
              rows of their weights; convolutions become patches and linear layers, tokens picked from the rows and columns of a \
              map patches of one pixel; means over tokens stay; products around a softmax \
              become attention, those across heads combinations of heads; factors and offsets per channel are folded into the \
              operation before; what is added to joined tokens is added before they are joined.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[],
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| canonicalise::run(graph).map_err(Failure::Unrecognised)),
    },
    Pass {
        name: "masks",
        doc: "Lets attention compute only what the masks keep: they become what is added to its scores, 0 or -inf. Masks are of \
              all queries, so this comes before drop-dead-rows.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[Need::Masks],
        keeps: Keeps::Approximately,
        run: Run::Graph(|graph, context| match context.masks {
            Some(masks) => masks::apply(graph, masks).map_err(Failure::new),
            None => Err(Failure::Needs(Need::Masks)),
        }),
    },
    Pass {
        name: "drop-dead-rows",
        doc: "Computes only the rows (tokens) that an output depends on: selections of rows move towards the inputs, \
              through attention to its queries.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[],
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(drop_dead_rows::run(graph))),
    },
    Pass {
        name: "principal-components",
        doc: "Makes auto-encoders of queries and keys for attention that has none: the best linear ones of so many compressed heads on the \
              samples.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[Need::CompressedHeads],
        keeps: Keeps::Approximately,
        run: Run::Graph(principal_components),
    },
    Pass {
        name: "auto-encoders",
        doc: "Computes the auto-encoders of queries and keys where they cost the fewest cycles, layer by layer: apart, or within the \
              projections before them.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[Need::Machine],
        keeps: Keeps::Reals,
        run: Run::Graph(place_autoencoders),
    },
    Pass {
        name: "quantise",
        doc: "From real numbers to integers, with the ranges that the samples give, or noise where there are none: int8, the residual stream \
              int16. Attention becomes sddmm, qsoftmax and spmm.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Quantised),
        needs: &[],
        keeps: Keeps::Approximately,
        run: Run::Graph(|graph, context| {
            let quantised = quantise::calibrated(graph, context.samples, context.quantise);
            let (quantised, is_noise) = quantised.map_err(Failure::new)?;
            context.note(|notes| notes.is_noise = is_noise);
            Ok(quantised.graph)
        }),
    },
    Pass {
        name: "split",
        doc: "Divides masked attention between the engines: dense blocks of global tokens for the denser engine, the other kept \
              entries as a sparse pattern for the sparser one. Global tokens that the cost model finds are dropped again where the \
              program without them has the lower energy-delay product.",
        requires: Level::Graph(Stage::Quantised),
        establishes: Level::Graph(Stage::Split),
        needs: &[Need::Machine],
        keeps: Keeps::Bits,
        run: Run::Graph(|graph, context| {
            codegen::split(graph, context.machine()?, context.globals).map_err(Failure::new)
        }),
    },
    Pass {
        name: "tile",
        doc: "Makes tasks of the graph: instructions on tiles that fit the scratchpad. Decides which tensors stay on chip, how large tiles are and \
              in which order they come, and lays out the DRAM. Of several strategies it takes the one whose best schedule has the lowest \
              energy-delay product, and notes that schedule.",
        requires: Level::Graph(Stage::Split),
        establishes: Level::Tiled,
        needs: &[Need::Machine],
        keeps: Keeps::Bits,
        run: Run::Tile(|graph, context| {
            codegen::tile(graph, context.machine()?, context.explain).map_err(Failure::new)
        }),
    },
    Pass {
        name: "schedule",
        doc: "Orders the tasks and gives buffers their addresses: as the tiled program notes. Where it notes nothing, several orders and \
              placements are timed on the machine that the tasks are for, and the one of the lowest energy-delay product is taken.",
        requires: Level::Tiled,
        establishes: Level::Scheduled,
        needs: &[],
        keeps: Keeps::Bits,
        run: Run::Schedule(|tiled, _| codegen::schedule(tiled).map_err(Failure::new)),
    },
    Pass {
        name: "emit",
        doc: "Makes a program of the schedule: conflicting accesses of different units are ordered by tokens, as few as it takes.",
        requires: Level::Scheduled,
        establishes: Level::Program,
        needs: &[],
        keeps: Keeps::Bits,
        run: Run::Emit(|scheduled, _| codegen::emit(scheduled).map_err(Failure::new)),
    },
];

/// The pass `principal-components`.
fn principal_components(graph: &Graph, context: &Context<'_>) -> Result<Graph, Failure> {
    let heads = context.compressed_heads.ok_or(Failure::Needs(Need::CompressedHeads))?;
    let samples = context.samples.ok_or(Failure::Needs(Need::Samples))?;
    let samples: Vec<ArrayViewD<'_, f32>> = samples.iter().map(|array| array.view()).collect();
    let (graph, losses) = autoencoder::pca(graph, &samples, heads).map_err(Failure::new)?;
    if losses.is_empty() {
        let message = "there is no attention without auto-encoders to make some for";
        return Err(Failure::Refused(message.to_owned()));
    }
    context.note(|notes| notes.losses = losses);
    Ok(graph)
}

/// The pass `auto-encoders`.
fn place_autoencoders(graph: &Graph, context: &Context<'_>) -> Result<Graph, Failure> {
    let (placed, decisions) =
        autoencoder::place(graph, context.machine()?, context.form).map_err(Failure::new)?;
    match (context.form, decisions.is_empty()) {
        (Choice::Always(form), true) => Err(Failure::Refused(format!(
            "there is no auto-encoder of Q and K that could be computed in the form {form}; pca:E makes some"
        ))),
        _ => Ok(placed),
    }
}

/// The passes from an imported to a canonical graph that need nothing besides it, in order.
pub const CANONICALISE: &[&str] =
    &["absorb-qdq", "cse", "layer-norm", "gelu", "canonicalise", "drop-dead-rows"];

/// The passes that bring a model from one level to the end of another, in order: all whose levels
/// are between the two, but of those that stay within a stage only the ones that have what they
/// need.
pub fn pipeline(
    from: impl Into<Level>,
    to: impl Into<Level>,
    context: &Context<'_>,
) -> Vec<&'static str> {
    let (from, to) = (from.into(), to.into());
    let within = PASSES.iter().filter(|pass| from <= pass.requires && pass.establishes <= to);
    let wanted = within.filter(|pass| {
        pass.requires != pass.establishes || pass.needs.iter().all(|need| context.has(*need))
    });
    wanted.map(|pass| pass.name).collect()
}

/// A table of the passes in Markdown, for `docs/ir.md`.
pub fn table() -> String {
    let mut text = String::from(
        "| pass | requires | establishes | needs | keeps | what it does |\n|---|---|---|---|---|---|\n",
    );
    for Pass { name, doc, requires, establishes, needs, keeps, .. } in PASSES {
        let needs: Vec<String> = needs.iter().map(Need::to_string).collect();
        text += &format!(
            "| `{name}` | {requires} | {establishes} | {} | {keeps} | {doc} |\n",
            needs.join(", ")
        );
    }
    text
}
