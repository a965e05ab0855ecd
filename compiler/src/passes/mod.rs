//! Passes: rewrites of a graph, and the steps from a graph to a program.
//!
//! This module is their registry. Each pass is a [`Pass`] in [`PASSES`]: its name, a description,
//! the level it requires and the level it establishes, the other inputs it needs, and how far it
//! preserves results. [`run`] runs passes in the order given and verifies the [`Module`] after
//! each. Levels order passes: a pass that depends on an earlier one requires the level that it
//! establishes. Within a level, the order of the list does.

// The passes of this module.
mod absorb_qdq;
mod canonicalise;
mod cse;
mod drop_dead_rows;
mod gelu;
mod layer_norm;
mod softmax;
mod swish;
mod unbatch;

// Their support.
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
pub(crate) use self::canonicalise::{Obstacle, Obstacles, obstacles};
pub use self::context::{Context, Need, Notes};
pub use self::error::{PassError, Problem};
pub use self::module::{Level, Module, ModuleError};
pub use self::pass::{Keeps, Pass, find, run, run_on_graph};

pub(crate) use self::drop_dead_rows::rows_needed;
use self::pass::{Failure, Run};
use crate::autoencoder::Choice;
use crate::ir::{Graph, Stage};
use crate::{autoencoder, codegen, equalise, masks, quantise};

/// Every pass, in the order of the usual pipeline.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "unbatch",
        doc: "Reduces a model whose inputs and outputs hold the items of a fixed batch to one \
              item; the runtime runs item by item. Fails if an operation combines items.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        prepares: None,
        keeps: Keeps::Bits,
        run: Run::Graph(|graph, _| unbatch::run(&graph).map_err(Failure::Unrecognised)),
    },
    Pass {
        name: "absorb-qdq",
        doc: "Moves the quantisation of a QDQ model out of the graph: each quantised tensor \
              has an int8 step noted in its type, which covers the range of the model's \
              integers. Exact for symmetric int8. Roundings between operations that are \
              fused later are dropped.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        prepares: None,
        keeps: Keeps::Approximately,
        run: Run::Graph(|graph, _| Ok(absorb_qdq::run(&graph))),
    },
    Pass {
        name: "cse",
        doc: "Merges equal operations on equal operands, and constants with equal elements \
              (common subexpression elimination). Exporters write the same subexpression \
              once per use, and alias or copy equal initialisers.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        prepares: None,
        keeps: Keeps::Bits,
        run: Run::Graph(|graph, _| Ok(cse::run(&graph))),
    },
    Pass {
        name: "layer-norm",
        doc: "Fuses a LayerNorm written as (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) \
              into one layer_norm. The square may be a power or a product, the quotient a \
              product with the reciprocal, the numerator scaled per channel, and the \
              variance unbiased. An epsilon added to the root is squared and added to the \
              variance. The scale and offset per channel are left to canonicalise.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        prepares: None,
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(layer_norm::run(&graph))),
    },
    Pass {
        name: "softmax",
        doc: "Fuses the exponential divided by its sum, perhaps of the difference to the \
              maximum, into one softmax.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        prepares: None,
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(softmax::run(&graph))),
    },
    Pass {
        name: "gelu",
        doc: "Fuses x (1 + erf(x / sqrt 2)) / 2 and its tanh approximation into one unary \
              operation. Products and sums may be arranged in any order: subexpressions are \
              compared as polynomials in x and in the value of erf or tanh.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        prepares: None,
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(gelu::run(&graph))),
    },
    Pass {
        name: "swish",
        doc: "Fuses x sigmoid(a x) into SiLU between factors, and x tanh(softplus(x)) into \
              Mish.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Imported),
        needs: &[],
        prepares: None,
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(swish::run(&graph))),
    },
    Pass {
        name: "canonicalise",
        doc: "Converts n-dimensional tensors to matrices of tokens x channels. Reshapes, \
              transposes, slices and gathers become views of matrices and vanish. Products \
              with constants become linear layers, and selections of their outputs become \
              selections of their weights. Convolutions become patches and linear layers; \
              selecting every n-th row and column of a map becomes patches of one pixel. \
              Products around a softmax become attention; products across heads become \
              mix_heads. Factors and offsets per channel are folded into the operation \
              before, and an addend of joined tokens is added to the parts. Means over \
              tokens remain.",
        requires: Level::Graph(Stage::Imported),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[],
        prepares: None,
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| canonicalise::run(&graph).map_err(Failure::Unrecognised)),
    },
    Pass {
        name: "masks",
        doc: "Restricts attention to the entries that the masks keep: masks become addends \
              of the scores, 0 or -inf. Masks cover all queries, so this pass precedes \
              drop-dead-rows.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[Need::Masks],
        prepares: None,
        keeps: Keeps::Approximately,
        run: Run::Graph(|graph, context| match context.masks {
            Some(masks) => masks::apply(&graph, masks).map_err(Failure::new),
            None => Err(Failure::Needs(Need::Masks)),
        }),
    },
    Pass {
        name: "drop-dead-rows",
        doc: "Computes only the rows (tokens) on which an output depends: selections of rows \
              move towards the inputs, through attention to its queries.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[],
        prepares: None,
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, _| Ok(drop_dead_rows::run(&graph))),
    },
    Pass {
        name: "principal-components",
        doc: "Adds auto-encoders of queries and keys to attention that has none: the linear \
              auto-encoders with the smallest error on the samples, for the given number of \
              compressed heads.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[Need::CompressedHeads],
        prepares: None,
        keeps: Keeps::Approximately,
        run: Run::Graph(principal_components),
    },
    Pass {
        name: "auto-encoders",
        doc: "Chooses, layer by layer, where the auto-encoders of queries and keys are \
              computed in the fewest weighted cycles: separately, or folded into the projections.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[Need::Machine],
        prepares: None,
        keeps: Keeps::Reals,
        run: Run::Graph(place_autoencoders),
    },
    Pass {
        name: "centre-channels",
        doc: "Moves the middle of each channel's range to 0, as calibrated on the samples or \
              noise: of keys, because softmax does not change; of values and of normalised \
              tokens, into the biases of the linear layers that read them.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[],
        prepares: Some("quantise"),
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, context| {
            equalise::centre(graph, context.samples).map_err(Failure::new)
        }),
    },
    Pass {
        name: "balance-channels",
        doc: "Moves factors of channels, as calibrated on the samples or noise, so that an \
              int8 step suits all channels: between queries and keys; from channels of images, \
              values, normalised tokens and the inputs of ReLU to the weights of the linear \
              layers that read them.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[],
        prepares: Some("quantise"),
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, context| {
            equalise::balance(graph, context.samples).map_err(Failure::new)
        }),
    },
    Pass {
        name: "fit-tables",
        doc: "Fits the lookup tables of functions such as GELU to the ranges of their inputs \
              and results, as calibrated on the samples or noise: a table contains offsets \
              and factors, for which the linear layers before and behind it make up. Where \
              the ranges of channels differ, they are reordered into groups with a table each.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Canonical),
        needs: &[],
        prepares: Some("quantise"),
        keeps: Keeps::Reals,
        run: Run::Graph(|graph, context| {
            let samples = (context.samples, context.divided);
            equalise::fit_tables(graph, samples, context.quantise()).map_err(Failure::new)
        }),
    },
    Pass {
        name: "quantise",
        doc: "Converts real numbers to integers, with ranges calibrated on the samples, or \
              on noise if there are none: int8, and int16 for the residual stream. Attention \
              becomes sddmm, qsoftmax and spmm.",
        requires: Level::Graph(Stage::Canonical),
        establishes: Level::Graph(Stage::Quantised),
        needs: &[],
        prepares: None,
        keeps: Keeps::Approximately,
        run: Run::Graph(|graph, context| {
            let quantised = quantise::calibrated(&graph, context.samples, context.quantise());
            let (quantised, _) = quantised.map_err(Failure::new)?;
            Ok(quantised.graph)
        }),
    },
    Pass {
        name: "split",
        doc: "Divides masked attention between the engines: dense blocks of global tokens \
              for the denser engine, the other kept entries as a sparse pattern for the \
              sparser engine. Global tokens chosen by the cost model are dropped if the \
              program without them has the lower energy-delay product.",
        requires: Level::Graph(Stage::Quantised),
        establishes: Level::Graph(Stage::Split),
        needs: &[Need::Machine],
        prepares: None,
        keeps: Keeps::Bits,
        run: Run::Graph(|graph, context| {
            codegen::split(&graph, context.machine()?, context.codegen()).map_err(Failure::new)
        }),
    },
    Pass {
        name: "tile",
        doc: "Lowers the graph to tasks: instructions on tiles that fit the scratchpad. \
              Chooses the resident tensors, the tile sizes and their order, and lays out the \
              DRAM. Of several strategies, the one whose best schedule has the lowest \
              energy-delay product is used; that schedule is recorded.",
        requires: Level::Graph(Stage::Split),
        establishes: Level::Tiled,
        needs: &[Need::Machine],
        prepares: None,
        keeps: Keeps::Bits,
        run: Run::Tile(|graph, context| {
            codegen::tile(&graph, context.machine()?, context.codegen()).map_err(Failure::new)
        }),
    },
    Pass {
        name: "schedule",
        doc: "Orders the tasks and places the buffers as the tiled program records. If it \
              records no schedule, several orders and placements are timed on the target \
              machine, and the one with the lowest energy-delay product is used.",
        requires: Level::Tiled,
        establishes: Level::Scheduled,
        needs: &[],
        prepares: None,
        keeps: Keeps::Bits,
        run: Run::Schedule(|tiled, _| codegen::schedule(&tiled).map_err(Failure::new)),
    },
    Pass {
        name: "emit",
        doc: "Emits the program of a schedule: inserts the fewest synchronisation tokens \
              that order all conflicting accesses that could overlap.",
        requires: Level::Scheduled,
        establishes: Level::Program,
        needs: &[],
        prepares: None,
        keeps: Keeps::Bits,
        run: Run::Emit(|scheduled, _| codegen::emit(&scheduled).map_err(Failure::new)),
    },
];

/// The pass `principal-components`.
fn principal_components(graph: Graph, context: &Context<'_>) -> Result<Graph, Failure> {
    let heads = context.compressed_heads.ok_or(Failure::Needs(Need::CompressedHeads))?;
    let samples = context.samples.ok_or(Failure::Needs(Need::Samples))?;
    let samples: Vec<ArrayViewD<'_, f32>> = samples.iter().map(|array| array.view()).collect();
    let (graph, losses) = autoencoder::pca(&graph, &samples, heads).map_err(Failure::new)?;
    if losses.is_empty() {
        let message = "there is no attention without auto-encoders to make some for";
        return Err(Failure::Refused(message.to_owned()));
    }
    context.note(|notes| notes.losses = losses);
    Ok(graph)
}

/// The pass `auto-encoders`.
fn place_autoencoders(graph: Graph, context: &Context<'_>) -> Result<Graph, Failure> {
    let (placed, decisions) =
        autoencoder::place(&graph, context.machine()?, context.form).map_err(Failure::new)?;
    match (context.form, decisions.is_empty()) {
        (Choice::Always(form), true) => Err(Failure::Refused(format!(
            "there is no auto-encoder of Q and K that could be computed in the form {form}; pca:E makes some"
        ))),
        _ => Ok(placed),
    }
}

/// The passes from an imported to a canonical graph that need no other input, in order.
pub const CANONICALISE: &[&str] = &[
    "unbatch",
    "absorb-qdq",
    "cse",
    "layer-norm",
    "softmax",
    "gelu",
    "swish",
    "canonicalise",
    "drop-dead-rows",
];

/// The passes that bring a model from the level `from` to `to`, in order. Passes that do not change
/// the level are included only if the context provides the inputs that they need, and those that
/// prepare another pass only if it is included.
///
/// ```
/// use vitcod_compiler::ir::Stage;
/// use vitcod_compiler::passes::{CANONICALISE, Context, pipeline};
///
/// let names = pipeline(Stage::Imported, Stage::Canonical, &Context::default());
/// assert_eq!(names, CANONICALISE);
/// ```
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
    let wanted: Vec<&Pass> = wanted.collect();
    let runs = |name| wanted.iter().any(|pass| pass.name == name);
    wanted.iter().filter(|pass| pass.prepares.is_none_or(runs)).map(|pass| pass.name).collect()
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
