//! Reads and writes NumPy's `.npy` files.

use std::path::Path;

use anyhow::Context as _;
use ndarray::ArrayD;
use vitcod_runtime::npy;
pub(crate) use vitcod_runtime::npy::write;

use crate::files;

/// Reads an array of numbers as float32, as [`npy::decode`] does.
pub(crate) fn read(path: &Path) -> anyhow::Result<ArrayD<f32>> {
    npy::decode(&files::read(path)?)
        .with_context(|| format!("{} is not a .npy array of numbers", path.display()))
}

/// Reads an array of non-negative integers, of any shape.
pub(crate) fn read_indices(path: &Path) -> anyhow::Result<Vec<usize>> {
    let indices =
        read(path)?.into_iter().map(|x| (x >= 0.0 && x.fract() == 0.0).then_some(x as usize));
    indices
        .collect::<Option<_>>()
        .with_context(|| format!("{} holds other numbers than 0, 1, 2, ...", path.display()))
}
