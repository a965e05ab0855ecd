//! The operations between the projection of Q or K and attention.

use cranelift_entity::SecondaryMap;

use super::OPERANDS;
use crate::ir::{Graph, Op, OpData, OpKind, Value};

/// An auto-encoder in front of attention.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// `Q` or `K`.
    pub(super) operand: &'static str,
    pub(super) encoder: Op,
    pub(super) decoder: Op,
    /// The linear layer before the encoder, or why the encoder cannot be folded into it.
    pub(super) projection: Result<Op, &'static str>,
    /// Rows (tokens) of Q or K.
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) compressed: usize,
    /// Features of a head.
    pub(super) features: usize,
}

/// The auto-encoders of an attention, first of Q, then of K, if they exist.
pub(super) fn chains(
    graph: &Graph,
    readers: &SecondaryMap<Value, usize>,
    attention: &OpData,
) -> Vec<Chain> {
    let operands = OPERANDS.into_iter().zip(&attention.operands);
    operands.filter_map(|(operand, value)| chain(graph, readers, operand, *value)).collect()
}

fn chain(
    graph: &Graph,
    readers: &SecondaryMap<Value, usize>,
    operand: &'static str,
    value: Value,
) -> Option<Chain> {
    let (decoder, decoding) = graph.producer(value)?;
    let (encoder, encoding) = graph.producer(decoding.operands[0])?;
    let (
        OpKind::MixHeads { heads_in: heads, heads_out: compressed },
        OpKind::MixHeads { heads_in, heads_out },
    ) = (&encoding.kind, &decoding.kind)
    else {
        return None;
    };
    // With more heads in the middle it does not compress, and folding could take more memory than
    // the model.
    if (heads_in, heads_out) != (compressed, heads) || compressed > heads {
        return None;
    }
    let (tokens, columns) = graph.ty(value).matrix();
    Some(Chain {
        operand,
        encoder,
        decoder,
        projection: projection(graph, readers, [encoding, decoding]),
        tokens,
        heads: *heads,
        compressed: *compressed,
        features: columns / heads,
    })
}

/// The linear layer into which an encoder can be folded, or why there is none.
fn projection(
    graph: &Graph,
    readers: &SecondaryMap<Value, usize>,
    coders: [&OpData; 2],
) -> Result<Op, &'static str> {
    let x = coders[0].operands[0];
    let Some((op, linear)) =
        graph.producer(x).filter(|(_, data)| matches!(data.kind, OpKind::Linear {}))
    else {
        return Err("its input is not the result of a linear layer");
    };
    if readers[x] > 1 {
        return Err("its input has other readers");
    }
    let mut parameters = coders.into_iter().chain([linear]).flat_map(|data| &data.operands[1..]);
    if parameters.any(|parameter| graph.const_f32(*parameter).is_none()) {
        return Err("expected float constants as weight and bias");
    }
    Ok(op)
}

/// The number of operations and outputs that read each value.
pub(super) fn readers(graph: &Graph) -> SecondaryMap<Value, usize> {
    let mut readers = SecondaryMap::new();
    let operands = graph.order.iter().flat_map(|op| &graph.op(*op).operands);
    operands
        .chain(graph.outputs.iter().map(|output| &output.value))
        .for_each(|value| readers[*value] += 1);
    readers
}
