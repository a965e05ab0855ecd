//! What tests across the crates share: vision transformers of any size, and running one by
//! reference and by emulator.

use std::sync::Arc;

use ndarray::ArrayD;
use vitcod_compiler::calibration::{self, Calibration};
use vitcod_compiler::codegen::{self, CodegenError, Options};
use vitcod_compiler::interp::{QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::{BinaryFn, Graph, OpKind, Stage, TensorType, UnaryFn, Value};
use vitcod_compiler::quantise;
use vitcod_emulator::{Emulator, Memory};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Binding, Program};
use vitcod_runtime::{EmulatorDevice, Integers, Model, Report};

/// Extents of a vision transformer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vit {
    pub(crate) image: usize,
    pub(crate) patch: usize,
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) hidden: usize,
    pub(crate) depth: usize,
    pub(crate) classes: usize,
    /// Whether only the class token reaches the head, or all tokens are returned as well.
    pub(crate) all_tokens: bool,
}

/// One that takes no time, with heads and tokens that no power of two divides.
pub(crate) const SMALL: Vit = Vit {
    image: 16,
    patch: 4,
    channels: 3,
    heads: 3,
    head_dim: 8,
    hidden: 48,
    depth: 2,
    classes: 10,
    all_tokens: false,
};

/// SplitMix64, as weights.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next integer.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of [-1, 1).
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// A machine whose every number is drawn.
pub(crate) fn machine(random: &mut Random) -> Machine {
    let mut pick = |choices: &[u32]| choices[random.next() as usize % choices.len()];
    let mut machine = Machine::preset("vitcod").unwrap();
    machine.name = "random".to_owned();
    machine.lines.count = pick(&[1, 3, 8, 64, 256]);
    machine.lines.macs = pick(&[1, 4, 8, 16, 64]);
    machine.lines.port_bytes = pick(&[1, 8, 64]);
    machine.lines.fill_cycles = pick(&[0, 12, 100]);
    machine.sram.bytes = pick(&[6, 8, 12, 16, 24, 32, 64, 320, 4096]) * 1024;
    machine.dram.bytes_per_cycle = [1.0, 12.8, 153.6, 1000.0][pick(&[0, 1, 2, 3]) as usize];
    machine.dram.latency_cycles = pick(&[0, 50, 1000]);
    machine.dram.burst_bytes = pick(&[1, 32, 64, 256]);
    machine.softmax.scores_per_cycle = pick(&[1, 8, 64]);
    machine.vector.elements_per_cycle = pick(&[1, 16, 100]);
    machine
}

/// A canonical graph with seeded weights.
pub(crate) fn vit(vit: Vit, seed: u64) -> Graph {
    let mut net = Net {
        graph: Graph::new("vit", Stage::Canonical),
        random: Random(seed),
        layer: String::new(),
    };
    let dim = vit.heads * vit.head_dim;
    let x = net.graph.add_input("x", TensorType::f32([1, vit.channels, vit.image, vit.image]));
    let side = vit.image / vit.patch;
    net.layer = "patch_embed".to_owned();
    let x = net.push(OpKind::Pixels {}, &[x]);
    let patches = OpKind::Patches {
        map: [vit.image; 2],
        kernel: [vit.patch; 2],
        stride: [vit.patch; 2],
        pad: [0; 4],
    };
    let patches = net.push(patches, &[x]);
    let embedded = net.linear(patches, vit.channels * vit.patch * vit.patch, dim);
    let position = net.weights([side * side, dim], 0.5);
    let embedded = net.add(embedded, position);
    let class = net.weights([1, dim], 0.5);
    let mut stream = net.push(OpKind::Concat { axis: 0 }, &[class, embedded]);
    for block in 0..vit.depth {
        net.layer = format!("blocks.{block}.attn");
        let normed = net.norm(stream, dim);
        let [q, k, v] = [(); 3].map(|()| net.linear(normed, dim, dim));
        let kind = OpKind::Attention {
            heads: vit.heads,
            scale: (vit.head_dim as f64).powf(-0.5),
            windows: 1,
        };
        let attended = net.push(kind, &[q, k, v]);
        let projected = net.linear(attended, dim, dim);
        stream = net.add(stream, projected);
        net.layer = format!("blocks.{block}.mlp");
        let normed = net.norm(stream, dim);
        let hidden = net.linear(normed, dim, vit.hidden);
        let hidden = net.push(OpKind::Unary { f: UnaryFn::Gelu }, &[hidden]);
        let contracted = net.linear(hidden, vit.hidden, dim);
        stream = net.add(stream, contracted);
    }
    net.layer = "head".to_owned();
    let token = net.push(OpKind::Slice { axis: 0, start: 0, len: 1, stride: 1 }, &[stream]);
    let token = net.norm(token, dim);
    let logits = net.linear(token, dim, vit.classes);
    net.graph.add_output("logits", logits, [1, vit.classes]);
    if vit.all_tokens {
        net.graph.add_output("tokens", stream, [1, side * side + 1, dim]);
    }
    net.graph
}

struct Net {
    graph: Graph,
    random: Random,
    layer: String,
}

impl Net {
    fn weights(&mut self, shape: impl Into<Vec<usize>>, scale: f32) -> Value {
        let shape = shape.into();
        let elements: Vec<f32> =
            (0..shape.iter().product()).map(|_| self.random.unit() * scale).collect();
        self.graph.add_f32("", shape, &elements)
    }

    fn push(&mut self, kind: OpKind, operands: &[Value]) -> Value {
        let node = self.graph.add_node(format!("{}.{}", self.layer, kind.mnemonic()));
        self.graph.push(kind, operands, &[node]).unwrap()
    }

    fn linear(&mut self, x: Value, inputs: usize, outputs: usize) -> Value {
        let weights = self.weights([outputs, inputs], (3.0 / inputs as f32).sqrt());
        let bias = self.weights([outputs], 0.3);
        self.push(OpKind::Linear {}, &[x, weights, bias])
    }

    fn norm(&mut self, x: Value, dim: usize) -> Value {
        let (gamma, beta) = (self.weights([dim], 1.5), self.weights([dim], 0.3));
        self.push(OpKind::LayerNorm { eps: 1e-6 }, &[x, gamma, beta])
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        self.push(OpKind::Binary { f: BinaryFn::Add }, &[a, b])
    }
}

/// Quantises a graph by seeded noise.
pub(crate) fn quantised(graph: &Graph) -> Graph {
    let samples = calibration::noise(graph, 1);
    let views: Vec<_> = samples.iter().map(|sample| sample.view()).collect();
    quantise::quantise(graph, &Calibration::run(graph, &views).unwrap()).unwrap()
}

/// Compiles, emulates one item of noise, and asserts that every output has the bits of the
/// reference interpreter.
pub(crate) fn assert_bit_equal(
    quantised: &Graph,
    machine: &Machine,
) -> Result<Report, CodegenError> {
    assert_bit_equal_with(quantised, machine, Options::default())
}

/// [`assert_bit_equal`] of what is compiled with options.
pub(crate) fn assert_bit_equal_with(
    quantised: &Graph,
    machine: &Machine,
    options: Options,
) -> Result<Report, CodegenError> {
    let program = codegen::compile(quantised, machine, options)?;
    // What is executed has been through the file format.
    let model =
        Model::from_bytes(program.to_bytes().unwrap()).unwrap_or_else(|e| panic!("{machine}: {e}"));
    assert_eq!(**model.program(), program, "{machine}");
    Ok(run_and_compare(quantised, &program, &model))
}

fn run_and_compare(quantised: &Graph, program: &Program, model: &Model) -> Report {
    let inputs: Vec<ArrayD<f32>> = calibration::noise(quantised, 1);
    let tensors: Vec<Tensor> = quantised
        .inputs
        .iter()
        .zip(&inputs)
        .map(|(input, x)| Tensor::quantise(&x.view(), quantised.ty(input.value)).unwrap())
        .collect();
    let expected = QuantisedInterpreter::new(quantised).unwrap().run(&tensors).unwrap();
    let named: Vec<(&str, _)> = quantised
        .inputs
        .iter()
        .zip(&inputs)
        .map(|(input, x)| (input.name.as_str(), x.view()))
        .collect();
    let mut session = model.open(&EmulatorDevice).unwrap();
    let outputs = session.run(&named).unwrap();
    for (output, expected) in outputs.iter().zip(&expected) {
        let same = match (&output.values, expected) {
            (Integers::I8(a), Tensor::I8(b)) => a.iter().eq(b),
            (Integers::I16(a), Tensor::I16(b)) => a.iter().eq(b),
            _ => false,
        };
        assert!(same, "output {} differs on {}", output.name, program.machine);
    }
    let mut emulator = Emulator::new(Arc::clone(model.program())).unwrap();
    let expected: Vec<Vec<u8>> = expected.iter().map(Tensor::to_le_bytes).collect();
    for seed in 0..CHAOS {
        let run = |memory: &mut Memory| emulator.run_in_random_order(memory, seed).unwrap();
        assert!(
            executed(program, &tensors, run) == expected,
            "seed {seed}: another order, other bits on {}",
            program.machine
        );
    }
    session.report()
}

/// Random orders of a program's units in which each program that tests compile is executed besides.
const CHAOS: u64 = 2;

/// The bytes of all outputs that an execution makes of inputs.
pub(crate) fn executed(
    program: &Program,
    inputs: &[Tensor],
    execute: impl FnOnce(&mut Memory),
) -> Vec<Vec<u8>> {
    let mut memory = Memory::new(program).unwrap();
    for (binding, input) in program.header.inputs.iter().zip(inputs) {
        let bytes = binding.arranged(input.to_le_bytes());
        memory.dram_mut()[binding.address as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    execute(&mut memory);
    let output = |binding: &Binding| {
        memory.dram()[binding.address as usize..][..binding.bytes().unwrap() as usize].to_vec()
    };
    program.header.outputs.iter().map(output).collect()
}
