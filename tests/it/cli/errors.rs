use std::fs;

use bytes::Bytes;
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::write_npy;
use vitcod_isa::instr::Op;
use vitcod_isa::program::Program;

use super::*;

#[test]
fn cut_files_are_located_errors() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let cut = |name: &str, bytes: &[u8], parts: usize| {
        fs::write(sandbox.path(name), &bytes[..bytes.len() * parts / 16]).unwrap()
    };
    let onnx = fs::read(model(&format!("{VIT}.onnx"))).unwrap();
    let program = fs::read(sandbox.path("p.vitcod")).unwrap();
    let npy = fs::read(input()).unwrap();
    let toml = fs::read(file("isa/machines/vitcod-sim.toml")).unwrap();
    for name in ["cut.onnx", "cut.vitcod", "cut.npy", "cut.toml"] {
        fs::write(sandbox.path(name), []).unwrap();
    }
    let whole = model(&format!("{VIT}.onnx"));
    for parts in 0..16 {
        cut("cut.onnx", &onnx, parts);
        cut("cut.vitcod", &program, parts);
        cut("cut.npy", &npy, parts);
        cut("cut.toml", &toml, parts);
        for (arguments, name) in [
            (&["compile", "cut.onnx", "-o", "q.vitcod"][..], "cut.onnx"),
            (&["inspect", "cut.onnx"], "cut.onnx"),
            (
                &[
                    "run",
                    "cut.vitcod",
                    "--input",
                    &input(),
                    "--output",
                    "y.npy",
                    "--report",
                    "r.json",
                ],
                "cut.vitcod",
            ),
            (&["disasm", "cut.vitcod"], "cut.vitcod"),
            (&["inspect", "cut.vitcod"], "cut.vitcod"),
            (
                &[
                    "run", "p.vitcod", "--input", "cut.npy", "--output", "y.npy", "--report",
                    "r.json",
                ],
                "cut.npy",
            ),
            (&["compile", &whole, "-o", "q.vitcod", "--calibration", "cut.npy"], "cut.npy"),
            (&["compile", &whole, "-o", "q.vitcod", "--machine", "cut.toml"], "cut.toml"),
        ] {
            let error = sandbox.fails(arguments);
            assert!(error.contains(name), "{arguments:?}: {error}");
        }
    }
}

#[test]
fn machines_that_do_not_fit_are_refused() {
    let sandbox = Sandbox::new();
    let onnx = file("examples/digits/digits.onnx");
    let compile =
        |machine: &str| sandbox.fails(&["compile", &onnx, "-o", "p.vitcod", "--machine", machine]);
    let error = compile("vitcot");
    assert!(
        error.contains("\"vitcot\"")
            && error.contains("vitcod, vitcod-wide, vitcod-ideal, vitcod-sim"),
        "{error}"
    );
    assert!(compile("none.toml").contains("cannot read none.toml"));
    let preset = fs::read_to_string(file("isa/machines/vitcod.toml")).unwrap();
    fs::write(sandbox.path("m.toml"), preset.replace("port_bytes = 8", "port_bytes = \"wide\""))
        .unwrap();
    let error = compile("m.toml");
    assert!(error.contains("m.toml:9:14"), "{error}");
    fs::write(
        sandbox.path("m.toml"),
        preset.replace("bytes = 327680", "bytes = 1024").replace("\"vitcod\"", "\"tiny\""),
    )
    .unwrap();
    let error = compile("m.toml");
    assert!(error.contains("tiny is too small for /blocks/blocks.0/"), "{error}");
}

#[test]
fn inputs_that_are_not_the_models_are_refused() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    write_npy(sandbox.path("x.npy"), &ArrayD::<f32>::zeros(IxDyn(&[1, 3, 16, 17]))).unwrap();
    let run = |input: &str| {
        sandbox.fails(&[
            "run", "p.vitcod", "--input", input, "--output", "y.npy", "--report", "r.json",
        ])
    };
    let error = run("x.npy");
    assert!(error.contains("[1, 3, 16, 17]") && error.contains("[1, 3, 16, 16]"), "{error}");
    assert!(run("none.npy").contains("cannot read none.npy"));
    assert!(run("pixels=x.npy").contains("unknown input \"pixels\""));
    assert!(run(".").contains("not a regular file"));
    let error = sandbox.fails(&[
        "compile",
        &model(&format!("{VIT}.onnx")),
        "-o",
        "q.vitcod",
        "--calibration",
        "x.npy",
    ]);
    assert!(error.contains("f32[1,3,16,17]"), "{error}");
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let before = fs::read(sandbox.path("p.vitcod")).unwrap();
    let error = sandbox.fails(&[
        "run",
        "p.vitcod",
        "--input",
        &input(),
        "--output",
        "y.npy",
        "--report",
        "none/r.json",
    ]);
    assert!(error.contains("cannot write none/r.json"), "{error}");
    let error = sandbox.fails(&[
        "run",
        "p.vitcod",
        "--input",
        &input(),
        "--output",
        "y.npy",
        "--report",
        "./y.npy",
    ]);
    assert!(error.contains("written twice"), "{error}");
    sandbox.fails(&["run", "p.vitcod", "--timing-only", "--report", "."]);
    let error = sandbox.fails(&["run", "p.vitcod", "--timing-only", "--report", "./p.vitcod"]);
    assert!(error.contains("./p.vitcod is an input"), "{error}");
    // What was there stays.
    sandbox.fails(&["compile", &input(), "-o", "p.vitcod"]);
    assert!(fs::read(sandbox.path("p.vitcod")).unwrap() == before);
}

#[test]
fn differences_from_the_interpreter_are_an_error() {
    let sandbox = Sandbox::new();
    compile(&sandbox, &[]);
    let mut program =
        Program::from_bytes(Bytes::from(fs::read(sandbox.path("p.vitcod")).unwrap())).unwrap();
    for instr in &mut program.code {
        if let Op::Matmul(matmul) = &mut instr.op {
            // Every row is taken for the first.
            matmul.a_stride = 0;
        }
    }
    fs::write(sandbox.path("p.vitcod"), program.to_bytes().unwrap()).unwrap();
    sandbox.ok(&["run", "p.vitcod", "--input", &input()]);
    let error =
        sandbox.fails(&["run", "p.vitcod", "--input", &input(), "--check", "--output", "y.npy"]);
    assert!(
        error.contains("of 10 integers differ") && error.contains("of item 0 at [0, "),
        "{error}"
    );
}

#[test]
fn wrong_usage_has_status_2() {
    let sandbox = Sandbox::new();
    for arguments in [
        &[][..],
        &["compile"],
        &["compile", "x.onnx", "-o", "p.vitcod", "--dim", "batch"],
        &["run", "p.vitcod"],
        &["run", "p.vitcod", "--timing-only", "--check"],
        &["fly"],
    ] {
        assert_eq!(
            sandbox.command(arguments).output().unwrap().status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}
