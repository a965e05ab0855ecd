//! Addends of scores: masks and biases.

use vitcod_isa::numerics::quantise_i16;

use crate::ir::layout::{MAX_TOKENS, Mask, prunes};

/// Separates a constant `[heads, queries, keys]` that is added to scores into the masks of the
/// heads and, in the same order, the bias of each entry in units of scores, 0 for pruned
/// entries. A bias outside the range of scores saturates.
///
/// # Errors
/// An element is infinite or NaN, a row keeps no entry, or there are more tokens than a mask can
/// hold.
pub(super) fn terms(
    elements: &[f32],
    [heads, queries, keys]: [usize; 3],
    units_per_nat: f64,
) -> Result<(Vec<Mask>, Vec<i16>), String> {
    if queries.max(keys) > MAX_TOKENS {
        return Err(format!(
            "a mask of {queries} queries and {keys} keys, expected at most {MAX_TOKENS}"
        ));
    }
    if let Some(first) = elements.iter().position(|x| x.is_nan() || *x == f32::INFINITY) {
        let place = [first / (queries * keys), first / keys % queries, first % keys];
        return Err(format!("the bias of the scores at {place:?} is {}", elements[first]));
    }
    let kept = |head, query, key| !prunes(elements[(head * queries + query) * keys + key]);
    let masks =
        (0..heads).map(|head| Mask::from_fn(queries, keys, |query, key| kept(head, query, key)));
    let masks: Vec<Mask> = masks.collect();
    if let Some((head, query)) =
        masks.iter().enumerate().find_map(|(head, mask)| Some((head, mask.empty_row()?)))
    {
        return Err(format!("head {head}: row {query} is pruned entirely by its mask"));
    }
    let bias = |x: &f32| if prunes(*x) { 0 } else { quantise_i16(*x, 1.0 / units_per_nat) };
    Ok((masks, elements.iter().map(bias).collect()))
}
