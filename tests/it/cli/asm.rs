//! Programs as text and back.

use std::fs;

use super::*;

#[test]
fn a_compiled_model_survives_its_text() {
    for onnx in [file("examples/digits/digits_sparse90_ae.onnx"), model(&format!("{VIT}.onnx"))] {
        let sandbox = Sandbox::new();
        sandbox.ok(&["compile", &onnx, "-o", "p.vitcod"]);
        let program = fs::read(sandbox.path("p.vitcod")).unwrap();
        for options in [&[][..], &["--inline"], &["--annotate"], &["--annotate", "--inline"]] {
            let text = sandbox.ok(&[&["disasm", "p.vitcod"], options].concat());
            assert_eq!(text.contains(" sha256="), !options.contains(&"--inline"));
            fs::write(sandbox.path("q.s"), &text).unwrap();
            sandbox.ok(&["asm", "q.s", "-o", "q.vitcod"]);
            assert_eq!(fs::read(sandbox.path("q.vitcod")).unwrap(), program, "{options:?}");
        }
    }
}

#[test]
fn the_kernel_is_assembled_annotated_and_timed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["asm", &file("examples/kernel/attention.s"), "-o", "p.vitcod"]);
    let listing = sandbox.ok(&["disasm", "p.vitcod", "--annotate"]);
    insta::assert_snapshot!(listing);
    assert!(sandbox.ok(&["run", "p.vitcod", "--timing-only"]).contains("sparse attention head"));
}

#[test]
fn mistakes_are_shown_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    let kernel = fs::read_to_string(file("examples/kernel/attention.s")).unwrap();
    let wrong = kernel.replace("softmax engine", "sotfmax engine").replace(" cycles=", " cylces=");
    fs::write(sandbox.path("wrong.s"), wrong).unwrap();
    let error = sandbox.fails(&["asm", "wrong.s", "-o", "p.vitcod"]);
    for part in
        ["no instruction `sotfmax`", "`softmax`?", "wrong.s:", "no operand `cylces`", "`cycles`?"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    fs::write(sandbox.path("wrong.s"), kernel.replacen(" wait=load", "", 1)).unwrap();
    assert!(sandbox.fails(&["asm", "wrong.s", "-o", "p.vitcod"]).contains("wrong.s:"));
    fs::write(sandbox.path("wrong.s"), b"\xff").unwrap();
    assert!(
        sandbox.fails(&["asm", "wrong.s", "-o", "p.vitcod"]).contains("wrong.s is not UTF-8 text")
    );
    fs::write(sandbox.path("wrong.s"), ".image \"wrong.s\" sha256=0\n.image \"none.bin\"").unwrap();
    let error = sandbox.fails(&["asm", "wrong.s", "-o", "p.vitcod"]);
    assert!(
        error.contains("the digest of these bytes is") && error.contains("cannot read none.bin"),
        "{error}"
    );
    fs::write(sandbox.path("good.s"), kernel).unwrap();
    assert!(sandbox.fails(&["asm", "good.s", "-o", "good.s"]).contains("is an input"));
}
