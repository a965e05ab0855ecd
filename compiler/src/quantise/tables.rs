//! Functions that become tables.

use vitcod_isa::numerics::activation;

use crate::ir::UnaryFn;

/// A function in f64, the same on every platform.
pub(super) fn real_function(f: UnaryFn) -> fn(f64) -> f64 {
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
    }
}

/// The least magnitude at which int8 may end without a change to the integers that a function of it gives for the numbers from `min` to
/// `max`, as a table in steps of `out_step`.
pub(super) fn reach_of(f: UnaryFn, [min, max]: [f64; 2], out_step: f64) -> f64 {
    /// How finely each half is searched.
    const PLACES: i32 = 2048;
    let integer = |x: f64| (real_function(f)(x) / out_step).round().clamp(f64::from(i8::MIN), f64::from(i8::MAX));
    let reach = |end: f64| {
        let places = (0..=PLACES).rev().map(|place| end * f64::from(place) / f64::from(PLACES));
        // The last place from the end inwards where nothing has changed.
        places.take_while(|x| integer(*x) == integer(end)).last().unwrap_or(end).abs()
    };
    reach(min).max(reach(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_that_a_table_does_not_tell_apart() {
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.01, "{found}");
        // GELU is -0.05 at -1.95, half a step of 0.1; 60 steps are 5.95 and more.
        near(reach_of(UnaryFn::Gelu, [-9.0, 0.5], 0.1), 1.95);
        near(reach_of(UnaryFn::Gelu, [-9.0, 6.0], 0.1), 5.95);
        near(reach_of(UnaryFn::Relu, [-9.0, 3.0], 0.1), 2.95);
        near(reach_of(UnaryFn::Neg, [-2.0, 1.0], 0.01), 2.0);
        // The sigmoid is 127 and 0 steps of 1 / 127 where it is within half a step of 1 and 0: beyond ln 253.
        near(reach_of(UnaryFn::Sigmoid, [-30.0, 30.0], 1.0 / 127.0), 253f64.ln());
        assert_eq!(reach_of(UnaryFn::Gelu, [0.0, 0.0], 1.0), 0.0);
    }
}
