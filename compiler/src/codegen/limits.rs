//! Limits: finds operations and tensors that no tiling can lower, before anything is planned.
//!
//! The fields of an instruction are narrower than the integers of the compiler. Lowering tiles some
//! extents: rows, output channels of a linear layer, and columns of operations that need no
//! complete rows. The other extents are checked here, layer by layer, so that lowering never
//! truncates: depths, keys and features of a head, rows of LayerNorm, strides. This module also
//! checks what instructions need and the [verifier](crate::ir::Graph::verify) of graphs does not
//! ask for: constant parameters of the right size, shifts in range, no empty tensor.

use std::collections::BTreeSet;

use vitcod_isa::instr::field::MAX_DRAM;
use vitcod_isa::instr::{Field as _, Shift};
use vitcod_isa::machine::{Machine, Unit};
use vitcod_isa::numerics::{LayerNormParams, MAX_LAYER_NORM_WIDTH, max_accumulation_depth};
use vitcod_support::problems::{Collector, Problems};

use crate::ir::layout::{Csc, Patterns, ProductParts, ScoreTerms, sddmm_terms};
use crate::ir::{Elem, Graph, Op, OpData, OpKind, TensorType, Value};

/// Largest count that an instruction names: rows, columns and lengths of sums.
pub(crate) const MAX_COUNT: usize = u16::MAX as usize;

/// A count as a field of an instruction.
pub(crate) fn count(n: usize) -> u16 {
    debug_assert!(n <= MAX_COUNT, "{n} exceeds the counts of instructions");
    n as u16
}

/// A number of bytes as a field of an instruction.
pub(crate) fn bytes32(bytes: usize) -> u32 {
    debug_assert!(u32::try_from(bytes).is_ok(), "{bytes} bytes exceed the fields of instructions");
    bytes as u32
}

/// The distance of rows of `row_bytes` bytes as a field of an instruction. A single row may be
/// longer than the field holds: its distance to the next one is not used.
pub(crate) fn row_stride(row_bytes: u64) -> u32 {
    row_bytes as u32
}

/// All problems, one line each, with the layer.
pub(crate) fn check(graph: &Graph, machine: &Machine) -> Result<(), Problems<String>> {
    let mut problems = Collector::new();
    if graph.order.is_empty() {
        problems.push(|| format!("the model {:?} has no operation", graph.name));
    }
    problems.extend(repeated("inputs", graph.inputs.iter().map(|input| &input.name)));
    problems.extend(repeated("outputs", graph.outputs.iter().map(|output| &output.name)));
    let inputs =
        graph.inputs.iter().map(|input| (format!("input {:?}", input.name), input.value, true));
    let outputs = graph
        .outputs
        .iter()
        .map(|output| (format!("output {:?}", output.name), output.value, false));
    for (name, value, is_input) in inputs.chain(outputs) {
        problems.extend(tensor(graph, value).map(|problem| format!("{name}: {problem}")));
        let ty = graph.ty(value);
        let is_bindable = match ty.elem {
            Elem::I8 | Elem::I16 => true,
            Elem::U16 => is_input,
            Elem::Byte => is_input && ty.rank() == 2,
            _ => false,
        };
        if !is_bindable {
            problems.push(|| format!("{name}: {ty} is not an activation"));
        }
    }
    for op in &graph.order {
        let data = graph.op(*op);
        let touched = data.operands.iter().chain(&data.results);
        let tensor = touched.filter_map(|value| tensor(graph, *value)).next();
        problems.extend(
            tensor
                .or_else(|| operation(graph, data))
                .or_else(|| missing_unit(graph, data, machine))
                .map(|problem| describe(graph, *op, &problem)),
        );
    }
    problems.finish()
}

/// Names of several inputs or several outputs. The tensors of a program are identified by name.
fn repeated<'a>(of: &str, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    names
        .filter(|name| !known.insert(*name))
        .map(|name| format!("several {of} are called {name:?}"))
        .collect()
}

fn describe(graph: &Graph, op: Op, problem: &str) -> String {
    format!("{}: {problem}", graph.describe(op))
}

/// The problem of a tensor.
fn tensor(graph: &Graph, value: Value) -> Option<String> {
    let ty = graph.ty(value);
    let bytes = ty.bytes() as u64;
    let rows = ty.shape.first().copied().unwrap_or(1) as u64;
    if bytes == 0 {
        Some(format!("{ty} is empty"))
    } else if bytes > MAX_DRAM {
        Some(format!("{ty} exceeds the {MAX_DRAM} bytes of DRAM that addresses reach"))
    } else if rows > 1 && bytes / rows > u32::MAX.into() {
        Some(format!("{ty} has rows of more than {} bytes", u32::MAX))
    } else {
        None
    }
}

/// The problem of two parts of split attention that differ in their scores: rows span both.
fn different_parts(graph: &Graph, product: &OpData) -> Option<String> {
    let OpKind::SplitSpmm { block, csc, .. } = product.kind else { return None };
    let forms = ProductParts::of(block, csc).iter().map(|part| {
        let (_, softmax) = graph.producer(product.operands[part.probs])?;
        let (_, scores) = graph.producer(softmax.operands[0])?;
        let (OpKind::BlockSoftmax { shift } | OpKind::CscSoftmax { shift }) = softmax.kind else {
            return None;
        };
        let (OpKind::BlockSddmm { heads, scale } | OpKind::CscSddmm { heads, scale }) = scores.kind
        else {
            return None;
        };
        Some((shift, heads, scale))
    });
    let forms: Vec<_> = forms.collect();
    (forms.windows(2).any(|pair| pair[0] != pair[1]))
        .then(|| "its parts differ in the shift, the heads or the scale of their scores".to_owned())
}

/// The problem of a query that keeps no key in a head without a block: it is in no list, and
/// nothing computes its result.
fn query_without_keys(graph: &Graph, product: &OpData) -> Option<String> {
    let OpKind::SplitSpmm { heads, .. } = product.kind else { return None };
    let queries = graph.ty(product.results[0]).shape[0];
    let Patterns { keys, csc, .. } = Patterns::read(graph, product).ok()?;
    let mut kept = vec![false; heads * queries];
    for (head, of_head) in kept.chunks_mut(queries).enumerate() {
        of_head.fill(keys.as_ref().is_some_and(|keys| !keys.head(head).is_empty()));
    }
    csc.iter()
        .flat_map(Csc::entries)
        .for_each(|(head, _, query)| kept[head * queries + query] = true);
    let place = kept.iter().position(|kept| !kept)?;
    Some(format!("head {}: query {} keeps no key", place / queries, place % queries))
}

/// The problem of an operation that needs a unit which the machine does not have.
fn missing_unit(graph: &Graph, data: &OpData, machine: &Machine) -> Option<String> {
    let needs = |value: &Value| match graph.ty(*value).elem {
        Elem::E3m5 => Some(Unit::Minifloat),
        Elem::I16 if matches!(data.kind, OpKind::Lut { .. }) => Some(Unit::Interpolation),
        _ => None,
    };
    let mut units = data.operands.iter().chain(&data.results).filter_map(needs);
    let unit = units.find(|unit| !machine.has(*unit))?;
    Some(format!("the machine has no {unit}"))
}

/// The problem of the number of keys of a row, whose product must fit the accumulator.
fn too_many_keys(probabilities: &TensorType, keys: usize) -> Option<String> {
    let most = probabilities.probabilities()?.max_keys();
    (keys > most as usize)
        .then(|| format!("{keys} keys, expected at most {most} of {}", probabilities.elem))
}

/// The problem of an operation.
fn operation(graph: &Graph, data: &OpData) -> Option<String> {
    let ty = |operand: usize| graph.ty(data.operands[operand]);
    let too_many = |count: usize, what: &str| {
        (count > MAX_COUNT).then(|| format!("{what} {count}, expected at most {MAX_COUNT}"))
    };
    let parameters = match data.kind {
        OpKind::QLinear {} | OpKind::QLayerNorm {} | OpKind::Lut { .. } => &data.operands[1..],
        OpKind::QEmbed {} => &data.operands[..1],
        _ => &[],
    };
    if parameters.iter().any(|value| graph.constant(*value).is_none()) {
        return Some("its parameters are not constants".to_owned());
    }
    match data.kind {
        // The count is narrower than the depth that the accumulator allows.
        OpKind::QLinear {} => match graph.producer(data.operands[0]) {
            Some((_, data)) if matches!(data.kind, OpKind::Patches { .. }) => None,
            _ => too_many(ty(0).shape[1], "products in a sum:"),
        },
        OpKind::QLayerNorm {} => {
            let (width, bytes) = (ty(0).shape[1], ty(1).bytes());
            if width > MAX_LAYER_NORM_WIDTH {
                Some(format!("rows of {width}, expected at most {MAX_LAYER_NORM_WIDTH}"))
            } else if bytes != LayerNormParams::encoded_len(width) {
                Some(format!("{bytes} bytes of parameters for rows of {width}"))
            } else {
                None
            }
        }
        OpKind::QEmbed {} => too_many(ty(0).shape[0], "rows of a table:"),
        OpKind::QAdd { shift, .. } => Shift::from_bits(shift.into())
            .is_none()
            .then(|| format!("a shift by {shift} is out of range")),
        OpKind::Sddmm { heads, .. }
        | OpKind::BlockSddmm { heads, .. }
        | OpKind::CscSddmm { heads, .. } => {
            let (terms, windows) = match data.kind {
                OpKind::Sddmm { windows, .. } => (sddmm_terms(graph, data), windows),
                _ => (ScoreTerms::default(), 1),
            };
            if [terms.mask, terms.bias]
                .into_iter()
                .flatten()
                .any(|term| graph.constant(term).is_none())
            {
                return Some("its mask or bias is not a constant".to_owned());
            }
            too_many(ty(1).shape[0] / windows, "keys:")
                .or_else(|| too_many(ty(0).shape[1] / heads, "features of a head:"))
        }
        OpKind::Spmm { windows, .. } => {
            too_many(ty(2).shape[1] / (ty(0).shape[0] / windows), "features of a head:")
                .or_else(|| too_many(ty(0).shape[2], "keys:"))
                .or_else(|| too_many_keys(ty(0), ty(0).shape[2]))
        }
        OpKind::SplitSpmm { heads, .. } => too_many(ty(0).shape[1] / heads, "features of a head:")
            .or_else(|| too_many_keys(ty(1), ty(0).shape[0]))
            .or_else(|| different_parts(graph, data))
            .or_else(|| query_without_keys(graph, data)),
        OpKind::PickRows {} => graph.indices(data.operands[1], ty(0).shape[0]).err(),
        OpKind::Patches { map, kernel, .. } => {
            let (sum, most) =
                (graph.ty(data.results[0]).shape[1], max_accumulation_depth(8, 8) as usize);
            too_many(kernel[0], "rows of a window:")
                .or_else(|| too_many(map[1], "columns of a map:"))
                .or_else(|| too_many(sum / kernel[0].max(1), "products in a row of a window:"))
                .or_else(|| {
                    (sum > most).then(|| format!("sums of {sum} products, expected at most {most}"))
                })
        }
        _ => None,
    }
}
