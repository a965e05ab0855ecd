use std::collections::BTreeSet;

use vitcod_isa::machine::Machine;

use super::{graph, graph_by};
use crate::calibration::noise;
use crate::interp::{FloatInterpreter, QuantisedInterpreter, Tensor};
use crate::ir::{GraphInput, OPERATIONS, Stage};
use crate::passes::{self, Context};

#[test]
fn every_operation_of_every_stage_occurs() {
    for stage in Stage::ALL {
        let mut found = BTreeSet::new();
        for seed in 0..400 {
            let graph = graph(stage, seed);
            graph.verify().unwrap_or_else(|error| panic!("{seed}: {error}\n{graph}"));
            found.extend(graph.operator_counts().into_keys());
        }
        let specs = OPERATIONS.iter().filter(|spec| spec.stages.contains(&stage));
        // Attention without masks stays whole, with masks no `sddmm` is left.
        let expected: BTreeSet<&str> = specs.map(|spec| spec.mnemonic).collect();
        assert_eq!(found, expected, "{stage}");
    }
}

#[test]
fn any_bytes_choose_a_graph() {
    for stage in Stage::ALL {
        // Choices are remainders: the same byte again and again makes few graphs.
        let graphs = (0..=255).map(|byte: u8| {
            graph_by(stage, &std::array::from_fn::<_, 40, _>(|i| byte.wrapping_mul(i as u8 + 1)))
        });
        let texts: BTreeSet<String> =
            graphs.inspect(|graph| graph.verify().unwrap()).map(|g| g.to_string()).collect();
        assert!(texts.len() > 100, "{stage}: {} graphs", texts.len());
    }
}

#[test]
fn they_run_and_no_pass_panics() {
    let machine = Machine::preset("vitcod").unwrap();
    for seed in 0..300 {
        for stage in Stage::ALL {
            let graph = graph(stage, seed);
            let samples = noise(&graph, 1);
            if stage.is_float() {
                let inputs: Vec<_> = samples.iter().map(|input| input.view()).collect();
                FloatInterpreter::new(&graph).unwrap().run(&inputs).unwrap();
            } else {
                let tensor = |(x, input): (&ndarray::ArrayD<f32>, &GraphInput)| {
                    Tensor::quantise(&x.view(), graph.ty(input.value)).unwrap()
                };
                let inputs: Vec<Tensor> = samples.iter().zip(&graph.inputs).map(tensor).collect();
                QuantisedInterpreter::new(&graph).unwrap().run(&inputs).unwrap();
            }
            let context =
                Context { machine: Some(&machine), samples: Some(&samples), ..Context::default() };
            for pass in passes::PASSES.iter().filter(|pass| pass.requires == stage.into()) {
                let _ = pass.run(graph.clone().into(), &context);
            }
        }
    }
}
