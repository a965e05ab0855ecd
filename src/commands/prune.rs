//! `vitcod prune`: from an ONNX model and samples to attention masks.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use ndarray::ArrayViewD;
use vitcod_compiler::calibration::average_attention;
use vitcod_compiler::class_tokens::ClassTokens;
use vitcod_compiler::frontend;
use vitcod_compiler::masks::{self, Criterion, Masks, Partition, Polarity, Pruned};

use crate::calibration::{self, Samples};
use crate::files::Outputs;
use crate::import::{self, ImportArgs};
use crate::progress::Progress;

/// Prune the attention of an ONNX vision transformer
///
/// Runs the model in float on the calibration samples and averages its attention maps. In each row
/// the largest entries are kept until their sum reaches the share --theta; rows and columns of
/// class tokens are always kept. Prints per head the kept entries, divided into the dense block of
/// global tokens (--theta-d) and the non-zeros of the other columns.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; external data is read from its folder
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,

    /// Calibration samples of an input, stacked along the first axis; repeat for each input, omit
    /// NAME if the model has one
    #[arg(long, value_name = "[NAME=]X.npy", required = true)]
    calibration: Vec<String>,

    #[command(flatten)]
    criterion: CriterionArgs,

    /// Output file of the masks: bool [layers, heads, tokens, tokens], true if pruned, the authors'
    /// format
    #[arg(short, long, value_name = "MASKS.npy")]
    output: PathBuf,

    /// Keys that more than K queries keep are global tokens; the authors use 50 for 197 tokens
    /// [default: a quarter of the tokens, rounded up]
    #[arg(long, value_name = "K")]
    theta_d: Option<usize>,

    /// The first N tokens are class tokens [default: those on which alone an output depends, else
    /// those that the model puts in front of the others; none in a model of neither kind]
    #[arg(long, value_name = "N")]
    class_tokens: Option<usize>,

    /// Draw the mask of each head before and after reordering (PNG)
    #[arg(long, value_name = "MAPS.png")]
    image: Option<PathBuf>,

    #[command(flatten)]
    import: ImportArgs,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct CriterionArgs {
    /// Minimum share of entries to prune, at least 0 and below 1: uses the largest theta that
    /// reaches it
    #[arg(long, value_name = "S")]
    sparsity: Option<f64>,

    /// Minimum share of each row's attention to keep, above 0 and at most 1
    #[arg(long, value_name = "P")]
    theta: Option<f64>,
}

impl CriterionArgs {
    fn criterion(&self) -> Criterion {
        let theta = self.theta.map(Criterion::Theta);
        theta.or(self.sparsity.map(Criterion::Sparsity)).expect("the group is required")
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let model = args.model.display();
    let (Pruned { masks, theta }, class_tokens) = {
        let progress = Progress::new();
        progress.step("reading the model");
        let options = frontend::Options { all_rows: true, ..frontend::Options::default() };
        let imported = import::import(&args.model, &args.import, options)?;
        let graph = &imported.graph;
        masks::check(graph).with_context(|| format!("{model} cannot be pruned"))?;
        let class_tokens = args.class_tokens.map_or_else(
            || ClassTokens::of(graph),
            |count| ClassTokens { count, reason: "as given" },
        );
        let samples = Samples::read(&args.calibration, &imported)?;
        let samples = samples.machine().unwrap_or_default().iter();
        let samples: Vec<ArrayViewD<'_, f32>> = samples.map(|sample| sample.view()).collect();
        progress.step("averaging attention maps");
        let maps = average_attention(graph, &samples).with_context(|| {
            format!("{model}: cannot compute attention maps of {}", args.calibration.join(", "))
        })?;
        progress.step("pruning");
        let pruned = masks::prune(&maps, args.criterion.criterion(), class_tokens.count)
            .with_context(|| format!("{model} cannot be pruned"))?;
        (pruned, class_tokens)
    };
    let bytes = masks
        .to_npy(Polarity::PrunedIsTrue)
        .with_context(|| format!("cannot write the masks of {model}"))?;
    // All layers have the same shape, else one file could not hold them.
    let tokens = masks.layers()[0][0].queries();
    let theta_d = args.theta_d.unwrap_or(tokens.div_ceil(4));
    let partitions: Vec<Vec<Partition>> = masks
        .layers()
        .iter()
        .map(|heads| heads.iter().map(|mask| masks::polarise(mask, theta_d)).collect())
        .collect();

    let mut files = Outputs::default();
    files.keep(&args.model);
    calibration::files(&args.calibration).for_each(|input| files.keep(&input));
    files.stage(&args.output, |file| Ok(file.write_all(&bytes)?))?;
    if let Some(path) = &args.image {
        let picture = masks::picture(&masks, &partitions)?;
        files.stage(path, |file| Ok(file.write_all(&picture)?))?;
    }
    files.commit()?;

    let origin = if args.theta_d.is_none() {
        format!(", a quarter of {tokens} tokens, rounded up")
    } else {
        String::new()
    };
    writeln!(out, "theta         {theta}")?;
    writeln!(out, "theta-d       {theta_d}{origin}")?;
    let ClassTokens { count, reason } = class_tokens;
    // Without their rows and columns, a file does not tell its polarity.
    let hint = if count == 0 { "; compile with --polarity pruned" } else { "" };
    writeln!(out, "class tokens  {count}: {reason}{hint}\n")?;
    print(&masks, &partitions, out)
}

/// Prints the kept entries of every head and in total, and their partition.
fn print(masks: &Masks, partitions: &[Vec<Partition>], out: &mut dyn Write) -> anyhow::Result<()> {
    let columns =
        ["layer", "head", "kept", "sparsity", "global tokens", "dense cells", "non-zeros"];
    let mut line = |[layer, head, kept, sparsity, globals, cells, nonzeros]: [&str; 7]| {
        writeln!(
            out,
            "{layer:>5} {head:>5} {kept:>9} {sparsity:>9} {globals:>14} {cells:>12} {nonzeros:>10}"
        )
    };
    line(columns)?;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    for (layer, (heads, partitions)) in masks.layers().iter().zip(partitions).enumerate() {
        for (head, (mask, partition)) in heads.iter().zip(partitions).enumerate() {
            let counts = [
                layer,
                head,
                mask.kept(),
                partition.globals(),
                partition.dense_cells(),
                partition.nonzeros(),
            ];
            let [layer, head, kept, globals, cells, nonzeros] =
                counts.map(|count| count.to_string());
            line([&layer, &head, &kept, &percent(mask.sparsity()), &globals, &cells, &nonzeros])?;
        }
    }
    let sum = |count: fn(&Partition) -> usize| {
        partitions.iter().flatten().map(count).sum::<usize>().to_string()
    };
    let (globals, cells) = (sum(Partition::globals), sum(Partition::dense_cells));
    let nonzeros = sum(|partition| partition.nonzeros());
    line([
        "total",
        "",
        &masks.kept().to_string(),
        &percent(masks.sparsity()),
        &globals,
        &cells,
        &nonzeros,
    ])?;
    Ok(())
}
