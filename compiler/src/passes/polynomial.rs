//! Subexpressions as polynomials, so that matching is independent of how sums and products are
//! arranged.

use std::collections::BTreeMap;

use crate::ir::{BinaryFn, Graph, UnaryFn, Value};

use super::pattern::{binary, unary};

/// The deepest expression that is expanded; the functions that are matched are not deeper.
const DEPTH: usize = 7;
/// The highest power of a variable.
const DEGREE: usize = 3;

/// Real coefficients of `x^i y^j` by `[i, j]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Polynomial(BTreeMap<[usize; 2], f64>);

impl Polynomial {
    /// The sum of these terms.
    pub(super) fn new(terms: &[([usize; 2], f64)]) -> Polynomial {
        Polynomial(terms.iter().copied().collect())
    }

    /// `value` as a polynomial in `x` and `y`; `None` if it is not one, or exceeds [`DEPTH`] or
    /// [`DEGREE`].
    pub(super) fn of(
        graph: &Graph,
        value: Value,
        variables: [Option<Value>; 2],
    ) -> Option<Polynomial> {
        Polynomial::within(graph, value, variables, DEPTH)
    }

    fn within(
        graph: &Graph,
        value: Value,
        variables: [Option<Value>; 2],
        depth: usize,
    ) -> Option<Polynomial> {
        if let Some(i) = variables.iter().position(|variable| *variable == Some(value)) {
            return Some(Polynomial::new(&[([usize::from(i == 0), usize::from(i == 1)], 1.0)]));
        }
        if let Some(constant) = graph.const_scalar(value) {
            return Some(Polynomial::new(&[([0, 0], constant.into())]));
        }
        let depth = depth.checked_sub(1)?;
        if let Some((UnaryFn::Neg, a)) = unary(graph, value) {
            return Some(Polynomial::within(graph, a, variables, depth)?.scaled(-1.0));
        }
        let (f, a, b) = binary(graph, value)?;
        let a = Polynomial::within(graph, a, variables, depth)?;
        let b = Polynomial::within(graph, b, variables, depth)?;
        match f {
            BinaryFn::Add => Some(a.plus(&b)),
            BinaryFn::Sub => Some(a.plus(&b.scaled(-1.0))),
            BinaryFn::Mul => a.times(&b),
            BinaryFn::Div => Some(a.scaled(1.0 / b.constant()?)),
            BinaryFn::Pow => {
                let exponent = b.constant()?;
                let power = (1..=DEGREE).find(|power| *power as f64 == exponent)?;
                (1..power).try_fold(a.clone(), |product, _| product.times(&a))
            }
            BinaryFn::Max | BinaryFn::Min => None,
        }
    }

    fn constant(&self) -> Option<f64> {
        match self.0.iter().next() {
            Some(([0, 0], constant)) if self.0.len() == 1 => Some(*constant),
            _ => None,
        }
    }

    fn scaled(&self, factor: f64) -> Polynomial {
        Polynomial(
            self.0.iter().map(|(powers, coefficient)| (*powers, coefficient * factor)).collect(),
        )
    }

    fn plus(&self, other: &Polynomial) -> Polynomial {
        let mut sum = self.clone();
        for (powers, coefficient) in &other.0 {
            *sum.0.entry(*powers).or_default() += coefficient;
        }
        sum
    }

    fn times(&self, other: &Polynomial) -> Option<Polynomial> {
        let mut product = Polynomial::default();
        for ([i, j], a) in &self.0 {
            for ([k, l], b) in &other.0 {
                if i + k > DEGREE || j + l > DEGREE {
                    return None;
                }
                *product.0.entry([i + k, j + l]).or_default() += a * b;
            }
        }
        Some(product)
    }

    /// Whether all coefficients agree within the rounding of half-precision constants.
    pub(super) fn is_near(&self, other: &Polynomial) -> bool {
        let coefficient =
            |p: &Polynomial, powers: &[usize; 2]| p.0.get(powers).copied().unwrap_or(0.0);
        self.0.keys().chain(other.0.keys()).all(|powers| {
            let (a, b) = (coefficient(self, powers), coefficient(other, powers));
            (a - b).abs() <= 1e-3 * b.abs() + 1e-6
        })
    }
}
