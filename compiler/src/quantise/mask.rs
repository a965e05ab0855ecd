//! Masks that are added to scores.

use crate::masks::{MAX_TOKENS, Mask, prunes};

/// The masks of the heads of a constant `[heads, queries, keys]` that is added to scores.
///
/// # Errors
/// It holds something other than 0 and -inf, prunes a row entirely, or has more tokens than a mask holds.
pub(super) fn masks(bias: &[f32], [heads, queries, keys]: [usize; 3]) -> Result<Vec<Mask>, String> {
    if queries.max(keys) > MAX_TOKENS {
        return Err(format!("a mask of {queries} queries and {keys} keys; one holds {MAX_TOKENS}"));
    }
    let is_other = |x: &f32| *x != 0.0 && !prunes(*x);
    if let Some(first) = bias.iter().position(is_other) {
        let place = [first / (queries * keys), first / keys % queries, first % keys];
        let others = || bias.iter().copied().filter(is_other);
        let (least, most) = (others().fold(f32::INFINITY, f32::min), others().fold(f32::NEG_INFINITY, f32::max));
        return Err(format!(
            "not supported yet: a bias on the scores other than a mask of 0 and -inf: {} of {} elements, from {least} to {most}; the \
             first, at {place:?}, is {}",
            others().count(),
            bias.len(),
            bias[first]
        ));
    }
    let kept = |head, query, key| bias[(head * queries + query) * keys + key] == 0.0;
    let masks = (0..heads).map(|head| Mask::from_fn(queries, keys, |query, key| kept(head, query, key)));
    let masks: Vec<Mask> = masks.collect();
    match masks.iter().enumerate().find_map(|(head, mask)| Some((head, mask.empty_row()?))) {
        Some((head, query)) => Err(format!("head {head}: row {query} is pruned entirely by its mask")),
        None => Ok(masks),
    }
}
