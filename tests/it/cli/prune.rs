use std::env;
use std::fs::{self, File};
use std::io::BufReader;

use ndarray::{ArrayD, Axis, Slice};
use ndarray_npy::{read_npy, write_npy};
use vitcod_compiler::masks::{Masks, Polarity};

use super::*;

/// Some of the digits' samples as `x.npy` of a sandbox.
fn digits(sandbox: &Sandbox) -> String {
    let samples: ArrayD<f32> = read_npy(file("examples/digits/calibration.npy")).unwrap();
    let few = samples.slice_axis(Axis(0), Slice::from(..8)).to_owned();
    write_npy(sandbox.path("x.npy"), &few).unwrap();
    file("examples/digits/digits.onnx")
}

#[test]
fn masks_have_the_sparsity_asked_for() {
    let sandbox = Sandbox::new();
    let onnx = digits(&sandbox);
    let prune = |options: &[&str]| {
        sandbox
            .ok(&[&["prune", &onnx, "--calibration", "x.npy", "-o", "masks.npy"], options].concat())
    };
    let text = prune(&["--sparsity", "0.8", "--image", "maps.png"]);
    let masks = Masks::read_npy(sandbox.path("masks.npy"), None).unwrap();
    assert_eq!(
        masks,
        Masks::read_npy(sandbox.path("masks.npy"), Some(Polarity::PrunedIsTrue)).unwrap()
    );
    assert!((0.8..0.81).contains(&masks.sparsity()), "{}", masks.sparsity());
    // The last layer too, though only the class token's query reaches the output.
    assert!(masks.layers().iter().flatten().all(|mask| (mask.queries(), mask.keys()) == (65, 65)));
    assert!(fs::read(sandbox.path("maps.png")).unwrap().starts_with(b"\x89PNG"));

    assert!(text.contains("theta-d       17, a quarter of 65 tokens"), "{text}");
    let heads: usize = masks.layers().iter().map(Vec::len).sum();
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    // theta, theta-d, class tokens, an empty line, the columns' names; the total at the end.
    assert_eq!(lines.len(), 5 + heads + 1);
    assert_eq!(lines[2][..3], ["class", "tokens", "1:"]);
    assert_eq!(lines[5 + heads][..2], ["total", &masks.kept().to_string()]);

    // The theta that was found gives the same masks.
    let again = prune(&["--theta", lines[0][1], "--theta-d", "65"]);
    assert_eq!(masks, Masks::read_npy(sandbox.path("masks.npy"), None).unwrap());
    let total: Vec<&str> = again.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(
        total[4..],
        ["0", "0", &masks.kept().to_string()],
        "no key has more than 65 entries: {again}"
    );
}

#[test]
fn a_model_that_cannot_be_pruned_is_refused() {
    let sandbox = Sandbox::new();
    let onnx = digits(&sandbox);
    let prune = |model: &str, samples: &str, criterion: [&str; 2]| {
        let arguments =
            ["prune", model, "--calibration", samples, "-o", "masks.npy", "--image", "maps.png"];
        sandbox.fails(&[&arguments[..], &criterion].concat())
    };
    let error = prune(&onnx, "x.npy", ["--sparsity", "0.99"]);
    assert!(error.contains("digits.onnx") && error.contains("0.99 cannot be reached"), "{error}");
    assert!(prune(&onnx, "x.npy", ["--sparsity", "1"]).contains("sparsity 1 is not"));
    assert!(prune(&onnx, "x.npy", ["--theta", "0"]).contains("theta 0 is not"));
    let error = prune(&onnx, &input(), ["--theta", "0.9"]);
    assert!(
        error.contains("digits.onnx: cannot compute attention maps of")
            && error.contains("f32[1,3,16,16]"),
        "{error}"
    );
    assert!(prune(&onnx, "none.npy", ["--theta", "0.9"]).contains("cannot read none.npy"));
    fs::write(sandbox.path("tanh.onnx"), tanh()).unwrap();
    write_npy(sandbox.path("ones.npy"), &ArrayD::<f32>::ones(vec![2, 4])).unwrap();
    let error = prune("tanh.onnx", "ones.npy", ["--theta", "0.9"]);
    assert!(error.contains("tanh.onnx") && error.contains("the model has no attention"), "{error}");
}

/// Without class tokens nothing but the largest entries is kept for certain.
#[test]
fn class_tokens_may_be_given() {
    let sandbox = Sandbox::new();
    let onnx = digits(&sandbox);
    let prune = |options: &[&str]| {
        let arguments = ["prune", &onnx, "--calibration", "x.npy", "-o", "masks.npy"];
        sandbox.ok(&[&arguments[..], &["--theta", "0.1", "--class-tokens"], options].concat())
    };
    let read = |polarity| Masks::read_npy(sandbox.path("masks.npy"), polarity);
    let text = prune(&["2"]);
    assert!(text.contains("class tokens  2: as given\n"), "{text}");
    let masks = read(None).unwrap();
    let heads = || masks.layers().iter().flatten();
    assert!(heads().all(|mask| (0..65).all(|token| mask.is_kept(1, token))));
    assert!(heads().all(|mask| (0..65).all(|token| mask.is_kept(token, 1))));
    let text = prune(&["0"]);
    let line = "class tokens  0: as given; compile with --polarity pruned\n";
    assert!(text.contains(line), "{text}");
    assert!(read(None).is_err(), "the file does not tell its polarity");
    let options = ["--masks", "masks.npy", "--polarity", "pruned", "-o", "p.vitcod"];
    sandbox.ok(&[&["compile", &onnx, "--calibration", "x.npy"], &options[..]].concat());
}

/// What `compile --masks` could not use is refused before samples are read.
#[test]
fn attention_that_masks_cannot_restrict_is_refused() {
    let sandbox = Sandbox::new();
    let arguments = ["--calibration", "none.npy", "--theta", "0.9", "-o", "masks.npy"];
    let expected = [
        ("swin.dynamo.unfused.op20", "attention): attention in 4 windows, expected attention"),
        ("levit.dynamo.unfused.op20", "[heads, queries, keys] = [4, 2, 6], expected [2, 6, 6]"),
        ("bert.dynamo.unfused.op20", "input \"attention_mask\" prunes keys, expected scores"),
    ];
    for (name, problem) in expected {
        let onnx = model(&format!("{name}.onnx"));
        let error = sandbox.fails(&[&["prune", &onnx], &arguments[..]].concat());
        assert!(error.contains(problem), "{error}");
        assert!(error.contains("compile the model without --masks"), "{error}");
    }
}

#[test]
fn one_criterion_and_samples_are_required() {
    let sandbox = Sandbox::new();
    let status = |options: &[&str]| {
        let arguments = [&["prune", "m.onnx", "-o", "masks.npy"], options].concat();
        sandbox.command(&arguments).output().unwrap().status.code()
    };
    assert_eq!(status(&["--calibration", "x.npy"]), Some(2));
    assert_eq!(status(&["--calibration", "x.npy", "--theta", "0.9", "--sparsity", "0.9"]), Some(2));
    assert_eq!(status(&["--calibration", "x.npy", "--theta", "most"]), Some(2));
    assert_eq!(status(&["--theta", "0.9"]), Some(2));
}

/// The pictures of docs/algorithm.md; `cargo bless` makes them. The averages differ in their last
/// bits between kinds of processors, which may move a few entries.
#[test]
fn pictures_of_the_documentation_are_those_of_the_command() {
    let sandbox = Sandbox::new();
    let (onnx, calibration) =
        (file("examples/digits/digits.onnx"), file("examples/digits/calibration.npy"));
    for (name, theta_d) in [("digits90", "17"), ("digits90_theta5", "5")] {
        let options =
            ["--sparsity", "0.9", "--theta-d", theta_d, "-o", "masks.npy", "--image", "maps.png"];
        sandbox.ok(&[&["prune", &onnx, "--calibration", &calibration], &options[..]].concat());
        let path = file(&format!("docs/images/{name}.png"));
        if env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
            fs::copy(sandbox.path("maps.png"), &path).unwrap();
        }
        let [made, committed] = [sandbox.path("maps.png"), path.into()].map(|path| pixels(&path));
        assert_eq!(made.len(), committed.len(), "{name}");
        let differing = made.iter().zip(&committed).filter(|(a, b)| a != b).count();
        assert!(
            differing * 50 <= made.len(),
            "{name}: cargo bless --test it pictures: {differing} pixels differ"
        );
    }
}

/// The bytes of a picture's pixels.
fn pixels(path: &Path) -> Vec<u8> {
    let mut reader =
        png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

/// An ONNX model of one operator, `y = tanh(x)` of float32 `[2, 4]`.
fn tanh() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let value = |name: &[u8]| {
        let extents = [2, 4].map(|extent| field(1, &[8, extent])).concat();
        let tensor = [&[8, 1][..], &field(2, &extents)].concat();
        [field(1, name), field(2, &field(1, &tensor))].concat()
    };
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Tanh")].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value(b"x")), field(12, &value(b"y"))]
        .concat();
    [&[8, 8][..], &field(7, &graph), &field(8, &[16, 17])].concat()
}
