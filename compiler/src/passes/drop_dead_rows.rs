//! Removes dead rows: computes only the rows on which an output depends.

use std::collections::BTreeMap;
use std::ops::Range;

use cranelift_entity::SecondaryMap;

use crate::ir::{Graph, Node, OpData, OpKind, TensorType, Value};

/// The live rows of each value, as one range that covers them; `None` if there are none.
pub(crate) type Rows = SecondaryMap<Value, Option<Range<usize>>>;

/// Moves selections of rows towards the inputs, as far as that saves work.
pub(super) fn run(graph: &Graph) -> Graph {
    if graph.values().any(|(_, data)| data.ty.shape.contains(&0)) {
        // A graph with an empty tensor has no rows worth dropping.
        return graph.compacted();
    }
    let rows = rows_needed(graph, graph.outputs.iter().map(|output| output.value));
    let mut rewriter = Rewriter {
        old: graph,
        new: graph.successor(graph.stage),
        values: SecondaryMap::new(),
        slices: BTreeMap::new(),
    };
    for input in &graph.inputs {
        let value = input.value;
        let new = rewriter.new.add_input_like(input, graph.ty(value).clone());
        rewriter.values[value] = Some((new, all(graph, value)));
    }
    for id in &graph.order {
        let op = graph.op(*id);
        if let Some(rows) = &rows[op.results[0]] {
            rewriter.operation(op, rows);
        }
    }
    for output in &graph.outputs {
        let value = rewriter.value(output.value, &all(graph, output.value), &[]);
        rewriter.new.add_output(&output.name, value, output.shape.clone());
    }
    rewriter.new.compacted()
}

fn all(graph: &Graph, value: Value) -> Range<usize> {
    0..graph.ty(value).shape.first().copied().unwrap_or(1)
}

/// The rows of each operand that an operation reads for some rows of its result; `None` if the
/// operation cannot be narrowed.
fn operand_rows(
    graph: &Graph,
    op: &OpData,
    rows: &Range<usize>,
) -> Option<Vec<Option<Range<usize>>>> {
    match op.kind {
        OpKind::Unary { .. } => Some(vec![Some(rows.clone())]),
        OpKind::Table { .. } => Some(vec![Some(rows.clone()), None]),
        OpKind::Binary { .. }
            if graph.ty(op.operands[0]).shape == graph.ty(op.operands[1]).shape =>
        {
            Some(vec![Some(rows.clone()); 2])
        }
        // All rows of an attention window are computed together.
        OpKind::Attention { windows, .. } if windows > 1 => None,
        OpKind::Attention { .. }
            if graph.attention_bias(op).is_some_and(|bias| graph.constant(bias).is_none()) =>
        {
            None
        }
        // Padded windows are read in place by a linear layer, and not row by row.
        OpKind::Linear {} if reads_padded_windows(graph, op) => None,
        // The rewriter slices the bias of attention, whose rows are its second dimension.
        OpKind::Linear {}
        | OpKind::MixHeads { .. }
        | OpKind::LayerNorm { .. }
        | OpKind::Attention { .. } => {
            let parameters = op.operands[1..].iter().map(|parameter| Some(all(graph, *parameter)));
            Some(std::iter::once(Some(rows.clone())).chain(parameters).collect())
        }
        OpKind::Slice { axis: 0, start, stride: 1, .. } => {
            Some(vec![Some(start + rows.start..start + rows.end)])
        }
        OpKind::Concat { axis: 0 } => {
            let mut first = 0;
            let part = |part: &Value| {
                let len = all(graph, *part).end;
                let from = rows.start.clamp(first, first + len) - first;
                let to = rows.end.clamp(first, first + len) - first;
                first += len;
                (from < to).then_some(from..to)
            };
            Some(op.operands.iter().map(part).collect())
        }
        _ => None,
    }
}

/// Whether a linear layer reads windows that reach over the edges of a map.
fn reads_padded_windows(graph: &Graph, linear: &OpData) -> bool {
    graph.producer(linear.operands[0]).is_some_and(
        |(_, windows)| matches!(windows.kind, OpKind::Patches { pad, .. } if pad != [0; 4]),
    )
}

/// The rows of each value on which these values depend.
pub(crate) fn rows_needed(graph: &Graph, roots: impl IntoIterator<Item = Value>) -> Rows {
    let mut needed: Rows = SecondaryMap::new();
    let need = |needed: &mut Rows, value: Value, rows: Range<usize>| {
        needed[value] = Some(match &needed[value] {
            Some(known) => known.start.min(rows.start)..known.end.max(rows.end),
            None => rows,
        });
    };
    for root in roots {
        need(&mut needed, root, all(graph, root));
    }
    for id in graph.order.iter().rev() {
        let op = graph.op(*id);
        let Some(rows) = needed[op.results[0]].clone() else { continue };
        let operands = operand_rows(graph, op, &rows).unwrap_or_else(|| {
            need(&mut needed, op.results[0], all(graph, op.results[0]));
            op.operands.iter().map(|operand| Some(all(graph, *operand))).collect()
        });
        for (operand, rows) in op.operands.iter().zip(operands) {
            if let Some(rows) = rows {
                need(&mut needed, *operand, rows);
            }
        }
    }
    needed
}

struct Rewriter<'a> {
    old: &'a Graph,
    new: Graph,
    /// The new value of each old value, and the rows that it holds.
    values: SecondaryMap<Value, Option<(Value, Range<usize>)>>,
    /// Slices of new values.
    slices: BTreeMap<(Value, usize, usize), Value>,
}

impl Rewriter<'_> {
    /// Appends the operation, narrowed to these rows.
    fn operation(&mut self, op: &OpData, rows: &Range<usize>) {
        let reads = operand_rows(self.old, op, rows).unwrap_or_else(|| {
            op.operands.iter().map(|operand| Some(all(self.old, *operand))).collect()
        });
        let mut operands: Vec<Value> = op
            .operands
            .iter()
            .zip(reads)
            .filter_map(|(operand, rows)| Some(self.value(*operand, &rows?, &op.nodes)))
            .collect();
        if let OpKind::Attention { windows: 1, .. } = op.kind
            && self.old.attention_bias(op).is_some()
        {
            operands[3] = self.bias(operands[3], rows);
        }
        let result = match (&op.kind, &operands[..]) {
            (OpKind::Slice { axis: 0, stride: 1, .. } | OpKind::Concat { axis: 0 }, [x]) => {
                if let Some(step) = self.old.ty(op.results[0]).step {
                    self.new.note_step(*x, step);
                }
                *x
            }
            (kind, _) => {
                let mut ty = self.old.ty(op.results[0]).clone();
                ty.shape[0] = rows.len();
                self.new.push_typed(kind.clone(), &operands, vec![ty], &op.nodes)[0]
            }
        };
        self.values[op.results[0]] = Some((result, rows.clone()));
    }

    /// Rows of attention's constant bias: `[heads, rows, n]` of `[heads, m, n]`.
    fn bias(&mut self, bias: Value, rows: &Range<usize>) -> Value {
        let mut ty = self.new.ty(bias).clone();
        let Some(constant) = self.new.constant(bias).filter(|_| rows.len() != ty.shape[1]).cloned()
        else {
            return bias;
        };
        let row = ty.shape[2] * ty.elem.bytes();
        let heads = constant
            .bytes
            .chunks(ty.shape[1] * row)
            .map(|head| &head[rows.start * row..rows.end * row]);
        let bytes = heads.collect::<Vec<_>>().concat();
        ty.shape[1] = rows.len();
        self.new.add_const(constant.name, ty, bytes)
    }

    /// Rows of an old value in the new graph. They must be among the computed ones.
    fn value(&mut self, old: Value, rows: &Range<usize>, nodes: &[Node]) -> Value {
        let (value, computed) = self.values[old].clone().unwrap_or_else(|| {
            let ty = self.old.ty(old).clone();
            let constant = self.old.constant(old).expect("operands precede their uses");
            let entry = (
                self.new.add_const(&constant.name, ty, constant.bytes.clone()),
                all(self.old, old),
            );
            self.values[old] = Some(entry.clone());
            entry
        });
        if computed == *rows {
            return value;
        }
        let (start, len) = (rows.start - computed.start, rows.len());
        if let Some(known) = self.slices.get(&(value, start, len)) {
            return *known;
        }
        let mut ty: TensorType = self.new.ty(value).clone();
        let slice = match self.new.constant(value).cloned() {
            Some(constant) => {
                let row = ty.bytes() / ty.shape[0];
                ty.shape[0] = len;
                self.new.add_const(
                    constant.name,
                    ty,
                    constant.bytes.slice(start * row..(start + len) * row),
                )
            }
            None => {
                ty.shape[0] = len;
                let kind = OpKind::Slice { axis: 0, start, len, stride: 1 };
                self.new.push_typed(kind, &[value], vec![ty], nodes)[0]
            }
        };
        self.slices.insert((value, start, len), slice);
        slice
    }
}
