//! Layouts of structured operands in memory: channel parameters, auto-encoder parameters, keys
//! of dense blocks. Lists of sparse patterns are in [`crate::lists`].

mod blocks;

pub use blocks::{block_keys_bytes, block_keys_from_bytes, block_keys_to_bytes};

use crate::numerics::{NumericsError, Scale};

/// How one output channel of a matrix product is requantised: `requantise(acc + bias, scale)`.
///
/// 12 bytes: int32 bias, then the 8 bytes of the [`Scale`]; little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The addend of the accumulator.
    pub bias: i32,
    /// The multiplier of the sum.
    pub scale: Scale,
}

impl Channel {
    /// Bytes of one channel.
    pub const BYTES: usize = 4 + Scale::BYTES;

    /// Encodes the parameters.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.bias.to_le_bytes());
        bytes[4..].copy_from_slice(&self.scale.to_bytes());
        bytes
    }

    /// Decodes the parameters.
    ///
    /// # Errors
    /// The scale is invalid.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Channel, NumericsError> {
        let (bias, scale) = bytes.split_at(4);
        let bias = i32::from_le_bytes(bias.try_into().expect("4 bytes"));
        let scale = Scale::from_bytes(scale.try_into().expect("8 bytes"))?;
        Ok(Channel { bias, scale })
    }

    /// Decodes consecutive channels; bytes after the last complete one are ignored.
    ///
    /// # Errors
    /// As [`Channel::from_bytes`].
    pub fn read_all(bytes: &[u8]) -> Result<Vec<Channel>, NumericsError> {
        bytes.as_chunks().0.iter().map(Channel::from_bytes).collect()
    }
}

/// The offset of the channel parameters in the parameters of `encode` and `decode`: after
/// `heads_out` rows of `heads_in` int8 weights, padded to a multiple of 4.
pub fn autoencoder_channels_at(heads_in: usize, heads_out: usize) -> usize {
    (heads_in * heads_out).next_multiple_of(4)
}

/// Bytes of the parameters of `encode` and `decode`.
pub fn autoencoder_bytes(heads_in: usize, heads_out: usize) -> usize {
    autoencoder_channels_at(heads_in, heads_out) + heads_out * Channel::BYTES
}

/// A row of a mask for `sddmm`: a bit for each flag, low bits first, padded to whole bytes.
pub fn mask_row(flags: impl IntoIterator<Item = bool>) -> Vec<u8> {
    let mut row = Vec::new();
    for (place, flag) in flags.into_iter().enumerate() {
        if place % 8 == 0 {
            row.push(0);
        }
        row[place / 8] |= u8::from(flag) << (place % 8);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_survives_its_bytes() {
        let channel = Channel { bias: -7, scale: Scale::from_f64(0.003).unwrap() };
        assert_eq!(Channel::from_bytes(&channel.to_bytes()).unwrap(), channel);
        assert_eq!(
            Channel::read_all(&[channel.to_bytes(), channel.to_bytes()].concat()).unwrap(),
            [channel; 2]
        );
    }

    #[test]
    fn mask_rows_are_padded() {
        let flags = [true, false, true, true, false, false, false, false, false, true];
        assert_eq!(mask_row(flags), [0b1101, 0b10]);
        assert_eq!(mask_row([]), [0; 0]);
    }

    #[test]
    fn channels_of_an_autoencoder_are_aligned() {
        assert_eq!(autoencoder_channels_at(3, 2), 8);
        assert_eq!(autoencoder_bytes(3, 2), 8 + 2 * 12);
    }
}
