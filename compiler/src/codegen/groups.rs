//! Groups: operations that are lowered together because their tiles flow from one to the next
//! without being stored.
//!
//! A group executes as a whole where one of its operations stands: a linear layer's lookups and its
//! add earlier than they stand, scores and softmax later. Values never change, so all that this
//! asks for is that what the group reads is there, and that the storage of what it reads is not
//! given away before: so [`storage`](super::storage) counts lifetimes in groups, not in operations.

use std::collections::BTreeSet;

use cranelift_entity::SecondaryMap;

use super::limits::MAX_COUNT;
use super::split::{SplitGroup, Task};
use super::storage::{Home, Storages, sliced};
use crate::ir::{Elem, Graph, Op, OpData, OpKind, Value};
use crate::split::{ProductPart, ProductParts};

/// What is lowered as one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Group {
    /// A linear layer with what its tiles flow through.
    Linear(LinearGroup),
    /// Two linear layers, one of which alone reads what the other makes.
    Mlp(MlpGroup),
    /// SDDMM, softmax and SpMM of all heads.
    Attention(AttentionGroup),
    /// SpMM of constant probabilities: means of rows.
    Product(Op),
    /// Scores, softmax and product of split attention.
    Split(SplitGroup),
    /// The auto-encoder's `encode` or `decode`.
    Coder(Op),
    /// An operation on whole rows: `qembed`, `qlayer_norm`, `lut`, `qadd`.
    Rows(Op),
    /// Rows in another order, or joined to longer ones: `pick_rows`, and `patches` that no linear
    /// layer takes as windows.
    Move(Op),
    /// Rows that are copied: an operand of a concat, or an output, that could not be computed in
    /// place.
    Copy(CopyGroup),
}

/// `[patches ->] qlinear [-> lut ...] [-> qadd] [-> qadd to 8 bits]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LinearGroup {
    /// The `patches` that makes the left operand, if it is not a stored matrix.
    pub(super) patches: Option<Op>,
    /// The linear layer.
    pub(super) linear: Op,
    /// Lookups of its result.
    pub(super) luts: Vec<Op>,
    /// The add that takes the last result.
    pub(super) add: Option<Op>,
    /// The value that leaves the group.
    pub(super) result: Value,
    /// The add that narrows that value to 8 bits, which leave the group too.
    pub(super) narrow: Option<Op>,
}

/// `qlinear [-> lut ...] -> qlinear [-> lut ...] [-> qadd] [-> qadd to 8 bits]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MlpGroup {
    pub(super) first: LinearGroup,
    pub(super) second: LinearGroup,
}

/// `[qlinear -> ] sddmm -> qsoftmax -> spmm [-> lut ...]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttentionGroup {
    /// The linear layers of queries, keys and values that are computed head by head, as attention
    /// needs them.
    pub(super) projections: Vec<Op>,
    pub(super) sddmm: Op,
    pub(super) softmax: Op,
    pub(super) spmm: Op,
    /// Lookups of the product.
    pub(super) luts: Vec<Op>,
    /// The value that leaves the group.
    pub(super) result: Value,
}

/// `rows` rows of `from` become those of `to` from `at` on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CopyGroup {
    pub(super) from: Value,
    pub(super) to: Destination,
    pub(super) at: usize,
}

/// Where copied rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// A value: the result of a concat.
    Value(Value),
    /// The i-th output of the graph.
    Output(usize),
}

impl Group {
    /// The operations of the group, in order.
    pub(super) fn ops(&self) -> Vec<Op> {
        match self {
            Group::Linear(g) => g.ops().collect(),
            Group::Mlp(g) => g.first.ops().chain(g.second.ops()).collect(),
            Group::Attention(g) => {
                let inner = g.projections.iter().copied().chain([g.sddmm, g.softmax, g.spmm]);
                inner.chain(g.luts.iter().copied()).collect()
            }
            Group::Split(g) => {
                let tasks = g.block.iter().chain(&g.list);
                tasks.flat_map(|task| [task.scores, task.softmax]).chain([g.product]).collect()
            }
            Group::Rows(op) | Group::Coder(op) | Group::Product(op) | Group::Move(op) => vec![*op],
            Group::Copy(_) => Vec::new(),
        }
    }

    /// The stored values that the group reads: constants and what earlier groups made.
    pub(super) fn reads(&self, graph: &Graph) -> Vec<Value> {
        let ops = self.ops();
        let inside: Vec<Value> = ops.iter().flat_map(|op| graph.op(*op).results.clone()).collect();
        let mut reads: Vec<Value> =
            ops.iter().flat_map(|op| graph.op(*op).operands.clone()).collect();
        reads.retain(|value| !inside.contains(value));
        match self {
            Group::Copy(copy) => reads.push(copy.from),
            // It may be too large to stay on chip as a whole.
            Group::Mlp(mlp) => reads.push(mlp.first.result),
            _ => {}
        }
        reads
    }

    /// The values that the group makes and stores.
    pub(super) fn results(&self, graph: &Graph) -> Vec<Value> {
        let of = |op: Op| graph.op(op).results.first().copied();
        match self {
            Group::Linear(g) => g.results(graph).collect(),
            Group::Mlp(g) => g.first.results(graph).chain(g.second.results(graph)).collect(),
            Group::Attention(g) => vec![g.result],
            Group::Split(g) => of(g.product).into_iter().collect(),
            Group::Rows(op) | Group::Coder(op) | Group::Product(op) | Group::Move(op) => {
                of(*op).into_iter().collect()
            }
            Group::Copy(_) => Vec::new(),
        }
    }
}

impl Group {
    /// Whether it is an MLP whose layers may be interleaved: what passes between them does not stay
    /// on chip.
    pub(super) fn may_interleave(&self, storages: &Storages) -> bool {
        match self {
            Group::Mlp(mlp) => storages.data(storages.place(mlp.first.result)).home != Home::Sram,
            _ => false,
        }
    }
}

impl LinearGroup {
    /// The operations of the group, in order.
    fn ops(&self) -> impl Iterator<Item = Op> {
        let inner = self.patches.into_iter().chain([self.linear]).chain(self.luts.iter().copied());
        inner.chain(self.add).chain(self.narrow)
    }

    /// The values that leave it.
    fn results(&self, graph: &Graph) -> impl Iterator<Item = Value> {
        [self.result].into_iter().chain(self.narrow.map(|narrow| graph.op(narrow).results[0]))
    }
}

/// The groups of a graph in execution order, or what has no instruction.
///
/// Slices and concats make no group: they are a matter of where values are stored. Copies are
/// inserted where that fails.
pub(super) fn form(graph: &Graph) -> Result<Vec<Group>, Vec<String>> {
    let uses = graph.uses();
    let mut position = SecondaryMap::new();
    graph.order.iter().enumerate().for_each(|(index, op)| position[*op] = index);
    let (taken, attentions) = (SecondaryMap::new(), SecondaryMap::new());
    let mut former =
        Former { graph, uses: &uses, taken, attentions, position, problems: Vec::new() };
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
    if former.problems.is_empty() { Ok(groups) } else { Err(former.problems) }
}

/// The group of a linear layer, with nothing but lookups behind it, that makes a value which one
/// operation alone reads.
fn sole_maker(
    groups: &[Group],
    graph: &Graph,
    uses: &SecondaryMap<Value, Vec<Op>>,
    value: Value,
) -> Option<usize> {
    let makes = |group: &Group| match group {
        Group::Linear(LinearGroup { patches: None, add: None, narrow: None, result, .. }) => {
            *result == value
        }
        _ => false,
    };
    let returned = graph.outputs.iter().any(|output| output.value == value);
    groups.iter().position(makes).filter(|_| uses[value].len() == 1 && !returned)
}

/// The groups with linear layers moved into the attention that alone reads what they make; `None`
/// where there are no such layers. They make all rows of a head at once, so attention within
/// windows has none.
pub(super) fn with_projections(groups: &[Group], graph: &Graph) -> Option<Vec<Group>> {
    let uses = graph.uses();
    let mut moved: BTreeSet<usize> = BTreeSet::new();
    let mut fused = groups.to_vec();
    for group in &mut fused {
        let Group::Attention(attention) = group else { continue };
        let OpKind::Sddmm { windows: 1, .. } = graph.op(attention.sddmm).kind else { continue };
        let [scores, product] = [attention.sddmm, attention.spmm].map(|op| &graph.op(op).operands);
        for value in [scores[1], scores[0], product[2]] {
            // All rows are computed at once.
            let fits = graph.ty(value).matrix().0 <= MAX_COUNT;
            let maker = sole_maker(groups, graph, &uses, value).filter(|_| fits);
            if let Some((maker, Group::Linear(linear))) = maker.map(|maker| (maker, &groups[maker]))
                && linear.luts.is_empty()
            {
                moved.insert(maker);
                attention.projections.push(linear.linear);
            }
        }
    }
    let mut index = 0..;
    fused.retain(|_| index.next().is_none_or(|index| !moved.contains(&index)));
    (!moved.is_empty()).then_some(fused)
}

/// The groups with linear layers joined where one alone reads what the other makes; `None` where
/// there are no such layers.
pub(super) fn with_mlps(groups: &[Group], graph: &Graph) -> Option<Vec<Group>> {
    let uses = graph.uses();
    let mut joined: Vec<Option<Group>> = groups.iter().cloned().map(Some).collect();
    for (index, group) in groups.iter().enumerate() {
        if let Group::Linear(second @ LinearGroup { patches: None, .. }) = group
            && let Some(maker) =
                sole_maker(groups, graph, &uses, graph.op(second.linear).operands[0])
            && let Some(Group::Linear(first)) =
                joined[maker].take_if(|group| matches!(group, Group::Linear(_)))
        {
            joined[index] = Some(Group::Mlp(MlpGroup { first, second: second.clone() }));
        }
    }
    joined.iter().any(Option::is_none).then(|| joined.into_iter().flatten().collect())
}

/// Whether a group makes the value, which an output or a concat reads: inputs and constants are
/// there, and slices, concats and pixels are views of other values.
fn is_made(graph: &Graph, value: Value) -> bool {
    graph.producer(value).is_some_and(|(_, data)| {
        !matches!(data.kind, OpKind::Slice { .. } | OpKind::Concat { .. } | OpKind::Pixels {})
    })
}

/// Whether output `index` is where the value is computed: values that no group makes, and second
/// outputs of one value, are copied.
pub(super) fn computed_into(graph: &Graph, value: Value, index: usize) -> bool {
    is_made(graph, value) && graph.outputs[..index].iter().all(|output| output.value != value)
}

/// Whether an operand of a concat is computed where the concat's result is stored, instead of being
/// copied there.
pub(super) fn joins_in_place(
    graph: &Graph,
    uses: &SecondaryMap<Value, Vec<Op>>,
    operand: Value,
) -> bool {
    is_made(graph, operand)
        && uses[operand].len() == 1
        && graph.outputs.iter().all(|output| output.value != operand)
}

struct Former<'a> {
    graph: &'a Graph,
    uses: &'a SecondaryMap<Value, Vec<Op>>,
    taken: SecondaryMap<Op, bool>,
    /// Per product, the attention that it completes.
    attentions: SecondaryMap<Op, Option<AttentionGroup>>,
    /// Places of the operations in the graph's order.
    position: SecondaryMap<Op, usize>,
    problems: Vec<String>,
}

impl Former<'_> {
    fn group(&mut self, op: Op, groups: &mut Vec<Group>) {
        let data = self.graph.op(op);
        match &data.kind {
            OpKind::QLinear {} => groups.push(self.linear(op)),
            OpKind::QEmbed {} | OpKind::QLayerNorm {} | OpKind::Lut {} | OpKind::QAdd { .. } => {
                groups.push(Group::Rows(op))
            }
            OpKind::Sddmm { .. } => match self.attention(op) {
                // Executed where the product stands: the values may be made after the scores.
                Some(group) => {
                    self.taken[group.softmax] = true;
                    let product = group.spmm;
                    self.attentions[product] = Some(group);
                }
                None => self.problem(
                    op,
                    "scores are stored for other operations than one softmax and its product",
                ),
            },
            OpKind::QSoftmax {} | OpKind::Spmm { .. } => match self.attentions[op].take() {
                Some(group) => groups.push(Group::Attention(group)),
                None if self.is_mean(data) => groups.push(Group::Product(op)),
                None => self.problem(op, "is not fed by the scores of one sddmm alone"),
            },
            OpKind::Encode { .. } | OpKind::Decode { .. } => groups.push(Group::Coder(op)),
            OpKind::BlockSddmm { .. }
            | OpKind::CscSddmm { .. }
            | OpKind::BlockSoftmax {}
            | OpKind::CscSoftmax {} => {
                if !self.is_part(op) {
                    self.problem(op, "is not part of a product of split attention");
                }
            }
            OpKind::SplitSpmm { block, csc, .. } => {
                let parts = ProductParts::of(*block, *csc);
                let task = |part: ProductPart| self.task(op, part);
                groups.push(Group::Split(SplitGroup {
                    block: parts.block.and_then(task),
                    list: parts.csc.and_then(task),
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
            OpKind::Pixels {} => {
                let image = data.operands[0];
                let output =
                    |value: Value| self.graph.outputs.iter().any(|output| output.value == value);
                let all = |of: fn(&OpKind) -> bool, value: Value| {
                    self.uses[value].iter().all(|reader| of(&self.graph.op(*reader).kind))
                };
                let windows = |kind: &OpKind| matches!(kind, OpKind::Patches { .. });
                if !self.graph.inputs.iter().any(|input| input.value == image) {
                    self.problem(op, "only images that are inputs are laid out as pixels");
                } else if output(image) || !all(|kind| *kind == OpKind::Pixels {}, image) {
                    self.problem(op, "its image is read as it is, too");
                } else if output(data.results[0]) || !all(windows, data.results[0]) {
                    self.problem(op, "pixels are read by other operations than patches");
                }
            }
            OpKind::PickRows {} => groups.push(Group::Move(op)),
            OpKind::Patches { pad, .. } => {
                if !self.is_windows(data) {
                    match pad {
                        [0, 0, 0, 0] => groups.push(Group::Move(op)),
                        _ => self.problem(
                            op,
                            "padded patches are read by other operations than linear layers",
                        ),
                    }
                } else if self.graph.constant(data.operands[0]).is_some() {
                    self.problem(op, "patches of a constant");
                }
            }
            _ => self.problem(op, "has no instruction"),
        }
    }

    fn problem(&mut self, op: Op, message: &str) {
        self.problems.push(format!("{}: {message}", self.graph.describe(op)));
    }

    /// The one operation that reads `value`, if the value is needed nowhere else.
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
                OpKind::Lut {} => group.luts.push(reader),
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

    /// Whether all that reads the result of an operation are linear layers that take it as windows
    /// of a map.
    fn is_windows(&self, data: &OpData) -> bool {
        let linear = |op: &Op| matches!(self.graph.op(*op).kind, OpKind::QLinear {});
        let returned = self.graph.outputs.iter().any(|output| output.value == data.results[0]);
        matches!(data.kind, OpKind::Patches { .. })
            && !returned
            && self.uses[data.results[0]].iter().all(linear)
    }

    /// Whether an `spmm` weighs rows by constants.
    fn is_mean(&self, data: &OpData) -> bool {
        matches!(data.kind, OpKind::Spmm { windows: 1, .. })
            && data.operands[..2].iter().all(|operand| self.graph.constant(*operand).is_some())
    }

    /// The lookups of a value that each alone read what the one before gives, and what the last one
    /// gives.
    fn lookups(&mut self, mut value: Value) -> (Vec<Op>, Value) {
        let mut luts = Vec::new();
        while let Some(reader) = self.only_reader(value)
            && let OpKind::Lut {} = self.graph.op(reader).kind
        {
            self.taken[reader] = true;
            luts.push(reader);
            value = self.graph.op(reader).results[0];
        }
        (luts, value)
    }

    /// Whether all that `add` reads besides `value` is there when `linear` executes.
    fn ready(&self, linear: Op, add: Op, value: Value) -> bool {
        let mut others = self.graph.op(add).operands.iter().filter(|operand| **operand != value);
        others.all(|other| match self.graph.producer(sliced(self.graph, *other)) {
            None => true,
            Some((op, _)) => self.position[op] < self.position[linear],
        })
    }

    /// The scores and the softmax of a part of a product.
    fn task(&self, product: Op, part: ProductPart) -> Option<Task> {
        let operands = &self.graph.op(product).operands;
        let (softmax, data) = self.graph.producer(operands[part.probs])?;
        let (scores, _) = self.graph.producer(data.operands[0])?;
        Some(Task { scores, softmax })
    }

    /// Whether all that scores or a softmax of split attention makes is for one product.
    fn is_part(&self, op: Op) -> bool {
        let output = |value: &Value| self.graph.outputs.iter().any(|output| output.value == *value);
        let results = &self.graph.op(op).results;
        results.iter().all(|value| {
            let feeds = |reader: &Op| match self.graph.op(*reader).kind {
                OpKind::BlockSoftmax {} | OpKind::CscSoftmax {} => self.is_part(*reader),
                OpKind::SplitSpmm { .. } => true,
                _ => false,
            };
            !output(value) && !self.uses[*value].is_empty() && self.uses[*value].iter().all(feeds)
        })
    }

    fn attention(&mut self, sddmm: Op) -> Option<AttentionGroup> {
        let softmax = self.only_reader(self.graph.op(sddmm).results[0])?;
        let data = self.graph.op(softmax);
        if !matches!(data.kind, OpKind::QSoftmax {}) {
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
