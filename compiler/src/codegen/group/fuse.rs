//! Fusion: projections into the attention that reads them, and both layers of an MLP.

use std::collections::BTreeSet;

use cranelift_entity::SecondaryMap;

use crate::codegen::group::{Group, LinearGroup, MlpGroup};
use crate::codegen::limits::MAX_COUNT;
use crate::ir::{Graph, Op, OpKind, Value};

/// The linear group, without windows and adds, whose result is `value`, if `value` has one reader
/// and is not an output.
fn sole_producer(
    groups: &[Group],
    graph: &Graph,
    uses: &SecondaryMap<Value, Vec<Op>>,
    value: Value,
) -> Option<usize> {
    let produces = |group: &Group| {
        group.linear().is_some_and(|linear| {
            let LinearGroup { patches, add, narrow, result, .. } = linear;
            patches.is_none() && add.is_none() && narrow.is_none() && *result == value
        })
    };
    let returned = graph.outputs.iter().any(|output| output.value == value);
    groups.iter().position(produces).filter(|_| uses[value].len() == 1 && !returned)
}

/// The groups with projections fused into the attention that is their only reader; `None` if there
/// are none. A projection computes all rows of a head at once, so attention windows are not fused.
pub(crate) fn with_projections(groups: &[Group], graph: &Graph) -> Option<Vec<Group>> {
    let uses = graph.uses();
    let mut moved: BTreeSet<usize> = BTreeSet::new();
    let mut fused = groups.to_vec();
    for group in &mut fused {
        let Group::Attention(attention) = group else { continue };
        let OpKind::Sddmm { windows: 1, .. } = graph.op(attention.sddmm).kind else { continue };
        let [scores, product] = [attention.sddmm, attention.spmm].map(|op| &graph.op(op).operands);
        for value in [scores[1], scores[0], product[2]] {
            let fits = graph.ty(value).matrix().0 <= MAX_COUNT;
            let producer = sole_producer(groups, graph, &uses, value).filter(|_| fits);
            if let Some((index, Group::Linear(linear))) =
                producer.map(|producer| (producer, &groups[producer]))
                && linear.luts.is_empty()
            {
                moved.insert(index);
                attention.projections.push(linear.linear);
            }
        }
    }
    let mut index = 0..;
    fused.retain(|_| index.next().is_none_or(|index| !moved.contains(&index)));
    (!moved.is_empty()).then_some(fused)
}

/// The groups with pairs of linear layers fused into MLPs, where the second layer is the only
/// reader of the first; `None` if there are none.
pub(crate) fn with_mlps(groups: &[Group], graph: &Graph) -> Option<Vec<Group>> {
    let uses = graph.uses();
    let mut joined: Vec<Option<Group>> = groups.iter().cloned().map(Some).collect();
    for (index, group) in groups.iter().enumerate() {
        if let Group::Linear(second @ LinearGroup { patches: None, .. }) = group
            && let Some(producer) =
                sole_producer(groups, graph, &uses, graph.op(second.linear).operands[0])
            && let Some(Group::Linear(first)) =
                joined[producer].take_if(|group| matches!(group, Group::Linear(_)))
        {
            joined[index] = Some(Group::Mlp(MlpGroup { first, second: second.clone() }));
        }
    }
    joined.iter().any(Option::is_none).then(|| joined.into_iter().flatten().collect())
}
