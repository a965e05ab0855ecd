//! The operation table: name, stages, operands and attributes of every operation, stated once.

use std::fmt;

use serde::{Deserialize, Serialize};
use vitcod_isa::numerics::Scale;

use super::Attr;
use super::attr::AttrType;

/// How far a graph has come. See the module documentation of [`crate::ir`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// What the exporter wrote.
    Imported,
    /// What the model means.
    Canonical,
    /// In integers.
    Quantised,
    /// Masked attention divided between the engines.
    Split,
}

impl Stage {
    /// Every stage, in the order in which a graph goes through them.
    pub const ALL: [Stage; 4] = [Stage::Imported, Stage::Canonical, Stage::Quantised, Stage::Split];

    /// Name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Imported => "imported",
            Stage::Canonical => "canonical",
            Stage::Quantised => "quantised",
            Stage::Split => "split",
        }
    }

    /// Whether its tensors are float: the interpreter is then the float interpreter.
    pub const fn is_float(self) -> bool {
        matches!(self, Stage::Imported | Stage::Canonical)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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

/// An operation as the table states it.
#[derive(Clone, Copy, Debug)]
pub struct OpSpec {
    /// Name in the text form.
    pub mnemonic: &'static str,
    /// What it does, in Markdown.
    pub doc: &'static str,
    /// The stages in which it may occur.
    pub stages: &'static [Stage],
    /// How many operands it takes, as a pattern.
    pub operands: &'static str,
    /// How many results it has.
    pub results: usize,
    /// Its attributes, in the order of the text form.
    pub attrs: &'static [AttrSpec],
    build: fn(&[Attr]) -> Result<OpKind, &'static str>,
}

/// An attribute of an operation.
#[derive(Clone, Copy, Debug)]
pub struct AttrSpec {
    /// Name in the text form.
    pub name: &'static str,
    /// What it says, in Markdown.
    pub doc: &'static str,
    /// What its text may be.
    pub expected: fn() -> String,
    /// What it is where the text does not say.
    pub default: Option<fn() -> Attr>,
    /// The names that there are, where it is one of a set.
    pub names: &'static [&'static str],
}

impl OpSpec {
    /// The operation with these attributes, one for each of [`OpSpec::attrs`].
    ///
    /// # Errors
    /// The name of the first attribute that is not of its type.
    ///
    /// # Panics
    /// There are more attributes, or fewer.
    pub fn build(&self, attrs: &[Attr]) -> Result<OpKind, &'static str> {
        (self.build)(attrs)
    }
}

functions! {
    /// What numbers become.
    Conversion {
        /// Floats.
        Float = "float",
        /// Integers: rounded towards 0.
        Integer = "integer",
        /// 1 where they are not 0, and 0 where they are.
        Truth = "truth",
        /// 1 where they are no numbers, and 0 where they are.
        IsNan = "is_nan",
    }
}

/// The text of an attribute's default, if it has one.
macro_rules! default_of {
    ($ty:ty) => {
        None
    };
    ($ty:ty, $default:expr) => {
        Some((|| <$ty as AttrType>::to_attr(&$default)) as fn() -> Attr)
    };
}

macro_rules! operations {
    ($(
        $(#[doc = $doc:literal])+
        $mnemonic:literal $name:ident ($($stage:ident)|+) [$operands:pat] -> $results:literal
        { $( $(#[doc = $attr_doc:literal])+ $attr:ident : $ty:ty $(= $default:expr)? ),* $(,)? }
    )*) => {
        /// What an operation does, with its attributes.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", deny_unknown_fields)]
        pub enum OpKind {
            $( $(#[doc = $doc])+ $name { $( $(#[doc = $attr_doc])+ $attr: $ty ),* } ),*
        }

        impl OpKind {
            /// Name in the text form.
            pub const fn mnemonic(&self) -> &'static str {
                match self { $( OpKind::$name { .. } => $mnemonic ),* }
            }

            /// The stages in which it may occur.
            pub const fn stages(&self) -> &'static [Stage] {
                match self { $( OpKind::$name { .. } => &[$(Stage::$stage),+] ),* }
            }

            /// Whether it takes so many operands.
            pub const fn takes(&self, operands: usize) -> bool {
                match self { $( OpKind::$name { .. } => matches!(operands, $operands) ),* }
            }

            /// How many results it has.
            pub const fn results(&self) -> usize {
                match self { $( OpKind::$name { .. } => $results ),* }
            }

            /// Its attributes but those that are what they are by default, in the order of the text
            /// form.
            pub fn attrs(&self) -> Vec<(&'static str, Attr)> {
                let attrs: Vec<(&'static str, Attr, Option<fn() -> Attr>)> = match self { $(
                    OpKind::$name { $( $attr ),* } => {
                        vec![$( (stringify!($attr), $attr.to_attr(), default_of!($ty $(, $default)?)) ),*]
                    }
                )* };
                let told = attrs.into_iter().filter(|(_, attr, default)| default.is_none_or(|default| default() != *attr));
                told.map(|(name, attr, _)| (name, attr)).collect()
            }
        }

        /// Every operation.
        pub const OPERATIONS: &[OpSpec] = &[$( OpSpec {
            mnemonic: $mnemonic,
            doc: concat!($($doc, "\n"),+),
            stages: &[$(Stage::$stage),+],
            operands: stringify!($operands),
            results: $results,
            attrs: &[$( AttrSpec {
                name: stringify!($attr),
                doc: concat!($($attr_doc, "\n"),+),
                expected: <$ty as AttrType>::expected,
                default: default_of!($ty $(, $default)?),
                names: <$ty as AttrType>::NAMES,
            } ),*],
            build: |attrs| {
                let [$($attr),*] = attrs else { panic!("{} takes other attributes", $mnemonic) };
                Ok(OpKind::$name { $( $attr: AttrType::from_attr($attr).ok_or(stringify!($attr))? ),* })
            },
        } ),*];
    };
}

operations! {
    /// A function of every element.
    "unary" Unary (Imported|Canonical) [1] -> 1 {
        /// The function.
        f: UnaryFn,
    }

    /// A function of every pair of elements; shapes broadcast as in NumPy. In the canonical stage
    /// operands have equal shapes.
    "binary" Binary (Imported|Canonical) [2] -> 1 {
        /// The function.
        f: BinaryFn,
    }

    /// What quantising and dequantising leaves:
    /// `(clamp(round(x / scale) + zero_point, min, max) - zero_point) * scale` in float32, halves
    /// rounded to even. A QuantizeLinear of ONNX with its DequantizeLinear.
    "fake_quantise" FakeQuantise (Imported) [1] -> 1 {
        /// Value of one step.
        scale: f64,
        /// The integer that stands for 0.
        zero_point: i32,
        /// The smallest integer.
        min: i32,
        /// The largest integer.
        max: i32,
    }

    /// Every element as another kind of number. Integers and booleans are `i64`; true is 1.
    "convert" Convert (Imported) [1] -> 1 {
        /// What they become.
        to: Conversion,
    }

    /// The element of the second operand where that of the first, `i64`, is not 0, and of the third
    /// elsewhere; shapes broadcast as in NumPy.
    "select" Select (Imported) [3] -> 1 {}

    /// Matrix product over the last two dimensions; leading ones broadcast.
    "matmul" MatMul (Imported) [2] -> 1 {}

    /// 2-D convolution of `x[n,c,h,w]` with `w[o,c/group,kh,kw]` and an optional bias `b[o]`.
    "conv" Conv (Imported) [2 | 3] -> 1 {
        /// Vertical and horizontal step.
        stride: [usize; 2],
        /// Zeros added at top, left, bottom and right.
        pad: [usize; 4],
        /// Vertical and horizontal distance of taps.
        dilation: [usize; 2],
        /// Number of groups.
        group: usize,
    }

    /// The same elements in another shape.
    "reshape" Reshape (Imported) [1] -> 1 {
        /// The new extents.
        shape: Vec<usize>,
    }

    /// Permutes dimensions: dimension `i` of the result is dimension `perm[i]` of the operand.
    "transpose" Transpose (Imported) [1] -> 1 {
        /// The permutation.
        perm: Vec<usize>,
    }

    /// Joins tensors along an axis.
    "concat" Concat (Imported|Canonical|Quantised|Split) [1..] -> 1 {
        /// The axis; 0 after import.
        axis: usize,
    }

    /// `len` elements along an axis, from `start` on, `stride` apart.
    "slice" Slice (Imported|Canonical|Quantised|Split) [1] -> 1 {
        /// The axis; 0 after import.
        axis: usize,
        /// First element.
        start: usize,
        /// Number of elements.
        len: usize,
        /// Distance of elements; 1 after import.
        stride: usize,
    }

    /// Picks slices along an axis by constant indices `i64[...]`; the index shape replaces the
    /// axis.
    "gather" Gather (Imported) [2] -> 1 {
        /// The axis.
        axis: usize,
    }

    /// Broadcasts to a shape.
    "expand" Expand (Imported) [1] -> 1 {
        /// The new extents.
        shape: Vec<usize>,
    }

    /// Mean over axes. In the canonical stage that of the rows of a matrix.
    "reduce_mean" ReduceMean (Imported|Canonical) [1] -> 1 {
        /// The axes, rising; 0 after import.
        axes: Vec<usize>,
        /// Whether they stay with extent 1; they do after import.
        keep: bool,
    }

    /// Softmax along an axis.
    "softmax" Softmax (Imported) [1] -> 1 {
        /// The axis.
        axis: usize,
    }

    /// `(x - mean) / sqrt(var + eps) * gamma + beta` over the last dimension; operands `x`,
    /// `gamma`, `beta`.
    "layer_norm" LayerNorm (Imported|Canonical) [3] -> 1 {
        /// Added to the variance.
        eps: f64,
    }

    /// The pixels of an image as rows: `x[1,c,h,w]` to `[h * w, c]`. A program's input in this form
    /// is laid out so by the runtime.
    "pixels" Pixels (Canonical|Quantised|Split) [1] -> 1 {}

    /// Windows of a map as rows: `x[h*w, c]`, whose rows are the map's pixels, to
    /// `[positions, kh * kw * c]`, row-major in both. A convolution is this and a linear layer;
    /// with a kernel of 1 x 1 it is a selection of pixels.
    "patches" Patches (Canonical|Quantised|Split) [1] -> 1 {
        /// Height and width of the map.
        map: [usize; 2],
        /// Height and width of a patch.
        kernel: [usize; 2],
        /// Vertical and horizontal step.
        stride: [usize; 2],
        /// Zeros added at top, left, bottom and right.
        pad: [usize; 4],
    }

    /// Rows of `x[m,c]` by constant row numbers `i64[n,k]`, `k` of them side by side in each row of
    /// the result `[n, k*c]`: another order of tokens, or neighbours merged.
    "pick_rows" PickRows (Canonical|Quantised|Split) [2] -> 1 {}

    /// `x w^T + b` for `x[m,k]`, constant `w[n,k]`, constant `b[n]`.
    "linear" Linear (Canonical) [3] -> 1 {}

    /// Rows of a constant table `f32[v,c]` by row numbers `i64[n]`, an input: to `[n,c]`.
    "embed" Embed (Canonical) [2] -> 1 {}

    /// Multi-head attention `softmax(scale q k^T) v`, heads side by side in the columns of
    /// `q[m,c]`, `k[n,c]`, `v[n,cv]`. Where there are several windows, `q` has the rows of one
    /// after the other, `k` and `v` too, and each attends within itself, as if it were alone. An
    /// optional constant is added to the scaled scores: `[heads,m,n]` for `m` queries and `n` keys
    /// of a window, or `[windows*heads,m,n]`, all heads of one window after the other. By an
    /// optional input `i64[n]`, the last operand, keys where it is 0 do not count; only of a single
    /// window.
    "attention" Attention (Canonical) [3..=5] -> 1 {
        /// Number of heads.
        heads: usize,
        /// Factor of the scores.
        scale: f64,
        /// Number of windows.
        windows: usize = 1,
    }

    /// Heads as combinations of heads: `y[i, o*d+f] = b[o] + sum over h of w[o,h] x[i, h*d+f]` for
    /// `x[m, heads_in*d]`, constant `w[heads_out, heads_in]`, constant `b[heads_out]`; to
    /// `[m, heads_out*d]`. The auto-encoder's encoder or decoder.
    "mix_heads" MixHeads (Canonical) [3] -> 1 {
        /// Heads of `x`.
        heads_in: usize,
        /// Heads of the result.
        heads_out: usize,
    }

    /// `requantise(x w^T + bias)` per output channel: `x` `i8[m,k]`, constant `w` `i8[n,k]`,
    /// constant `channel[n]`; to i8 or i16.
    "qlinear" QLinear (Quantised|Split) [3] -> 1 {}

    /// Rows of a constant table `i16[v,c]` by row numbers `u16[1,n]`, an input: to `i16[n,c]` in
    /// the table's step.
    "qembed" QEmbed (Quantised|Split) [2] -> 1 {}

    /// `layer_norm_row` of every row: `x` `i16[m,n]`, constant parameters `byte[..]`; to i8 or i16.
    "qlayer_norm" QLayerNorm (Quantised|Split) [2] -> 1 {}

    /// Looks every element up: `x` `i8[m,n]`, constant table `byte[256]`; to i8.
    "lut" Lut (Quantised|Split) [2] -> 1 {}

    /// `round_shift(a * a_scale + b * b_scale, shift)`, saturated to i8 or i16; operands
    /// `i16[m,n]`.
    "qadd" QAdd (Quantised|Split) [2] -> 1 {
        /// Multiplier of the first operand.
        a_scale: i32,
        /// Multiplier of the second operand.
        b_scale: i32,
        /// Right shift of the sum.
        shift: u8,
    }

    /// `mix_heads` to fewer heads: `requantise(sum over h of x[i, h*d+f] w[o,h] + bias[o])` per
    /// result head, of `x` `i8[m, heads_in*d]`, constant `params`
    /// `byte[autoencoder_bytes(heads_in, heads_out)]` as `isa::operands` lays them out; to
    /// `i8[m, heads_out*d]`.
    "encode" Encode (Quantised|Split) [2] -> 1 {
        /// Heads of `x`.
        heads_in: usize,
        /// Heads of the result.
        heads_out: usize,
    }

    /// The function of `encode`, to as many heads or more.
    "decode" Decode (Quantised|Split) [2] -> 1 {
        /// Heads of `x`.
        heads_in: usize,
        /// Heads of the result.
        heads_out: usize,
    }

    /// Scores of every head: `q` `i8[m,c]`, `k` `i8[n,c]` to `i16[heads,m,n]` in units of log2 /
    /// 256. With several windows these are the rows of each, one window after the other, and the
    /// result is `i16[windows*heads,m,n]`. Where an optional mask, constant
    /// `byte[windows*heads,m,ceil(n/8)]`, each head as a [`Mask`](super::layout::Mask), or, of a
    /// single window, an input `byte[m,ceil(n/8)]` of all heads, keeps no entry, the score is
    /// `PRUNED`. An optional constant bias `i16[windows*heads,m,n]`, or `i16[heads,m,n]` for all
    /// windows, the last operand, is added to the others by `biased_score`.
    "sddmm" Sddmm (Quantised|Split) [2..=4] -> 1 {
        /// Number of heads.
        heads: usize,
        /// Scale from the accumulator to log2 / 256.
        scale: Scale,
        /// Number of windows.
        windows: usize = 1,
    }

    /// Unnormalised probabilities `i8[heads,m,n]` and their row sums `u32[heads,m]`, from scores
    /// `i16[heads,m,n]`.
    "qsoftmax" QSoftmax (Quantised|Split) [1] -> 2 {}

    /// Probabilities `i8[heads,m,n]` with row sums `u32[heads,m]`, times values `i8[n,c]`, to
    /// `i8[m,c]`. With several windows those of each, one window after the other, as `sddmm` has
    /// them.
    "spmm" Spmm (Quantised|Split) [3] -> 1 {
        /// Scale of the product before the division by the row sum.
        scale: Scale,
        /// Number of windows.
        windows: usize = 1,
    }

    /// Scores of the dense blocks of all heads, and their row maxima `i16[heads,m]`: `q` `i8[m,c]`,
    /// `k` `i8[n,c]`, constant keys of the columns `byte[..]`
    /// ([`BlockKeys`](super::layout::BlockKeys)), constant kept cells `byte[..]`
    /// ([`BlockMask`](super::layout::BlockMask)); to `i16[cells]`: head after head, `m` rows of the
    /// head's columns. A cell that is not kept is `PRUNED`.
    "block_sddmm" BlockSddmm (Split) [4] -> 2 {
        /// Number of heads.
        heads: usize,
        /// Scale from the accumulator to log2 / 256.
        scale: Scale,
    }

    /// Scores of the entries of a sparse pattern, and their row maxima `i16[heads,m]`: `q`
    /// `i8[m,c]`, `k` `i8[n,c]`, constant pattern `byte[..]`
    /// ([`Csc`](super::layout::Csc)); to `i16[entries]` in the order of the pattern.
    "csc_sddmm" CscSddmm (Split) [3] -> 2 {
        /// Number of heads.
        heads: usize,
        /// Scale from the accumulator to log2 / 256.
        scale: Scale,
    }

    /// Unnormalised probabilities `i8[cells]` of dense blocks and their row sums `u32[heads,m]`,
    /// from scores `i16[cells]`, the constant keys of the columns, and row maxima `i16[heads,m]`.
    /// With maxima of the sparse part too, the larger of both counts.
    "block_softmax" BlockSoftmax (Split) [3 | 4] -> 2 {}

    /// Unnormalised probabilities `i8[entries]` of a sparse pattern and their row sums
    /// `u32[heads,m]`, from scores `i16[entries]`, the constant pattern, and row maxima
    /// `i16[heads,m]`. With maxima of the dense blocks too, the larger of both counts.
    "csc_softmax" CscSoftmax (Split) [3 | 4] -> 2 {}

    /// Probabilities times values `v` `i8[n,c]`, divided by the sum of the parts' row sums, to
    /// `i8[m,c]`. After `v` follow probabilities, row sums and the constant keys of the dense
    /// blocks, then probabilities, row sums and the constant pattern of the sparse part.
    "split_spmm" SplitSpmm (Split) [4 | 7] -> 1 {
        /// Number of heads.
        heads: usize,
        /// Scale of the product before the division by the row sum.
        scale: Scale,
        /// Whether there are dense blocks.
        block: bool,
        /// Whether there is a sparse part.
        csc: bool,
    }
}
