//! Elements of constants as text.

use sha2::{Digest as _, Sha256};
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::Channel;

use super::super::{Elem, TensorType};
use vitcod_support::random::SplitMix64;

/// The first 8 bytes of the SHA-256 of `bytes`, in hexadecimal. It identifies constants and detects
/// changed files.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of an even number of hexadecimal digits.
pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// All elements as text: a list of numbers, or hexadecimal for structures and for floats that have
/// no decimal form (NaN and infinity).
pub(super) fn elements(elem: Elem, bytes: &[u8]) -> String {
    let numbers = match elem {
        Elem::F32 => list(bytes, |x| {
            let number = f32::from_le_bytes(x);
            (!number.is_nan() || number.to_bits() == f32::NAN.to_bits())
                .then(|| format!("{number:?}"))
        }),
        Elem::I64 => list(bytes, |x| Some(i64::from_le_bytes(x).to_string())),
        Elem::I8 => list(bytes, |x| Some(i8::from_le_bytes(x).to_string())),
        Elem::I16 => list(bytes, |x| Some(i16::from_le_bytes(x).to_string())),
        Elem::U16 => list(bytes, |x| Some(u16::from_le_bytes(x).to_string())),
        Elem::U32 => list(bytes, |x| Some(u32::from_le_bytes(x).to_string())),
        Elem::E3m5 | Elem::Byte | Elem::Channel => None,
    };
    numbers.unwrap_or_else(|| format!("x\"{}\"", hex(bytes)))
}

fn list<const N: usize>(
    bytes: &[u8],
    number: impl Fn([u8; N]) -> Option<String>,
) -> Option<String> {
    let numbers = bytes.as_chunks().0.iter().map(|x| number(*x)).collect::<Option<Vec<_>>>()?;
    Some(format!("[{}]", numbers.join(", ")))
}

/// Parses a number of an element type and appends its bytes; `None` if it is not of that type.
pub(super) fn push_number(elem: Elem, text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    match elem {
        Elem::F32 => bytes.extend(text.parse::<f32>().ok()?.to_le_bytes()),
        Elem::I64 => bytes.extend(text.parse::<i64>().ok()?.to_le_bytes()),
        Elem::I8 => bytes.extend(text.parse::<i8>().ok()?.to_le_bytes()),
        Elem::I16 => bytes.extend(text.parse::<i16>().ok()?.to_le_bytes()),
        Elem::U16 => bytes.extend(text.parse::<u16>().ok()?.to_le_bytes()),
        Elem::U32 => bytes.extend(text.parse::<u32>().ok()?.to_le_bytes()),
        Elem::E3m5 | Elem::Byte => bytes.push(text.parse().ok()?),
        Elem::Channel => return None,
    }
    Some(())
}

/// Generates elements from a seed, for hand-written tests: floats of mean 0 and standard deviation
/// 1, uniform integers, channels with a bias of one byte and a scale of 1 / 256.
pub(super) fn seeded(ty: &TensorType, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    let mut bytes = Vec::with_capacity(ty.bytes());
    for _ in 0..ty.elements() {
        match ty.elem {
            Elem::F32 => bytes.extend((random.normal() as f32).to_le_bytes()),
            Elem::Channel => {
                let scale = Scale::from_f64(1.0 / 256.0).expect("a scale");
                bytes.extend(Channel { bias: (random.bits() as i8).into(), scale }.to_bytes());
            }
            Elem::I64 | Elem::I8 | Elem::E3m5 | Elem::I16 | Elem::U16 | Elem::U32 | Elem::Byte => {
                bytes.extend(&random.bits().to_le_bytes()[..ty.elem.bytes()]);
            }
        }
    }
    bytes
}
