//! The files of the crate, and files that are refused.

use proptest::prelude::*;

use super::*;
use crate::shapes;

#[test]
fn files_of_the_crate_survive_their_text_form() {
    for (label, files) in [(Label::Published, published()), (Label::Measured, measured())] {
        for file in files {
            assert_eq!(file.label(), label);
            assert_eq!(Measurement::from_json(&file.to_json()).unwrap(), file);
        }
    }
}

#[test]
fn operations_add_up() {
    for file in published() {
        for timed in file.results() {
            let sum: f64 = timed.operations().map(|(_, milliseconds)| milliseconds).sum();
            // Operations are rounded to 0.1 us (TX2), or to 1 ns per layer (2080 Ti).
            assert!((sum - timed.milliseconds()).abs() < 5e-4, "{sum} {timed:?}");
        }
    }
}

#[test]
fn logs_state_what_the_authors_published() {
    let files = published();
    let [tx2, gpu] = &files[..] else { panic!("two logs") };
    let times = |file: &Measurement| -> Vec<f64> {
        file.results().iter().map(Timed::milliseconds).collect()
    };
    assert_eq!(times(tx2), [3.3222, 5.3986, 14.911]);
    // 9.013 us per layer and image, 11.552 with copies.
    assert_eq!(times(gpu), [0.108156, 0.138624, 0.49407]);
    assert_eq!((tx2.platform(), gpu.platform()), (Platform::EdgeGpu, Platform::Gpu));
    assert_eq!(gpu.machine(), "GeForce RTX 2080 Ti, PyTorch (torch.profiler), float32, batch 2048");
}

#[test]
fn the_papers_factor_lies_between_those_of_the_simulators_versions() {
    let tx2 = published()[0].results()[0].clone();
    let factors = [42_455, 9492].map(|cycles| tx2.factor(cycles, 500.0));
    assert_eq!(factors.map(|factor| (factor * 10.0).round() / 10.0), [39.1, 175.0]);
    let paper = crate::paper::SPEEDUPS[1].at_90_percent;
    assert!(factors[0] < paper && paper < factors[1]);
}

#[test]
fn times_are_found_by_shape() {
    let workload = shapes::dense("deit-tiny").unwrap();
    // The logs have 196 tokens.
    assert!(published().iter().all(|file| file.core_attention(&workload).is_none()));
    for file in measured() {
        let timed = file.core_attention(&workload).unwrap();
        assert_eq!((timed.model(), timed.part()), ("deit-tiny", Part::CoreAttention));
        assert!(timed.runs() >= Some(10));
        let [fastest, slowest] = timed.range_milliseconds().unwrap();
        assert!((fastest..=slowest).contains(&timed.milliseconds()));
    }
}

/// The message of a refused file, with line and column.
fn refused(text: &str) -> String {
    let shown = Measurement::from_json(text).unwrap_err().render("a.json", text);
    let lines: Vec<&str> = shown.lines().take(2).collect();
    lines.join("").replace("error: ", "").replace("  --> ", " ").replace(" --> ", " ")
}

#[test]
fn mistakes_are_located() {
    let text = published()[0].to_json();
    let with = |old: &str, new: &str| {
        assert!(text.contains(old), "{old}");
        refused(&text.replacen(old, new, 1))
    };
    let cases = [
        with("\"form\": 1", "\"form\": 2"),
        with("\"published\"", "\"guessed\""),
        with("\"batch\": 1", "\"batch\": 0"),
        with("3.3222", "-3"),
        with("3.3222", "1e999"),
        with("\"Jetson TX2\"", "\"\\u001b[31m\""),
        with("\"milliseconds\": 3.3222,", ""),
        with("\"runs\"", "\"times\""),
    ];
    let expected = [
        "form 2: expected 1 a.json:2:11",
        "unknown variant `guessed`, expected one of `measured`, `modelled`, `published` \
         a.json:3:20",
        "0: expected at least 1 a.json:8:12",
        "-3.0 milliseconds: expected a number above 0, at most 86400000 a.json:25:24",
        "number out of range a.json:25:27",
        "expected a text of 1 to 200 printable characters a.json:5:27",
        "missing field `milliseconds` a.json:40:5",
        "unknown field `times`, expected one of `model`, `part`, `layers`, `runs`, \
         `milliseconds`, `fastest_milliseconds`, `slowest_milliseconds`, `operations` a.json:24:13",
    ];
    assert_eq!(cases, expected);
    assert!(refused("").starts_with("EOF while parsing a value"));
}

#[test]
fn a_row_without_a_file_says_how_to_get_one() {
    for platform in [Platform::Cpu, Platform::Gpu, Platform::EdgeGpu] {
        let script = platform.how_to_measure().split(' ').nth(1).unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(root.join(script).exists(), "{platform}");
    }
}

proptest! {
    #[test]
    fn a_changed_file_is_read_or_refused(place in 0..3000_usize, byte in 0..128_u8) {
        let mut text = published()[0].to_json().into_bytes();
        let place = place % text.len();
        text[place] = byte;
        let text = String::from_utf8(text).unwrap();
        if let Err(problem) = Measurement::from_json(&text) {
            problem.render("a.json", &text);
        }
    }
}
