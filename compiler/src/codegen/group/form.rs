//! Forms groups by matching patterns of operations.

use cranelift_entity::SecondaryMap;
use vitcod_support::problems::{Collector, Problems};

use crate::codegen::group::views::{computed_into, joins_in_place, sliced};
use crate::codegen::group::{
    AttentionGroup, AttentionPart, CopyGroup, Destination, Group, LinearGroup, SparseAttentionGroup,
};
use crate::ir::layout::{ProductPart, ProductParts};
use crate::ir::{Elem, Graph, Op, OpData, OpKind, Value};

/// The groups of a graph in execution order, or the operations that cannot be lowered.
///
/// Slices and concats form no groups: they are locations within storages. Where that is not
/// possible, copies are inserted.
pub(crate) fn form(graph: &Graph) -> Result<Vec<Group>, Problems<String>> {
    let uses = graph.uses();
    let mut position = SecondaryMap::new();
    graph.order.iter().enumerate().for_each(|(index, op)| position[*op] = index);
    let (taken, attentions) = (SecondaryMap::new(), SecondaryMap::new());
    let mut former =
        Former { graph, uses: &uses, taken, attentions, position, problems: Collector::new() };
    let mut groups = Vec::new();
    for op in &graph.order {
        if !former.taken[*op] {
            former.group(*op, &mut groups);
        }
    }
    for (index, output) in graph.outputs.iter().enumerate() {
        if !computed_into(graph, output.value, index) {
            groups.push(Group::Copy(CopyGroup {
                from: output.value,
                to: Destination::Output(index),
                at: 0,
            }));
        }
    }
    former.problems.finish()?;
    Ok(groups)
}

struct Former<'a> {
    graph: &'a Graph,
    uses: &'a SecondaryMap<Value, Vec<Op>>,
    taken: SecondaryMap<Op, bool>,
    /// Per product, the attention group that ends with it.
    attentions: SecondaryMap<Op, Option<AttentionGroup>>,
    /// Indices of the operations in the graph's order.
    position: SecondaryMap<Op, usize>,
    problems: Collector<String>,
}

impl Former<'_> {
    fn group(&mut self, op: Op, groups: &mut Vec<Group>) {
        let data = self.graph.op(op);
        match &data.kind {
            OpKind::QLinear {} => groups.push(self.linear(op)),
            OpKind::QLayerNorm {} | OpKind::Lut { .. } | OpKind::QAdd { .. } => {
                groups.push(Group::Elementwise(op))
            }
            OpKind::QEmbed {} => groups.push(Group::Embed(op)),
            OpKind::Sddmm { .. } => match self.attention(op) {
                // The group executes at its product: the values may be computed after the scores.
                Some(group) => {
                    self.taken[group.softmax] = true;
                    let product = group.spmm;
                    self.attentions[product] = Some(group);
                }
                None => self.problem(
                    op,
                    "its scores are read by other operations than one softmax and its product",
                ),
            },
            OpKind::QSoftmax { .. } | OpKind::Spmm { .. } => match self.attentions[op].take() {
                Some(group) => groups.push(Group::Attention(group)),
                None if self.is_mean(data) => groups.push(Group::RowMean(op)),
                None => self.problem(op, "is not fed by the scores of one sddmm alone"),
            },
            OpKind::Encode { .. } | OpKind::Decode { .. } => groups.push(Group::Autoencoder(op)),
            OpKind::BlockSddmm { .. }
            | OpKind::CscSddmm { .. }
            | OpKind::BlockSoftmax { .. }
            | OpKind::CscSoftmax { .. } => {
                if !self.is_part(op) {
                    self.problem(op, "is not part of a product of split attention");
                }
            }
            OpKind::SplitSpmm { block, csc, .. } => {
                let parts = ProductParts::of(*block, *csc);
                let part = |part: ProductPart| self.part(op, part);
                groups.push(Group::SparseAttention(SparseAttentionGroup {
                    block: parts.block.and_then(part),
                    list: parts.csc.and_then(part),
                    product: op,
                }));
            }
            OpKind::Concat { axis: 0 } => {
                let mut at = 0;
                for operand in &data.operands {
                    if !joins_in_place(self.graph, self.uses, *operand) {
                        let to = Destination::Value(data.results[0]);
                        groups.push(Group::Copy(CopyGroup { from: *operand, to, at }));
                    }
                    at += self.graph.ty(*operand).shape[0];
                }
            }
            OpKind::Slice { axis: 0, stride: 1, .. } => {}
            OpKind::Pixels { .. } => {
                let image = data.operands[0];
                let output =
                    |value: Value| self.graph.outputs.iter().any(|output| output.value == value);
                let all = |of: fn(&OpKind) -> bool, value: Value| {
                    self.uses[value].iter().all(|reader| of(&self.graph.op(*reader).kind))
                };
                if !self.graph.inputs.iter().any(|input| input.value == image) {
                    self.problem(op, "only images that are inputs are laid out as pixels");
                } else if output(image) || !all(|kind| matches!(kind, OpKind::Pixels { .. }), image)
                {
                    self.problem(op, "its image is also read by other operations");
                } else if output(data.results[0]) {
                    self.problem(
                        op,
                        "its pixels are an output as they are, expected an operation on them",
                    );
                }
            }
            OpKind::PickRows {} => groups.push(Group::RowGather(op)),
            OpKind::Patches { pad, .. } => {
                if !self.is_windows(data) {
                    match pad {
                        [0, 0, 0, 0] => groups.push(Group::RowGather(op)),
                        _ => self.problem(
                            op,
                            "its padded patches are read by other operations than linear layers",
                        ),
                    }
                } else if self.graph.constant(data.operands[0]).is_some() {
                    self.problem(op, "its operand is a constant");
                }
            }
            _ => self.problem(op, "has no instruction"),
        }
    }

    fn problem(&mut self, op: Op, message: &str) {
        self.problems.push(|| format!("{}: {message}", self.graph.describe(op)));
    }

    /// The only reader of `value`, unless the value has other readers or is an output.
    fn only_reader(&self, value: Value) -> Option<Op> {
        let output = self.graph.outputs.iter().any(|output| output.value == value);
        match self.uses[value][..] {
            [reader] if !output => Some(reader),
            _ => None,
        }
    }

    fn linear(&mut self, linear: Op) -> Group {
        let operand = self.graph.op(linear).operands[0];
        let patches = match self.graph.producer(operand) {
            Some((op, data)) if self.is_windows(data) => Some(op),
            _ => None,
        };
        let result = self.graph.op(linear).results[0];
        let mut group =
            LinearGroup { patches, linear, luts: Vec::new(), add: None, result, narrow: None };
        while let Some(reader) = self.only_reader(group.result) {
            let data = self.graph.op(reader);
            match data.kind {
                OpKind::Lut { .. } => group.luts.push(reader),
                OpKind::QAdd { .. } if self.ready(linear, reader, group.result) => {
                    group.add = Some(reader)
                }
                _ => break,
            }
            self.taken[reader] = true;
            group.result = data.results[0];
            if group.add.is_some() {
                break;
            }
        }
        group.narrow = self.uses[group.result].iter().copied().find(|reader| {
            let data = self.graph.op(*reader);
            matches!(data.kind, OpKind::QAdd { .. })
                && data.operands == [group.result; 2]
                && self.graph.ty(data.results[0]).elem == Elem::I8
        });
        if let Some(narrow) = group.narrow {
            self.taken[narrow] = true;
        }
        Group::Linear(group)
    }

    /// Whether an operation is `patches` whose readers are all linear layers, which read the map in
    /// place.
    fn is_windows(&self, data: &OpData) -> bool {
        let linear = |op: &Op| matches!(self.graph.op(*op).kind, OpKind::QLinear {});
        let returned = self.graph.outputs.iter().any(|output| output.value == data.results[0]);
        matches!(data.kind, OpKind::Patches { .. })
            && !returned
            && self.uses[data.results[0]].iter().all(linear)
    }

    /// Whether an `spmm` has constant probabilities and row sums.
    fn is_mean(&self, data: &OpData) -> bool {
        matches!(data.kind, OpKind::Spmm { windows: 1, .. })
            && data.operands[..2].iter().all(|operand| self.graph.constant(*operand).is_some())
    }

    /// The chain of lookups after `value`, each the only reader of its operand, and the last
    /// result.
    fn lookups(&mut self, mut value: Value) -> (Vec<Op>, Value) {
        let mut luts = Vec::new();
        while let Some(reader) = self.only_reader(value)
            && let OpKind::Lut { .. } = self.graph.op(reader).kind
        {
            self.taken[reader] = true;
            luts.push(reader);
            value = self.graph.op(reader).results[0];
        }
        (luts, value)
    }

    /// Whether the other operands of `add` are computed before `linear`.
    fn ready(&self, linear: Op, add: Op, value: Value) -> bool {
        let mut others = self.graph.op(add).operands.iter().filter(|operand| **operand != value);
        others.all(|other| match self.graph.producer(sliced(self.graph, *other)) {
            None => true,
            Some((op, _)) => self.position[op] < self.position[linear],
        })
    }

    /// The scores and the softmax of one part of a product of split attention.
    fn part(&self, product: Op, part: ProductPart) -> Option<AttentionPart> {
        let operands = &self.graph.op(product).operands;
        let (softmax, data) = self.graph.producer(operands[part.probs])?;
        let (scores, _) = self.graph.producer(data.operands[0])?;
        Some(AttentionPart { scores, softmax })
    }

    /// Whether the results of scores or of a softmax are read only by split attention.
    fn is_part(&self, op: Op) -> bool {
        let output = |value: &Value| self.graph.outputs.iter().any(|output| output.value == *value);
        let results = &self.graph.op(op).results;
        results.iter().all(|value| {
            let feeds = |reader: &Op| match self.graph.op(*reader).kind {
                OpKind::BlockSoftmax { .. } | OpKind::CscSoftmax { .. } => self.is_part(*reader),
                OpKind::SplitSpmm { .. } => true,
                _ => false,
            };
            !output(value) && !self.uses[*value].is_empty() && self.uses[*value].iter().all(feeds)
        })
    }

    fn attention(&mut self, sddmm: Op) -> Option<AttentionGroup> {
        let softmax = self.only_reader(self.graph.op(sddmm).results[0])?;
        let data = self.graph.op(softmax);
        if !matches!(data.kind, OpKind::QSoftmax { .. }) {
            return None;
        }
        let spmm = self.only_reader(data.results[0])?;
        let product = self.graph.op(spmm);
        let windows = |kind: &OpKind| match *kind {
            OpKind::Sddmm { windows, .. } | OpKind::Spmm { windows, .. } => Some(windows),
            _ => None,
        };
        let fits = windows(&product.kind) == windows(&self.graph.op(sddmm).kind)
            && product.operands[..2] == data.results[..]
            && self.only_reader(data.results[1]) == Some(spmm);
        if !fits {
            return None;
        }
        let (luts, result) = self.lookups(product.results[0]);
        Some(AttentionGroup { projections: Vec::new(), sddmm, softmax, spmm, luts, result })
    }
}
