//! Attributes of operations: the values that the text form prints and parses.

use std::borrow::Cow;
use std::fmt;

use vitcod_isa::numerics::Scale;

/// The value of an attribute, as it appears in the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// A count, an axis, an extent.
    Int(i64),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A real number.
    Float(f64),
    /// One of a set of names.
    Name(Cow<'static, str>),
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
        }
    }
}

/// The type of an attribute in the operation table: how its values are written.
pub(super) trait AttrType: Sized {
    /// The allowed names, if the type is a set of names.
    const NAMES: &'static [&'static str] = &[];

    /// The expected syntax, for messages and the reference.
    fn expected() -> String;

    /// The text of a value.
    fn to_attr(&self) -> Attr;

    /// Parses a value; the inverse of [`AttrType::to_attr`].
    fn from_attr(attr: &Attr) -> Option<Self>;
}

macro_rules! integers {
    ($($ty:ty, $expected:literal;)*) => { $(
        impl AttrType for $ty {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn to_attr(&self) -> Attr {
                Attr::Int(*self as i64)
            }

            fn from_attr(attr: &Attr) -> Option<$ty> {
                match attr {
                    Attr::Int(value) => (*value).try_into().ok(),
                    _ => None,
                }
            }
        }
    )* };
}

integers! {
    usize, "an integer of at least 0";
    i32, "an integer of 32 bits";
    u8, "an integer from 0 to 255";
}

impl AttrType for Vec<usize> {
    fn expected() -> String {
        "a list of integers of at least 0".to_owned()
    }

    fn to_attr(&self) -> Attr {
        Attr::Ints(self.iter().map(|value| *value as i64).collect())
    }

    fn from_attr(attr: &Attr) -> Option<Vec<usize>> {
        match attr {
            Attr::Ints(values) => values.iter().map(|value| (*value).try_into().ok()).collect(),
            _ => None,
        }
    }
}

impl<const N: usize> AttrType for [usize; N] {
    fn expected() -> String {
        format!("a list of {N} integers of at least 0")
    }

    fn to_attr(&self) -> Attr {
        self.to_vec().to_attr()
    }

    fn from_attr(attr: &Attr) -> Option<[usize; N]> {
        Vec::from_attr(attr)?.try_into().ok()
    }
}

impl AttrType for f64 {
    fn expected() -> String {
        "a number".to_owned()
    }

    fn to_attr(&self) -> Attr {
        Attr::Float(*self)
    }

    fn from_attr(attr: &Attr) -> Option<f64> {
        match attr {
            Attr::Int(value) => Some(*value as f64),
            Attr::Float(value) => Some(*value),
            Attr::Ints(_) | Attr::Name(_) => None,
        }
    }
}

impl AttrType for Scale {
    fn expected() -> String {
        format!("a number of at least 0 and below {:?}", Scale::MAX.to_f64())
    }

    fn to_attr(&self) -> Attr {
        Attr::Float(self.to_f64())
    }

    fn from_attr(attr: &Attr) -> Option<Scale> {
        Scale::from_f64(f64::from_attr(attr)?).ok()
    }
}

impl AttrType for bool {
    const NAMES: &'static [&'static str] = &["true", "false"];

    fn expected() -> String {
        "true or false".to_owned()
    }

    fn to_attr(&self) -> Attr {
        Attr::Name(if *self { "true" } else { "false" }.into())
    }

    fn from_attr(attr: &Attr) -> Option<bool> {
        match attr {
            Attr::Name(name) => name.parse().ok(),
            _ => None,
        }
    }
}
