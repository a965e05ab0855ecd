use std::fs;

use serde_json::Value;
use vitcod_compiler::masks::{Mask, Masks, Polarity};

use super::*;

/// Writes masks of two layers of three heads as `masks.npy`; true is kept.
pub(crate) fn write_masks(
    sandbox: &Sandbox,
    [queries, keys]: [usize; 2],
    kept: impl Fn(usize, usize, usize) -> bool + Copy,
) {
    let head = |head| Mask::from_fn(queries, keys, |query, key| kept(head, query, key));
    let masks = Masks::new(vec![(0..3).map(head).collect(); 2]).unwrap();
    fs::write(sandbox.path("masks.npy"), masks.to_npy(Polarity::KeptIsTrue).unwrap()).unwrap();
}

/// The class token's row and column, the diagonal, and two columns more.
pub(crate) fn typical(head: usize, query: usize, key: usize) -> bool {
    query == 0
        || key == 0
        || query == key
        || key == 3 + head
        || (key == 7 && query.is_multiple_of(2))
}

const BASE: [&str; 6] = ["attention", "--masks", "masks.npy", "--head-dim", "8", "--check"];

#[test]
fn every_mask_and_division_is_bit_equal() {
    type Kept = fn(usize, usize, usize) -> bool;
    let cases: [([usize; 2], Kept); 5] = [
        ([21, 21], typical),
        ([21, 21], |_, _, _| true),
        // One entry of each row: no class token, so the polarity is stated.
        ([21, 21], |head, query, key| key == (query + head) % 21),
        // A head that keeps all beside heads that do not.
        ([21, 21], |head, query, key| head == 1 || typical(head, query, key)),
        ([5, 33], typical),
    ];
    for ([queries, keys], kept) in cases {
        let sandbox = Sandbox::new();
        write_masks(&sandbox, [queries, keys], kept);
        for options in [
            &[][..],
            &["--theta-d", "0"],
            &["--theta-d", "4"],
            &["--theta-d", "65536", "--compressed-heads", "2"],
            &["--compressed-heads", "1", "--seed", "7"],
            &["--machine", "vitcod-sim", "--compressed-heads", "3"],
        ] {
            let text = sandbox.ok(&[&BASE[..], &["--polarity", "kept"], options].concat());
            let integers = 2 * queries * 3 * 8;
            assert!(
                text.contains(&format!("check: all {integers} integers")),
                "{options:?}: {text}"
            );
        }
    }
}

#[test]
fn the_program_and_its_report_are_those_of_run() {
    let sandbox = Sandbox::new();
    write_masks(&sandbox, [21, 21], typical);
    let files = ["-o", "p.vitcod", "--report", "r.json", "--trace", "t.json"];
    sandbox.ok(&[&BASE[..], &["--compressed-heads", "2"], &files[..]].concat());
    sandbox.ok(&[
        "run",
        "p.vitcod",
        "--timing-only",
        "--report",
        "run.json",
        "--trace",
        "run.trace.json",
    ]);
    let read = |name: &str| fs::read(sandbox.path(name)).unwrap();
    assert!(read("r.json") == read("run.json") && read("t.json") == read("run.trace.json"));
    let report: Value = serde_json::from_slice(&read("r.json")).unwrap();
    assert_eq!(report["cycles"]["attention"], report["cycles"]["total"]);
    assert!(report["layers"][0]["name"] == "layers.0.decode_q", "{}", report["layers"][0]);

    // Data change no timing, nor does their absence.
    let arguments =
        ["attention", "--masks", "masks.npy", "--head-dim", "8", "--compressed-heads", "2"];
    sandbox
        .ok(&[&arguments[..], &["--timing-only", "--seed", "5", "--report", "timing.json"]]
            .concat());
    assert!(read("r.json") == read("timing.json"));
}

#[test]
fn the_authors_figures_are_shown_for_their_core_only() {
    let sandbox = Sandbox::new();
    // As many entries as in the authors' mask of DeiT-Tiny.
    let (layers, heads, tokens, mut left) = (12, 3, 197, 74_399 - 12 * 3 * (2 * 197 - 1));
    let mut head = || {
        Mask::from_fn(tokens, tokens, |query, key| {
            let inner = query > 0 && key > 0;
            let more = inner && (query * 5 + key) % 16 == 0 && left > 0;
            left -= usize::from(more);
            !inner || more
        })
    };
    let mut masks: Vec<Vec<Mask>> =
        (0..layers).map(|_| (0..heads).map(|_| head()).collect()).collect();
    // What is left is kept in the last head.
    let last = &mut masks[layers - 1][heads - 1];
    *last = Mask::from_fn(tokens, tokens, |query, key| {
        let more = !last.is_kept(query, key) && left > 0;
        left -= usize::from(more);
        more || last.is_kept(query, key)
    });
    let masks = Masks::new(masks).unwrap();
    assert_eq!(masks.kept(), 74_399);
    fs::write(sandbox.path("masks.npy"), masks.to_npy(Polarity::PrunedIsTrue).unwrap()).unwrap();

    let run = |options: &[&str]| {
        sandbox.ok(&[&["attention", "--masks", "masks.npy", "--timing-only"], options].concat())
    };
    let factors = |text: &str| -> Vec<bool> {
        let lines = text.lines().filter(|line| line.contains("the authors' simulator ("));
        lines.map(|line| line.split_whitespace().last().unwrap().contains('.')).collect()
    };
    let theirs = ["--head-dim", "64", "--compressed-heads", "2"];
    let text = run(&theirs);
    assert!(text.contains("42,455") && text.contains("9,492"), "{text}");
    // A factor only beside the version with as many MACs.
    assert_eq!(factors(&text), [true, false], "{text}");
    assert_eq!(factors(&run(&[&theirs[..], &["--machine", "vitcod-sim"]].concat())), [false, true]);
    for other in [&["--head-dim", "64"][..], &["--head-dim", "32", "--compressed-heads", "2"]] {
        assert_eq!(factors(&run(other)), [false; 0]);
    }
}

#[test]
fn arguments_that_make_no_core_are_refused() {
    let sandbox = Sandbox::new();
    let attention = |options: &[&str]| {
        let files = ["-o", "p.vitcod", "--report", "r.json"];
        sandbox.fails(&[&["attention", "--masks", "masks.npy"][..], &files, options].concat())
    };
    assert!(attention(&["--head-dim", "8"]).contains("cannot read masks.npy"));
    write_masks(&sandbox, [9, 9], typical);
    for (options, expected) in [
        (
            &["--head-dim", "8", "--compressed-heads", "4"][..],
            "masks.npy: layer 0: 4 compressed heads for 3 heads",
        ),
        (
            &["--head-dim", "8", "--compressed-heads", "0"],
            "masks.npy: layer 0: 0 compressed heads for 3 heads",
        ),
        (&["--head-dim", "0"], "a head dimension of 0: expected 1 to 65535"),
        (&["--head-dim", "65536"], "a head dimension of 65536"),
        // Read the other way round, the first row keeps nothing.
        (
            &["--head-dim", "8", "--polarity", "pruned"],
            "masks.npy is not a valid mask file: layer 0, head 0: row 0 is pruned entirely",
        ),
        (&["--head-dim", "8", "--machine", "none"], "unknown machine \"none\"; expected a preset"),
    ] {
        let error = attention(options);
        assert!(error.contains(expected), "{options:?}: {error}");
    }
    let write = |shape: &[usize], value: u8| {
        let array = ndarray::ArrayD::from_elem(shape, value);
        ndarray_npy::write_npy(sandbox.path("masks.npy"), &array).unwrap();
    };
    write(&[3, 9, 9], 1);
    assert!(attention(&["--head-dim", "8"]).contains("a mask of shape [3, 9, 9]"));
    write(&[1, 3, 9, 9], 2);
    assert!(attention(&["--head-dim", "8"]).contains("not binary: element [0, 0, 0, 0] is 2"));
    // An output is no input.
    write_masks(&sandbox, [9, 9], typical);
    let error = sandbox.fails(&[
        "attention",
        "--masks",
        "masks.npy",
        "--head-dim",
        "8",
        "-o",
        "./masks.npy",
    ]);
    assert!(error.contains("./masks.npy is an input"), "{error}");
    let toml = fs::read(file("isa/machines/vitcod.toml")).unwrap();
    fs::write(sandbox.path("m.toml"), &toml).unwrap();
    let files = ["--masks", "masks.npy", "--machine", "m.toml", "--report", "m.toml"];
    let error = sandbox.fails(&[&["attention", "--head-dim", "8"][..], &files].concat());
    assert!(error.contains("m.toml is an input"), "{error}");
    assert!(fs::read(sandbox.path("m.toml")).unwrap() == toml);
}
