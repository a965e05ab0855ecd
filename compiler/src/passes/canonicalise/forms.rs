//! The supported forms of imported operations, for `docs/operators.md`.
//!
//! Any other form is rejected with its node, the form found and the supported forms.

/// The operations of an imported graph by mnemonic, with the forms that canonicalisation supports.
pub const FORMS: &[(&str, &str)] = &[
    ("unary", "An elementwise function of tokens."),
    (
        "binary",
        "The sum or difference of two tensors with the same tokens and channels. Tokens plus \
         or minus a constant, which broadcasts. Tokens times or divided by a constant number, \
         or one per channel: factors are folded into the linear layers before. Images times, \
         divided by, plus or minus a number, or one per channel: the runtime normalises them. \
         Scores times or divided by a number, or one per head, or plus a constant for each \
         head, query and key. Sums, \
         differences and products of an integer input and a number. Scores plus a function of \
         an integer input at each key that is 0 where the input is not 0, and -inf or at most \
         -10,000 where it is: this prunes keys.",
    ),
    (
        "convert",
        "Of an integer input, to any kind of number. The test for NaN of probabilities, which \
         is always false.",
    ),
    (
        "select",
        "One of two numbers by an integer input. Probabilities with a replacement for NaN. \
         Scores by a constant condition, with -inf or at most -10,000 elsewhere: this prunes \
         entries.",
    ),
    (
        "matmul",
        "Tokens times a constant matrix: a linear layer. Heads times a constant matrix: an \
         auto-encoder. Queries times transposed keys of the same heads and attention windows: \
         scores. Probabilities times values: attention.",
    ),
    ("fake_quantise", "The pass `absorb-qdq` notes the step on the tensor before."),
    (
        "conv",
        "Of an image that is an input, or of a map or sequence of tokens, without groups and \
         dilation: patches and a linear layer.",
    ),
    (
        "layer_norm",
        "Over the channels of tokens. Also as mean, difference, square, mean, root and \
         quotient, with the unbiased variance or an epsilon that is added to the root; also \
         multiplied out, as Keras writes it.",
    ),
    ("softmax", "Of scores, over the keys."),
    (
        "concat",
        "Of tokens and constants, along the tokens. Of tokens, along the channels. Of parts of \
         the same tokens along any of their dimensions, as in rolling a map.",
    ),
    (
        "reshape",
        "Of tokens and integer inputs, if no dimension combines parts of tokens and channels. \
         Of scores, if queries and keys remain the last two dimensions.",
    ),
    ("expand", "Of constants and integer inputs. Of tokens and channels, which are repeated."),
    (
        "transpose",
        "Of tokens and integer inputs, in any order. Heads must return to the channels before \
         the next linear layer; tokens in another order are gathered.",
    ),
    ("slice", "Of tokens or channels at regular distances."),
    (
        "gather",
        "Tokens or channels by constant indices in any order. Rows of a constant table by an \
         integer input, of at most 65,535 rows.",
    ),
    ("gather_elements", "None: the host computes it."),
    ("top_indices", "None: the host computes it."),
    (
        "pad",
        "Of an image before a convolution, which pads itself. Of maps of tokens, along their \
         dimensions: rows of zeros.",
    ),
    ("reduce_max", "Within softmax."),
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
