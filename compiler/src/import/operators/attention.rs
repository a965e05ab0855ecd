//! The operator Attention, translated to the products and the softmax that older opsets write.

use super::constants::choose;
use super::{Call, Translated};
use crate::ir::{BinaryFn, Elem, OpKind, Value};

/// Optional operands that encoders do not use.
const OTHERS: [(usize, &str); 3] =
    [(4, "past keys"), (5, "past values"), (6, "numbers of valid keys")];

pub(super) fn attention(call: &mut Call<'_>) -> Translated {
    for (operand, what) in OTHERS {
        if call.optional(operand).is_some() {
            return Err(call.mismatch(
                format!("no {what}, but the whole sequence at once"),
                format!("an operand {operand}"),
            ));
        }
    }
    let softcap = call.float("softcap", 0.0)?;
    if softcap != 0.0 {
        return Err(call.attribute("softcap", "0", softcap.to_string()));
    }
    let is_flat = call.ty(call.operand(0)?).rank() == 3;
    let q = heads(call, 0, "q_num_heads")?;
    let [k, v] = [heads(call, 1, "kv_num_heads")?, heads(call, 2, "kv_num_heads")?];
    let features = call.shape(q)[3];
    let scale = call.float("scale", (features as f32).sqrt().recip())?;
    let mut addends = Vec::new();
    if let Some(mask) = call.optional(3) {
        addends.push(addend(call, mask)?);
    }
    let causal = call.int("is_causal", 0)? != 0;
    // Bounds of the distance to earlier and later keys, as of opset 25.
    let bound =
        |name: &str| -> Translated<Option<usize>> { Ok(usize::try_from(call.int(name, -1)?).ok()) };
    let (earlier, later) = (bound("left_window_size")?, bound("right_window_size")?);
    let visible = Visible { earlier, later: if causal { Some(0) } else { later } };
    Ok(vec![attend(call, Heads { q, k, v, scale, addends, visible }, is_flat)?])
}

/// The keys that a query attends to, by the distance of their places: any if there is no bound.
#[derive(Clone, Copy, Default)]
pub(super) struct Visible {
    earlier: Option<usize>,
    later: Option<usize>,
}

impl Visible {
    /// All keys, or those that do not come later than the query.
    pub(super) fn of_causal(causal: bool) -> Visible {
        Visible { earlier: None, later: causal.then_some(0) }
    }

    fn all(self) -> bool {
        self.earlier.is_none() && self.later.is_none()
    }

    fn has(self, query: usize, key: usize) -> bool {
        let within =
            |distance: usize, bound: Option<usize>| bound.is_none_or(|most| distance <= most);
        within(query.saturating_sub(key), self.earlier)
            && within(key.saturating_sub(query), self.later)
    }
}

/// Queries, keys and values `[batch, heads, tokens, features]`, and what happens to their scores.
pub(super) struct Heads {
    pub(super) q: Value,
    pub(super) k: Value,
    pub(super) v: Value,
    pub(super) scale: f32,
    /// Added to the scores.
    pub(super) addends: Vec<Value>,
    pub(super) visible: Visible,
}

/// `softmax(scale q k^T + addends) v`: of rank 4, or, if it is flat, with the heads side by side.
pub(super) fn attend(call: &mut Call<'_>, heads: Heads, is_flat: bool) -> Translated<Value> {
    let Heads { q, k, v, scale, addends, visible } = heads;
    let (&[batch, count, queries, _], &[_, k_count, keys, _], &[_, v_count, ..]) =
        (call.shape(q), call.shape(k), call.shape(v))
    else {
        unreachable!("tensors of heads have 4 dimensions");
    };
    if k_count != count || v_count != count {
        let found = format!("{count}, {k_count} and {v_count}");
        return Err(call.mismatch("as many heads of queries, of keys and of values", found));
    }
    let k = call.emit(OpKind::Transpose { perm: vec![0, 1, 3, 2] }, &[k])?;
    let scores = call.emit(OpKind::MatMul {}, &[q, k])?;
    let mut scores = call.scaled(scores, scale)?;
    for addend in addends {
        scores = added(call, scores, addend)?;
    }
    if !visible.all() {
        let addend = |query, key| if visible.has(query, key) { 0.0 } else { f32::NEG_INFINITY };
        let mask = (0..queries * keys).map(|entry| addend(entry / keys, entry % keys));
        let mask = call.float_constant(&[queries, keys], mask)?;
        scores = added(call, scores, mask)?;
    }
    let probabilities = call.emit(OpKind::Softmax { axis: 3 }, &[scores])?;
    let result = call.emit(OpKind::MatMul {}, &[probabilities, v])?;
    if !is_flat {
        return Ok(result);
    }
    let result = call.emit(OpKind::Transpose { perm: vec![0, 2, 1, 3] }, &[result])?;
    let channels = call.shape(result)[2..].iter().product();
    call.reshape(result, &[batch, queries, channels])
}

/// Tokens `[batch, n, heads * features]` as `[batch, heads, n, features]`.
pub(super) fn split_heads(call: &mut Call<'_>, x: Value, count: usize) -> Translated<Value> {
    let &[batch, tokens, channels] = call.shape(x) else {
        unreachable!("tokens of heads have 3 dimensions");
    };
    let x = call.reshape(x, &[batch, tokens, count, channels / count])?;
    call.emit(OpKind::Transpose { perm: vec![0, 2, 1, 3] }, &[x])
}

/// An operand as `[batch, heads, tokens, features]`. One of rank 3 has its heads side by side; an
/// attribute states their number.
fn heads(call: &mut Call<'_>, operand: usize, attribute: &str) -> Translated<Value> {
    let x = call.operand(operand)?;
    match *call.shape(x) {
        [_, _, _, _] => Ok(x),
        [_, _, channels] => {
            let count = usize::try_from(call.int(attribute, 0)?).unwrap_or(0);
            if count == 0 || !channels.is_multiple_of(count) {
                return Err(call.attribute(
                    attribute,
                    format!("a divisor of {channels}"),
                    count.to_string(),
                ));
            }
            split_heads(call, x, count)
        }
        _ => Err(call.mismatch("queries, keys and values of 3 or 4 dimensions", call.describe(x))),
    }
}

/// The addend of scores for a mask: a float mask is added itself, a boolean one is true for kept
/// entries.
fn addend(call: &mut Call<'_>, mask: Value) -> Translated<Value> {
    if call.ty(mask).elem == Elem::F32 {
        return Ok(mask);
    }
    let kept = call.float_constant(&[], vec![0.0])?;
    let pruned = call.float_constant(&[], vec![f32::NEG_INFINITY])?;
    choose(call, mask, kept, pruned)
}

fn added(call: &mut Call<'_>, scores: Value, addend: Value) -> Translated<Value> {
    let sum = call.binary(BinaryFn::Add, scores, addend)?;
    match call.shape(sum) == call.shape(scores) {
        true => Ok(sum),
        false => Err(call.mismatch(
            format!("a mask that broadcasts to {:?}", call.shape(scores)),
            call.describe(addend),
        )),
    }
}
