//! The caller's handle: the chosen path and its packing buffers.

use super::{Init, Matrix, MatrixMut, Path, Right, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512, packed::Buffers};

/// The chosen path and its packing buffers (27 KiB for the vector paths), reusable for any number
/// of products. It carries no state from one product to the next.
#[derive(Debug)]
pub struct Scratch(Engine);

#[derive(Debug)]
enum Engine {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2, Box<Buffers>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512, Box<Buffers>),
}

impl Scratch {
    /// The scratch of the fastest path on this processor.
    pub fn new() -> Self {
        Self::with_path(Path::best()).unwrap_or(Self(Engine::Scalar))
    }

    /// The scratch of a given path; `None` if this processor does not support it.
    pub fn with_path(path: Path) -> Option<Self> {
        let engine = match path {
            Path::Scalar => Engine::Scalar,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => Engine::Avx2(Avx2::detect()?, Buffers::new()),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vnni => Engine::Avx512(Avx512::detect()?, Buffers::new()),
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx2 | Path::Avx512Vnni => return None,
        };
        Some(Self(engine))
    }

    /// The path of this scratch.
    pub fn path(&self) -> Path {
        match self.0 {
            Engine::Scalar => Path::Scalar,
            #[cfg(target_arch = "x86_64")]
            Engine::Avx2(..) => Path::Avx2,
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(..) => Path::Avx512Vnni,
        }
    }

    pub(super) fn gemm(
        &mut self,
        a: Matrix<'_>,
        b: Right<'_>,
        c: &mut MatrixMut<'_>,
        init: Init<'_>,
    ) {
        match &mut self.0 {
            Engine::Scalar => scalar::gemm(a, b, c, init),
            #[cfg(target_arch = "x86_64")]
            Engine::Avx2(avx2, buffers) => avx2.gemm(buffers, a, b, c, init),
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(avx512, buffers) => avx512.gemm(buffers, a, b, c, init),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
