//! The kernel of `examples/kernel` gives what attention gives.

use std::fs;

use ndarray::{Array2, ArrayD};
use vitcod_isa::asm::Assembly;
use vitcod_isa::numerics::{Scale, exp2_neg, requantise_i8, requantise_score};
use vitcod_isa::program::Program;
use vitcod_runtime::{EmulatorDevice, Integers, Model};
use vitcod_testing::files::file;

const TOKENS: usize = 8;
const FEATURES: usize = 16;
const STEP: f64 = 1.0 / 64.0;

fn program() -> Program {
    let text = fs::read_to_string(file("examples/kernel/attention.s")).unwrap();
    let assembly = Assembly::parse(&text, &|_| Err("no files".to_owned()));
    let assembly =
        assembly.unwrap_or_else(|error| panic!("{}", error.render("attention.s", &text)));
    assembly.check().unwrap_or_else(|error| panic!("{}", error.render("attention.s", &text)));
    assembly.program
}

/// Integers that look random.
fn matrix(seed: u32) -> Array2<i8> {
    Array2::from_shape_fn((TOKENS, FEATURES), |(i, j)| {
        let x = (i * FEATURES + j) as u32 + seed * 1000;
        (x.wrapping_mul(2_654_435_761) >> 24) as u8 as i8
    })
}

fn is_kept(query: usize, key: usize) -> bool {
    key == 0 || query.abs_diff(key) < 2
}

fn dot(a: &Array2<i8>, i: usize, b: &Array2<i8>, j: usize) -> i32 {
    (0..FEATURES).map(|l| i32::from(a[[i, l]]) * i32::from(b[[j, l]])).sum()
}

/// Attention by the machine's arithmetic, query by query.
fn integers(q: &Array2<i8>, k: &Array2<i8>, v: &Array2<i8>) -> Array2<i8> {
    let to_log2 =
        Scale::from_f64(STEP * STEP / (FEATURES as f64).sqrt() * std::f64::consts::LOG2_E * 256.0)
            .unwrap();
    let mut y = Array2::zeros((TOKENS, FEATURES));
    for i in 0..TOKENS {
        let keys: Vec<usize> = (0..TOKENS).filter(|j| is_kept(i, *j)).collect();
        let scores: Vec<i32> =
            keys.iter().map(|j| requantise_score(dot(q, i, k, *j), to_log2).into()).collect();
        let max = scores.iter().copied().max().unwrap();
        let p: Vec<i32> =
            scores.iter().map(|score| exp2_neg((max - score) as u32).into()).collect();
        let scale = Scale::ONE.combine(Scale::reciprocal(p.iter().sum::<i32>() as u32));
        for f in 0..FEATURES {
            let sum = keys.iter().zip(&p).map(|(j, p)| p * i32::from(v[[*j, f]])).sum();
            y[[i, f]] = requantise_i8(sum, scale);
        }
    }
    y
}

/// Attention as in a textbook, on real numbers.
fn real(q: &Array2<i8>, k: &Array2<i8>, v: &Array2<i8>) -> Array2<f64> {
    let mut y = Array2::zeros((TOKENS, FEATURES));
    for i in 0..TOKENS {
        let weight = |j: usize| {
            let score = f64::from(dot(q, i, k, j)) * STEP * STEP / (FEATURES as f64).sqrt();
            if is_kept(i, j) { score.exp() } else { 0.0 }
        };
        let total: f64 = (0..TOKENS).map(weight).sum();
        for f in 0..FEATURES {
            y[[i, f]] = (0..TOKENS).map(|j| weight(j) / total * f64::from(v[[j, f]]) * STEP).sum();
        }
    }
    y
}

#[test]
fn the_kernel_computes_sparse_attention() {
    let [q, k, v] = [1, 2, 3].map(matrix);
    let input =
        |x: &Array2<i8>| -> ArrayD<f32> { x.mapv(|x| f32::from(x) * STEP as f32).into_dyn() };
    let model = Model::new(program()).unwrap();
    let inputs = [input(&q), input(&k), input(&v)];
    let [q_in, k_in, v_in] = inputs.each_ref().map(|x| x.view());
    let outputs =
        model.open(&EmulatorDevice).unwrap().run(&[("q", q_in), ("k", k_in), ("v", v_in)]).unwrap();
    let Integers::I8(y) = &outputs[0].values else { panic!("y is int8") };
    assert_eq!(*y, integers(&q, &k, &v).into_dyn());
    for (machine, exact) in y.iter().zip(&real(&q, &k, &v)) {
        let error = (f64::from(*machine) - exact / STEP).abs();
        assert!(error < 2.0, "{machine} for {}", exact / STEP);
    }
}
