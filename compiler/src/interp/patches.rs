//! Windows of images and maps as the rows of a matrix.

/// The geometry of windows on an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Height and width of a window, in kernel elements.
    pub(super) kernel: [usize; 2],
    /// Vertical and horizontal step.
    pub(super) stride: [usize; 2],
    /// Zeros added at top, left, bottom and right.
    pub(super) pad: [usize; 4],
    /// Vertical and horizontal distance of kernel elements.
    pub(super) dilation: [usize; 2],
}

impl Windows {
    /// Numbers of rows and columns of windows on an image of `height` times `width`, which must
    /// hold at least one window.
    pub(super) fn positions(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        let along = |axis: usize, extent: usize| {
            let padded = extent + self.pad[axis] + self.pad[axis + 2];
            (padded - (self.kernel[axis] - 1) * self.dilation[axis] - 1) / self.stride[axis] + 1
        };
        [along(0, height), along(1, width)]
    }

    /// The windows of `map[height, width, channels]`, row-major, as rows of
    /// `kernel[0] * kernel[1] * channels` elements.
    pub(super) fn rows<T: Copy + Default>(
        &self,
        map: &[T],
        [height, width, channels]: [usize; 3],
    ) -> Vec<T> {
        let [down, across] = self.positions([height, width]);
        let mut rows =
            Vec::with_capacity(down * across * self.kernel[0] * self.kernel[1] * channels);
        for (top, left) in (0..down)
            .flat_map(|y| (0..across).map(move |x| (y * self.stride[0], x * self.stride[1])))
        {
            for y in (0..self.kernel[0])
                .map(|tap| (top + tap * self.dilation[0]).wrapping_sub(self.pad[0]))
            {
                for x in (0..self.kernel[1])
                    .map(|tap| (left + tap * self.dilation[1]).wrapping_sub(self.pad[1]))
                {
                    // Above and left of the map the difference wraps and exceeds every extent.
                    if y < height && x < width {
                        rows.extend_from_slice(&map[(y * width + x) * channels..][..channels]);
                    } else {
                        rows.extend(std::iter::repeat_n(T::default(), channels));
                    }
                }
            }
        }
        rows
    }
}

/// The pixels of `image[channels, height, width]` as rows: `[height * width, channels]`.
pub(super) fn pixels<T: Copy>(image: &[T], channels: usize) -> Vec<T> {
    let count = image.len().checked_div(channels).unwrap_or(0);
    (0..count)
        .flat_map(|pixel| (0..channels).map(move |channel| image[channel * count + pixel]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: [i8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn rows_then_columns_then_channels() {
        let windows = Windows { kernel: [1, 2], stride: [1, 1], pad: [0; 4], dilation: [1, 1] };
        assert_eq!(pixels(&[1, 2, 3, 4i8], 2), [1, 3, 2, 4]);
        assert_eq!(windows.rows(&[1, 3, 2, 4i8], [1, 2, 2]), [1, 3, 2, 4]);
        assert_eq!(windows.positions([3, 3]), [3, 2]);
        assert_eq!(windows.rows(&IMAGE, [3, 3, 1]), [1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9]);
    }

    #[test]
    fn windows_of_one_pixel_select() {
        let windows = Windows { kernel: [1, 1], stride: [2, 2], pad: [0; 4], dilation: [1, 1] };
        assert_eq!(windows.rows(&IMAGE, [3, 3, 1]), [1, 3, 7, 9]);
    }

    #[test]
    fn padding_stride_and_dilation() {
        let padded =
            Windows { kernel: [2, 2], stride: [2, 2], pad: [1, 1, 0, 0], dilation: [1, 1] };
        assert_eq!(
            padded.rows(&IMAGE, [3, 3, 1]),
            [0, 0, 0, 1, 0, 0, 2, 3, 0, 4, 0, 7, 5, 6, 8, 9]
        );
        let dilated =
            Windows { kernel: [2, 2], stride: [1, 1], pad: [0, 0, 0, 1], dilation: [2, 2] };
        assert_eq!(dilated.rows(&IMAGE, [3, 3, 1]), [1, 3, 7, 9, 2, 0, 8, 0]);
    }
}
