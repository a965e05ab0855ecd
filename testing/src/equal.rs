//! Compares the emulator with the reference interpreter, bit for bit.

use std::sync::Arc;

use ndarray::ArrayD;
use vitcod_compiler::calibration;
use vitcod_compiler::codegen::{self, CodegenError, Options};
use vitcod_compiler::interp::{QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::Graph;
use vitcod_emulator::{Emulator, Memory};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Binding, Program};
use vitcod_runtime::{EmulatorDevice, Integers, Model, Report};

/// Compiles a graph, emulates one item of noise, and asserts that every output is that of the
/// reference interpreter, bit for bit.
pub fn assert_bit_equal(quantised: &Graph, machine: &Machine) -> Result<Report, CodegenError> {
    assert_bit_equal_with(quantised, machine, Options::default())
}

/// [`assert_bit_equal`] with options of code generation.
pub fn assert_bit_equal_with(
    quantised: &Graph,
    machine: &Machine,
    options: Options,
) -> Result<Report, CodegenError> {
    let program = codegen::compile(quantised, machine, options)?;
    // Execute the program as read from its file.
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
        .map(|(input, x)| Tensor::of_input(quantised, input.value, &x.view()).unwrap())
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

/// Number of random orders of units in which each program of a test is executed in addition.
const CHAOS: u64 = 2;

/// The bytes of all outputs of an execution on these inputs.
pub fn executed(
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
        let bytes = binding.bytes().unwrap() as usize;
        binding.restored(memory.dram()[binding.address as usize..][..bytes].to_vec())
    };
    program.header.outputs.iter().map(output).collect()
}
