//! Which forms of imported operations are recognised, for `docs/operators.md`.
//!
//! What is not among them is refused where it is met, with its node, what was found and what could be there instead.

/// The operations of an imported graph by mnemonic, and what canonicalisation makes of each.
pub const FORMS: &[(&str, &str)] = &[
    ("unary", "A function of tokens, element by element."),
    (
        "binary",
        "The sum or difference of two tensors of the same tokens and channels. Tokens plus or minus a constant, which broadcasts. Tokens times or \
         by a constant number, or one per channel: factors move into the linear layers before. Scores times or by a number, or plus a constant \
         for each head, query and key.",
    ),
    (
        "matmul",
        "Tokens by a constant matrix: a linear layer. By a constant matrix over the heads: an auto-encoder. Queries by transposed keys of the \
         same heads: scores. Probabilities by values: attention.",
    ),
    ("fake_quantise", "The pass `steps` notes the step on the tensor before."),
    ("conv", "Of an image that is an input, without groups and dilation: patches and a linear layer."),
    (
        "layer_norm",
        "Over the channels of tokens; also written out as mean, difference, square, mean, root and quotient.",
    ),
    ("softmax", "Of scores, over the keys."),
    ("concat", "Tokens and constants one after the other."),
    (
        "reshape",
        "Of tokens, as long as no dimension takes parts of both tokens and channels. Of scores, as long as queries and keys stay the last two \
         dimensions.",
    ),
    ("expand", "Of constants: what is computed is not repeated."),
    ("transpose", "Of tokens, in any order; heads find their way back before the next linear layer."),
    ("slice", "Of tokens or channels at regular distances; tokens that stay must be neighbours."),
    ("gather", "As slice: constant indices at rising, regular distances."),
    ("reduce_mean", "Within LayerNorm."),
];

#[cfg(test)]
mod tests {
    use crate::ir::{OPERATIONS, Stage};

    #[test]
    fn every_imported_operation_has_its_forms() {
        let imported = OPERATIONS.iter().filter(|spec| spec.stages.contains(&Stage::Imported));
        let mut imported: Vec<&str> = imported.map(|spec| spec.mnemonic).collect();
        let mut stated: Vec<&str> = super::FORMS.iter().map(|(mnemonic, _)| *mnemonic).collect();
        imported.sort_unstable();
        stated.sort_unstable();
        assert_eq!(stated, imported);
    }
}
