use super::*;

/// How the comparison of both models is laid out; the module `digits` asserts its numbers.
#[test]
fn the_example_models_are_compared() {
    let text = Sandbox::new().ok(&["demo"]);
    let (comparison, run) = text.split_once("An image on the sparse model").unwrap();
    insta::assert_snapshot!(layout(comparison));
    assert!(run.contains(" digits_sparse90_ae\n"), "{run}");
}
