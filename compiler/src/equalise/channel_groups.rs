//! Groups of channels that share a lookup table.
//!
//! The input of a table may have an offset and a factor, which the linear layer before it makes up
//! for, and so may its result, for which the linear layers behind it make up. One table serves all
//! channels well if their ranges are alike. Where they are not, as where one hidden unit reaches a
//! hundred times further than the others, a table for each group of channels gives each group the
//! whole range of int8.
//!
//! What a factor takes from a range it adds to the weights behind it, and they have 8 bits, too.
//! The channels that reach furthest can therefore be computed several times: `n` copies, each with
//! an `n`th of the weights, reach `n` times further, and the sum of their weights has `n` times as
//! many integers (outlier channel splitting, arXiv 1901.09504).
//!
//! The noise that a division causes behind the next linear layer is predicted from the statistics
//! of calibration: a rounding error is uniformly distributed over a step, `step^2 / 12`. Groups are
//! added as long as each lowers the noise by [`LEAST_GAIN`], copies only where they lower it by
//! [`LEAST_GAIN_OF_COPIES`] and by [`GAIN_OF_WORK`] (our derivation).

use super::factors::{self, Factors, variance};
use super::interval::{Centred, Sampled, image, reach, steep, union};
use super::plan::GAIN_OF_WORK;

/// Channels of a group are a multiple of this, but for those of the first one, so that
/// instructions on a group use the width of a vector unit.
const MULTIPLE: usize = 16;
const MOST_GROUPS: usize = 4;
/// The ratio of noises, two decibels, for which a group is worth its instructions.
const LEAST_GAIN: f64 = 1.58;
/// The ratio of noises, six decibels, for which copies are worth their work.
const LEAST_GAIN_OF_COPIES: f64 = 4.0;
/// What 16 bits leave of the rounding errors of 8.
const WIDE: f64 = (127.0 / 16_383.0) * (127.0 / 16_383.0);

/// A channel before and behind a table.
#[derive(Clone, Debug)]
pub(super) struct HiddenChannel {
    /// The smallest and the largest input.
    pub(super) input: [f64; 2],
    /// The smallest and the largest result.
    pub(super) result: [f64; 2],
    /// The mean of the squares of the function's derivative.
    pub(super) slope: f64,
    /// The mean of the results, and of their squares.
    pub(super) mean: f64,
    pub(super) square: f64,
    /// Magnitudes of the weights that read the result.
    pub(super) weights: Vec<f64>,
}

/// A number of channels with the offsets and factors of their table: `y = (f(x input.factor +
/// input.offset) - result.offset) / result.factor`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChannelGroup {
    /// Channels, copies included.
    pub(super) channels: usize,
    /// How often each channel is computed.
    pub(super) copies: usize,
    pub(super) input: Scaling,
    pub(super) result: Scaling,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scaling {
    pub(super) offset: f64,
    pub(super) factor: f64,
}

/// A division of channels into groups.
#[derive(Clone, Debug)]
pub(super) struct Division {
    /// The channels in the order of the groups; copies follow each other.
    pub(super) order: Vec<usize>,
    pub(super) groups: Vec<ChannelGroup>,
    /// The magnitudes that integers of the scaled inputs and results should cover.
    pub(super) input_limit: f64,
    pub(super) result_limit: f64,
    /// The predicted noise behind the next linear layer, and the gain over a single group in
    /// decibels.
    pub(super) noise: f64,
    pub(super) gain_db: f64,
}

/// What may be done to the channels of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Freedom {
    /// They share a table.
    OneTable,
    /// They are reordered and, if a channel more costs a stated part of the model's products,
    /// copied.
    Groups { channel_work: Option<f64> },
}

/// Divides the channels of a table of `f`, whose input has 16 bits if it is `wide`.
pub(super) fn divide(
    f: fn(f64) -> f64,
    channels: &[HiddenChannel],
    freedom: Freedom,
    wide: bool,
) -> Division {
    let unordered: Vec<usize> = (0..channels.len()).collect();
    let exact = |merged: &[Merged]| Fit::new(&f, wide, merged);
    let one = exact(&[(Segment::all(channels, &unordered), 1)]);
    let Freedom::Groups { channel_work } = freedom else { return one.division(unordered, &one) };
    let inputs = channels.iter().map(|channel| channel.input).reduce(union).unwrap_or_default();
    let sampled = Sampled::new(f, inputs);
    let sampled = |x| sampled.at(x);
    let mut order = unordered.clone();
    let reach: Vec<f64> = channels.iter().map(|channel| reach(&sampled, channel.input)).collect();
    order.sort_by(|a, b| reach[*a].total_cmp(&reach[*b]));

    // Samples of the function are fast enough to compare many divisions. The chosen one has the
    // function itself.
    let fit = |merged: &[Merged]| Fit::new(&sampled, wide, merged);
    let (best, merged) = groups(&fit, channels, &order, None);
    let mut chosen = match merged.len() {
        1 => one.division(unordered, &one),
        _ => exact(&merged).division(order.clone(), &one),
    };
    let Some(channel_work) = channel_work else { return chosen };
    let mut least_cost = f64::INFINITY;
    for (copied, copies) in copies(channels.len()) {
        let (fit, merged) = groups(&fit, channels, &order, Some((copied, copies)));
        let more = (copied * (copies - 1)) as f64 * channel_work;
        let work_db = GAIN_OF_WORK * 100.0 * more;
        let cost = 10.0 * fit.noise.log10() + work_db;
        let is_worth = fit.noise * LEAST_GAIN_OF_COPIES <= best.noise
            && cost < 10.0 * best.noise.log10()
            && cost < least_cost;
        if is_worth {
            least_cost = cost;
            let (kept, far) = order.split_at(order.len() - copied);
            let far = far.iter().flat_map(|channel| std::iter::repeat_n(*channel, copies));
            let order = kept.iter().copied().chain(far).collect();
            chosen = exact(&merged).division(order, &one);
        }
    }
    chosen
}

/// The numbers of channels that may be copied, and of their copies.
fn copies(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let powers = |most: u32| (0..=most).map(|power| 1 << power);
    let all = powers(4).flat_map(move |copied: usize| powers(5).map(move |n: usize| (copied, n)));
    all.filter(move |(copied, copies)| {
        *copies > 1 && (copied * copies).is_multiple_of(MULTIPLE) && copied * 2 <= channels
    })
}

/// The channels of a group, with their number of copies.
type Merged = (Segment, usize);

/// Divides channels, in the order of how far they reach, into groups; the last ones may be copied.
/// The fit to the groups, with their channels.
fn groups(
    fit: &impl Fn(&[Merged]) -> Fit,
    channels: &[HiddenChannel],
    order: &[usize],
    copied: Option<(usize, usize)>,
) -> (Fit, Vec<Merged>) {
    let (kept, far) = order.split_at(order.len() - copied.map_or(0, |(copied, _)| copied));
    let last = copied.map(|(_, copies)| (Segment::all(channels, far), copies));
    let tops = std::iter::successors(Some(MULTIPLE), |top| Some(2 * top));
    let mut ends: Vec<usize> =
        tops.take_while(|top| *top < kept.len()).map(|top| kept.len() - top).collect();
    ends.reverse();
    ends.push(kept.len());
    let mut start = 0;
    let segments = ends.iter().map(|end| {
        let segment = Segment::all(channels, &kept[start..*end]);
        start = *end;
        segment
    });
    let segments: Vec<Segment> = segments.collect();
    // A cut is the number of segments before it.
    let merged = |cuts: &[usize]| {
        let mut start = 0;
        let ends = cuts.iter().copied().chain([segments.len()]);
        let merged = ends.map(|cut| {
            let group = segments[start..cut].iter().cloned().reduce(Segment::and);
            start = cut;
            (group.unwrap_or_default(), 1)
        });
        merged.chain(last.clone()).collect::<Vec<Merged>>()
    };
    let mut cuts = Vec::new();
    let mut best = fit(&merged(&cuts));
    while best.groups.len() < MOST_GROUPS {
        let more = (1..segments.len()).filter(|cut| !cuts.contains(cut)).map(|cut| {
            let mut cuts = cuts.clone();
            cuts.push(cut);
            cuts.sort_unstable();
            (fit(&merged(&cuts)), cuts)
        });
        match more.min_by(|(a, _), (b, _)| a.noise.total_cmp(&b.noise)) {
            Some((fit, more)) if fit.noise * LEAST_GAIN <= best.noise => (best, cuts) = (fit, more),
            _ => break,
        }
    }
    (best, merged(&cuts))
}

/// Channels that stay together.
#[derive(Clone, Debug, Default)]
struct Segment {
    channels: usize,
    input: [f64; 2],
    result: [f64; 2],
    /// Sums over the channels.
    mean: f64,
    square: f64,
    /// The sum of the squares of all weights, and with each channel's slope as a factor.
    weights: f64,
    slopes: f64,
    /// The largest weight of each output.
    largest: Vec<f64>,
}

impl Segment {
    fn of(channel: &HiddenChannel) -> Segment {
        let weights = channel.weights.iter().map(|w| w * w).sum();
        Segment {
            channels: 1,
            input: channel.input,
            result: channel.result,
            mean: channel.mean,
            square: channel.square,
            weights,
            slopes: weights * channel.slope,
            largest: channel.weights.clone(),
        }
    }

    fn all(channels: &[HiddenChannel], numbers: &[usize]) -> Segment {
        let channels = numbers.iter().map(|channel| Segment::of(&channels[*channel]));
        channels.reduce(Segment::and).unwrap_or_default()
    }

    fn and(mut self, other: Segment) -> Segment {
        self.largest.iter_mut().zip(&other.largest).for_each(|(a, b)| *a = a.max(*b));
        Segment {
            channels: self.channels + other.channels,
            input: union(self.input, other.input),
            result: union(self.result, other.result),
            mean: self.mean + other.mean,
            square: self.square + other.square,
            weights: self.weights + other.weights,
            slopes: self.slopes + other.slopes,
            largest: self.largest,
        }
    }
}

/// The offsets and factors of a division.
#[derive(Clone)]
struct Fit {
    groups: Vec<ChannelGroup>,
    input_limit: f64,
    result_limit: f64,
    noise: f64,
}

impl Fit {
    /// Fits tables of a function, perhaps of wide inputs, to groups of channels.
    fn new(f: &impl Fn(f64) -> f64, wide: bool, merged: &[Merged]) -> Fit {
        let inputs: Vec<Centred> =
            merged.iter().map(|(group, _)| Centred::new(steep(f, group.input))).collect();
        let result = |(group, _): &Merged| {
            let [least, most] = image(f, steep(f, group.input));
            let [seen_least, seen_most] = union(group.result, [0.0; 2]);
            Centred::new([least.max(seen_least), most.min(seen_most)])
        };
        let results: Vec<Centred> = merged.iter().map(result).collect();
        let ranges: Vec<f64> = results.iter().map(|result| result.limit).collect();
        // Each copy has a part of the weights.
        let largest = |(group, copies): &Merged| {
            group.largest.iter().copied().fold(0.0, f64::max) / *copies as f64
        };
        let largest: Vec<f64> = merged.iter().map(largest).collect();
        let noise = |factors: &Factors| {
            let factors = factors.as_slice();
            let scaled = ranges.iter().zip(factors).map(|(range, factor)| range / factor);
            let result_limit = scaled.fold(0.0, f64::max);
            let mut noise = 0.0;
            let mut signal = 0.0;
            for ((((group, _), input), result), factor) in
                merged.iter().zip(&inputs).zip(&results).zip(factors)
            {
                noise += group.slopes * variance(input.limit) * if wide { WIDE } else { 1.0 };
                noise += group.weights * variance(result_limit * factor);
                let offset = result.offset;
                let square = group.square - 2.0 * offset * group.mean
                    + group.channels as f64 * offset * offset;
                signal += square / (factor * factor);
            }
            let outputs = merged.first().map_or(0, |(group, _)| group.largest.len());
            let rows = (0..outputs).map(|row| {
                let weights = merged
                    .iter()
                    .zip(factors)
                    .map(|((group, copies), factor)| group.largest[row] * factor / *copies as f64);
                variance(weights.fold(0.0, f64::max))
            });
            (noise + signal * rows.sum::<f64>(), result_limit)
        };
        let candidates = factors::candidates(&ranges, &largest).map(|factors| {
            let (noise, result_limit) = noise(&factors);
            (noise, result_limit, factors)
        });
        let best = candidates.into_iter().min_by(|(a, ..), (b, ..)| a.total_cmp(b));
        let (noise, result_limit, factors) = best.expect("there are candidates");
        // Relative to the first group, which alone then keeps its numbers.
        let first = factors.as_slice().first().copied().unwrap_or(1.0);
        let input_limit = inputs.first().map_or(0.0, |input| input.limit);
        let groups = merged.iter().zip(inputs.iter().zip(&results)).zip(factors.as_slice());
        let groups = groups.map(|(((group, copies), (input, result)), factor)| {
            let ratio = input.limit / input_limit;
            ChannelGroup {
                channels: group.channels * copies,
                copies: *copies,
                input: Scaling {
                    offset: input.offset,
                    factor: if ratio.is_normal() { factors::clamped(ratio) } else { 1.0 },
                },
                result: Scaling { offset: result.offset, factor: factor / first },
            }
        });
        Fit { groups: groups.collect(), input_limit, result_limit: result_limit * first, noise }
    }

    /// The division with this fit, beside that with one table.
    fn division(&self, order: Vec<usize>, one: &Fit) -> Division {
        let Fit { ref groups, input_limit, result_limit, noise } = *self;
        let gain_db = if groups.len() > 1 { 10.0 * (one.noise / noise).log10() } else { 0.0 };
        Division { order, groups: groups.clone(), input_limit, result_limit, noise, gain_db }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_cover_what_was_seen() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let [input, result] = [[-9.0, -5.0], [0.0001, 0.0067]];
        let channel = HiddenChannel { input, result, ..channel(1.0) };
        let division = divide(sigmoid, &vec![channel; 4], Freedom::OneTable, false);
        assert!(division.result_limit < 0.0035, "{}", division.result_limit);
        assert!((division.input_limit - 2.0).abs() < 0.1, "{}", division.input_limit);
    }

    fn channel(most: f64) -> HiddenChannel {
        let (mean, square) = (most / 8.0, most * most / 16.0);
        let input = [-most / 2.0, most];
        let result = [0.0, most];
        HiddenChannel { input, result, slope: 0.5, mean, square, weights: vec![0.1; 4] }
    }

    #[test]
    fn channels_that_reach_far_have_a_table_of_their_own() {
        let costly = Freedom::Groups { channel_work: None };
        let mut channels = vec![channel(3.0); 96];
        let alike = divide(|x| x.max(0.0), &channels, costly, false);
        assert_eq!((alike.groups.len(), alike.gain_db), (1, 0.0));
        assert!(alike.order.is_sorted());
        channels[5] = channel(300.0);
        let division = divide(|x| x.max(0.0), &channels, costly, false);
        let widths: Vec<usize> = division.groups.iter().map(|group| group.channels).collect();
        assert_eq!(widths, [80, 16]);
        assert_eq!(division.order.last(), Some(&5));
        assert!(division.gain_db > 3.0, "{}", division.gain_db);
        // The other channels keep the range that they have alone.
        assert!((division.input_limit - alike.input_limit).abs() < 1e-12);
        let [_, far] = &division.groups[..] else { unreachable!() };
        assert!((far.input.factor - 100.0).abs() < 1.0, "{}", far.input.factor);
        assert!(far.result.factor > 3.0, "{}", far.result.factor);
        // A wide input has no noise of its own.
        let wide = divide(|x| x.max(0.0), &channels, costly, true);
        assert!(wide.noise < division.noise, "{} {}", wide.noise, division.noise);
        let together = divide(|x| x.max(0.0), &channels, Freedom::OneTable, false);
        assert_eq!(together.groups.len(), 1);
        assert!(together.order.is_sorted());
        // Where a channel is cheap, the one that reaches far is copied.
        let cheap = Freedom::Groups { channel_work: Some(1e-4) };
        let copied = divide(|x| x.max(0.0), &channels, cheap, false);
        let last = copied.groups.last().unwrap();
        assert!(last.copies > 1 && copied.gain_db > division.gain_db + 3.0, "{copied:?}");
        assert_eq!(copied.order.len(), 95 + last.copies);
        assert!(copied.order[95..].iter().all(|channel| *channel == 5));
    }
}
