//! The stages between a split graph and a program: their text is theirs, and each computes what the
//! one before it computes.

use bytes::Bytes;
use vitcod_compiler::calibration;
use vitcod_compiler::codegen::{self, CodegenError};
use vitcod_compiler::interp::{QuantisedInterpreter, Tensor};
use vitcod_compiler::ir::{Graph, GraphInput, Stage};
use vitcod_compiler::split::{self, GlobalTokens, Packing};
use vitcod_compiler::synthetic::random;
use vitcod_compiler::tiled::{Scheduled, Tiled};
use vitcod_emulator::{Emulator, task_listing};
use vitcod_isa::asm::{Sections, TaskListing};
use vitcod_isa::machine::Machine;
use vitcod_support::random::SplitMix64;
use vitcod_testing::equal::executed;
use vitcod_testing::machine;
use vitcod_testing::vit::{Vit, quantised, vit};

/// The bytes of all outputs.
type Outputs = Vec<Vec<u8>>;

/// Inputs of noise, and the outputs of the reference interpreter.
fn reference(graph: &Graph) -> (Vec<Tensor>, Outputs) {
    let noise = calibration::noise(graph, 1);
    let quantise = |(input, x): (&GraphInput, &ndarray::ArrayD<f32>)| {
        Tensor::of_input(graph, input.value, &x.view())
    };
    let inputs: Vec<Tensor> =
        graph.inputs.iter().zip(&noise).map(quantise).collect::<Option<_>>().unwrap();
    let outputs = QuantisedInterpreter::new(graph).unwrap().run(&inputs).unwrap();
    (inputs, outputs.iter().map(Tensor::to_le_bytes).collect())
}

fn interpreted(tasks: &TaskListing, inputs: &[Tensor]) -> Outputs {
    executed(&tasks.program, inputs, |memory| task_listing::run(tasks, memory).unwrap())
}

/// Both forms of text, with everything in it and with a side file, are read as what was printed.
fn assert_round_trip<T: PartialEq + std::fmt::Debug>(
    value: &T,
    text: impl Fn(&T, Sections) -> String,
    parse: impl Fn(&str, &Bytes) -> T,
    side: Vec<u8>,
) {
    for (sections, side) in
        [(Sections::Inline, Vec::new()), (Sections::Side("side".to_owned()), side)]
    {
        let written = text(value, sections.clone());
        let again = parse(&written, &side.into());
        assert_eq!(again, *value);
        assert_eq!(text(&again, sections), written);
    }
}

/// Goes through the stages of a quantised or split graph and compares each with the first.
fn assert_stages(
    graph: &Graph,
    machine: &Machine,
    globals: GlobalTokens,
) -> Result<(), CodegenError> {
    let (inputs, expected) = reference(graph);
    let split = match graph.stage {
        Stage::Quantised => split::run(graph, machine, globals, Packing::default()).unwrap().0,
        _ => graph.clone(),
    };
    let tiled = codegen::tile(&split, machine, codegen::Options::default())?;
    tiled.verify().unwrap_or_else(|error| panic!("{error}\n{tiled}"));
    assert_round_trip(
        &tiled,
        Tiled::text,
        |text, side| {
            Tiled::parse(text, &|_| Ok(side.clone()))
                .unwrap_or_else(|error| panic!("{}", error.render("tiled", text)))
        },
        Sections::side(&tiled.image, tiled.ir.as_ref()),
    );
    assert_eq!(interpreted(&tiled.task_listing(), &inputs), expected, "tiled, on {machine}");

    let scheduled = codegen::schedule(&tiled)?;
    scheduled.verify().unwrap_or_else(|error| panic!("{error}\n{scheduled}"));
    assert_round_trip(
        &scheduled,
        Scheduled::text,
        |text, side| {
            let parsed = Scheduled::parse(text, &|_| Ok(side.clone()));
            parsed.unwrap_or_else(|error| panic!("{}", error.render("scheduled", text)))
        },
        Sections::side(&scheduled.tiled.image, scheduled.tiled.ir.as_ref()),
    );
    assert_eq!(
        interpreted(&scheduled.task_listing(), &inputs),
        expected,
        "scheduled, on {machine}"
    );

    let program = codegen::emit(&scheduled)?;
    let mut emulator = Emulator::new(program.clone().into()).unwrap();
    assert_eq!(
        executed(&program, &inputs, |memory| emulator.run(memory).unwrap()),
        expected,
        "emitted, on {machine}"
    );
    for seed in 0..3 {
        let outputs = executed(&program, &inputs, |memory| {
            emulator.run_in_random_order(memory, seed).unwrap()
        });
        assert_eq!(outputs, expected, "in the order of seed {seed}, on {machine}");
    }
    Ok(())
}

#[test]
fn stages_of_random_graphs_compute_the_same() {
    let mut random = SplitMix64::new(5);
    let mut went = 0;
    for seed in 0..60 {
        let graph = random::graph(Stage::ALL[2 + seed as usize % 2], seed);
        let machine = if seed % 3 == 0 {
            Machine::preset("vitcod").unwrap()
        } else {
            machine::random(&mut random)
        };
        match assert_stages(&graph, &machine, GlobalTokens::Above(2)) {
            Ok(()) => went += 1,
            Err(CodegenError::TooSmall { .. } | CodegenError::Unsupported(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(went > 30, "{went} graphs went through all stages");
}

#[test]
fn stages_of_transformers_on_random_machines_compute_the_same() {
    let mut random = SplitMix64::new(11);
    let shape = Vit {
        image: 12,
        patch: 4,
        channels: 3,
        heads: 2,
        head_dim: 8,
        hidden: 33,
        depth: 1,
        classes: 10,
        all_tokens: true,
    };
    let graph = quantised(&vit(shape, 1));
    let mut went = 0;
    for _ in 0..8 {
        match assert_stages(&graph, &machine::random(&mut random), GlobalTokens::Auto) {
            Ok(()) => went += 1,
            Err(CodegenError::TooSmall { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(went > 4, "{went} machines are large enough");
}
