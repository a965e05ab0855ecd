//! `vitcod interp`: executes IR of any stage.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use vitcod_compiler::calibration;
use vitcod_compiler::calibration::Numbers;
use vitcod_compiler::interp::{FloatInterpreter, QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::{Elem, Graph, GraphInput, GraphOutput, Image, TensorType};
use vitcod_compiler::passes::Module;
use vitcod_compiler::tiled::Scheduled;
use vitcod_emulator::{Emulator, Memory, task_listing};
use vitcod_isa::asm::TaskListing;
use vitcod_isa::program::{Binding, Element, Program};

use crate::files::Outputs;
use crate::import::ImportArgs;
use crate::tensor_args::{self, Named};
use crate::{ir_files, npy};

/// The most bytes of live buffers without addresses: a text of a few lines can request any amount.
const MAX_BUFFERS: u64 = 1 << 30;

/// Elements of an output that are printed.
const PRINTED: usize = 8;

/// Execute IR of any stage
///
/// Imported and canonical graphs run in the float interpreter, quantised and split graphs in the
/// integer interpreter. Tiled and scheduled programs execute one instruction after the other, final
/// programs in the emulator. Prints the first elements of each output. Of a program with parts for
/// the host, only that of the machine runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// IR text (*.vir), assembly (*.s), a program, or an ONNX model, which runs as exported
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// An input tensor; omit NAME if the graph has one input
    #[arg(long, value_name = "[NAME=]X.npy")]
    input: Vec<String>,

    /// Seed of the normal noise for inputs that are not given
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Output file of an output tensor; omit NAME if the graph has one output
    #[arg(short, long, value_name = "[NAME=]Y.npy")]
    output: Vec<String>,

    /// Write integers instead of dequantised values
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    import: ImportArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let module = ir_files::read(&args.file, &args.import)?;
    if let Some(graph) = module.graph() {
        ir_files::check_size(graph)?;
    }
    let Ports { inputs, outputs } = Ports::of(&module);
    let paths = tensor_args::bind("output", &args.output, &outputs)?;
    let mut files = Outputs::default();
    files.keep(&args.file);
    let given = given(args, &inputs, &mut files)?;
    let results = execute(&module, &inputs, &outputs, &given, args.raw);
    let results = results.with_context(|| args.file.display().to_string())?;
    for (output, path) in paths {
        let position = outputs.iter().position(|other| std::ptr::eq(other, output));
        let result = position.and_then(|i| results.get(i)).context("a run gives all outputs")?;
        files.stage(&path, |file| result.write(file))?;
    }
    files.commit()?;
    for (output, result) in outputs.iter().zip(&results) {
        writeln!(out, "{:?} {:?} = {}", output.name, output.shape, result.beginning())?;
    }
    Ok(())
}

/// An input or output.
struct Port {
    name: String,
    /// Shape in the model.
    shape: Vec<usize>,
    ty: TensorType,
    /// How the channels of an image are normalised.
    image: Image,
    numbers: Numbers,
}

impl Named for Port {
    fn name(&self) -> &str {
        &self.name
    }
}

struct Ports {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Ports {
    fn of(module: &Module) -> Ports {
        let header = match module {
            Module::Graph(graph) => return Ports::of_graph(graph),
            Module::Tiled(tiled) | Module::Scheduled(Scheduled { tiled, .. }) => &tiled.header,
            Module::Program(program) => &program.header,
        };
        let port = |binding: &Binding| {
            let Binding { name, shape, element, step, factors, offsets, layout, .. } = binding;
            // Bindings that exceed the memory are rejected before execution.
            let shape: Vec<usize> = shape.iter().map(|extent| *extent as usize).collect();
            let elements = shape.iter().product::<usize>();
            let (ty, numbers) = match *element {
                Element::I8 => {
                    let numbers = Numbers::of_image(offsets);
                    (TensorType::quantised(Elem::I8, shape.clone(), *step), numbers)
                }
                Element::I16 => {
                    (TensorType::quantised(Elem::I16, shape.clone(), *step), Numbers::Real)
                }
                Element::Row { below } => {
                    (TensorType::new(Elem::U16, [1, elements]), Numbers::Rows(below as usize))
                }
                Element::Bits { rows, inverted } => (
                    TensorType::new(Elem::Byte, [rows as usize, elements.div_ceil(8)]),
                    Numbers::Flags { inverted },
                ),
            };
            let last = layout.is_row_major();
            let image = Image { last, factors: factors.clone(), offsets: offsets.clone() };
            Port { name: name.clone(), shape, ty, image, numbers }
        };
        Ports {
            inputs: header.inputs.iter().map(port).collect(),
            outputs: header.outputs.iter().map(port).collect(),
        }
    }

    fn of_graph(graph: &Graph) -> Ports {
        let input = |GraphInput { name, value, shape, .. }: &GraphInput| Port {
            name: name.clone(),
            shape: shape.clone(),
            ty: graph.ty(*value).clone(),
            image: graph.image(*value).unwrap_or_default(),
            numbers: Numbers::of(graph, *value),
        };
        let output = |output: &GraphOutput| Port {
            name: output.name.clone(),
            shape: output.shape.clone(),
            ty: graph.ty(output.value).clone(),
            image: Image::default(),
            numbers: Numbers::Real,
        };
        Ports {
            inputs: graph.inputs.iter().map(input).collect(),
            outputs: graph.outputs.iter().map(output).collect(),
        }
    }
}

/// The tensor of each input; noise if none is given.
fn given(args: &Args, inputs: &[Port], files: &mut Outputs) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let mut given = calibration::noise_of(
        inputs.iter().map(|input| (input.shape.clone(), input.numbers)),
        1,
        args.seed,
    );
    for (input, path) in tensor_args::bind("input", &args.input, inputs)? {
        files.keep(&path);
        let position = inputs.iter().position(|other| std::ptr::eq(other, input));
        let slot = position.and_then(|i| given.get_mut(i)).context("an input of the model")?;
        *slot = npy::read(&path)?;
    }
    Ok(given)
}

/// An output: real numbers or integers.
enum Output {
    Real(ArrayD<f32>),
    I8(ArrayD<i8>),
    I16(ArrayD<i16>),
    U32(ArrayD<u32>),
}

fn execute(
    module: &Module,
    inputs: &[Port],
    outputs: &[Port],
    given: &[ArrayD<f32>],
    raw: bool,
) -> anyhow::Result<Vec<Output>> {
    if let Some(graph) = module.graph().filter(|graph| graph.stage.is_float()) {
        let views: Vec<_> = given.iter().map(|input| input.view()).collect();
        return Ok(FloatInterpreter::new(graph)?
            .run(&views)?
            .into_iter()
            .map(Output::Real)
            .collect());
    }
    let tensors = inputs.iter().zip(given).map(|(port, input)| quantised(port, input));
    let tensors = tensors.collect::<anyhow::Result<Vec<Tensor>>>()?;
    let results = match module {
        Module::Graph(graph) => QuantisedInterpreter::new(graph)?.run(&tensors)?,
        Module::Tiled(tiled) => execute_tasks(&tiled.task_listing(), &tensors)?,
        Module::Scheduled(scheduled) => execute_tasks(&scheduled.task_listing(), &tensors)?,
        Module::Program(program) => {
            let mut emulator = Emulator::new(program.clone().into())?;
            on_memory(program, &tensors, |memory| Ok(emulator.run(memory)?))?
        }
    };
    results.into_iter().zip(outputs).map(|(tensor, output)| result(output, tensor, raw)).collect()
}

/// Executes tasks one by one.
fn execute_tasks(tasks: &TaskListing, inputs: &[Tensor]) -> anyhow::Result<Vec<Tensor>> {
    let bytes = task_listing::live_bytes(tasks);
    ensure!(
        bytes <= MAX_BUFFERS,
        "live buffers take {bytes} bytes, expected at most {MAX_BUFFERS}"
    );
    on_memory(&tasks.program, inputs, |memory| Ok(task_listing::run(tasks, memory)?))
}

/// Executes on memory with these inputs. The verifier has checked that bindings are inside the
/// DRAM.
fn on_memory(
    program: &Program,
    inputs: &[Tensor],
    execute: impl FnOnce(&mut Memory) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Tensor>> {
    let mut memory = Memory::new(program)?;
    for (binding, tensor) in program.header.inputs.iter().zip(inputs) {
        let bytes = binding.arranged(tensor.to_le_bytes());
        memory.dram_mut()[binding.address as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    execute(&mut memory)?;
    let output = |binding: &Binding| {
        let bytes = binding.bytes().context("the verifier has found that it fits")?;
        let elem = if binding.element == Element::I8 { Elem::I8 } else { Elem::I16 };
        let held = &memory.dram()[binding.address as usize..][..bytes as usize];
        Tensor::from_le_bytes(elem, &binding.restored(held.to_vec()))
            .context("integers of 8 or 16 bits")
    };
    program.header.outputs.iter().map(output).collect()
}

fn quantised(
    Port { name, shape, ty, image, numbers }: &Port,
    input: &ArrayD<f32>,
) -> anyhow::Result<Tensor> {
    ensure!(
        input.shape() == shape,
        "input {name:?} has the shape {:?}, expected {ty}",
        input.shape()
    );
    let mut values: Vec<f32> = input.iter().copied().collect();
    image.normalise(&mut values);
    if *numbers == (Numbers::Flags { inverted: true }) {
        values.iter_mut().for_each(|x| *x = GraphInput::invert(*x));
    }
    Tensor::quantise(&ArrayViewD::from_shape(shape.as_slice(), &values)?, ty)
        .with_context(|| format!("input {name:?}: {ty} cannot represent these numbers"))
}

fn result(output: &Port, tensor: Tensor, raw: bool) -> anyhow::Result<Output> {
    let step = output.ty.step.filter(|_| !raw);
    if let Some(real) = step.and_then(|step| tensor.dequantise(step, &output.shape)) {
        return Ok(Output::Real(real));
    }
    let shape = IxDyn(&output.shape);
    Ok(match tensor {
        Tensor::I8(x) => Output::I8(ArrayD::from_shape_vec(shape, x)?),
        Tensor::I16(x) => Output::I16(ArrayD::from_shape_vec(shape, x)?),
        Tensor::U32(x) => Output::U32(ArrayD::from_shape_vec(shape, x)?),
        Tensor::U16(x) => {
            Output::U32(ArrayD::from_shape_vec(shape, x.into_iter().map(u32::from).collect())?)
        }
        Tensor::E3m5(x) | Tensor::Byte(x) => {
            Output::U32(ArrayD::from_shape_vec(shape, x.into_iter().map(u32::from).collect())?)
        }
    })
}

impl Output {
    fn write(&self, file: &mut dyn Write) -> anyhow::Result<()> {
        let written = match self {
            Output::Real(x) => npy::write(x, file),
            Output::I8(x) => npy::write(x, file),
            Output::I16(x) => npy::write(x, file),
            Output::U32(x) => npy::write(x, file),
        };
        Ok(written?)
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
