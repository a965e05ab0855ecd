//! Functions of elements, which are attributes of operations.

use serde::{Deserialize, Serialize};

use super::Attr;
use super::attr::AttrType;

macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $( $(#[$vdoc:meta])* $variant:ident = $text:literal ),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $( $(#[$vdoc])* $variant ),+ }

        impl $name {
            /// Every function.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Name in the text form.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl AttrType for $name {
            const NAMES: &'static [&'static str] = &[$($text),+];

            fn expected() -> String {
                format!("one of {}", Self::NAMES.join(", "))
            }

            fn to_attr(&self) -> Attr {
                Attr::Name(self.name().into())
            }

            fn from_attr(attr: &Attr) -> Option<$name> {
                let Attr::Name(name) = attr else { return None };
                $name::ALL.iter().copied().find(|function| function.name() == *name)
            }
        }
    };
}

functions! {
    /// A function of one real number.
    UnaryFn {
        /// Gauss's error function.
        Erf = "erf",
        /// Exponential.
        Exp = "exp",
        /// Negation.
        Neg = "neg",
        /// Square root.
        Sqrt = "sqrt",
        /// 1 / x.
        Reciprocal = "reciprocal",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// Logistic function.
        Sigmoid = "sigmoid",
        /// max(x, 0).
        Relu = "relu",
        /// x max(0, min(1, x / 6 + 1 / 2)).
        HardSwish = "hard_swish",
        /// max(0, min(1, x / 6 + 1 / 2)).
        HardSigmoid = "hard_sigmoid",
        /// x (1 + erf(x / sqrt 2)) / 2.
        Gelu = "gelu",
        /// GELU in its tanh approximation.
        GeluTanh = "gelu_tanh",
        /// x sigmoid(x).
        Silu = "silu",
        /// ln(1 + e^x).
        Softplus = "softplus",
        /// x tanh(ln(1 + e^x)).
        Mish = "mish",
        /// |x|.
        Abs = "abs",
        /// Natural logarithm.
        Log = "log",
        /// Sine.
        Sin = "sin",
        /// Cosine.
        Cos = "cos",
        /// The integer below.
        Floor = "floor",
        /// The integer above.
        Ceil = "ceil",
        /// The nearest integer, halves to even.
        Round = "round",
        /// -1, 0 or 1.
        Sign = "sign",
    }
}

functions! {
    /// A function of two real numbers.
    BinaryFn {
        /// Sum.
        Add = "add",
        /// Difference.
        Sub = "sub",
        /// Product.
        Mul = "mul",
        /// Quotient.
        Div = "div",
        /// Power.
        Pow = "pow",
        /// The larger.
        Max = "max",
        /// The smaller.
        Min = "min",
    }
}

functions! {
    /// The result of a conversion.
    Conversion {
        /// Floats.
        Float = "float",
        /// Integers: rounded towards 0.
        Integer = "integer",
        /// 1 if the number is not 0, else 0.
        Truth = "truth",
        /// 1 if the number is NaN, else 0.
        IsNan = "is_nan",
    }
}
