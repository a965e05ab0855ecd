//! Attributes of operations, in the one form in which all of them print.

use std::fmt;

use vitcod_isa::numerics::Scale;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// A count, an axis, an extent.
    Int(i64),
    /// Several of them.
    Ints(Vec<i64>),
    /// A real number.
    Float(f64),
    /// One of a set of names.
    Name(&'static str),
    /// True or false.
    Bool(bool),
    /// A fixed-point multiplier.
    Scale(Scale),
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Int(value) => write!(f, "{value}"),
            Attr::Ints(values) => {
                let values: Vec<String> = values.iter().map(i64::to_string).collect();
                write!(f, "[{}]", values.join(","))
            }
            Attr::Float(value) => write!(f, "{value:?}"),
            Attr::Name(name) => f.write_str(name),
            Attr::Bool(value) => write!(f, "{value}"),
            Attr::Scale(scale) => write!(f, "{scale}"),
        }
    }
}

impl From<usize> for Attr {
    fn from(value: usize) -> Attr {
        Attr::Int(value as i64)
    }
}

impl From<i32> for Attr {
    fn from(value: i32) -> Attr {
        Attr::Int(value.into())
    }
}

impl From<u8> for Attr {
    fn from(value: u8) -> Attr {
        Attr::Int(value.into())
    }
}

impl From<bool> for Attr {
    fn from(value: bool) -> Attr {
        Attr::Bool(value)
    }
}

impl From<f64> for Attr {
    fn from(value: f64) -> Attr {
        Attr::Float(value)
    }
}

impl From<Scale> for Attr {
    fn from(value: Scale) -> Attr {
        Attr::Scale(value)
    }
}

impl From<Vec<usize>> for Attr {
    fn from(values: Vec<usize>) -> Attr {
        Attr::Ints(values.into_iter().map(|value| value as i64).collect())
    }
}

impl<const N: usize> From<[usize; N]> for Attr {
    fn from(values: [usize; N]) -> Attr {
        values.to_vec().into()
    }
}
