//! Fusion: projections with the attention that reads them, both layers of an MLP.

use std::collections::BTreeSet;

use cranelift_entity::SecondaryMap;

use crate::codegen::group::{Group, LinearGroup, MlpGroup};
use crate::codegen::limits::MAX_COUNT;
use crate::ir::{Graph, Op, OpKind, Value};

/// The group of a linear layer, with nothing but lookups behind it, that makes a value which one
/// operation alone reads.
fn sole_maker(
    groups: &[Group],
    graph: &Graph,
    uses: &SecondaryMap<Value, Vec<Op>>,
    value: Value,
) -> Option<usize> {
    let makes = |group: &Group| {
        group.linear().is_some_and(|linear| {
            let LinearGroup { patches, add, narrow, result, .. } = linear;
            patches.is_none() && add.is_none() && narrow.is_none() && *result == value
        })
    };
    let returned = graph.outputs.iter().any(|output| output.value == value);
    groups.iter().position(makes).filter(|_| uses[value].len() == 1 && !returned)
}

/// The groups with linear layers moved into the attention that alone reads what they make; `None`
/// where there are no such layers. They make all rows of a head at once, so attention within
/// windows has none.
pub(crate) fn with_projections(groups: &[Group], graph: &Graph) -> Option<Vec<Group>> {
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
pub(crate) fn with_mlps(groups: &[Group], graph: &Graph) -> Option<Vec<Group>> {
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
