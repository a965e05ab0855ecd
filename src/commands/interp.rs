//! `vitcod interp`: a graph run by the reference interpreters.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use ndarray::{ArrayD, IxDyn};
use vitcod_compiler::interp::{FloatInterpreter, QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::{Graph, GraphOutput, TensorType, Value};
use vitcod_compiler::quantise;

use crate::files::Outputs;
use crate::pipeline::Dims;
use crate::{graphs, named, npy};

/// Elements of an output that are printed.
const PRINTED: usize = 8;

/// Run a graph of any stage with the reference interpreters
///
/// Imported and canonical graphs run in float, quantised and split ones in the integers of the machine. Prints the first
/// elements of each output.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// IR text (its name ends in .vir), or an ONNX model, which is run as exported
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// An input tensor; the name can be left out if the graph has one input
    #[arg(long, value_name = "[NAME=]X.npy")]
    input: Vec<String>,

    /// Seed of the noise (mean 0, standard deviation 1) for inputs that are not given
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Where to write an output tensor; the name can be left out if the graph has one output
    #[arg(short, long, value_name = "[NAME=]Y.npy")]
    output: Vec<String>,

    /// Integers instead of the real numbers that they stand for
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    dims: Dims,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let graph = graphs::read(&args.file, &args.dims)?;
    graphs::check_size(&graph)?;
    let paths = named::bind("output", &args.output, &graph.outputs)?;
    let mut files = Outputs::default();
    files.keep(&args.file);
    let inputs = inputs(args, &graph, &mut files)?;
    let outputs = execute(&graph, &inputs, args.raw).with_context(|| args.file.display().to_string())?;
    for (output, path) in paths {
        let position = graph.outputs.iter().position(|other| std::ptr::eq(other, output));
        let result = position.and_then(|i| outputs.get(i)).context("a run gives all outputs")?;
        files.stage(&path, |file| result.write(file))?;
    }
    files.commit()?;
    for (output, result) in graph.outputs.iter().zip(&outputs) {
        writeln!(out, "{:?} {:?} = {}", output.name, output.shape, result.beginning())?;
    }
    Ok(())
}

/// The tensor of each input, noise where none is given.
fn inputs(args: &Args, graph: &Graph, files: &mut Outputs) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let mut inputs = quantise::seeded_noise(graph, 1, args.seed);
    for (input, path) in named::bind("input", &args.input, &graph.inputs)? {
        files.keep(&path);
        let position = graph.inputs.iter().position(|other| std::ptr::eq(other, input));
        let slot = position.and_then(|i| inputs.get_mut(i)).context("an input of the graph")?;
        *slot = npy::read(&path)?;
    }
    Ok(inputs)
}

/// An output: real numbers or integers.
enum Output {
    Real(ArrayD<f32>),
    I8(ArrayD<i8>),
    I16(ArrayD<i16>),
    U32(ArrayD<u32>),
}

fn execute(graph: &Graph, inputs: &[ArrayD<f32>], raw: bool) -> anyhow::Result<Vec<Output>> {
    if graph.stage.is_float() {
        let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
        return Ok(FloatInterpreter::new(graph)?.run(&views)?.into_iter().map(Output::Real).collect());
    }
    let tensors = graph.inputs.iter().zip(inputs).map(|((name, value), input)| quantised(graph, name, *value, input));
    let tensors = tensors.collect::<anyhow::Result<Vec<Tensor>>>()?;
    let outputs = QuantisedInterpreter::new(graph)?.run(&tensors)?;
    outputs.into_iter().zip(&graph.outputs).map(|(tensor, output)| result(graph, tensor, output, raw)).collect()
}

fn quantised(graph: &Graph, name: &str, value: Value, input: &ArrayD<f32>) -> anyhow::Result<Tensor> {
    let ty: &TensorType = graph.ty(value);
    ensure!(input.shape() == ty.shape, "input {name:?} has the shape {:?}, and the graph takes {ty}", input.shape());
    Tensor::quantise(&input.view(), ty).with_context(|| format!("input {name:?}: {ty} stands for no real numbers"))
}

fn result(graph: &Graph, tensor: Tensor, output: &GraphOutput, raw: bool) -> anyhow::Result<Output> {
    let step = graph.ty(output.value).step.filter(|_| !raw);
    if let Some(real) = step.and_then(|step| tensor.dequantise(step, &output.shape)) {
        return Ok(Output::Real(real));
    }
    let shape = IxDyn(&output.shape);
    Ok(match tensor {
        Tensor::I8(x) => Output::I8(ArrayD::from_shape_vec(shape, x)?),
        Tensor::I16(x) => Output::I16(ArrayD::from_shape_vec(shape, x)?),
        Tensor::U32(x) => Output::U32(ArrayD::from_shape_vec(shape, x)?),
    })
}

impl Output {
    fn write(&self, file: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Output::Real(x) => npy::write(x, file),
            Output::I8(x) => npy::write(x, file),
            Output::I16(x) => npy::write(x, file),
            Output::U32(x) => npy::write(x, file),
        }
    }

    /// The first elements as text.
    fn beginning(&self) -> String {
        match self {
            Output::Real(x) => beginning(x),
            Output::I8(x) => beginning(x),
            Output::I16(x) => beginning(x),
            Output::U32(x) => beginning(x),
        }
    }
}

fn beginning(x: &ArrayD<impl ToString>) -> String {
    let shown: Vec<String> = x.iter().take(PRINTED).map(ToString::to_string).collect();
    let rest = if x.len() > PRINTED { ", ..." } else { "" };
    format!("[{}{rest}]", shown.join(", "))
}
