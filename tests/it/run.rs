//! Cases of `tests/run`, one file each: assembly, or IR text of any stage, that states what it
//! computes as comments `in NAME: numbers` and `out NAME: numbers`, or on the line of an
//! instruction why it cannot be executed, as `; error: message`.
//!
//! Integers are executed at the stage of the text and at each stage after it; programs also in
//! random orders of their units.

use std::fs;
use std::path::Path;

use ndarray::ArrayD;
use vitcod_compiler::interp::{FloatInterpreter, QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::{Elem, Graph, text};
use vitcod_compiler::passes::{self, Context, Level, Module};
use vitcod_compiler::split::GlobalTokens;
use vitcod_compiler::tiled::{Scheduled, Tiled};
use vitcod_emulator::{Emulator, Fault, Memory, task_listing};
use vitcod_isa::asm::{Assembly, AssemblyError, Kind};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Binding, Element, Header, Program};
use vitcod_testing::stated::stated;

/// Random orders in which a program is executed.
const ORDERS: u64 = 8;

/// A tensor of integers, by name.
type Named = (String, Tensor);

fn parse(text: &str) -> Result<Module, AssemblyError> {
    let none = |name: &str| Err(format!("there is no file {name}"));
    match Kind::of(text) {
        Some(Kind::Tiled) => Tiled::parse(text, &none).map(Module::Tiled),
        Some(Kind::Scheduled) => Scheduled::parse(text, &none).map(Module::Scheduled),
        Some(Kind::Program) => {
            let assembly = Assembly::parse(text, &none)?;
            assembly.check().map(|()| Module::Program(assembly.program))
        }
        None => text::parse(text, &mut |name| none(name)).map(Module::Graph),
    }
}

/// The numbers of the comment `in NAME: numbers`, or `out`.
fn numbers<'t>(text: &'t str, direction: &str, name: &str) -> Vec<&'t str> {
    let key = format!("{direction} {name}: ");
    let mut lines =
        text.lines().filter_map(|line| line.trim_start_matches(['/', ';', ' ']).strip_prefix(&key));
    lines.next().unwrap_or_else(|| panic!("no line `{key}`")).split_whitespace().collect()
}

fn integers(text: &str, direction: &str, name: &str, elem: Elem) -> Tensor {
    let numbers = numbers(text, direction, name).into_iter();
    match elem {
        Elem::I8 => Tensor::I8(numbers.map(|number| number.parse().unwrap()).collect()),
        Elem::I16 => Tensor::I16(numbers.map(|number| number.parse().unwrap()).collect()),
        _ => panic!("{name} is of {elem:?}"),
    }
}

fn elem(binding: &Binding) -> Elem {
    match binding.element {
        Element::I8 => Elem::I8,
        Element::I16 => Elem::I16,
        Element::Row { .. } | Element::Bits { .. } => {
            panic!("{}: only numbers are stated", binding.name)
        }
    }
}

/// A real graph and what it states, exactly.
fn assert_real(graph: &Graph, text: &str) {
    let real = |direction: &str, name: &str| -> Vec<f32> {
        numbers(text, direction, name).into_iter().map(|number| number.parse().unwrap()).collect()
    };
    let inputs = graph.inputs.iter().map(|input| {
        ArrayD::from_shape_vec(graph.ty(input.value).shape.clone(), real("in", &input.name))
            .unwrap()
    });
    let inputs: Vec<_> = inputs.collect();
    let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    let outputs = FloatInterpreter::new(graph).unwrap().run(&views).unwrap();
    for (output, found) in graph.outputs.iter().zip(outputs) {
        assert_eq!(found.into_raw_vec_and_offset().0, real("out", &output.name), "{}", output.name);
    }
}

/// The outputs of a module of integers; of a program, whichever order its units take.
fn execute(module: &Module, input: &dyn Fn(&str, Elem) -> Tensor) -> Result<Vec<Named>, Fault> {
    match module {
        Module::Graph(graph) => {
            let inputs =
                graph.inputs.iter().map(|port| input(&port.name, graph.ty(port.value).elem));
            let outputs =
                QuantisedInterpreter::new(graph).unwrap().run(&inputs.collect::<Vec<_>>()).unwrap();
            Ok(graph.outputs.iter().map(|output| output.name.clone()).zip(outputs).collect())
        }
        Module::Tiled(tiled) => {
            let tasks = tiled.task_listing();
            on_memory(&tasks.program, input, |memory| task_listing::run(&tasks, memory))
        }
        Module::Scheduled(scheduled) => {
            let tasks = scheduled.task_listing();
            on_memory(&tasks.program, input, |memory| task_listing::run(&tasks, memory))
        }
        Module::Program(program) => {
            let mut emulator = Emulator::new(program.clone().into()).unwrap();
            let outputs = on_memory(program, input, |memory| emulator.run(memory));
            for seed in 0..ORDERS {
                let other =
                    on_memory(program, input, |memory| emulator.run_in_random_order(memory, seed));
                // Of several instructions that cannot be executed another one may come first.
                assert!(
                    other == outputs || other.is_err() && outputs.is_err(),
                    "seed {seed}: {other:?}"
                );
            }
            outputs
        }
    }
}

fn on_memory(
    program: &Program,
    input: &dyn Fn(&str, Elem) -> Tensor,
    run: impl FnOnce(&mut Memory) -> Result<(), Fault>,
) -> Result<Vec<Named>, Fault> {
    let Header { inputs, outputs, .. } = &program.header;
    let mut memory = Memory::new(program).unwrap();
    for binding in inputs {
        let bytes = binding.arranged(input(&binding.name, elem(binding)).to_le_bytes());
        memory.dram_mut()[binding.address as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    run(&mut memory)?;
    let held = |binding: &Binding| {
        let bytes = &memory.dram()[binding.address as usize..][..binding.bytes().unwrap() as usize];
        (binding.name.clone(), Tensor::from_le_bytes(elem(binding), bytes).unwrap())
    };
    Ok(outputs.iter().map(held).collect())
}

fn assert_stated(module: &Module, text: &str) {
    let outcome = execute(module, &|name, elem| integers(text, "in", name, elem));
    match (outcome, &stated(text)[..]) {
        (Ok(outputs), []) => {
            for (name, found) in outputs {
                assert_eq!(
                    found,
                    integers(text, "out", &name, found.elem()),
                    "{name}, {}",
                    module.level()
                );
            }
        }
        (Err(fault), [(line, message)]) => {
            let before = text.lines().take(line - 1);
            let index = before
                .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_lowercase()))
                .count();
            assert_eq!(fault.index, index, "{fault}");
            assert!(fault.to_string().contains(message), "{fault}");
        }
        (outcome, stated) => panic!("stated {stated:?}, but {outcome:?}"),
    }
}

fn assert_computes(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let module = parse(&text).unwrap_or_else(|problems| panic!("{}", problems.render("", &text)));
    if let Some(graph) = module.graph().filter(|graph| graph.stage.is_float()) {
        return assert_real(graph, &text);
    }
    assert_stated(&module, &text);
    let machine = Machine::preset("vitcod").unwrap();
    let context =
        Context { machine: Some(&machine), globals: GlobalTokens::Above(2), ..Context::default() };
    let rest = passes::pipeline(module.level(), Level::Program, &context);
    passes::run(module, &rest, &context, |_, module| assert_stated(module, &text)).unwrap();
}

#[test]
fn cases() {
    insta::glob!("../run", "*.{s,vir}", assert_computes);
}
