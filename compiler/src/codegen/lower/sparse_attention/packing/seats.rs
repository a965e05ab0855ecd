//! The order of batches, and the groups and contexts of their queries.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::{Array, Batch, Query};

/// Different keys of a cluster.
pub(super) fn distinct(queries: &[Query], cluster: &[usize]) -> usize {
    let mut keys: Vec<usize> = cluster.iter().flat_map(|q| &queries[*q].keys).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}

/// Orders clusters such that one that leaves reads over is followed by one that needs more than
/// there are: its held rows come early.
pub(super) fn alternate(
    queries: &[Query],
    clusters: Vec<Vec<usize>>,
    array: &Array,
) -> Vec<Vec<usize>> {
    let spare = |cluster: &[usize]| {
        let entries: usize = cluster.iter().map(|query| queries[*query].keys.len()).sum();
        let reads = distinct(queries, cluster) + cluster.len();
        (entries * array.ports / array.groups) as i64 - reads as i64
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
pub(super) fn seat(queries: &[Query], clusters: &[Vec<usize>], array: &Array) -> Vec<Batch> {
    let mut work = vec![0; array.groups];
    let mut batches = Vec::with_capacity(clusters.len());
    for cluster in clusters {
        let mut cluster = cluster.clone();
        cluster.sort_by_key(|query| (Reverse(queries[*query].keys.len()), *query));
        let mut groups = vec![Vec::new(); array.groups];
        for query in cluster {
            let free = (0..array.groups).filter(|group| groups[*group].len() < array.contexts);
            let group = free.min_by_key(|group| work[*group]).expect("the cluster fits");
            groups[group].push(query);
            work[group] += queries[query].keys.len();
        }
        batches.push(Batch { groups });
    }
    batches
}
