use super::*;
use proptest::prelude::*;

fn params(gamma: &[f64], beta: &[f64], epsilon: f64) -> LayerNormParams {
    LayerNormParams::new(gamma, beta, epsilon, 0.01, 0.05).unwrap()
}

fn row(x: &[i16], params: &LayerNormParams) -> Vec<i16> {
    let mut out = vec![0; x.len()];
    layer_norm_row(x, params, &mut out);
    out
}

/// The documented formula, step by step, in 128-bit integers.
fn definition(x: &[i16], params: &LayerNormParams) -> Vec<i16> {
    let floor_half_up = |x: i128, shift: u32| (2 * x + (1 << shift)).div_euclid(2 << shift);
    let c = x.len() as i128;
    let s: i128 = x.iter().map(|&x| i128::from(x)).sum();
    let v = c * x.iter().map(|&x| i128::from(x).pow(2)).sum::<i128>() - s * s;
    let mut w = (v + i128::from(params.epsilon_term)) as u128;
    let mut k = 0;
    while w != 0 && w << (2 * k) < 1 << 62 {
        k += 1;
    }
    w <<= 2 * k;
    // The largest r with r^2 w <= 2^124, bit by bit.
    let r = (0..=31).rev().fold(0u128, |r, bit| {
        let next = r | 1 << bit;
        if w != 0 && next * next * w <= 1 << 124 { next } else { r }
    });
    x.iter()
        .zip(&params.channels)
        .map(|(&x, channel)| {
            let d = c * i128::from(x) - s;
            let y = floor_half_up(d * r as i128, 62 - k - 20);
            let sum = y * i128::from(channel.gamma) + (i128::from(channel.beta) << 20);
            floor_half_up(sum, u32::from(params.shift) + 20).clamp(-32_768, 32_767) as i16
        })
        .collect()
}

/// LayerNorm in f64: the normalised values and the outputs in output steps, neither rounded nor
/// saturated.
fn real(
    x: &[i16],
    gamma: &[f64],
    beta: &[f64],
    epsilon: f64,
    steps: (f64, f64),
) -> Vec<(f64, f64)> {
    let n = x.len() as f64;
    let x: Vec<f64> = x.iter().map(|&x| f64::from(x) * steps.0).collect();
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let norm = |x: f64| (x - mean) / (variance + epsilon).sqrt();
    (0..x.len()).map(|i| (norm(x[i]), (norm(x[i]) * gamma[i] + beta[i]) / steps.1)).collect()
}

/// Rows that reach every bound of the module's documentation at width `c`.
fn extreme_rows(c: usize) -> Vec<Vec<i16>> {
    let fill = |f: fn(usize) -> i16| (0..c).map(f).collect::<Vec<_>>();
    vec![
        fill(|_| i16::MIN),
        fill(|_| i16::MAX),
        fill(|i| if i % 2 == 0 { i16::MIN } else { i16::MAX }),
        fill(|i| if i == 0 { i16::MAX } else { i16::MIN }),
        fill(|i| if i == 0 { i16::MIN } else { i16::MAX }),
        fill(|i| i16::from(i == 0)),
        fill(|i| -i16::from(i == 0)),
    ]
}

#[test]
fn no_overflow_at_the_extremes() {
    // Overflow checks are on in tests; the constants are the ends of their fields.
    for c in [1, 2, 3, 192, MAX_LAYER_NORM_WIDTH] {
        for epsilon_term in [0, 1, MAX_EPSILON_TERM] {
            for (gamma, beta) in [(i32::MIN, i32::MIN), (i32::MAX, i32::MIN), (i32::MAX, i32::MAX)]
            {
                for shift in [0, MAX_SHIFT] {
                    let channels = vec![Channel { gamma, beta }; c];
                    let params = LayerNormParams { epsilon_term, shift, channels };
                    for x in extreme_rows(c) {
                        assert_eq!(row(&x, &params), definition(&x, &params));
                    }
                }
            }
        }
    }
}

#[test]
fn normalised_values_are_bounded() {
    // One value apart from all others is the furthest from the mean that there is: sqrt(C - 1).
    let c = MAX_LAYER_NORM_WIDTH;
    let params = LayerNormParams::new(&vec![1.0; c], &vec![0.0; c], 0.0, 1.0, 0.01).unwrap();
    let out = row(&extreme_rows(c)[5], &params);
    assert_eq!(out[0], (100.0 * (c as f64 - 1.0).sqrt()).round() as i16);
    assert_eq!(out[1], (-100.0 / (c as f64 - 1.0).sqrt()).round() as i16);
}

#[test]
fn constant_rows_give_beta() {
    let params = params(&[3.0, 3.0, 3.0], &[0.5, -0.25, 0.125], 0.0);
    assert_eq!(row(&[77; 3], &params), [10, -5, 3]);
    assert_eq!(row(&[0; 3], &params), [10, -5, 3]);
}

#[test]
fn worked_example() {
    // Mean 2.5, deviation sqrt(1.25): -1.3416, -0.4472, 0.4472, 1.3416.
    let params = LayerNormParams::new(&[1.0; 4], &[0.0; 4], 0.0, 1.0, 0.01).unwrap();
    assert_eq!(row(&[1, 2, 3, 4], &params), [-134, -45, 45, 134]);
    let mut narrow = [0i8; 4];
    layer_norm_row(&[1i8, 2, 3, 4], &params, &mut narrow);
    assert_eq!(narrow, [-128, -45, 45, 127]);
}

#[test]
fn reciprocal_root_is_floored_exactly() {
    let check = |w: u64| {
        let (root, shift) = reciprocal_root(w);
        let (root, normalised) = (root as u128, u128::from(w << (2 * (62 - shift))));
        assert!((1 << 62..1 << 64).contains(&normalised));
        assert!(root * root * normalised <= 1 << 124);
        assert!((root + 1) * (root + 1) * normalised > 1 << 124);
    };
    (1..=100_000).for_each(check);
    for bit in 1..63 {
        ((1u64 << bit) - 1..=(1 << bit) + 1).for_each(check);
    }
    check((1 << 62) + (1 << 56));
}

#[test]
fn constructor_rejects() {
    let new = LayerNormParams::new;
    let too_wide = vec![1.0; MAX_LAYER_NORM_WIDTH + 1];
    for (what, result) in [
        ("empty", new(&[], &[], 0.0, 1.0, 1.0)),
        ("too wide", new(&too_wide, &too_wide, 0.0, 1.0, 1.0)),
        ("lengths differ", new(&[1.0], &[1.0, 2.0], 0.0, 1.0, 1.0)),
        ("gamma NaN", new(&[f64::NAN], &[1.0], 0.0, 1.0, 1.0)),
        ("beta infinite", new(&[1.0], &[f64::NEG_INFINITY], 0.0, 1.0, 1.0)),
        ("epsilon negative", new(&[1.0], &[1.0], -1.0, 1.0, 1.0)),
        ("epsilon term too large", new(&[1.0], &[1.0], 1.0, 1e-10, 1.0)),
        ("epsilon term NaN", new(&[1.0], &[1.0], 0.0, 1e-320, 1.0)),
        ("input step zero", new(&[1.0], &[1.0], 0.0, 0.0, 1.0)),
        ("output step negative", new(&[1.0], &[1.0], 0.0, 1.0, -1.0)),
        ("gamma too large", new(&[1.0], &[1.0], 0.0, 1.0, 1e-10)),
    ] {
        assert!(result.is_err(), "{what}");
    }
}

#[test]
fn decoder_rejects() {
    let good = params(&[1.0, -2.0], &[0.5, 0.25], 1e-6).to_bytes();
    assert_eq!(good.len(), LayerNormParams::encoded_len(2));
    for length in (0..good.len()).filter(|&length| length != LayerNormParams::encoded_len(1)) {
        assert!(LayerNormParams::from_bytes(&good[..length]).is_err(), "{length}");
    }
    for (at, value) in [(7, 0x41), (8, 43), (9, 1), (15, 1)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(LayerNormParams::from_bytes(&bad).is_err(), "byte {at}");
    }
    let too_wide = vec![0; LayerNormParams::encoded_len(MAX_LAYER_NORM_WIDTH + 1)];
    assert!(LayerNormParams::from_bytes(&too_wide).is_err());
}

/// Rows of 1 to 300 values of a random spread, with a gamma and a beta for each.
fn cases() -> impl Strategy<Value = (Vec<i16>, Vec<f64>, Vec<f64>)> {
    (1usize..300, 0u32..16, any::<i16>()).prop_flat_map(|(c, spread, offset)| {
        let value = any::<i16>().prop_map(move |x| (x >> spread).saturating_add(offset));
        (
            prop::collection::vec(value, c),
            prop::collection::vec(-4.0f64..4.0, c),
            prop::collection::vec(-4.0f64..4.0, c),
        )
    })
}

proptest! {
    #[test]
    fn is_its_definition((x, gamma, beta) in cases(), epsilon in 0.0f64..1e-3) {
        let params = params(&gamma, &beta, epsilon);
        prop_assert_eq!(row(&x, &params), definition(&x, &params));
        prop_assert_eq!(LayerNormParams::from_bytes(&params.to_bytes()), Ok(params));
    }

    #[test]
    fn is_within_the_stated_error_of_real_layer_norm(
        (x, gamma, beta) in cases(),
        epsilon_term in 0u32..1000,
        out_step in prop_oneof![Just(0.05), Just(0.0005)],
    ) {
        // An epsilon whose term is an integer, so that its rounding does not blur the bound.
        let c = x.len() as f64;
        let in_step = 1.0 / 128.0;
        let epsilon = f64::from(epsilon_term) * (in_step / c).powi(2);
        let params = LayerNormParams::new(&gamma, &beta, epsilon, in_step, out_step).unwrap();
        prop_assert_eq!(params.epsilon_term, u64::from(epsilon_term));
        let constant = x.iter().all(|&other| other == x[0]);
        prop_assume!(!(constant && epsilon_term == 0));

        let mut narrow = vec![0i8; x.len()];
        layer_norm_row(&x, &params, &mut narrow);
        let largest = gamma.iter().fold(0.0f64, |a, g| a.max(g.abs())) / out_step;
        let wide = row(&x, &params);
        for (i, (y, real)) in real(&x, &gamma, &beta, epsilon, (in_step, out_step)).into_iter().enumerate() {
            let bound = 0.5
                + largest * ((-21f64).exp2() + y.abs() * (-30f64).exp2())
                + (y.abs() + 1.0) * (-f64::from(params.shift) - 1.0).exp2()
                + 1e-7;
            let error = (f64::from(wide[i]) - real.clamp(-32_768.0, 32_767.0)).abs();
            prop_assert!(error <= bound, "{} > {}", error, bound);
            prop_assert!((f64::from(narrow[i]) - real.clamp(-128.0, 127.0)).abs() <= bound);
        }
    }
}
