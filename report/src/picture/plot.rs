//! Common parts of both pictures: the horizontal axis of cycles, a legend.

use std::ops::Range;

use super::canvas::{Anchor, CHARACTER, Canvas, GRID, Ink, LINE, TEXT};
use crate::table::grouped;

/// Width of the picture in pixels.
pub(super) const WIDTH: u32 = 1400;
/// Pixels left of the plot.
pub(super) const LEFT: u32 = 120;
/// Width of the plot in pixels.
pub(super) const PLOT: u32 = 1260;
/// Space between parts of a picture in pixels.
pub(super) const GAP: u32 = 10;

/// Maps a range of numbers to pixels, exactly: with `n` pixels every number has `n` fractions, and
/// a pixel has as many fractions as the range has numbers.
#[derive(Clone)]
pub(super) struct Scale {
    pub(super) range: Range<u64>,
    pub(super) pixels: u32,
}

impl Scale {
    /// Fractions per pixel.
    pub(super) fn fractions(&self) -> u128 {
        u128::from(self.range.end - self.range.start).max(1)
    }

    /// The pixel of a number.
    pub(super) fn pixel(&self, number: u64) -> u32 {
        let at = number.clamp(self.range.start, self.range.end) - self.range.start;
        (u128::from(at) * u128::from(self.pixels) / self.fractions()) as u32
    }

    /// The pixels of a range of numbers, with the covered fractions of each.
    pub(super) fn cover(&self, numbers: &Range<u64>) -> impl Iterator<Item = (usize, u128)> {
        let (fractions, pixels) = (self.fractions(), u128::from(self.pixels));
        let start = self.range.start;
        let place = move |number: u64| u128::from(number - start) * pixels;
        let (from, to) = (numbers.start.max(start), numbers.end.min(self.range.end));
        let (from, to) = if from < to { (place(from), place(to)) } else { (0, 0) };
        let touched = from / fractions..to.div_ceil(fractions);
        touched.map(move |pixel| {
            let covered = to.min((pixel + 1) * fractions) - from.max(pixel * fractions);
            (pixel as usize, covered)
        })
    }

    /// Round numbers in the range, at most `most` of them.
    pub(super) fn ticks(&self, most: u64) -> impl Iterator<Item = u64> {
        let length = (self.range.end - self.range.start).max(1);
        let powers = (0..19).map(|power| 10u64.pow(power));
        let step = powers
            .flat_map(|power| [1, 2, 5].map(|n| n * power))
            .find(|step| length / step < most)
            .unwrap_or(length);
        let end = self.range.end;
        (0..=most)
            .filter_map({
                let first = self.range.start.div_ceil(step);
                move |n| (first + n).checked_mul(step)
            })
            .take_while(move |tick| *tick <= end)
    }
}

/// Draws the grid and the axis of cycles for a plot that ends at `bottom`; returns the end of the
/// axis.
pub(super) fn axis_of_cycles(canvas: &mut Canvas, scale: &Scale, top: u32, bottom: u32) -> u32 {
    for tick in scale.ticks(12) {
        let x = LEFT + scale.pixel(tick);
        canvas.fill((x, bottom), (1, 4), TEXT);
        canvas.text((x, bottom + 5), Anchor::Centre, &grouped(tick));
        for y in (top..bottom).step_by(4) {
            canvas.dot(x, y, GRID);
        }
    }
    canvas.fill((LEFT, bottom), (PLOT, 1), TEXT);
    canvas.text((LEFT - 40, bottom + 5), Anchor::Right, "cycles");
    bottom + 5 + LINE
}

/// Height of a legend in pixels.
pub(super) fn legend_height(names: &[&str]) -> u32 {
    places(names.iter().copied()).last().map_or(0, |(_, y)| y + LINE)
}

/// Draws coloured squares with their names.
pub(super) fn legend(canvas: &mut Canvas, top: u32, entries: &[(Ink, &str)]) {
    for ((x, y), (ink, name)) in
        places(entries.iter().map(|(_, name)| *name)).into_iter().zip(entries)
    {
        canvas.fill((x, top + y), (10, 10), GRID);
        canvas.fill((x + 1, top + y + 1), (8, 8), *ink);
        canvas.text((x + 15, top + y), Anchor::Left, name);
    }
}

fn places<'n>(names: impl Iterator<Item = &'n str>) -> Vec<(u32, u32)> {
    let (mut x, mut y) = (LEFT, 0);
    let mut places = Vec::new();
    for name in names {
        let width = 15 + CHARACTER * name.chars().count() as u32 + 18;
        if x + width > LEFT + PLOT {
            (x, y) = (LEFT, y + LINE + 2);
        }
        places.push((x, y));
        x += width;
    }
    places
}

/// Writes the first name that fits a coloured box, if any.
pub(super) fn label(
    canvas: &mut Canvas,
    ground: Ink,
    (left, right): (u32, u32),
    y: u32,
    names: &[&str],
) {
    let fits = |name: &&&str| {
        !name.is_empty() && CHARACTER * name.chars().count() as u32 + 4 <= right - left
    };
    if let Some(name) = names.iter().find(fits) {
        canvas.text_on(ground, ((left + right) / 2, y), name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_pixels_cover_is_what_there_is(
            start in 0u64..1000, length in 1u64..1000, pixels in 1u32..200, from in 0u64..2000, long in 0u64..500,
        ) {
            let scale = Scale { range: start..start + length, pixels };
            let inside = (from + long).min(start + length).saturating_sub(from.max(start));
            let covered: Vec<_> = scale.cover(&(from..from + long)).collect();
            let sum: u128 = covered.iter().map(|(_, fractions)| fractions).sum();
            prop_assert_eq!(sum, u128::from(inside) * u128::from(pixels));
            for (pixel, fractions) in covered {
                prop_assert!(pixel < pixels as usize && fractions > 0 && fractions <= scale.fractions());
            }
            let ticks: Vec<u64> = scale.ticks(10).collect();
            prop_assert!(ticks.len() <= 11 && ticks.iter().all(|tick| scale.range.start <= *tick && *tick <= scale.range.end));
        }
    }
}
