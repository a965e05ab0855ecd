//! Divides queries into clusters that need few different words.
//!
//! A batch reads every word of its keys and of its queries once. To find the division with the
//! smallest sum is hard (it contains graph partitioning), so: build clusters one after the other,
//! each time with the query that adds the fewest words, then exchange pairs of queries while this
//! helps. On the authors' mask of DeiT-Tiny with 16 seats there are 16,370 words of keys in the
//! order of the queries, 13,039 after the first and 12,634 after the second step; simulated
//! annealing, with some twenty times the work, found 12,301.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Query, RowLayout};

/// Rounds of exchanges. More than these change the sum by less than 0.5 %.
const ROUNDS: usize = 3;

/// So many queries are compared with each other, so that the work of long lists grows with their
/// length and not with its square.
const MAX_COMPARED: usize = 1024;

/// Clusters of at most `size` queries, as positions of `queries`. Every query is in one of them.
pub(super) fn clusters(queries: &[Query], layout: &RowLayout, size: usize) -> Vec<Vec<usize>> {
    let pool = |query: &Query| usize::from(query.head) / layout.heads_per_word();
    let pools = queries.iter().map(|query| pool(query) + 1).max().unwrap_or(0);
    let words = words(queries, layout);
    let mut clusters = Vec::new();
    for number in 0..pools {
        let members: Vec<usize> =
            (0..queries.len()).filter(|query| pool(&queries[*query]) == number).collect();
        for members in members.chunks(MAX_COMPARED.next_multiple_of(size)) {
            let mut division = Division::new(&words, grow(&words, members.to_vec(), size));
            division.exchange();
            clusters.extend(division.clusters);
        }
    }
    join(clusters, size)
}

/// The words of each query: of its keys and, after all of those, its own. A word of its own that no
/// other query shares is read in any case, and is left out.
fn words(queries: &[Query], layout: &RowLayout) -> Vec<Vec<usize>> {
    let own = |query: &Query| layout.word(query.head, query.query);
    let keys = |query: &Query| -> Vec<usize> {
        query.keys.iter().map(|key| layout.word(query.head, *key)).collect()
    };
    // Numbers without gaps: those of keys, then those of queries that several share.
    let mut known: Vec<usize> = queries.iter().flat_map(keys).collect();
    known.sort_unstable();
    known.dedup();
    let mut sharing = BTreeMap::<usize, usize>::new();
    queries.iter().for_each(|query| *sharing.entry(own(query)).or_default() += 1);
    sharing.retain(|_, queries| *queries > 1);
    let shared: BTreeMap<usize, usize> = sharing.into_keys().zip(known.len()..).collect();
    let number = |word: usize| known.binary_search(&word).expect("it is known");
    let words = |query: &Query| {
        let own = shared.get(&own(query)).copied();
        keys(query).into_iter().map(number).chain(own).collect()
    };
    queries.iter().map(words).collect()
}

/// The number of counters that words need.
fn counters(words: &[Vec<usize>]) -> usize {
    words.iter().flatten().max().map_or(0, |word| word + 1)
}

/// Clusters of queries, each built from the first query that is left over by adding the query with
/// the fewest new words; among those the one with the most words, then the first.
fn grow(words: &[Vec<usize>], mut left: Vec<usize>, size: usize) -> Vec<Vec<usize>> {
    let mut clusters = Vec::new();
    while !left.is_empty() {
        let mut present = vec![false; counters(words)];
        let mut cluster = Vec::new();
        while cluster.len() < size && !left.is_empty() {
            let new = |query: usize| {
                let new = words[query].iter().filter(|word| !present[**word]).count();
                (new, Reverse(words[query].len()))
            };
            let best = if cluster.is_empty() {
                0
            } else {
                (0..left.len()).min_by_key(|place| new(left[*place])).expect("some are left")
            };
            let query = left.remove(best);
            words[query].iter().for_each(|word| present[*word] = true);
            cluster.push(query);
        }
        clusters.push(cluster);
    }
    clusters
}

/// Clusters between which queries are exchanged.
struct Division<'a> {
    words: &'a [Vec<usize>],
    clusters: Vec<Vec<usize>>,
    /// How many queries of each cluster need each word.
    counts: Vec<Vec<u32>>,
    /// The words that only this query of its cluster needs.
    alone: Vec<i64>,
}

impl<'a> Division<'a> {
    fn new(words: &'a [Vec<usize>], clusters: Vec<Vec<usize>>) -> Division<'a> {
        let counts = vec![vec![0; counters(words)]; clusters.len()];
        let mut division = Division { words, clusters, counts, alone: vec![0; words.len()] };
        for (cluster, counts) in division.clusters.iter().zip(&mut division.counts) {
            cluster.iter().flat_map(|query| &words[*query]).for_each(|word| counts[*word] += 1);
        }
        (0..division.clusters.len()).for_each(|cluster| division.count_alone(cluster));
        division
    }

    fn count_alone(&mut self, cluster: usize) {
        for query in &self.clusters[cluster] {
            let words = self.words[*query].iter();
            self.alone[*query] =
                words.filter(|word| self.counts[cluster][**word] == 1).count() as i64;
        }
    }

    /// Exchanges pairs of queries of different clusters, for each query the best one, while the sum
    /// of different words falls.
    fn exchange(&mut self) {
        let mut own = vec![false; counters(self.words)];
        for _ in 0..ROUNDS {
            let mut changed = false;
            for a in 0..self.clusters.len() {
                for i in 0..self.clusters[a].len() {
                    let first = &self.words[self.clusters[a][i]];
                    first.iter().for_each(|word| own[*word] = true);
                    let partner = self.partner(a, i, &own);
                    first.iter().for_each(|word| own[*word] = false);
                    if let Some((b, j)) = partner {
                        self.swap((a, i), (b, j));
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// The cluster and place of the query with which an exchange helps most. `own` marks the words
    /// of query `i` of cluster `a`.
    fn partner(&self, a: usize, i: usize, own: &[bool]) -> Option<(usize, usize)> {
        let first = self.clusters[a][i];
        if self.alone[first] == 0 {
            return None;
        }
        let mut best = (0, None);
        for b in (0..self.clusters.len()).filter(|b| *b != a) {
            let added = self.words[first].iter().filter(|word| self.counts[b][**word] == 0);
            let change = added.count() as i64 - self.alone[first];
            for (j, second) in self.clusters[b].iter().enumerate() {
                if change - self.alone[*second] >= best.0 {
                    continue;
                }
                // A word of both queries stays in both clusters; if the first one is alone with it
                // in a, it was wrongly counted as freed. Other words of the second query are added
                // in a and freed in b.
                let of_word = |word: &usize| {
                    let freed = !own[*word] && self.counts[b][*word] == 1;
                    let alone = u32::from(own[*word]);
                    i64::from(self.counts[a][*word] == alone) - i64::from(freed)
                };
                let change = change + self.words[*second].iter().map(of_word).sum::<i64>();
                if change < best.0 {
                    best = (change, Some((b, j)));
                }
            }
        }
        best.1
    }

    fn swap(&mut self, (a, i): (usize, usize), (b, j): (usize, usize)) {
        let (first, second) = (self.clusters[a][i], self.clusters[b][j]);
        for (query, from, to) in [(first, a, b), (second, b, a)] {
            for word in &self.words[query] {
                self.counts[from][*word] -= 1;
                self.counts[to][*word] += 1;
            }
        }
        (self.clusters[a][i], self.clusters[b][j]) = (second, first);
        self.count_alone(a);
        self.count_alone(b);
    }
}

/// Joins clusters that fit a batch together, the largest first: a batch with few queries leaves
/// groups idle.
fn join(mut clusters: Vec<Vec<usize>>, size: usize) -> Vec<Vec<usize>> {
    clusters.sort_by_key(|cluster| Reverse(cluster.len()));
    let mut joined: Vec<Vec<usize>> = Vec::new();
    for cluster in clusters {
        match joined.iter_mut().find(|into| into.len() + cluster.len() <= size) {
            Some(into) => into.extend(cluster),
            None => joined.push(cluster),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use vitcod_support::random::SplitMix64;

    use super::*;

    /// Different words of all clusters.
    fn sum(words: &[Vec<usize>], clusters: &[Vec<usize>]) -> usize {
        let different = |cluster: &Vec<usize>| {
            let mut words: Vec<usize> = cluster.iter().flat_map(|q| &words[*q]).copied().collect();
            words.sort_unstable();
            words.dedup();
            words.len()
        };
        clusters.iter().map(different).sum()
    }

    #[test]
    fn each_exchange_saves_words() {
        let mut random = SplitMix64::new(7);
        let mut exchanges = 0;
        for size in 2..12 {
            let word = |random: &mut SplitMix64| (random.bits() % 40) as usize;
            let mut words: Vec<Vec<usize>> =
                (0..50).map(|_| (0..8).map(|_| word(&mut random)).collect()).collect();
            words.iter_mut().for_each(|words| {
                words.sort_unstable();
                words.dedup();
            });
            let clusters: Vec<Vec<usize>> =
                (0..50).collect::<Vec<_>>().chunks(size).map(<[usize]>::to_vec).collect();
            let mut before = sum(&words, &clusters);
            let mut division = Division::new(&words, clusters);
            for (a, i) in (0..50 / size).flat_map(|a| (0..size).map(move |i| (a, i))) {
                let query = division.clusters[a][i];
                let own: Vec<bool> = (0..40).map(|word| words[query].contains(&word)).collect();
                let Some((b, j)) = division.partner(a, i, &own) else { continue };
                division.swap((a, i), (b, j));
                let after = sum(&words, &division.clusters);
                assert!(after < before, "{before} {after}");
                (before, exchanges) = (after, exchanges + 1);
            }
            let mut queries = division.clusters.concat();
            queries.sort_unstable();
            assert_eq!(queries, (0..50).collect::<Vec<_>>());
        }
        assert!(exchanges > 50);
    }
}
