use std::fs;

use super::*;

#[test]
fn every_stage_is_the_same_through_text() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    for to in ["imported", "canonical", "quantised", "split"] {
        sandbox.ok(&["opt", &onnx, "--to", to, "--verify-each", "-o", &format!("{to}.vir")]);
        sandbox.ok(&["opt", &format!("{to}.vir"), "-o", "again.vir"]);
        let [text, again] = [format!("{to}.vir"), "again.vir".to_owned()].map(|name| {
            let side = fs::read(sandbox.path(&format!("{name}.bin"))).unwrap();
            (fs::read_to_string(sandbox.path(&name)).unwrap().replace(&name, "NAME"), side)
        });
        assert!(text == again, "{to}");
        sandbox.ok(&["opt", &format!("{to}.vir"), "--to", "split", "-o", "split_again.vir"]);
    }
    // Whichever stage the text is of, the rest of the pipeline gives the same.
    let split = fs::read_to_string(sandbox.path("split.vir")).unwrap();
    sandbox.ok(&["opt", "canonical.vir", "--pass", "quantise,split", "-o", "rest.vir"]);
    assert_eq!(fs::read_to_string(sandbox.path("rest.vir")).unwrap().replace("rest.vir", "split.vir"), split);
    assert_eq!(fs::read(sandbox.path("rest.vir.bin")).unwrap(), fs::read(sandbox.path("split.vir.bin")).unwrap());
}

#[test]
fn passes_are_listed_and_their_results_printed() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    for text in [sandbox.ok(&["opt", "--list"]), sandbox.ok(&["opt", "--help"])] {
        for line in
            ["layer-norm: imported -> imported; keeps real numbers", "split: quantised -> split; needs a machine"]
        {
            assert!(text.contains(line), "{text}");
        }
    }
    let printed = sandbox.ok(&["opt", &onnx, "--to", "canonical", "--print-changed"]);
    let marks: Vec<&str> = printed.lines().filter(|line| line.starts_with("// ")).collect();
    let expected = [
        "// steps changes nothing",
        "// after cse",
        "// layer-norm changes nothing",
        "// after gelu",
        "// after canonicalise",
    ];
    assert_eq!(marks[..5], expected);
    let printed = sandbox.ok(&["opt", &onnx, "--to", "canonical", "--print-after", "gelu"]);
    assert!(printed.starts_with("// after gelu\ngraph \"main_graph\" imported {"), "{printed}");
    assert_eq!(sandbox.ok(&["opt", &onnx]).lines().next(), Some("graph \"main_graph\" imported {"));
}

#[test]
fn graphs_of_every_stage_are_run() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let outputs: Vec<Vec<f32>> = ["imported", "canonical", "quantised", "split"]
        .into_iter()
        .map(|to| {
            let (text, npy) = (format!("{to}.vir"), format!("{to}.npy"));
            sandbox.ok(&["opt", &onnx, "--to", to, "--calibration", &input(), "--inline", "-o", &text]);
            let printed = sandbox.ok(&["interp", &text, "--input", &input(), "-o", &npy]);
            assert!(printed.starts_with("\"logits\" [1, 10] = ["), "{printed}");
            let output: ndarray::ArrayD<f32> = ndarray_npy::read_npy(sandbox.path(&npy)).unwrap();
            output.into_raw_vec_and_offset().0
        })
        .collect();
    for (output, tolerance) in outputs[1..].iter().zip([1e-4, 0.2, 0.2]) {
        assert!(output.iter().zip(&outputs[0]).all(|(a, b)| (a - b).abs() < tolerance), "{output:?}");
    }
    assert_eq!(outputs[2], outputs[3]);
    let run = |seed| sandbox.ok(&["interp", "split.vir", "--raw", "--seed", seed]);
    assert_eq!(run("1"), run("1"));
    assert_ne!(run("1"), run("2"));
}

#[test]
fn errors_are_shown_where_they_are() {
    let sandbox = Sandbox::new();
    fs::write(
        sandbox.path("x.vir"),
        "graph \"g\" canonical {\n    v0 = input \"x\" : f32[1,2]\n    v1 = linera(v0)\n    output \"y\" [1,3] = v0\n}\n",
    )
    .unwrap();
    let error = sandbox.fails(&["opt", "x.vir", "-o", "y.vir"]);
    for part in ["x.vir:3:10", "    v1 = linera(v0)\n", "^^^^^^\n", "did you mean `linear`?"] {
        assert!(error.contains(part), "{error}");
    }
    let onnx = model(&format!("{VIT}.onnx"));
    let error = sandbox.fails(&["opt", &onnx, "--pass", "cse,layernorm"]);
    assert!(error.contains("did you mean `layer-norm`?"), "{error}");
    assert!(sandbox.fails(&["opt", &onnx, "--pass", "split"]).contains("takes a graph of the quantised stage"));

    let text = |lines: &str| format!("graph \"g\" canonical {{\n{lines}}}\n");
    fs::write(sandbox.path("x.vir"), text("v0 = const \"c\" : i8[1] = file \"../x\" @ 0\n")).unwrap();
    assert!(sandbox.fails(&["opt", "x.vir"]).contains("is not in the folder of the text or below"));
    fs::write(
        sandbox.path("x.vir"),
        text("v0 = input \"c\" : f32[1048576,65536]\noutput \"c\" [1048576,65536] = v0\n"),
    )
    .unwrap();
    for arguments in [&["interp", "x.vir"][..], &["opt", "x.vir", "--to", "quantised"]] {
        assert!(sandbox.fails(arguments).contains("take 274877906944 bytes together"));
    }
}
