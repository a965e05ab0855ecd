//! Chooses the integers of every tensor: 8 or 16 bits, and the step.

use cranelift_entity::SecondaryMap;
use vitcod_support::problems::Collector;

use crate::calibration::{Calibration, Clipping, I8_MAX, Range};
use crate::ir::{Elem, Graph, Op, OpData, OpKind, TensorType, Value, ValueDef};

/// The 16-bit integer to which the largest calibrated number is mapped. One bit remains for larger
/// numbers.
pub(super) const I16_REACH: f64 = 16_383.0;

/// Element type and step of every activation.
///
/// An operation that only moves elements shares both between its operands and result: they form a
/// group.
pub(super) struct Plan {
    i16_reach: f64,
    types: SecondaryMap<Value, Option<(Elem, f64)>>,
    /// The step that a value has, or would have, in 8 bits.
    narrow_steps: SecondaryMap<Value, f64>,
}

/// Properties of a group.
#[derive(Clone, Default)]
struct Group {
    range: Range,
    /// The coarsest int8 step at which the model itself quantises the tensors.
    own_step: Option<f64>,
    /// The magnitude that int8 should cover at most, if a table states it.
    limit: Option<f64>,
    /// Whether a LayerNorm writes a tensor.
    is_normalised: bool,
    /// An operation that writes only 8 bits, and one that writes only 16.
    writes: [Option<Op>; 2],
    /// Whether an operation reads 8 bits, and 16.
    read_as_i8: bool,
    read_as_i16: bool,
}

/// Whether an operation only moves elements.
pub(super) fn moves(kind: &OpKind) -> bool {
    matches!(
        kind,
        OpKind::Concat { .. }
            | OpKind::Slice { .. }
            | OpKind::PickRows {}
            | OpKind::Pixels { .. }
            | OpKind::Planes { .. }
            | OpKind::Patches { .. }
    )
}

/// Whether an operation selects rows of a matrix, so that the channels stay.
pub(crate) fn selects_rows(graph: &Graph, data: &OpData) -> bool {
    let [from, to] = [data.operands[0], data.results[0]].map(|value| &graph.ty(value).shape);
    matches!(data.kind, OpKind::Slice { axis: 0, .. } | OpKind::PickRows {})
        && from.len() == 2
        && from[1] == to[1]
}

/// The element type of an operand, if the machine supports only one.
pub(super) fn operand_elem(kind: &OpKind) -> Option<Elem> {
    match kind {
        OpKind::Table { wide: true, .. } => Some(Elem::I16),
        OpKind::Linear {}
        | OpKind::MixHeads { .. }
        | OpKind::Unary { .. }
        | OpKind::Table { .. }
        | OpKind::Attention { .. }
        | OpKind::ReduceMean { .. } => Some(Elem::I8),
        OpKind::LayerNorm { .. } | OpKind::Binary { .. } => Some(Elem::I16),
        _ => None,
    }
}

/// Whether an operation reads its activations as 16-bit integers.
pub(crate) fn reads_16_bits(kind: &OpKind) -> bool {
    operand_elem(kind) == Some(Elem::I16)
}

/// The operands of an operation that are activations rather than parameters.
pub(super) fn activations(data: &OpData) -> &[Value] {
    match data.kind {
        OpKind::Linear {}
        | OpKind::MixHeads { .. }
        | OpKind::LayerNorm { .. }
        | OpKind::Table { .. }
        | OpKind::Pixels { .. }
        | OpKind::PickRows {} => &data.operands[..1],
        OpKind::Attention { .. } => &data.operands[..3],
        OpKind::Embed {} => &[],
        _ => &data.operands,
    }
}

impl Plan {
    /// Plans a canonical graph. `i16_reach` is the 16-bit integer that represents a tensor's
    /// largest number. Problems are appended to `problems`.
    pub(super) fn new(
        graph: &Graph,
        calibration: &Calibration,
        clipping: Clipping,
        i16_reach: f64,
        problems: &mut Collector<String>,
    ) -> Plan {
        let group_of = groups(graph);
        let mut groups: SecondaryMap<Value, Group> = SecondaryMap::new();
        for (value, data) in graph.values() {
            let range = match data.def {
                ValueDef::Const(_) => continue,
                // What is quantised are its normalised numbers, as pixels.
                ValueDef::Input(_)
                    if graph.image(value).is_some_and(|image| image.is_normalised()) =>
                {
                    continue;
                }
                ValueDef::Input(_) | ValueDef::Result(..) => calibration.range(value),
            };
            let group = &mut groups[group_of[value]];
            group.range = std::mem::take(&mut group.range).merge(range);
            group.own_step = coarser(group.own_step, data.ty.step);
        }
        for op in &graph.order {
            let data = graph.op(*op);
            let group = &mut groups[group_of[data.results[0]]];
            match data.kind {
                // It writes either, so its readers decide.
                OpKind::LayerNorm { .. } => group.is_normalised = true,
                OpKind::MixHeads { .. }
                | OpKind::Unary { .. }
                | OpKind::Table { .. }
                | OpKind::Attention { .. }
                | OpKind::ReduceMean { .. } => {
                    group.writes[0].get_or_insert(*op);
                }
                OpKind::Binary { .. } => {
                    group.writes[1].get_or_insert(*op);
                }
                OpKind::Embed {} => {
                    group.writes[1].get_or_insert(*op);
                    // Any row may be used, not only those of the samples.
                    let table = graph.const_f32(data.operands[0]).unwrap_or_default();
                    group.range = std::mem::take(&mut group.range).merge(&Range::of(&table));
                }
                _ => {}
            }
            if let OpKind::Table { input_limit, result_limit, .. } = data.kind {
                for (value, limit) in
                    [(data.operands[0], input_limit), (data.results[0], result_limit)]
                {
                    groups[group_of[value]].limit = (limit > 0.0).then_some(limit);
                }
            }
            for operand in activations(data) {
                let read = &mut groups[group_of[*operand]];
                read.read_as_i8 |= operand_elem(&data.kind) == Some(Elem::I8);
                read.read_as_i16 |= operand_elem(&data.kind) == Some(Elem::I16);
                if let (OpKind::Concat { .. }, Some(elements)) =
                    (&data.kind, graph.const_f32(*operand))
                {
                    let group = &mut groups[group_of[data.results[0]]];
                    group.range = std::mem::take(&mut group.range).merge(&Range::of(&elements));
                }
            }
        }
        let mut plan =
            Plan { i16_reach, types: SecondaryMap::new(), narrow_steps: SecondaryMap::new() };
        for (value, data) in graph.values() {
            let Group { range, limit, own_step, is_normalised, writes, read_as_i8, read_as_i16 } =
                &groups[group_of[value]];
            let largest = own_step.map_or(range.largest(), |step| step * I8_MAX);
            if group_of[value] == value {
                if let [Some(narrow), Some(wide)] = writes {
                    let [narrow, wide] = [narrow, wide].map(|op| graph.describe(*op));
                    problems.push(|| {
                        format!(
                            "{narrow} writes 8 bits and {wide} 16, and a concat or slice joins them"
                        )
                    });
                }
                if !largest.is_finite() {
                    let name = match data.def {
                        ValueDef::Result(op, _) => graph.describe(op),
                        _ => format!("{value}"),
                    };
                    problems.push(|| {
                        format!("{name}: infinite or undefined numbers occur in calibration")
                    });
                }
            }
            let elem = match writes {
                [Some(_), _] => Elem::I8,
                [None, Some(_)] => Elem::I16,
                // A second LayerNorm writes the other width.
                [None, None] if *read_as_i8 && *is_normalised => Elem::I8,
                // A tensor with both kinds of readers has 16 bits and a narrowed copy.
                [None, None] if *read_as_i8 && !read_as_i16 => Elem::I8,
                [None, None] => Elem::I16,
            };
            let calibrated = || {
                let calibrated = range.limit(clipping);
                limit.map_or(calibrated, |limit| calibrated.min(limit))
            };
            let narrow = own_step.unwrap_or_else(|| plan.step(Elem::I8, calibrated()));
            // What a table reads beyond its limit does not change the result.
            let wide = || plan.step(elem, limit.map_or(largest, |limit| largest.min(limit)));
            let step = if elem == Elem::I8 { narrow } else { wide() };
            plan.types[value] = Some((elem, step));
            plan.narrow_steps[value] = narrow;
        }
        plan
    }

    /// The type of an activation.
    pub(super) fn ty(&self, graph: &Graph, value: Value) -> TensorType {
        let (elem, step) = self.types[value].expect("every value is planned");
        TensorType::quantised(elem, graph.ty(value).shape.clone(), step)
    }

    /// The type of an activation after narrowing to 8 bits.
    pub(super) fn narrow_ty(&self, graph: &Graph, value: Value) -> TensorType {
        TensorType::quantised(Elem::I8, graph.ty(value).shape.clone(), self.narrow_steps[value])
    }

    /// The type of an 8-bit activation after widening to 16 bits.
    pub(super) fn wide(&self, narrow: &TensorType) -> TensorType {
        let step = narrow.step.expect("activations have steps") * I8_MAX / self.i16_reach;
        TensorType::quantised(Elem::I16, narrow.shape.clone(), step)
    }

    /// The step at which integers cover numbers up to `limit`; 1 if `limit` is 0 or unusable.
    pub(super) fn step(&self, elem: Elem, limit: f64) -> f64 {
        let reach = if elem == Elem::I8 { I8_MAX } else { self.i16_reach };
        if limit.is_finite() && limit > 0.0 { limit / reach } else { 1.0 }
    }
}

/// Whether some step must be calibrated, because the model does not state it.
pub(super) fn needs_samples(graph: &Graph) -> bool {
    let group_of = groups(graph);
    let mut own_steps: SecondaryMap<Value, Option<f64>> = SecondaryMap::new();
    let activations = || graph.values().filter(|(_, data)| !matches!(data.def, ValueDef::Const(_)));
    for (value, data) in activations() {
        own_steps[group_of[value]] = coarser(own_steps[group_of[value]], data.ty.step);
    }
    activations().any(|(value, _)| own_steps[group_of[value]].is_none())
}

fn coarser(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// For each value, the representative of its group: the first tensor.
fn groups(graph: &Graph) -> SecondaryMap<Value, Value> {
    let mut group_of = SecondaryMap::with_default(Value::from_u32(0));
    graph.values().for_each(|(value, _)| group_of[value] = value);
    for op in &graph.order {
        let data = graph.op(*op);
        if !moves(&data.kind) {
            continue;
        }
        for operand in data.operands.iter().filter(|operand| graph.constant(**operand).is_none()) {
            let (a, b) = (group_of[*operand], group_of[data.results[0]]);
            let (kept, gone) = (a.min(b), a.max(b));
            for (value, _) in graph.values() {
                if group_of[value] == gone {
                    group_of[value] = kept;
                }
            }
        }
    }
    group_of
}
