use super::*;

/// The acceptance of the quantisation: both models within half a point of their own float, and
/// nearly all predictions equal.
#[test]
fn the_example_models_read_digits() {
    let text = Sandbox::new().ok(&["demo"]);
    // Of the dense model, then of the sparse one.
    let counts = |label: &str| -> [u32; 2] {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        let line = line.unwrap_or_else(|| panic!("{label}: {text}"));
        let counts: Vec<u32> = line
            .split(" of 500 ")
            .filter_map(|part| part.split_whitespace().last()?.parse().ok())
            .collect();
        counts.try_into().unwrap_or_else(|_| panic!("{label}: {text}"))
    };
    let (float, emulated) = (counts("accuracy, float"), counts("accuracy, emulated"));
    let equal = counts("equal predictions");
    for model in 0..2 {
        assert!(
            float[model] >= 490 && emulated[model] + 2 >= float[model] && equal[model] >= 485,
            "{text}"
        );
    }
    for model in ["dense ", "sparse"] {
        assert!(
            text.contains(&format!(" {model}  all 5000 integers of the outputs equal")),
            "{text}"
        );
    }
    let cycles: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| {
            line.starts_with(" cycles per image ") || line.starts_with("   in attention ")
        })
        .map(|line| line.split_whitespace().collect())
        .collect();
    let ratios: Vec<f64> =
        cycles.iter().map(|line| line.last().unwrap().parse().unwrap()).collect();
    assert!(ratios.len() == 3 && ratios.iter().all(|ratio| *ratio > 1.2), "{text}");
    assert!(text.contains("DRAM by kind") && text.contains("global tokens"), "{text}");
}
