//! Recognises GELU written as elementary operations.

use std::collections::BTreeSet;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use cranelift_entity::SecondaryMap;

use super::pattern::{binary, nodes_between};
use super::polynomial::Polynomial;
use crate::ir::{Graph, Op, OpKind, UnaryFn, Value};

/// How many steps the variable may be below the argument of erf or tanh. The known forms need at
/// most five.
const BELOW: usize = 5;
/// How many steps the result may be above erf or tanh, and how many readers of a value are
/// followed. The known forms need three steps with one reader each.
const ABOVE: usize = 4;
const READERS: usize = 2;

/// Replaces every GELU written as elementary operations by one `unary`.
pub(super) fn run(graph: &Graph) -> Graph {
    // sqrt(2 / pi) and the coefficient of x^3 in the approximation of Hendrycks and Gimpel (arXiv
    // 1606.08415).
    let inner = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    let forms = [
        (UnaryFn::Erf, UnaryFn::Gelu, Polynomial::new(&[([1, 0], FRAC_1_SQRT_2)])),
        (
            UnaryFn::Tanh,
            UnaryFn::GeluTanh,
            Polynomial::new(&[([1, 0], inner), ([3, 0], 0.044715 * inner)]),
        ),
    ];
    let gate = Polynomial::new(&[([1, 0], 0.5), ([1, 1], 0.5)]);

    let uses = graph.uses();
    let mut result = graph.clone();
    for id in &graph.order {
        let op = graph.op(*id);
        let OpKind::Unary { f } = op.kind else { continue };
        let Some((_, gelu, inner)) = forms.iter().find(|(function, ..)| *function == f) else {
            continue;
        };
        let (argument, value) = (op.operands[0], op.results[0]);
        let of_x = |x: &Value| {
            Polynomial::of(graph, argument, [Some(*x), None]).is_some_and(|p| p.is_near(inner))
        };
        let Some(x) = below(graph, argument).into_iter().find(of_x) else { continue };
        let is_gelu = |root: &Op| {
            let root = graph.op(*root).results[0];
            Polynomial::of(graph, root, [Some(x), Some(value)]).is_some_and(|p| p.is_near(&gate))
        };
        let Some(root) = above(graph, &uses, value).into_iter().find(is_gelu) else { continue };
        let nodes = nodes_between(graph, x, graph.op(root).results[0]);
        let op = result.op_mut(root);
        op.kind = OpKind::Unary { f: *gelu };
        op.operands = vec![x];
        op.nodes = nodes;
    }
    result.compacted()
}

/// `value` and the values from which binary operations compute it, nearest first.
fn below(graph: &Graph, value: Value) -> Vec<Value> {
    let mut found = vec![value];
    let mut level = vec![value];
    for _ in 0..BELOW {
        let operands = level.iter().filter_map(|v| binary(graph, *v)).flat_map(|(_, a, b)| [a, b]);
        level = operands
            .filter(|v| graph.const_scalar(*v).is_none())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        level.retain(|v| !found.contains(v));
        found.extend(&level);
    }
    found
}

/// The binary operations that depend on `value` through binary operations only, nearest first.
fn above(graph: &Graph, uses: &SecondaryMap<Value, Vec<Op>>, value: Value) -> Vec<Op> {
    let mut found: Vec<Op> = Vec::new();
    let mut level = vec![value];
    for _ in 0..ABOVE {
        let readers = level.iter().flat_map(|v| uses[*v].iter().take(READERS)).copied();
        let new: BTreeSet<Op> = readers
            .filter(|op| matches!(graph.op(*op).kind, OpKind::Binary { .. }) && !found.contains(op))
            .collect();
        level = new.iter().map(|op| graph.op(*op).results[0]).collect();
        found.extend(new);
    }
    found
}
