//! Attention maps of a model, averaged over samples.

use std::collections::BTreeMap;

use ndarray::{Array3, ArrayD, ArrayViewD, Ix2, Ix3, IxDyn};
use rayon::prelude::*;

use super::items;
use crate::interp::{FloatInterpreter, InterpError};
use crate::ir::{Graph, OpData, OpKind, Stage, Value};

/// The mean attention maps of a canonical graph over samples: for each `attention` in the order of
/// the graph an array `[heads, queries, keys]`.
///
/// The maps are `softmax(scale q k^T + bias)` in f64, computed from the q and k of
/// [`FloatInterpreter`]; everything is summed in a fixed order. Samples are items along the first
/// axis of each input, as in calibration; they run in parallel, and the result does not depend on
/// the number of threads.
///
/// The pass `drop-dead-rows` leaves in the last layer only the queries that an output depends on;
/// in a classifier, that of the class token. Maps of all queries, which masks and the authors'
/// files need, are those of the graph before that pass.
///
/// # Errors
/// The graph is not canonical or cannot be evaluated, or the samples are not items of its inputs.
pub fn average_attention(
    graph: &Graph,
    samples: &[ArrayViewD<'_, f32>],
) -> Result<Vec<Array3<f64>>, InterpError> {
    if graph.stage != Stage::Canonical {
        return Err(InterpError::Stage(graph.stage));
    }
    let items = items(graph, samples)?;
    let mut sums: Option<Vec<Array3<f64>>> = None;
    // The maps of a few items at a time: those of all might exceed the memory.
    for chunk in items.chunks(rayon::current_num_threads()) {
        let maps = chunk
            .par_iter()
            .map(|inputs| attention_maps(graph, inputs))
            .collect::<Result<Vec<_>, _>>()?;
        for maps in maps {
            match &mut sums {
                Some(sums) => sums.iter_mut().zip(maps).for_each(|(sum, map)| *sum += &map),
                None => sums = Some(maps),
            }
        }
    }
    let count = items.len() as f64;
    Ok(sums.unwrap_or_default().into_iter().map(|sum| sum / count).collect())
}

/// The attention maps of one item.
fn attention_maps(
    graph: &Graph,
    inputs: &[ArrayViewD<'_, f32>],
) -> Result<Vec<Array3<f64>>, InterpError> {
    let mut layers: Vec<&OpData> = Vec::new();
    for op in &graph.order {
        match graph.op(*op).kind {
            OpKind::Attention { windows: 1, .. } => layers.push(graph.op(*op)),
            OpKind::Attention { windows, .. } => {
                return Err(InterpError::at(
                    graph,
                    *op,
                    format!(
                        "attention within {windows} windows: only attention over all tokens has maps, and can be pruned"
                    ),
                ));
            }
            _ => {}
        }
    }
    let mut tensors: BTreeMap<Value, Option<ArrayD<f32>>> = BTreeMap::new();
    for value in layers.iter().flat_map(|layer| operands_of_scores(graph, layer)) {
        let constant = graph.const_f32(value).map(|elements| {
            ArrayD::from_shape_vec(IxDyn(&graph.ty(value).shape), elements)
                .expect("verified constant")
        });
        tensors.insert(value, constant);
    }
    FloatInterpreter::new(graph)?.observe(inputs, &mut |value, tensor| {
        if let Some(observed) = tensors.get_mut(&value) {
            *observed = Some(tensor.to_owned());
        }
    })?;
    let tensor = |value: Value| {
        tensors[&value].as_ref().expect("constants and observed values are all there is")
    };
    Ok(layers
        .into_iter()
        .map(|layer| {
            let OpKind::Attention { heads, scale, .. } = layer.kind else {
                unreachable!("layers are attention")
            };
            let [q, k] = [layer.operands[0], layer.operands[1]].map(tensor);
            let [bias, keys] =
                [graph.attention_bias(layer), graph.attention_keys(layer)].map(|x| x.map(tensor));
            attention_map([q, k], bias, keys, heads, scale)
        })
        .collect())
}

/// The operands of an attention other than the values.
fn operands_of_scores(graph: &Graph, attention: &OpData) -> impl Iterator<Item = Value> {
    let others = [graph.attention_bias(attention), graph.attention_keys(attention)];
    attention.operands[..2].iter().copied().chain(others.into_iter().flatten())
}

/// `softmax(scale q k^T + bias)` of every head, without pruned keys.
fn attention_map(
    [q, k]: [&ArrayD<f32>; 2],
    bias: Option<&ArrayD<f32>>,
    keys: Option<&ArrayD<f32>>,
    heads: usize,
    scale: f64,
) -> Array3<f64> {
    let [q, k] =
        [q, k].map(|x| x.mapv(f64::from).into_dimensionality::<Ix2>().expect("verified rank"));
    let bias = bias.map(|bias| bias.view().into_dimensionality::<Ix3>().expect("verified rank"));
    let features = q.ncols() / heads;
    let mut map = Array3::from_shape_fn((heads, q.nrows(), k.nrows()), |(head, query, key)| {
        let columns = ndarray::s![head * features..(head + 1) * features];
        let (q, k) = (q.row(query), k.row(key));
        let (q, k) = (q.slice_move(columns), k.slice_move(columns));
        let score = scale * q.iter().zip(k).fold(0.0, |sum, (q, k)| sum + q * k);
        match keys {
            Some(keys) if keys[key] == 0.0 => f64::NEG_INFINITY,
            _ => score + bias.as_ref().map_or(0.0, |bias| f64::from(bias[[head, query, key]])),
        }
    });
    for mut row in map.rows_mut() {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.mapv_inplace(|score| libm::exp(score - max));
        let sum = row.iter().fold(0.0, |sum, e| sum + e);
        row /= sum;
    }
    map
}
