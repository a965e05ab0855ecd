//! Which forms of imported operations are recognised, for `docs/operators.md`.
//!
//! What is not among them is refused where it is met, with its node, what was found and what could
//! be there instead.

/// The operations of an imported graph by mnemonic, and what canonicalisation makes of each.
pub const FORMS: &[(&str, &str)] = &[
    ("unary", "A function of tokens, element by element."),
    (
        "binary",
        "The sum or difference of two tensors of the same tokens and channels. Tokens plus or minus a constant, which broadcasts. Tokens times or \
         by a constant number, or one per channel: factors move into the linear layers before. Scores times or by a number, or plus a constant \
         for each head, query and key. Sums, differences and products of an integer input and a number; scores plus what such a function is at \
         each key, if it is 0 where the input is not 0, and -inf or at most -10,000 where it is: keys that do not count.",
    ),
    (
        "convert",
        "Of an integer input, to any kind of number. Whether probabilities are no numbers, which holds nowhere.",
    ),
    (
        "select",
        "One of two numbers by an integer input. Probabilities that are numbers, and anything where they are none.",
    ),
    (
        "matmul",
        "Tokens by a constant matrix: a linear layer. By a constant matrix over the heads: an auto-encoder. Queries by transposed keys of the \
         same heads, and of the same windows of tokens: scores. Probabilities by values: attention.",
    ),
    ("fake_quantise", "The pass `absorb-qdq` notes the step on the tensor before."),
    (
        "conv",
        "Of an image that is an input, or of a map or sequence of tokens, without groups and dilation: patches and a linear layer.",
    ),
    (
        "layer_norm",
        "Over the channels of tokens; also written out as mean, difference, square, mean, root and quotient, with the unbiased mean of squares or \
         an epsilon that is added to the root.",
    ),
    ("softmax", "Of scores, over the keys."),
    (
        "concat",
        "Tokens and constants one after the other; parts of the same tokens along any of their dimensions, as rolling a map joins them.",
    ),
    (
        "reshape",
        "Of tokens and integer inputs, as long as no dimension takes parts of both tokens and channels. Of scores, as long as queries and keys stay the last two \
         dimensions.",
    ),
    ("expand", "Of constants and integer inputs: what else is computed is not repeated."),
    (
        "transpose",
        "Of tokens and integer inputs, in any order; heads find their way back before the next linear layer, tokens in another order are \
         picked.",
    ),
    ("slice", "Of tokens or channels at regular distances."),
    (
        "gather",
        "As slice: constant indices at rising, regular distances. Rows of a constant table by an integer input, of at most 65,535 rows.",
    ),
    ("reduce_mean", "Over all tokens. Within LayerNorm."),
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
