//! Moves factors and offsets of channels between the parameters of operations.

use super::factors::Factors;
use crate::calibration::I8_MAX;
use crate::ir::{Graph, Op, Value};

/// Subtracts an offset from every channel of the result.
pub(super) fn shift(graph: &mut Graph, op: Op, offsets: &[f64]) {
    update(graph, op, 2, |bias| {
        bias.iter_mut().zip(offsets).for_each(|(bias, offset)| *bias -= offset);
    });
}

/// Divides every channel of the result by its factor. If there are fewer factors than channels,
/// they repeat, head by head.
pub(super) fn divide(graph: &mut Graph, op: Op, factors: &Factors) {
    let factors = factors.as_slice();
    let channels = graph.ty(graph.op(op).results[0]).matrix().1;
    for parameter in [1, 2] {
        update(graph, op, parameter, |elements| {
            let width = (elements.len() / channels.max(1)).max(1);
            let rows = elements.chunks_mut(width).zip(factors.iter().cycle());
            rows.for_each(|(row, factor)| row.iter_mut().for_each(|x| *x /= factor));
        });
    }
}

/// Makes the runtime divide the channels of an image, and returns the factors in single precision.
pub(super) fn divide_image(graph: &mut Graph, pixels: Op, factors: &Factors) -> Factors {
    // A normalised image has factors already.
    let known = graph.op(pixels).operands.get(1).and_then(|known| graph.const_f32(*known));
    let known = known.unwrap_or_else(|| vec![1.0; factors.as_slice().len()]);
    let products = factors.as_slice().iter().zip(&known);
    let all: Vec<f32> = products.map(|(x, y)| (x * f64::from(*y)) as f32).collect();
    let operand = graph.add_f32("factors", [all.len()], &all);
    let operands = &mut graph.op_mut(pixels).operands;
    match operands.get_mut(1) {
        Some(known) => *known = operand,
        None => operands.push(operand),
    }
    let given = all.iter().zip(known).map(|(x, y)| f64::from(*x) / f64::from(y));
    Factors::new(given.collect())
}

/// Multiplies the weights of every input channel of a linear layer by its factor.
pub(super) fn multiply(graph: &mut Graph, linear: Op, factors: &Factors) {
    let factors = factors.as_slice();
    update(graph, linear, 1, |weights| {
        let rows = weights.chunks_mut(factors.len().max(1));
        rows.for_each(|row| row.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor));
    });
}

/// Adds the product of the weights and an offset of every input channel to the bias of a linear
/// layer.
pub(super) fn add_product(graph: &mut Graph, linear: Op, offsets: &[f64]) {
    let weights = graph.const_f64(graph.op(linear).operands[1]).unwrap_or_default();
    let product = |row: &[f64]| row.iter().zip(offsets).map(|(w, offset)| w * offset).sum::<f64>();
    update(graph, linear, 2, |bias| {
        let rows = weights.chunks(offsets.len().max(1));
        bias.iter_mut().zip(rows).for_each(|(bias, row)| *bias += product(row));
    });
}

/// Replaces the results of a linear layer by some of them.
pub(super) fn select_results(graph: &mut Graph, linear: Op, channels: &[usize]) {
    for parameter in [1, 2] {
        let mut shape = graph.ty(graph.op(linear).operands[parameter]).shape.clone();
        let all = std::mem::replace(&mut shape[0], channels.len());
        replace(graph, linear, parameter, shape, |old| {
            let width = old.len() / all.max(1);
            channels.iter().flat_map(|channel| old[channel * width..][..width].to_vec()).collect()
        });
    }
    let result = graph.op(linear).results[0];
    let (rows, _) = graph.ty(result).matrix();
    graph.set_shape(result, [rows, channels.len()]);
}

/// Replaces the input channels of a linear layer by some of them, each of which occurs in a number
/// of copies and has that part of the weights.
pub(super) fn select_inputs(graph: &mut Graph, linear: Op, channels: &[usize], copies: &[usize]) {
    let (outputs, all) = graph.ty(graph.op(linear).operands[1]).matrix();
    replace(graph, linear, 1, vec![outputs, channels.len()], |old| {
        let row = |row: &[f64]| -> Vec<f64> {
            let parts = channels.iter().zip(copies);
            parts.map(|(channel, copies)| row[*channel] / *copies as f64).collect()
        };
        old.chunks(all.max(1)).flat_map(row).collect()
    });
}

/// Spreads the weights of copies, which follow each other, evenly over a step of int8, so that the
/// sum of the rounded weights has the resolution of a step divided by the copies: for an integer
/// `n`, `floor(n x)` is the sum of `floor(x + i / n)` for `i` below `n` (Hermite's identity). The
/// sum of the weights stays.
pub(super) fn spread(graph: &mut Graph, linear: Op, copies: &[usize]) {
    update(graph, linear, 1, |weights| {
        for row in weights.chunks_mut(copies.len().max(1)) {
            let step = row.iter().fold(0f64, |most, w| most.max(w.abs())) / I8_MAX;
            let mut number = 0;
            for (weight, copies) in row.iter_mut().zip(copies) {
                *weight += ((number as f64 + 0.5) / *copies as f64 - 0.5) * step;
                number = (number + 1) % copies;
            }
        }
    });
}

/// The operation that makes `value` for `readers` alone: `source`, or a copy of it if the value has
/// other readers.
pub(super) fn own_copy(graph: &mut Graph, source: Op, value: Value, readers: &[Op]) -> Op {
    let others = graph.uses()[value].iter().any(|op| !readers.contains(op));
    let data = graph.op(source).clone();
    if data.results[0] != value || !others {
        return source;
    }
    let copy =
        graph.push_typed(data.kind, &data.operands, vec![graph.ty(value).clone()], &data.nodes)[0];
    let op = graph.order.pop().expect("an operation was appended");
    let position = graph.order.iter().position(|op| *op == source);
    graph.order.insert(position.map_or(0, |position| position + 1), op);
    for reader in readers {
        let operand = &mut graph.op_mut(*reader).operands[0];
        if *operand == value {
            *operand = copy;
        }
    }
    // The other readers, as the add behind attention, come late: computed only then, the result
    // does not fill the scratchpad.
    let reads = |op: &Op| graph.op(*op).operands.contains(&value);
    if let Some(first) = graph.order.iter().position(reads) {
        let from = graph.order.iter().position(|op| *op == source).unwrap_or(first);
        graph.order[from..first].rotate_left(1);
    }
    op
}

/// Changes a parameter of an operation. If the constant has other readers, they keep it.
fn update(graph: &mut Graph, op: Op, parameter: usize, change: impl FnOnce(&mut [f64])) {
    let shape = graph.ty(graph.op(op).operands[parameter]).shape.clone();
    replace(graph, op, parameter, shape, |mut elements| {
        change(&mut elements);
        elements
    });
}

/// As [`update`], with another shape.
fn replace(
    graph: &mut Graph,
    op: Op,
    parameter: usize,
    shape: Vec<usize>,
    change: impl FnOnce(Vec<f64>) -> Vec<f64>,
) {
    let old = graph.op(op).operands[parameter];
    let elements = change(graph.const_f64(old).unwrap_or_default());
    let elements: Vec<f32> = elements.into_iter().map(|x| x as f32).collect();
    let readers = graph.order.iter().flat_map(|op| &graph.op(*op).operands);
    let outputs = graph.outputs.iter().map(|output| &output.value);
    if readers.chain(outputs).filter(|value| **value == old).count() == 1 {
        // The weights of a large model exist once, however often they change.
        graph.set_f32(old, shape, &elements);
        return;
    }
    let name = graph.constant(old).map_or_else(String::new, |constant| constant.name.clone());
    graph.op_mut(op).operands[parameter] = graph.add_f32(name, shape, &elements);
}
