//! The emulator computes what the reference interpreter computes, bit for bit, on every machine.

use vitcod_compiler::codegen::CodegenError;
use vitcod_compiler::frontend::import_file;
use vitcod_compiler::import::ImportOptions;
use vitcod_isa::machine::PRESETS;
use vitcod_support::random::SplitMix64;
use vitcod_testing::equal::assert_bit_equal;
use vitcod_testing::files::model;
use vitcod_testing::machine::{self, preset, with_scratchpad};
use vitcod_testing::vit::{SMALL, Vit, quantised, vit};

#[test]
fn a_vit_is_bit_equal_on_every_preset() {
    let graph = quantised(&vit(SMALL, 1));
    for (name, _) in PRESETS {
        assert_bit_equal(&graph, &preset(name)).unwrap();
    }
}

#[test]
fn a_vit_with_several_outputs_is_bit_equal() {
    let graph = quantised(&vit(Vit { all_tokens: true, ..SMALL }, 2));
    assert_bit_equal(&graph, &preset("vitcod")).unwrap();
}

#[test]
fn random_vits_are_bit_equal_on_random_machines() {
    let mut random = SplitMix64::new(7);
    let mut compiled = 0;
    for round in 0..48 {
        let mut pick = |choices: &[usize]| choices[random.bits() as usize % choices.len()];
        let patch = pick(&[2, 4, 5]);
        let shape = Vit {
            image: patch * pick(&[1, 2, 3, 6]),
            patch,
            channels: pick(&[1, 3]),
            heads: pick(&[1, 2, 3]),
            head_dim: pick(&[1, 7, 8, 16]),
            hidden: pick(&[5, 32, 100]),
            depth: pick(&[1, 2]),
            classes: pick(&[1, 10, 33]),
            all_tokens: pick(&[0, 1]) == 1,
        };
        let graph = quantised(&vit(shape, round));
        let machine = machine::random(&mut random);
        match assert_bit_equal(&graph, &machine) {
            Ok(_) => compiled += 1,
            Err(CodegenError::TooSmall { .. } | CodegenError::NoPlacement { .. }) => {
                assert!(machine.sram.bytes < 8 * 1024, "{shape:?} does not fit {machine}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(compiled > 40, "{compiled}");
}

#[test]
fn keys_and_values_of_one_head_at_a_time_are_enough() {
    let graph =
        quantised(&vit(Vit { image: 24, patch: 2, heads: 3, head_dim: 64, depth: 1, ..SMALL }, 5));
    // Of 145 keys and values 18.6 KB; those of two heads would take 37 KB.
    assert_bit_equal(&graph, &with_scratchpad(24 * 1024)).unwrap();
}

#[test]
fn a_machine_without_room_is_named_with_the_layer() {
    let graph = quantised(&vit(Vit { head_dim: 64, ..SMALL }, 3));
    let message = assert_bit_equal(&graph, &with_scratchpad(1024)).unwrap_err().to_string();
    assert!(message.contains("vitcod is too small for"), "{message}");
}

/// One of each library and exporter's form of attention, and both kinds of integer inputs.
#[test]
fn exports_are_bit_equal() {
    let machine = preset("vitcod");
    for name in [
        "torchvision.legacy.fused.op17",
        "torchvision.dynamo.fused.op23",
        "hfvit.dynamo.fused.op20",
        "hfvit.dynamo.unfused.op20.sim",
        "bert.legacy.unfused.op14",
        "bert.dynamo.fused.op24",
        "swin.legacy.unfused.op17.sim",
        "tvswin.dynamo.unfused.op20",
        "pose.dynamo.unfused.op20",
    ] {
        let path = model(&format!("{name}.onnx"));
        let graph = import_file(&path, &ImportOptions::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_bit_equal(&quantised(&graph), &machine)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Rows of the mask that are loaded once, or for each stripe of queries where they would take too
/// much room.
#[test]
fn masks_of_keys_are_bit_equal_in_small_scratchpads() {
    let path = model("bert.dynamo.unfused.op20.onnx");
    let graph = quantised(&import_file(&path, &ImportOptions::default()).unwrap());
    // The last is no multiple of what buffers are aligned to.
    for bytes in [8 * 1024, 3 * 1024, 3 * 1024 - 5] {
        assert_bit_equal(&graph, &with_scratchpad(bytes)).unwrap();
    }
}
