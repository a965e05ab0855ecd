//! Reads and writes NumPy's `.npy` files.

use std::path::Path;

use anyhow::{Context as _, ensure};
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
    let index = |x: f32| {
        ensure!(
            x >= 0.0 && x.fract() == 0.0,
            "{}: found {x}, expected integers from 0",
            path.display()
        );
        Ok(x as usize)
    };
    read(path)?.into_iter().map(index).collect()
}
