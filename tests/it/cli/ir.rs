use std::fs;

use rayon::prelude::*;

use super::*;

#[test]
fn every_stage_is_the_same_through_text() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    sandbox.ok(&["compile", &onnx, "-o", "compiled.vitcod"]);
    let compiled = fs::read(sandbox.path("compiled.vitcod")).unwrap();
    for to in ["imported", "canonical", "quantised", "split", "tiled", "scheduled"] {
        sandbox.ok(&["opt", &onnx, "--to", to, "--verify-each", "-o", &format!("{to}.vir")]);
        sandbox.ok(&["opt", &format!("{to}.vir"), "-o", "again.vir"]);
        let [text, again] = [format!("{to}.vir"), "again.vir".to_owned()].map(|name| {
            let side = fs::read(sandbox.path(&format!("{name}.bin"))).unwrap();
            (fs::read_to_string(sandbox.path(&name)).unwrap().replace(&name, "NAME"), side)
        });
        assert!(text == again, "{to}");
        // Whichever stage the text is of, the rest of the pipeline gives the same program.
        sandbox.ok(&["opt", &format!("{to}.vir"), "--to", "program", "-o", "again.vitcod"]);
        let again = fs::read(sandbox.path("again.vitcod")).unwrap();
        assert!(unmeasured(&again) == unmeasured(&compiled), "from {to}");
    }
    let split = fs::read_to_string(sandbox.path("split.vir")).unwrap();
    let passes = "centre-channels,balance-channels,fit-tables,quantise,split";
    sandbox.ok(&["opt", "canonical.vir", "--pass", passes, "-o", "rest.vir"]);
    assert_eq!(
        fs::read_to_string(sandbox.path("rest.vir")).unwrap().replace("rest.vir", "split.vir"),
        split
    );
    assert_eq!(
        fs::read(sandbox.path("rest.vir.bin")).unwrap(),
        fs::read(sandbox.path("split.vir.bin")).unwrap()
    );
}

/// Both commands run the same passes; masks, global tokens and auto-encoders included.
#[test]
fn opt_gives_the_program_of_compile() {
    let assert_equal = |arguments: &[&str]| {
        let sandbox = Sandbox::new();
        sandbox.ok(&[&["compile", "-o", "compiled.vitcod"], arguments].concat());
        sandbox.ok(&[&["opt", "--to", "program", "-o", "opt.vitcod"], arguments].concat());
        let [compiled, opt] =
            ["compiled.vitcod", "opt.vitcod"].map(|name| fs::read(sandbox.path(name)).unwrap());
        assert!(unmeasured(&compiled) == unmeasured(&opt), "{arguments:?}");
    };
    let models = fs::read_dir(file("tests/models")).unwrap();
    let models = models.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned());
    let models: Vec<String> = models.filter(|path| path.ends_with(".onnx")).collect();
    assert!(models.len() >= 56);
    models.par_iter().for_each(|model| assert_equal(&[model]));

    let [dense, sparse, masks, samples] = [
        "examples/digits/digits.onnx",
        "examples/digits/digits_sparse90_ae.onnx",
        "examples/digits/masks90.npy",
        "examples/digits/calibration.npy",
    ]
    .map(file);
    let calibrated = ["--calibration", &samples];
    assert_equal(&[&[&*dense], &calibrated[..]].concat());
    assert_equal(&[&[&*dense, "--autoencoder", "pca:2"], &calibrated[..]].concat());
    assert_equal(&[&sparse, "--masks", &masks]);
    assert_equal(&[&sparse, "--masks", &masks, "--theta-d", "8"]);
    assert_equal(&[&sparse, "--masks", &masks, "--autoencoder", "fold-both"]);
}

#[test]
fn passes_are_listed_and_their_results_printed() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    for text in [sandbox.ok(&["opt", "--list"]), sandbox.ok(&["opt", "--help"])] {
        for line in [
            "layer-norm: imported -> imported; keeps real numbers",
            "split: quantised -> split; needs a machine",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
    let printed = sandbox.ok(&["opt", &onnx, "--to", "canonical", "--print-changed"]);
    let marks: Vec<&str> = printed.lines().filter(|line| line.starts_with("// ")).collect();
    let expected = [
        "// unbatch changes nothing",
        "// absorb-qdq changes nothing",
        "// after cse",
        "// layer-norm changes nothing",
        "// softmax changes nothing",
        "// after gelu",
        "// swish changes nothing",
        "// after canonicalise",
    ];
    assert_eq!(marks[..expected.len()], expected);
    let printed = sandbox.ok(&["opt", &onnx, "--to", "canonical", "--print-after", "gelu"]);
    assert!(printed.starts_with("// after gelu\ngraph \"main_graph\" imported {"), "{printed}");
    assert_eq!(sandbox.ok(&["opt", &onnx]).lines().next(), Some("graph \"main_graph\" imported {"));
}

#[test]
fn graphs_of_every_stage_are_run() {
    let sandbox = Sandbox::new();
    let onnx = model(&format!("{VIT}.onnx"));
    let outputs: Vec<Vec<f32>> =
        ["imported", "canonical", "quantised", "split", "tiled", "scheduled"]
            .into_iter()
            .map(|to| {
                let (text, npy) = (format!("{to}.vir"), format!("{to}.npy"));
                sandbox.ok(&[
                    "opt",
                    &onnx,
                    "--to",
                    to,
                    "--calibration",
                    &input(),
                    "--inline",
                    "-o",
                    &text,
                ]);
                let printed = sandbox.ok(&["interp", &text, "--input", &input(), "-o", &npy]);
                assert!(printed.starts_with("\"logits\" [1, 10] = ["), "{printed}");
                let output: ndarray::ArrayD<f32> =
                    ndarray_npy::read_npy(sandbox.path(&npy)).unwrap();
                output.into_raw_vec_and_offset().0
            })
            .collect();
    for (output, tolerance) in outputs[1..].iter().zip([1e-4, 0.2, 0.2]) {
        assert!(
            output.iter().zip(&outputs[0]).all(|(a, b)| (a - b).abs() < tolerance),
            "{output:?}"
        );
    }
    assert!(outputs[3..].iter().all(|output| *output == outputs[2]));
    let run = |seed| {
        let texts = ["split.vir", "tiled.vir", "scheduled.vir"];
        let printed = texts.map(|text| sandbox.ok(&["interp", text, "--raw", "--seed", seed]));
        assert!(printed.iter().all(|other| *other == printed[0]), "{printed:?}");
        printed
    };
    assert_ne!(run("1"), run("2"));

    // From there on to a program, in both of its forms.
    let printed = sandbox.ok(&["opt", "tiled.vir", "--to", "program", "--print-after", "schedule"]);
    assert!(printed.starts_with("; after schedule\n.scheduled \"main_graph\" dram="), "{printed}");
    assert!(
        sandbox
            .ok(&["opt", "scheduled.vir", "--to", "program"])
            .starts_with(".program \"main_graph\" dram=")
    );
    sandbox.ok(&["opt", "scheduled.vir", "--pass", "emit", "-o", "p.vitcod"]);
    sandbox.ok(&["opt", "scheduled.vir", "--pass", "emit", "-o", "p.s"]);
    sandbox.ok(&["asm", "p.s", "-o", "q.vitcod"]);
    assert!(
        fs::read(sandbox.path("p.vitcod")).unwrap() == fs::read(sandbox.path("q.vitcod")).unwrap()
    );
    // Programs are read in both forms, too.
    let printed = sandbox.ok(&["interp", "split.vir", "--raw", "--seed", "1"]);
    for program in ["p.vitcod", "p.s"] {
        assert_eq!(sandbox.ok(&["interp", program, "--raw", "--seed", "1"]), printed, "{program}");
        assert!(sandbox.ok(&["opt", program]).starts_with(".program \"main_graph\" dram="));
        assert!(
            sandbox
                .fails(&["opt", program, "--pass", "emit"])
                .contains("expected a model of stage scheduled")
        );
    }
    let printed = sandbox.ok(&["run", "p.vitcod", "--input", &input(), "--check"]);
    assert!(printed.contains("check: "), "{printed}");
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
    for (option, name, meant) in
        [("--pass", "cse,layernorm", "layer-norm"), ("--print-after", "gleu", "gelu")]
    {
        let output = sandbox.command(&["opt", &onnx, option, name]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "wrong usage");
        assert!(
            stderr(&output).contains(&format!("did you mean `{meant}`?")),
            "{}",
            stderr(&output)
        );
    }
    let error =
        sandbox.fails(&["opt", &onnx, "--pass", "cse, layer-norm", "--print-after", "gelu"]);
    assert!(
        error.contains("--print-after gelu: this pass does not run: cse, layer-norm do"),
        "{error}"
    );
    assert!(
        sandbox
            .fails(&["opt", &onnx, "--pass", "split"])
            .contains("expected a model of stage quantised, found stage imported")
    );

    sandbox.ok(&["opt", &onnx, "--to", "tiled", "-o", "tiled.vir"]);
    let error = sandbox.fails(&["opt", "tiled.vir", "--to", "split"]);
    assert!(error.contains("tiled.vir is tiled already"), "{error}");
    let error =
        sandbox.fails(&["opt", "tiled.vir", "--to", "scheduled", "--machine", "vitcod-sim"]);
    assert!(error.contains("tiled.vir is for the machine vitcod, not for vitcod-sim"), "{error}");
    let text = fs::read_to_string(sandbox.path("tiled.vir")).unwrap();
    fs::write(sandbox.path("wrong.vir"), text.replacen("    load dst=b0", "    load dst=c0", 1))
        .unwrap();
    let error = sandbox.fails(&["interp", "wrong.vir"]);
    for part in [
        "wrong.vir is not a valid tiled program",
        "expected a place in a buffer, as `b0+0x40`, found `c0`",
        "^^",
    ] {
        assert!(error.contains(part), "{error}");
    }
    fs::write(sandbox.path("wrong.vir"), text.replacen(".tiled", ".program", 1)).unwrap();
    assert!(sandbox.fails(&["interp", "wrong.vir"]).contains("wrong.vir is not a valid program"));
    assert!(
        sandbox
            .fails(&["asm", "tiled.vir", "-o", "p.vitcod"])
            .contains("`vitcod opt --to program`")
    );

    // Each buffer is as small as a scratchpad, and all of them live at once.
    let buffers = 200;
    let mut text =
        ".tiled t\n.machine vitcod sram.bytes=16777216\n.input x i8 [1] step=1\n.layer a\n"
            .to_owned();
    for buffer in 0..buffers {
        text += &format!(
            ".buffer b{buffer} 16777216\nload dst=b{buffer} src=x bytes=1 traffic=inputs\n"
        );
    }
    for buffer in 0..buffers {
        text += &format!("load dst=b{buffer} src=x bytes=1 traffic=inputs\n");
    }
    fs::write(sandbox.path("large.vir"), text).unwrap();
    assert!(sandbox.fails(&["interp", "large.vir"]).contains("live buffers take 3355443200 bytes"));

    let text = |lines: &str| format!("graph \"g\" canonical {{\n{lines}}}\n");
    fs::write(sandbox.path("x.vir"), text("v0 = const \"c\" : i8[1] = file \"../x\" @ 0\n"))
        .unwrap();
    assert!(sandbox.fails(&["opt", "x.vir"]).contains("is not in the folder of the text or below"));
    fs::write(
        sandbox.path("x.vir"),
        text("v0 = input \"c\" : f32[1048576,65536]\noutput \"c\" [1048576,65536] = v0\n"),
    )
    .unwrap();
    for arguments in [&["interp", "x.vir"][..], &["opt", "x.vir", "--to", "quantised"]] {
        assert!(sandbox.fails(arguments).contains("inputs and results take 274877906944 bytes"));
    }
}
