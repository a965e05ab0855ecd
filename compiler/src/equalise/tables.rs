//! Functions of every element, which are lookup tables of the machine: a table contains offsets and
//! factors of its input and of its result, one for each group of channels.

use vitcod_isa::program::Decision;

use super::channel_groups::{ChannelGroup, Division, Freedom, HiddenChannel, Scaling, divide};
use super::factors::Factors;
use super::interval::{Sampled, union};
use super::parameters;
use super::plan::{ELEMENT_WORK, Prediction, Refinement};
use super::readers::{Readers, Uses};
use crate::calibration::{Calibration, Column};
use crate::ir::{Graph, Op, OpKind, UnaryFn, Value};
use crate::quantise::{real_function, selects_rows};

/// A function with a linear layer before or behind it.
pub(super) struct Table {
    op: Op,
    f: UnaryFn,
    /// The linear layer that makes the input, if the table alone reads it.
    source: Option<Op>,
    /// The linear layers that read the result, if nothing else does.
    readers: Vec<Op>,
    /// What may be done to the channels.
    freedom: Freedom,
}

/// The subject of decisions.
const SUBJECT: &str = "range of the lookup table";

/// The tables of a graph, and the decisions for the other functions.
pub(super) fn find(graph: &Graph) -> (Vec<Table>, Vec<Decision>) {
    let uses = Uses::new(graph);
    let all = graph.order.iter().map(|op| graph.products(*op));
    let all = all.fold(1, usize::saturating_add) as f64;
    let (mut tables, mut left) = (Vec::new(), Vec::new());
    for op in &graph.order {
        let data = graph.op(*op);
        let OpKind::Unary { f } = data.kind else { continue };
        let is_decided = |decision: &Decision| {
            decision.subject == SUBJECT && decision.layer == graph.layer_name(*op)
        };
        if graph.decisions.iter().any(is_decided) {
            continue;
        }
        let (input, result) = (data.operands[0], data.results[0]);
        let source = uses.linear(input).filter(|_| uses.single_reader(input).is_ok());
        let Readers { linear, others, own_step, .. } = uses.readers(result);
        let constant = linear.iter().all(|op| uses.parameters(*op).is_ok());
        let readers = if others.is_empty() && !own_step && constant { linear } else { Vec::new() };
        if source.is_none() && readers.is_empty() {
            left.push(decision(
                graph,
                *op,
                "as calibrated".to_owned(),
                "no linear layer makes the input for the table alone, and not only linear layers \
                 read the result"
                    .to_owned(),
            ));
            continue;
        }
        let quantised = source.iter().chain(&readers).any(|linear| uses.has_quantised(*linear));
        let freedom = match source {
            Some(source) if !readers.is_empty() && !quantised => {
                let linear = [source].into_iter().chain(readers.iter().copied());
                let products =
                    linear.map(|linear| graph.products(linear)).fold(0, usize::saturating_add);
                let channels = graph.ty(result).matrix().1.max(1);
                Freedom::Groups { channel_work: Some(products as f64 / channels as f64 / all) }
            }
            _ => Freedom::OneTable,
        };
        tables.push(Table { op: *op, f, source, readers, freedom });
    }
    (tables, left)
}

fn decision(graph: &Graph, op: Op, chosen: String, reason: String) -> Decision {
    Decision::new(graph.layer_name(op), SUBJECT, chosen, reason)
}

impl Table {
    /// Moves offsets and factors into the table, and out of the linear layers around it; there is
    /// no division if the [channels](Table::channels) are unknown.
    pub(super) fn fit(
        &self,
        graph: &mut Graph,
        division: Option<Division>,
        refinement: Refinement,
    ) -> Decision {
        let Some(division) = division else {
            let reason = "no rows, or infinite or undefined numbers, occur in calibration";
            return decision(graph, self.op, "as calibrated".to_owned(), reason.to_owned());
        };
        let decision = self.decision(graph, &division, refinement.wide);
        self.rewrite(graph, division, refinement.wide);
        decision
    }

    /// Divides the channels.
    pub(super) fn divide(&self, channels: &[HiddenChannel], refinement: Refinement) -> Division {
        let freedom = match self.freedom {
            Freedom::Groups { .. } if !refinement.copies => Freedom::Groups { channel_work: None },
            freedom => freedom,
        };
        divide(real_function(self.f), channels, freedom, refinement.wide)
    }

    /// What a refinement is predicted to do; `None` if it is not possible or does nothing.
    pub(super) fn predict(
        &self,
        graph: &Graph,
        calibration: &Calibration,
        channels: &[HiddenChannel],
        refinement: Refinement,
    ) -> Option<Prediction> {
        // A linear layer writes 16 bits, if it makes the input for the table alone.
        if refinement.wide && self.source.is_none() {
            return None;
        }
        let division = self.divide(channels, refinement);
        let all = graph.order.iter().map(|op| graph.products(*op));
        let all = all.fold(1, usize::saturating_add) as f64;
        let (rows, columns) = graph.ty(graph.op(self.op).results[0]).matrix();
        let copied: usize = division
            .groups
            .iter()
            .map(|group| group.channels - group.channels / group.copies.max(1))
            .sum();
        let mut work = match self.freedom {
            Freedom::Groups { channel_work: Some(work) } => copied as f64 * work,
            _ => 0.0,
        };
        if refinement.copies && copied == 0 {
            return None;
        }
        if refinement.wide {
            work += ELEMENT_WORK * (rows * (columns + copied)) as f64 / all;
        }
        Some(Prediction { noise: division.noise / self.signal(graph, calibration), work })
    }

    /// The sum of the mean squares of what the readers compute, or of the residual stream to which
    /// it is added.
    fn signal(&self, graph: &Graph, calibration: &Calibration) -> f64 {
        let uses = Uses::new(graph);
        let squares = self.readers.iter().map(|reader| {
            let result = graph.op(*reader).results[0];
            let sum = uses.sole_sum(result).unwrap_or(result);
            let columns = calibration.columns(sum).unwrap_or_default();
            columns.iter().map(Column::mean_square).sum::<f64>()
        });
        squares.sum::<f64>().max(f64::MIN_POSITIVE)
    }

    /// The statistics of the channels; `None` if numbers are not finite.
    pub(super) fn channels(
        &self,
        graph: &Graph,
        calibration: &Calibration,
    ) -> Option<Vec<HiddenChannel>> {
        let data = graph.op(self.op);
        let inputs = calibration.columns(data.operands[0])?;
        let results = calibration.columns(data.results[0])?;
        let mut weights = vec![Vec::new(); inputs.len()];
        for reader in &self.readers {
            let rows = graph.const_f64(graph.op(*reader).operands[1])?;
            for row in rows.chunks(inputs.len().max(1)) {
                weights.iter_mut().zip(row).for_each(|(column, w)| column.push(w.abs()));
            }
        }
        let spans = inputs.iter().map(Column::span).filter(|[a, b]| (b - a).is_finite());
        let f = Sampled::new(real_function(self.f), spans.reduce(union).unwrap_or_default());
        let channel = |((input, result), weights): ((&Column, &Column), Vec<f64>)| {
            let channel = HiddenChannel {
                input: input.span(),
                // Few rows do not bound the results of other inputs.
                result: match result.has_few_rows() {
                    true => [f64::NEG_INFINITY, f64::INFINITY],
                    false => result.span(),
                },
                slope: mean_square_slope(&f, input),
                mean: result.mean(),
                square: result.mean_square(),
                weights,
            };
            let [least, most] = channel.input;
            (least.is_finite() && most.is_finite() && channel.square.is_finite()).then_some(channel)
        };
        inputs.iter().zip(results).zip(weights).map(channel).collect()
    }

    fn decision(&self, graph: &Graph, division: &Division, wide: bool) -> Decision {
        let width = |group: &ChannelGroup| match group.copies {
            1 => group.channels.to_string(),
            copies => format!("{} x {copies}", group.channels / copies),
        };
        let widths: Vec<String> = division.groups.iter().map(width).collect();
        let mut chosen = match widths.len() {
            1 => "fitted, one table".to_owned(),
            tables => format!("fitted, {tables} tables for {} channels", widths.join(" + ")),
        };
        if wide {
            chosen += ", interpolated from 16 bits";
        }
        let mut reason = match (self.source, self.readers.is_empty()) {
            (Some(_), false) => "the linear layers before and behind the table make up for it",
            (Some(_), true) => "the linear layer before the table makes up for the input's range",
            (None, _) => "the linear layers behind the table make up for the result's range",
        }
        .to_owned();
        if division.groups.len() > 1 {
            let gain_db = division.gain_db;
            reason += &format!("; this lowers the predicted noise by {gain_db:.1} dB");
        }
        decision(graph, self.op, chosen, reason)
    }

    fn rewrite(&self, graph: &mut Graph, division: Division, wide: bool) {
        let Division { order, groups, mut input_limit, mut result_limit, .. } = division;
        let unscaled = Scaling { offset: 0.0, factor: 1.0 };
        // The table's parameters are in single precision; what the linear layers make up for is the
        // same number.
        let single = |scaling: &Scaling| Scaling {
            offset: f64::from(scaling.offset as f32),
            factor: f64::from(scaling.factor as f32),
        };
        let groups = groups.iter().map(|group| ChannelGroup {
            input: if self.source.is_some() { single(&group.input) } else { unscaled.clone() },
            result: if self.readers.is_empty() { unscaled.clone() } else { single(&group.result) },
            ..group.clone()
        });
        let groups: Vec<ChannelGroup> = groups.collect();
        if let Some(source) = self.source {
            parameters::select_results(graph, source, &order);
            let [offsets, factors] = of_channels(&groups, |group| &group.input);
            parameters::shift(graph, source, &offsets);
            parameters::divide(graph, source, &Factors::new(factors));
        } else {
            input_limit = 0.0;
        }
        for reader in &self.readers {
            let [offsets, factors] = of_channels(&groups, |group| &group.result);
            let copies: Vec<usize> = groups
                .iter()
                .flat_map(|group| std::iter::repeat_n(group.copies, group.channels))
                .collect();
            parameters::select_inputs(graph, *reader, &order, &copies);
            parameters::add_product(graph, *reader, &offsets);
            parameters::multiply(graph, *reader, &Factors::new(factors));
            parameters::spread(graph, *reader, &copies);
        }
        if self.readers.is_empty() {
            result_limit = 0.0;
        }
        widen(graph, graph.op(self.op).results[0], order.len());
        let rows = groups.iter().flat_map(|ChannelGroup { input, result, .. }| {
            [input.factor, input.offset, result.factor, result.offset].map(|x| x as f32)
        });
        let parameters: Vec<f32> = rows.collect();
        let parameters = graph.add_f32(self.f.name(), [groups.len(), 4], &parameters);
        let data = graph.op_mut(self.op);
        data.operands.push(parameters);
        data.kind = OpKind::Table {
            f: self.f,
            channels: groups.iter().map(|group| group.channels).collect(),
            input_limit,
            result_limit,
            wide,
        };
    }
}

/// Gives a tensor, and what selects rows of it, a number of channels.
fn widen(graph: &mut Graph, tensor: Value, channels: usize) {
    let mut widened = vec![tensor];
    for op in &graph.order {
        let data = graph.op(*op);
        if selects_rows(graph, data) && widened.contains(&data.operands[0]) {
            widened.push(data.results[0]);
        }
    }
    for value in widened {
        let (rows, _) = graph.ty(value).matrix();
        graph.set_shape(value, [rows, channels]);
    }
}

/// The offset and the factor of each channel.
fn of_channels(groups: &[ChannelGroup], scaling: fn(&ChannelGroup) -> &Scaling) -> [Vec<f64>; 2] {
    [|scaling: &Scaling| scaling.offset, |scaling: &Scaling| scaling.factor].map(|part| {
        let channels = groups
            .iter()
            .flat_map(|group| std::iter::repeat_n(part(scaling(group)), group.channels));
        channels.collect()
    })
}

/// The mean of the squares of a function's derivative at normally distributed numbers.
fn mean_square_slope(f: &Sampled, input: &Column) -> f64 {
    /// The middles of eight parts of equal probability, in deviations; the other four are their
    /// negatives.
    const QUANTILES: [f64; 4] = [0.157, 0.489, 0.887, 1.534];
    const WIDTH: f64 = 1e-3;
    let (mean, deviation) = (input.mean(), input.deviation());
    let slopes = QUANTILES.iter().flat_map(|quantile| [-quantile, *quantile]).map(|quantile| {
        let x = mean + deviation * quantile;
        ((f.at(x + WIDTH) - f.at(x - WIDTH)) / (2.0 * WIDTH)).powi(2)
    });
    slopes.sum::<f64>() / (2 * QUANTILES.len()) as f64
}
