use std::fs;

use ndarray::{Array4, ArrayD, Axis, Slice, s};
use ndarray_npy::{read_npy, write_npy};
use vitcod_compiler::autoencoder::Form;

use super::*;

const DIGITS: &str = "examples/digits/digits.onnx";
const SPARSE: &str = "examples/digits/digits_sparse90_ae.onnx";
const MASKS: &str = "examples/digits/masks90.npy";

/// Some digits as `x.npy` of a new sandbox.
fn digits() -> Sandbox {
    let sandbox = Sandbox::new();
    let images: ArrayD<f32> = read_npy(file("examples/digits/calibration.npy")).unwrap();
    write_npy(sandbox.path("x.npy"), &images.slice_axis(Axis(0), Slice::from(..8)).to_owned())
        .unwrap();
    sandbox
}

/// Masks in the authors' form: 1 where an entry is pruned.
fn masks() -> Array4<u8> {
    read_npy::<_, Array4<bool>>(file(MASKS)).unwrap().mapv(u8::from)
}

/// Compiles a model calibrated on `x.npy`, runs it on the same, compares all bits, and returns what
/// compiling and running print.
fn check(sandbox: &Sandbox, onnx: &str, options: &[&str]) -> [String; 2] {
    let compiled =
        sandbox
            .ok(&[&["compile", onnx, "--calibration", "x.npy", "-o", "p.vitcod"][..], options]
                .concat());
    let run = sandbox.ok(&["run", "p.vitcod", "--input", "x.npy", "--check"]);
    assert!(run.contains("check: all ") && run.contains(" cycles ("), "{options:?}: {run}");
    [compiled, run]
}

#[test]
fn masked_programs_compute_what_the_interpreter_does() {
    let sandbox = digits();
    let (onnx, path) = (file(SPARSE), file(MASKS));
    for machine in ["vitcod", "vitcod-sim"] {
        let mut outputs = Vec::new();
        for globals in ["auto", "0", "16", "64", "65"] {
            let options = ["--masks", &path, "--theta-d", globals, "--machine", machine];
            let [compiled, run] = check(&sandbox, &onnx, &options);
            for text in [compiled, run] {
                assert!(
                    text.contains(" auto-encoder ") && text.contains(" global tokens "),
                    "{text}"
                );
            }
            sandbox.ok(&["run", "p.vitcod", "--input", "x.npy", "--raw", "--output", "y.npy"]);
            outputs.push(fs::read(sandbox.path("y.npy")).unwrap());
        }
        assert!(
            outputs.iter().all(|output| *output == outputs[0]),
            "global tokens do not change bits"
        );
    }
}

#[test]
fn masks_mean_the_same_in_either_polarity() {
    let sandbox = digits();
    write_npy(sandbox.path("kept.npy"), &masks().mapv(|pruned| 1 - pruned)).unwrap();
    let compile = |options: &[&str]| {
        let onnx = file(SPARSE);
        sandbox
            .ok(&[&["compile", &onnx, "--calibration", "x.npy", "-o", "p.vitcod"], options]
                .concat());
        fs::read(sandbox.path("p.vitcod")).unwrap()
    };
    let pruned = file(MASKS);
    let expected = compile(&["--masks", &pruned]);
    assert!(expected == compile(&["--masks", &pruned, "--polarity", "pruned"]));
    assert!(expected == compile(&["--masks", "kept.npy"]));
    assert!(expected == compile(&["--masks", "kept.npy", "--polarity", "kept"]));
    assert!(expected != compile(&[]));
}

#[test]
fn baked_masks_are_compiled_as_masks() {
    let sandbox = Sandbox::new();
    for name in ["vit.legacy.unfused.op17.masked", "vit.dynamo.unfused.op20.masked"] {
        fs::copy(model(&format!("{name}.in.npy")), sandbox.path("x.npy")).unwrap();
        let onnx = model(&format!("{name}.onnx"));
        check(&sandbox, &onnx, &[]);
        assert!(sandbox.ok(&["inspect", &onnx]).contains("masks       2 of 2 attentions, "));

        // Pruned again: what the model's own masks leave is pruned further.
        sandbox.ok(&[
            "prune",
            &onnx,
            "--calibration",
            "x.npy",
            "--sparsity",
            "0.7",
            "-o",
            "masks.npy",
        ]);
        check(&sandbox, &onnx, &["--masks", "masks.npy"]);
    }
}

#[test]
fn auto_encoders_take_every_form() {
    for (onnx, input) in [
        (file(SPARSE), None),
        (
            model("vitcod.legacy.unfused.op17.onnx"),
            Some(model("vitcod.legacy.unfused.op17.in.npy")),
        ),
        (
            model("vitcod.dynamo.unfused.op20.onnx"),
            Some(model("vitcod.dynamo.unfused.op20.in.npy")),
        ),
    ] {
        let sandbox = digits();
        if let Some(input) = input {
            fs::copy(input, sandbox.path("x.npy")).unwrap();
        }
        assert!(sandbox.ok(&["inspect", &onnx]).contains(" mix_heads\n"));
        for form in Form::ALL {
            let [compiled, run] = check(&sandbox, &onnx, &["--autoencoder", form.name()]);
            for text in [compiled, run] {
                let mut lines =
                    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                let chosen = ["auto-encoder", form.name()];
                assert!(lines.any(|words| words.starts_with(&chosen)), "{text}");
            }
            let listing = sandbox.ok(&["disasm", "p.vitcod"]);
            assert_eq!(listing.contains(" encode "), form == Form::Apart);
            assert_eq!(listing.contains(" decode "), form != Form::FoldBoth);
        }
        let [_, run] = check(&sandbox, &onnx, &["--autoencoder", "auto"]);
        assert!(run.contains("fewest weighted cycles"), "{run}");
    }
}

#[test]
fn auto_encoders_are_made_from_samples() {
    let sandbox = digits();
    let onnx = file(DIGITS);
    for (choice, lossless) in [("pca:1", false), ("pca:2:apart", false), ("pca:3", true)] {
        let [compiled, _] = check(&sandbox, &onnx, &["--autoencoder", choice]);
        let (_, table) = compiled.split_once("auto-encoder's error").unwrap();
        let layers: Vec<Vec<&str>> = table
            .lines()
            .filter(|line| line.contains(" /blocks/"))
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(layers.len(), 4, "{table}");
        for layer in layers {
            let [q, k]: [f64; 2] = [1, 3].map(|column| layer[column].parse().unwrap());
            assert!(q < 100.0 && k < 100.0 && lossless == (q + k < 1e-6), "{table}");
        }
    }
    check(&sandbox, &onnx, &["--autoencoder", "pca:2", "--masks", &file(MASKS)]);
}

#[test]
fn auto_encoders_that_cannot_be_made_are_refused() {
    let sandbox = digits();
    let (dense, sparse) = (file(DIGITS), file(SPARSE));
    let compile = |onnx: &str, choice: &str, samples: bool| {
        let samples = if samples { &["--calibration", "x.npy"][..] } else { &[] };
        sandbox.fails(
            &[&["compile", onnx, "-o", "p.vitcod", "--autoencoder", choice], samples].concat(),
        )
    };
    let error = compile(&dense, "pca:4", true);
    assert!(
        error.contains(
            "digits.onnx: principal-components: /blocks/blocks.0/attn/MatMul: 4 compressed heads above 3 heads"
        ),
        "{error}"
    );
    assert!(
        compile(&dense, "pca:0", true)
            .contains("/blocks/blocks.0/attn/MatMul: no compressed heads")
    );
    assert!(compile(&dense, "pca:2", false).contains("needs --calibration"));
    assert!(
        compile(&dense, "apart", true)
            .contains("digits.onnx: auto-encoders: there is no auto-encoder")
    );
    assert!(
        compile(&sparse, "pca:2", true).contains(
            "_ae.onnx: principal-components: there is no attention without auto-encoders"
        )
    );
}

#[test]
fn wrong_masks_are_located_errors() {
    let sandbox = digits();
    let onnx = file(SPARSE);
    let fails = |masks: &Array4<u8>, options: &[&str]| {
        write_npy(sandbox.path("m.npy"), masks).unwrap();
        sandbox
            .fails(&[&["compile", &onnx, "-o", "p.vitcod", "--masks", "m.npy"], options].concat())
    };
    let masks = masks();
    let with = |at: [usize; 4], element: u8| {
        let mut masks = masks.clone();
        masks[at] = element;
        masks
    };

    // Of another model.
    for part in [s![..3, .., .., ..], s![.., ..2, .., ..], s![.., .., ..64, ..64]] {
        let error = fails(&masks.slice(part).to_owned(), &[]);
        assert!(error.contains("m.npy") && error.contains("digits_sparse90_ae.onnx"), "{error}");
        assert!(error.contains("/blocks/blocks.3/attn/MatMul"), "{error}");
    }
    let error = fails(&masks.slice(s![.., .., ..64, ..64]).to_owned(), &[]);
    assert!(
        error.contains("masks of shape [3, 64, 64]: expected [heads, queries, keys] = [3, 65, 65]"),
        "{error}"
    );

    // No masks at all.
    assert!(fails(&with([1, 2, 3, 4], 2), &[]).contains(
        "m.npy is not a valid mask file: the mask is not binary: element [1, 2, 3, 4] is 2"
    ));
    assert!(
        fails(&with([0, 0, 0, 7], 1), &[])
            .contains("m.npy is not a valid mask file: the mask's polarity cannot be told")
    );
    let mut empty_row = masks.clone();
    empty_row.slice_mut(s![2, 1, 5, ..]).fill(1);
    let error = fails(&empty_row, &["--polarity", "pruned"]);
    assert!(
        error.contains("m.npy is not a valid mask file: layer 2, head 1: row 5 is pruned entirely"),
        "{error}"
    );
    let error = fails(&masks, &["--polarity", "kept"]);
    assert!(error.contains("is pruned entirely"), "{error}");

    let bytes = fs::read(file(MASKS)).unwrap();
    for parts in 0..16 {
        fs::write(sandbox.path("m.npy"), &bytes[..bytes.len() * parts / 16]).unwrap();
        let error = sandbox.fails(&["compile", &onnx, "-o", "p.vitcod", "--masks", "m.npy"]);
        assert!(error.contains("m.npy is not a valid mask file"), "{error}");
    }
    assert!(
        sandbox
            .fails(&["compile", &onnx, "-o", "p.vitcod", "--masks", "no.npy"])
            .contains("cannot read no.npy")
    );
}

#[test]
fn masks_are_never_overwritten() {
    let sandbox = digits();
    fs::copy(file(MASKS), sandbox.path("m.npy")).unwrap();
    let error = sandbox.fails(&["compile", &file(SPARSE), "--masks", "m.npy", "-o", "m.npy"]);
    assert!(error.contains("m.npy is an input"), "{error}");
}

#[test]
fn wrong_choices_are_wrong_usage() {
    let sandbox = Sandbox::new();
    for options in [
        ["--theta-d", "many"],
        ["--autoencoder", "none"],
        ["--autoencoder", "pca:"],
        ["--polarity", "kept"],
        ["--polarity", "both"],
    ] {
        let arguments = [&["compile", "x.onnx", "-o", "p.vitcod"][..], &options].concat();
        assert_eq!(
            sandbox.command(&arguments).output().unwrap().status.code(),
            Some(2),
            "{options:?}"
        );
    }
}
