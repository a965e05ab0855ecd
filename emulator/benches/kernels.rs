//! Throughput of the int8 matrix products on every path of this processor, packing included.
//!
//! Criterion's "elements" are operations, 2 m n k per product: 1 Gelem/s is 1 GOPS.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use vitcod_emulator::kernels::{Init, Matrix, MatrixMut, Path, Scratch, gemm_nn, gemm_nt};

/// (B is n x k, m, n, k): a projection, two halves of an MLP, SDDMM, SpMM and a classifier.
const TILES: [(bool, usize, usize, usize); 6] = [
    (true, 197, 64, 192),
    (true, 197, 64, 768),
    (true, 64, 128, 3072),
    (true, 197, 197, 64),
    (false, 197, 64, 197),
    (true, 1, 64, 192),
];

fn bytes(len: usize) -> Vec<i8> {
    (0..len).map(|i| ((i * 167) >> 3) as i8).collect()
}

fn kernels(criterion: &mut Criterion) {
    for (transposed, m, n, k) in TILES {
        let kind = if transposed { "nt" } else { "nn" };
        let mut group = criterion.benchmark_group(format!("{kind} {m}x{n}x{k}"));
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        let (b_rows, b_cols) = if transposed { (n, k) } else { (k, n) };
        let (a, b, mut c) = (bytes(m * k), bytes(n * k), vec![0; m * n]);
        for path in Path::ALL {
            let Some(mut scratch) = Scratch::with_path(path) else {
                continue;
            };
            group.bench_function(BenchmarkId::from_parameter(path.name()), |bencher| {
                bencher.iter(|| {
                    let a = Matrix::new(black_box(&a), m, k, k).expect("A");
                    let b = Matrix::new(black_box(&b), b_rows, b_cols, b_cols).expect("B");
                    let mut c = MatrixMut::new(black_box(&mut c), m, n, n).expect("C");
                    let gemm = if transposed { gemm_nt } else { gemm_nn };
                    gemm(&mut scratch, a, b, &mut c, Init::Zero);
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .without_plots();
    targets = kernels
}
criterion_main!(benches);
