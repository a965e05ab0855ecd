//! How many class tokens a model has.

use std::ops::Range;

use cranelift_entity::SecondaryMap;

use crate::ir::{Graph, OpData, OpKind, Value};
use crate::passes::rows_needed;

/// The class tokens of a model: its first tokens, whose rows and columns pruning keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassTokens {
    /// How many there are.
    pub count: usize,
    /// What in the graph says so.
    pub reason: &'static str,
}

impl ClassTokens {
    /// Finds the class tokens of a canonical graph with all rows.
    ///
    /// A token is a class token for what is read from it, or for what it is made of:
    ///
    /// 1. Outputs depend only on some first rows of their last attention, fewer than half: these
    ///    are class tokens, also if they are rows of an input, as \[CLS\] of BERT is. Distillation
    ///    tokens are read like class tokens, and count. (An output that depends on more rows may
    ///    read a mean without some last tokens.)
    /// 2. Else, constant rows in front of the other tokens, where these enter the first attention,
    ///    are class tokens. This finds those of a model that reads the mean of its tokens as well,
    ///    with register tokens behind them.
    ///
    /// Only attention with as many queries as keys has class tokens.
    pub fn of(graph: &Graph) -> ClassTokens {
        let found = |count, reason| ClassTokens { count, reason };
        match (read_alone(graph), joined_in_front(graph)) {
            (0, 0) => found(0, "no output depends on first rows only, and none is constant"),
            (0, count) => found(count, "constant rows in front of the other tokens"),
            (count, _) => found(count, "an output depends on no other rows of the last attention"),
        }
    }
}

/// The number of tokens, if an operation is attention among the same tokens.
fn tokens(graph: &Graph, data: &OpData) -> Option<usize> {
    let [queries, keys] = [0, 1].map(|i| data.operands.get(i).map(|x| graph.ty(*x).shape[0]));
    let is_attention = matches!(data.kind, OpKind::Attention { windows: 1, .. });
    queries.filter(|_| is_attention && queries == keys)
}

/// The number of first rows of their last attention on which some outputs depend, and on no others.
fn read_alone(graph: &Graph) -> usize {
    let few_rows = graph.outputs.iter().filter_map(|output| {
        let needed = rows_needed(graph, [output.value]);
        let attentions = graph.order.iter().rev().map(|op| graph.op(*op));
        let mut read = attentions
            .filter_map(|data| Some((tokens(graph, data)?, needed[data.results[0]].as_ref()?)));
        let (tokens, rows) = read.next()?;
        (2 * rows.end < tokens).then(|| rows.clone())
    });
    let mut few_rows: Vec<Range<usize>> = few_rows.collect();
    few_rows.sort_by_key(|rows| rows.start);
    let reach = |reach: usize, rows: &Range<usize>| match rows.start <= reach {
        true => reach.max(rows.end),
        false => reach,
    };
    few_rows.iter().fold(0, reach)
}

/// The number of constant rows with which the tokens of the first attention begin.
fn joined_in_front(graph: &Graph) -> usize {
    let rows = |value: Value| graph.ty(value).shape.first().copied().unwrap_or(1);
    let mut constant_rows: SecondaryMap<Value, usize> = SecondaryMap::new();
    for op in &graph.order {
        let data = graph.op(*op);
        let of = |value: &Value| match graph.constant(*value) {
            Some(_) => rows(*value),
            None => constant_rows[*value],
        };
        if let Some(tokens) = tokens(graph, data) {
            let count = of(&data.operands[0]);
            return if count < tokens { count } else { 0 };
        }
        constant_rows[data.results[0]] = match data.kind {
            OpKind::Unary { .. } | OpKind::Binary { .. } => {
                data.operands.iter().map(of).min().unwrap_or(0)
            }
            OpKind::Linear {}
            | OpKind::LayerNorm { .. }
            | OpKind::Table { .. }
            | OpKind::MixHeads { .. } => of(&data.operands[0]),
            OpKind::Concat { axis: 0 } => {
                let whole = data.operands.iter().take_while(|part| of(part) == rows(**part));
                let whole = whole.count();
                data.operands.iter().take(whole + 1).map(of).sum()
            }
            _ => 0,
        };
    }
    0
}
