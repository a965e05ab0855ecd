//! Algorithm 1 of the paper: selects the entries of averaged attention maps to keep.

use ndarray::{Array3, ArrayView1};

use super::{Entry, MAX_TOKENS, Mask, Masks, PruneError};

/// How far rounding may lift a probability above 1.
const ROUNDING: f64 = 1e-6;

/// How many entries to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Criterion {
    /// The share of every row's sum to keep, above 0 and at most 1: the paper's theta_p.
    Theta(f64),
    /// The minimum share of the model's entries to prune, from 0 to below 1. The largest theta that
    /// reaches it is used.
    Sparsity(f64),
}

/// The result of pruning.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruned {
    /// The kept entries.
    pub masks: Masks,
    /// The minimum share of every row's sum that is kept.
    pub theta: f64,
}

/// Prunes averaged attention maps, per layer `[heads, queries, keys]`.
///
/// The entries of a row are taken in descending order, equal ones in the order of their keys, until
/// their sum reaches theta times the row's sum; the entry that reaches it is kept. (The authors'
/// code keeps one more.) Rows and columns of the class tokens, the first ones, are always kept.
/// Sums are f64 in that order and relative to the row's own sum, so that rounding in the averages
/// does not affect theta = 1, which keeps everything except entries that add nothing to the sum.
///
/// With [`Criterion::Sparsity`] one theta is chosen for the whole model. An entry is kept exactly
/// if the share before it is below theta, so the candidates are those shares and the choice is a
/// selection by rank: exact, without search. Entries with equal shares are pruned together, so the
/// sparsity may exceed the requested one.
///
/// # Errors
/// There are no maps, they are not probabilities, or the criterion is out of range or cannot be
/// reached.
pub fn prune(
    maps: &[Array3<f64>],
    criterion: Criterion,
    class_tokens: usize,
) -> Result<Pruned, PruneError> {
    let is_class_token = |query: usize, key: usize| query < class_tokens || key < class_tokens;
    if maps.is_empty() {
        return Err(PruneError::NoAttention);
    }
    if let Criterion::Theta(theta) = criterion
        && !(theta > 0.0 && theta <= 1.0)
    {
        return Err(PruneError::Theta(theta));
    }
    let shares = maps
        .iter()
        .enumerate()
        .map(|(layer, maps)| shares(layer, maps))
        .collect::<Result<Vec<_>, _>>()?;
    let theta = match criterion {
        Criterion::Theta(theta) => theta,
        Criterion::Sparsity(sparsity) => theta_for(&shares, sparsity, &is_class_token)?,
    };
    let head = |shares: &Array3<f64>, head| {
        let (_, queries, keys) = shares.dim();
        Mask::from_fn(queries, keys, |query, key| {
            is_class_token(query, key) || shares[[head, query, key]] < theta
        })
    };
    let layers =
        shares.iter().map(|layer| (0..layer.dim().0).map(|i| head(layer, i)).collect()).collect();
    let masks =
        Masks::new(layers).expect("the largest entry of a row is kept, and no layer is empty");
    Ok(Pruned { masks, theta })
}

/// For every entry of a layer, the share of its row's sum that precedes it in descending order.
fn shares(layer: usize, maps: &Array3<f64>) -> Result<Array3<f64>, PruneError> {
    let (heads, queries, keys) = maps.dim();
    if [heads, queries, keys].contains(&0) || queries > MAX_TOKENS || keys > MAX_TOKENS {
        return Err(PruneError::Shape { layer, found: [heads, queries, keys] });
    }
    if let Some(((head, query, key), value)) =
        maps.indexed_iter().find(|(_, p)| !(0.0..=1.0 + ROUNDING).contains(*p))
    {
        return Err(PruneError::NotProbability {
            at: Entry { layer, head, query, key },
            value: *value,
        });
    }
    let mut shares = Array3::zeros(maps.dim());
    for head in 0..heads {
        for query in 0..queries {
            let row = maps.slice(ndarray::s![head, query, ..]);
            let keys = falling(&row);
            let sum = keys.iter().fold(0.0, |sum, key| sum + row[*key]);
            if sum == 0.0 {
                return Err(PruneError::NoMass { layer, head, query });
            }
            let mut before = 0.0;
            for key in keys {
                shares[[head, query, key]] = before / sum;
                before += row[key];
            }
        }
    }
    Ok(shares)
}

/// The keys of a row in descending order of entries, equal ones by index.
fn falling(row: &ArrayView1<'_, f64>) -> Vec<usize> {
    let mut keys: Vec<usize> = (0..row.len()).collect();
    keys.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    keys
}

/// The largest theta, at most 1, that prunes at least this share of all entries.
fn theta_for(
    shares: &[Array3<f64>],
    sparsity: f64,
    is_kept: &dyn Fn(usize, usize) -> bool,
) -> Result<f64, PruneError> {
    if !(0.0..1.0).contains(&sparsity) {
        return Err(PruneError::Sparsity(sparsity));
    }
    let entries: usize = shares.iter().map(Array3::len).sum();
    let to_prune = (sparsity * entries as f64).ceil() as usize;
    if to_prune == 0 {
        return Ok(1.0);
    }
    let mut prunable: Vec<f64> = shares
        .iter()
        .flat_map(|layer| layer.indexed_iter())
        .filter(|((_, query, key), _)| !is_kept(*query, *key))
        .map(|(_, share)| *share)
        .collect();
    let kept = prunable.len().checked_sub(to_prune);
    // Theta equal to the share of an entry prunes it and all entries with a larger share. The
    // largest entry of a row has share 0 and is kept.
    let theta = kept.map(|kept| *prunable.select_nth_unstable_by(kept, f64::total_cmp).1);
    theta.filter(|theta| *theta > 0.0).ok_or_else(|| {
        let reachable =
            prunable.iter().filter(|share| **share > 0.0).count() as f64 / entries as f64;
        PruneError::Unreachable { asked: sparsity, reachable }
    })
}
