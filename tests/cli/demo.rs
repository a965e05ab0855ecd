use super::*;

/// The acceptance of the quantisation: digits within a point of float, and nearly all predictions equal.
#[test]
fn the_example_model_reads_digits() {
    let text = Sandbox::new().ok(&["demo"]);
    let count = |label: &str| -> u32 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        let count =
            line.and_then(|rest| rest.trim().split_once(" of 500 ")).unwrap_or_else(|| panic!("{label}: {text}"));
        count.0.parse().unwrap()
    };
    assert!(count("accuracy, float") >= 490);
    assert!(count("accuracy, emulated") + 5 >= count("accuracy, float"));
    assert!(count("equal predictions") >= 485);
    assert!(text.contains("all 5000 integers of the outputs equal"), "{text}");
    assert!(text.contains("DRAM by kind") && text.contains("of the MACs' cycles"), "{text}");
}
