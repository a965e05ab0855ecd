//! The order of batches, and the groups and contexts of their queries.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::{Array, Batch, Packing, Query, RowLayout, rows_per_cycle};

/// Rows of keys that pass by for a cluster.
pub(super) fn rows(
    queries: &[Query],
    cluster: &[usize],
    layout: &RowLayout,
    packing: Packing,
) -> usize {
    match packing.shared {
        true => distinct(queries, cluster, layout),
        false => cluster.iter().map(|query| queries[*query].keys.len()).sum(),
    }
}

/// Tokens that take the queries of a cluster.
pub(super) fn held(
    queries: &[Query],
    cluster: &[usize],
    layout: &RowLayout,
    packing: Packing,
) -> usize {
    if packing.shared { distinct_own(queries, cluster, layout) } else { cluster.len() }
}

/// Different words of the keys of a cluster.
fn distinct(queries: &[Query], cluster: &[usize], layout: &RowLayout) -> usize {
    let words = cluster.iter().flat_map(|query| {
        let Query { head, keys, .. } = &queries[*query];
        keys.iter().map(|key| layout.word(*head, *key))
    });
    count(words.collect())
}

/// Different words of the queries of a cluster.
fn distinct_own(queries: &[Query], cluster: &[usize], layout: &RowLayout) -> usize {
    count(
        cluster
            .iter()
            .map(|query| layout.word(queries[*query].head, queries[*query].query))
            .collect(),
    )
}

fn count(mut words: Vec<usize>) -> usize {
    words.sort_unstable();
    words.dedup();
    words.len()
}

/// Clusters of queries in order.
pub(super) fn in_order(queries: &[Query], size: usize) -> Vec<Vec<usize>> {
    let order: Vec<usize> = (0..queries.len()).collect();
    order.chunks(size).map(<[usize]>::to_vec).collect()
}

/// Seats the queries of each cluster in turn in all groups.
pub(super) fn in_turn(clusters: &[&[usize]], array: &Array) -> Vec<Batch> {
    let all = array.groups.groups as usize;
    let seat = |cluster: &&[usize]| {
        let group = |group| cluster.iter().copied().skip(group).step_by(all).collect();
        (0..all).map(group).collect()
    };
    clusters.iter().map(seat).collect()
}

/// Clusters of the longest queries, then of shorter ones.
pub(super) fn longest_first(queries: &[Query], size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..queries.len()).collect();
    order.sort_by_key(|query| Reverse(queries[*query].keys.len()));
    order.chunks(size).map(<[usize]>::to_vec).collect()
}

/// Orders clusters such that one that leaves reads over is followed by one that needs more than
/// there are: its held rows come early.
pub(super) fn alternate(
    queries: &[Query],
    clusters: Vec<Vec<usize>>,
    layout: &RowLayout,
    array: &Array,
) -> Vec<Vec<usize>> {
    let Some(rate) = rows_per_cycle(array) else { return clusters };
    let spare = |cluster: &[usize]| {
        let entries: usize = cluster.iter().map(|query| queries[*query].keys.len()).sum();
        let reads = distinct(queries, cluster, layout) + cluster.len();
        let cycles = entries as u64 * array.groups.entry_cycles;
        (cycles as f64 * rate / f64::from(array.groups.groups)) as i64 - reads as i64
    };
    let mut clusters: Vec<(i64, Vec<usize>)> =
        clusters.into_iter().map(|cluster| (spare(&cluster), cluster)).collect();
    clusters.sort_by_key(|(spare, _)| *spare);
    let mut left = VecDeque::from(clusters);
    let mut ordered = Vec::new();
    while let Some((_, most)) = left.pop_back() {
        ordered.push(most);
        ordered.extend(left.pop_front().map(|(_, least)| least));
    }
    ordered
}

/// Seats the queries of each cluster, the longest first, each in the group that has had the least
/// work so far.
pub(super) fn seat(queries: &[Query], clusters: &[&[usize]], array: &Array) -> Vec<Batch> {
    let (all, contexts) = (array.groups.groups as usize, array.groups.contexts as usize);
    let mut work = vec![0; all];
    let mut batches = Vec::with_capacity(clusters.len());
    for cluster in clusters {
        let mut cluster = cluster.to_vec();
        cluster.sort_by_key(|query| (Reverse(queries[*query].keys.len()), *query));
        let mut groups = vec![Vec::new(); all];
        for query in cluster {
            let free = (0..all).filter(|group| groups[*group].len() < contexts);
            let group = free.min_by_key(|group| work[*group]).expect("the cluster fits");
            groups[group].push(query);
            work[group] += queries[query].keys.len();
        }
        batches.push(groups);
    }
    batches
}

/// Batches of queries that are in descending order of entries, each in the group with the least
/// work, whatever batch that makes it part of.
pub(super) fn by_groups(queries: &[Query], order: &[usize], array: &Array) -> Vec<Batch> {
    let (all, contexts) = (array.groups.groups as usize, array.groups.contexts as usize);
    let mut groups: Vec<(usize, Vec<usize>)> = vec![(0, Vec::new()); all];
    for query in order {
        // A query without entries takes a context too.
        let least = groups.iter_mut().min_by_key(|(work, queries)| (*work, queries.len()));
        let (work, taken) = least.expect("there is a group");
        *work += queries[*query].keys.len();
        taken.push(*query);
    }
    level(&mut groups, |query| queries[query].keys.len());
    let most = groups.iter().map(|(_, queries)| queries.len()).max().unwrap_or(0);
    let batch = |number: usize| {
        let of_group = |(_, queries): &(usize, Vec<usize>)| {
            queries.iter().copied().skip(number * contexts).take(contexts).collect()
        };
        groups.iter().map(of_group).collect()
    };
    (0..most.div_ceil(contexts)).map(batch).collect()
}

/// Exchanges queries between the busiest group and others while that makes the busiest one of the
/// two less busy.
fn level(groups: &mut [(usize, Vec<usize>)], entries: impl Fn(usize) -> usize) {
    // Each round lowers the busiest group: this many suffice for lists of some thousand queries.
    const ROUNDS: usize = 64;
    for _ in 0..ROUNDS {
        let Some(busiest) = (0..groups.len()).max_by_key(|group| groups[*group].0) else { return };
        let mut best: Option<(usize, usize, usize, usize)> = None;
        for other in (0..groups.len()).filter(|other| *other != busiest) {
            let gap = groups[busiest].0 - groups[other].0;
            for (i, first) in groups[busiest].1.iter().enumerate() {
                for (j, second) in groups[other].1.iter().enumerate() {
                    let Some(moved) = entries(*first).checked_sub(entries(*second)) else {
                        continue;
                    };
                    // The busier of the two afterwards, from the load of the busiest.
                    let relief = moved.min(gap.saturating_sub(moved));
                    if relief > best.map_or(0, |(relief, ..)| relief) {
                        best = Some((relief, other, i, j));
                    }
                }
            }
        }
        let Some((_, other, i, j)) = best else { return };
        let (first, second) = (groups[busiest].1[i], groups[other].1[j]);
        (groups[busiest].1[i], groups[other].1[j]) = (second, first);
        let moved = entries(first) - entries(second);
        groups[busiest].0 -= moved;
        groups[other].0 += moved;
    }
}
