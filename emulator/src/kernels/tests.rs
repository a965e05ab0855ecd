//! Every path against the plain loops, and the plain loops against sums done in 64 bits.

use proptest::prelude::*;
use vitcod_support::random::SplitMix64;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Zero,
    Bias,
    Accumulate,
}

/// One product: shapes, surplus of each stride over the row, and the memory of all operands.
#[derive(Clone, Debug)]
struct Case {
    transposed: bool,
    m: usize,
    n: usize,
    k: usize,
    gaps: [usize; 3],
    start: Start,
    a: Vec<i8>,
    b: Vec<i8>,
    c: Vec<i32>,
    bias: Vec<i32>,
}

/// Random bytes; `extremes` takes only the ends of the range.
fn bytes(len: usize, seed: u64, extremes: bool) -> Vec<i8> {
    let mut random = SplitMix64::new(seed);
    (0..len)
        .map(|_| {
            let byte = random.bits() as i8;
            match (extremes, byte & 3) {
                (false, _) => byte,
                (true, 0) => i8::MAX,
                (true, _) => i8::MIN,
            }
        })
        .collect()
}

fn len(rows: usize, cols: usize, gap: usize) -> usize {
    rows.saturating_sub(1) * (cols + gap) + cols
}

impl Case {
    fn new(
        transposed: bool,
        [m, n, k]: [usize; 3],
        gaps: [usize; 3],
        start: Start,
        seed: u64,
        extremes: bool,
    ) -> Self {
        let (b_rows, b_cols) = if transposed { (n, k) } else { (k, n) };
        let widen = |bytes: Vec<i8>| bytes.into_iter().map(|x| i32::from(x) * 7919).collect();
        Self {
            transposed,
            m,
            n,
            k,
            gaps,
            start,
            a: bytes(len(m, k, gaps[0]), seed, extremes),
            b: bytes(len(b_rows, b_cols, gaps[1]), seed ^ 1, extremes),
            c: widen(bytes(len(m, n, gaps[2]), seed ^ 2, false)),
            bias: widen(bytes(n, seed ^ 3, false)),
        }
    }

    /// The whole memory of C after the product.
    fn run(&self, scratch: &mut Scratch) -> Vec<i32> {
        let &Self { m, n, k, gaps, .. } = self;
        let mut memory = self.c.clone();
        let a = Matrix::new(&self.a, m, k, k + gaps[0]).unwrap();
        let (b_rows, b_cols) = if self.transposed { (n, k) } else { (k, n) };
        let b = Matrix::new(&self.b, b_rows, b_cols, b_cols + gaps[1]).unwrap();
        let mut c = MatrixMut::new(&mut memory, m, n, n + gaps[2]).unwrap();
        let init = match self.start {
            Start::Zero => Init::Zero,
            Start::Bias => Init::Bias(&self.bias),
            Start::Accumulate => Init::Accumulate,
        };
        let gemm = if self.transposed { gemm_nt } else { gemm_nn };
        gemm(scratch, a, b, &mut c, init);
        memory
    }

    /// The same by the formula, in 64 bits.
    fn expected(&self) -> Vec<i32> {
        let &Self { m, n, k, gaps, .. } = self;
        let mut memory = self.c.clone();
        for i in 0..m {
            for j in 0..n {
                let c = &mut memory[i * (n + gaps[2]) + j];
                let start = match self.start {
                    Start::Zero => 0,
                    Start::Bias => self.bias[j],
                    Start::Accumulate => *c,
                };
                let products = (0..k).map(|l| {
                    let b = if self.transposed {
                        self.b[j * (k + gaps[1]) + l]
                    } else {
                        self.b[l * (n + gaps[1]) + j]
                    };
                    i64::from(self.a[i * (k + gaps[0]) + l]) * i64::from(b)
                });
                *c = (i64::from(start) + products.sum::<i64>()) as i32;
            }
        }
        memory
    }

    fn check(&self, scratch: &mut Scratch) {
        // Not assert_eq!: a whole matrix says less than the case.
        assert!(
            self.run(scratch) == self.expected(),
            "{}: {}x{}x{} nt={} gaps {:?} {:?}",
            scratch.path().name(),
            self.m,
            self.n,
            self.k,
            self.transposed,
            self.gaps,
            self.start
        );
    }
}

fn every_path() -> Vec<Scratch> {
    Path::ALL.into_iter().filter_map(Scratch::with_path).collect()
}

const STARTS: [Start; 3] = [Start::Zero, Start::Bias, Start::Accumulate];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn paths_agree(
        transposed: bool,
        m in 0usize..20,
        n in 0usize..150,
        k in 0usize..420,
        gaps in prop::array::uniform3(0usize..40),
        start in prop::sample::select(&STARTS[..]),
        seed: u64,
        extremes: bool,
    ) {
        let case = Case::new(transposed, [m, n, k], gaps, start, seed, extremes);
        for mut scratch in every_path() {
            case.check(&mut scratch);
        }
    }
}

#[test]
fn edges_of_every_block() {
    for mut scratch in every_path() {
        for m in [1, 5, 6, 7, 12] {
            for n in [1, 15, 16, 17, 32, 48, 63, 64, 65, 80, 128] {
                for k in [0, 1, 2, 3, 4, 5, 191, 192, 193, 383, 384, 385, 768] {
                    let transposed = (m + n + k) % 2 == 0;
                    let start = STARTS[(m + n / 2 + k) % 3];
                    Case::new(transposed, [m, n, k], [0; 3], start, 1, true).check(&mut scratch);
                }
            }
        }
    }
}

#[test]
fn the_tiles_of_vision_transformers() {
    for mut scratch in every_path() {
        for (transposed, shape) in [
            (true, [197, 64, 192]),
            (true, [64, 128, 3072]),
            (true, [197, 197, 64]),
            (false, [197, 64, 197]),
            (true, [1, 1000, 192]),
        ] {
            Case::new(transposed, shape, [0; 3], Start::Bias, 7, false).check(&mut scratch);
        }
    }
}

/// The deepest sum that fits an int32 reaches 2^31 - 2^14.
#[test]
fn extremes_at_full_depth() {
    let k = 131_071;
    for mut scratch in every_path() {
        for (a, b, sum) in [
            (-128i8, -128i8, 2_147_467_264),
            (-128, 127, -2_130_690_176),
            (127, -128, -2_130_690_176),
        ] {
            let (a, b, mut c) = (vec![a; k], vec![b; k], vec![1; 7 * 17]);
            gemm_nt(
                &mut scratch,
                Matrix::new(&a, 7, k, 0).unwrap(),
                Matrix::new(&b, 17, k, 0).unwrap(),
                &mut MatrixMut::new(&mut c, 7, 17, 17).unwrap(),
                Init::Zero,
            );
            assert_eq!(c, [sum; 7 * 17], "{}", scratch.path().name());
        }
    }
}

/// Sums that do not fit are the same on every path all the same.
#[test]
fn overflow_is_modulo_2_to_the_32() {
    let mut case = Case::new(true, [7, 17, 9], [0; 3], Start::Bias, 3, true);
    case.bias.fill(i32::MAX - 5);
    for mut scratch in every_path() {
        case.check(&mut scratch);
    }
}

#[test]
fn the_best_path_is_supported() {
    assert_eq!(Scratch::new().path(), Path::best());
    for path in Path::ALL {
        let made = Scratch::with_path(path).map(|scratch| scratch.path());
        assert_eq!(made, path.is_supported().then_some(path));
    }
}

#[test]
fn views_stay_inside_their_memory() {
    let memory = [0u8; 20];
    assert!(Matrix::from_bytes(&memory, 3, 4, 8).is_ok());
    assert!(Matrix::from_bytes(&memory, 20, 20, 0).is_ok());
    assert!(Matrix::from_bytes(&memory, usize::MAX, 0, usize::MAX).is_ok());
    for (rows, cols, stride) in
        [(3, 5, 8), (4, 4, 8), (1, 21, 0), (2, 1, usize::MAX), (3, 1, 1 << 63)]
    {
        assert!(Matrix::from_bytes(&memory, rows, cols, stride).is_err());
    }
    let mut sums = [0; 20];
    assert!(MatrixMut::new(&mut sums, 3, 4, 8).is_ok());
    assert!(MatrixMut::new(&mut sums, 1, 4, 0).is_ok());
    assert_eq!(
        MatrixMut::new(&mut sums, 2, 4, 3).unwrap_err(),
        ViewError::Overlap { cols: 4, stride: 3 }
    );
    assert!(matches!(
        MatrixMut::new(&mut sums, 3, 5, 8),
        Err(ViewError::OutOfBounds { len: 20, .. })
    ));
}

#[test]
fn bytes_are_twos_complement() {
    let (a, b, mut c) = ([0x80, 0xff, 0x7f], [0x80, 2, 1], [0]);
    gemm_nt(
        &mut Scratch::new(),
        Matrix::from_bytes(&a, 1, 3, 3).unwrap(),
        Matrix::from_bytes(&b, 1, 3, 3).unwrap(),
        &mut MatrixMut::new(&mut c, 1, 1, 1).unwrap(),
        Init::Zero,
    );
    assert_eq!(c, [128 * 128 - 2 + 127]);
}
