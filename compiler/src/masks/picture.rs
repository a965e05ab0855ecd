//! Masks as a picture.

use super::{Mask, Masks, Partition, PictureError};

/// Pixels around every head.
const GAP: usize = 4;

/// Colours of the palette, by index.
const PALETTE: [[u8; 3]; 5] = [
    [0xc8, 0xc8, 0xc8], // GROUND
    [0xff, 0xff, 0xff], // PRUNED
    [0x20, 0x20, 0x30], // KEPT
    [0xff, 0xdc, 0xb0], // PRUNED + GLOBAL
    [0xb0, 0x30, 0x00], // KEPT + GLOBAL
];
const GROUND: u8 = 0;
const PRUNED: u8 = 1;
const KEPT: u8 = 2;
/// Offset of the palette index in the columns of global tokens.
const GLOBAL: u8 = 2;

/// Draws every head before and after reordering, side by side, as a PNG with a row for every layer
/// and a pixel for every entry.
///
/// Kept entries are dark and pruned ones light; columns of global tokens are orange.
///
/// # Errors
/// The picture is too large.
///
/// # Panics
/// `partitions` do not match the masks by layer and head, as those of [`polarise`](super::polarise)
/// do.
pub fn picture(masks: &Masks, partitions: &[Vec<Partition>]) -> Result<Vec<u8>, PictureError> {
    assert_eq!(masks.layers().len(), partitions.len(), "a partition for every head");
    let line_height = |heads: &[Mask]| heads[0].queries() + GAP;
    let line_width = |heads: &[Mask]| heads.len().saturating_mul(2 * (heads[0].keys() + GAP));
    let height =
        masks.layers().iter().map(|heads| line_height(heads)).fold(GAP, usize::saturating_add);
    let width =
        masks.layers().iter().map(|heads| line_width(heads)).max().unwrap_or(0).saturating_add(GAP);
    let too_large = || PictureError { width, height };
    let size = width.checked_mul(height).ok_or_else(too_large)?;
    let mut pixels = Vec::new();
    pixels.try_reserve_exact(size).map_err(|_| too_large())?;
    pixels.resize(size, GROUND);

    let mut top = GAP;
    for (heads, partitions) in masks.layers().iter().zip(partitions) {
        assert_eq!(heads.len(), partitions.len(), "a partition for every head");
        let mut left = GAP;
        for (mask, partition) in heads.iter().zip(partitions) {
            assert_eq!(mask.keys(), partition.order.len(), "the partition of this head");
            let mut is_global = vec![false; mask.keys()];
            partition.order[..partition.globals()]
                .iter()
                .for_each(|key| is_global[usize::from(*key)] = true);
            for places in [
                (0..mask.keys()).collect(),
                partition.order.iter().map(|key| usize::from(*key)).collect::<Vec<_>>(),
            ] {
                for query in 0..mask.queries() {
                    let line = &mut pixels[(top + query) * width + left..][..mask.keys()];
                    for (pixel, key) in line.iter_mut().zip(&places) {
                        let shade = if mask.is_kept(query, *key) { KEPT } else { PRUNED };
                        *pixel = shade + if is_global[*key] { GLOBAL } else { 0 };
                    }
                }
                left += mask.keys() + GAP;
            }
        }
        top += line_height(heads);
    }
    encode(&pixels, width, height).ok_or_else(too_large)
}

/// Encodes palette indices as a PNG; `None` if there are too many.
fn encode(pixels: &[u8], width: usize, height: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder =
        png::Encoder::new(&mut bytes, width.try_into().ok()?, height.try_into().ok()?);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(PALETTE.as_flattened());
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}
