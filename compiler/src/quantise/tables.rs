//! Lookup tables in integers.

use vitcod_isa::numerics::{Interpolation, Lut, activation};

use super::plan::selects_rows;
use crate::ir::{Elem, Graph, OpKind, UnaryFn, Value};

/// The bytes of the tables of a function, one for each group of channels with the factor and offset
/// of its input and of its result, from an element type with a step to int8 with another one.
pub(super) fn tables(
    f: UnaryFn,
    groups: &[[f64; 4]],
    elem: Elem,
    [x_step, out_step]: [f64; 2],
) -> Vec<u8> {
    let function = real_function(f);
    let table = |[factor, offset, result_factor, result_offset]: &[f64; 4]| {
        let scaled = |x| (function(x * factor + offset) - result_offset) / result_factor;
        match elem {
            Elem::I16 => Interpolation::from_fn(x_step, out_step, scaled).to_bytes(),
            _ => Lut::from_fn(x_step, out_step, scaled).to_bytes().to_vec(),
        }
    };
    groups.iter().flat_map(table).collect()
}

/// What the table that makes a tensor, perhaps with selected rows, has in place of 0 in each
/// channel.
pub(super) fn zeros(graph: &Graph, mut value: Value) -> Option<Vec<f64>> {
    loop {
        let (_, data) = graph.producer(value)?;
        match &data.kind {
            OpKind::Table { channels, .. } => {
                let groups = graph.const_f64(data.operands[1])?;
                let zeros = groups.as_chunks().0.iter().zip(channels);
                let zeros = zeros.flat_map(|([_, _, factor, offset], channels)| {
                    std::iter::repeat_n(-offset / factor, *channels)
                });
                return Some(zeros.collect());
            }
            _ if selects_rows(graph, data) => value = data.operands[0],
            _ => return None,
        }
    }
}

/// A function in f64, the same on every platform.
pub(crate) fn real_function(f: UnaryFn) -> fn(f64) -> f64 {
    match f {
        UnaryFn::Erf => activation::erf,
        UnaryFn::Exp => activation::exp,
        UnaryFn::Neg => |x| -x,
        UnaryFn::Sqrt => f64::sqrt,
        UnaryFn::Reciprocal => |x| 1.0 / x,
        UnaryFn::Tanh => activation::tanh,
        UnaryFn::Sigmoid => activation::sigmoid,
        UnaryFn::Relu => activation::relu,
        UnaryFn::HardSwish => activation::hard_swish,
        UnaryFn::HardSigmoid => |x| (x / 6.0 + 0.5).clamp(0.0, 1.0),
        UnaryFn::Gelu => activation::gelu,
        UnaryFn::GeluTanh => activation::gelu_tanh,
        UnaryFn::Silu => activation::silu,
        UnaryFn::Softplus => |x| x.max(0.0) + libm::log1p(activation::exp(-x.abs())),
        UnaryFn::Mish => activation::mish,
        UnaryFn::Abs => f64::abs,
        UnaryFn::Log => libm::log,
        UnaryFn::Sin => libm::sin,
        UnaryFn::Cos => libm::cos,
        UnaryFn::Floor => f64::floor,
        UnaryFn::Ceil => f64::ceil,
        UnaryFn::Round => f64::round_ties_even,
        UnaryFn::Sign => |x| if x == 0.0 { 0.0 } else { x.signum() },
    }
}
