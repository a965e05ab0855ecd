//! The operation table: name, stages, operands and attributes of every operation, stated once.

use std::fmt;

use serde::{Deserialize, Serialize};
use vitcod_isa::numerics::Scale;

use super::Attr;
use super::attr::AttrType;
use super::functions::{BinaryFn, Conversion, UnaryFn};

/// The stage of a graph. [`crate::ir`] describes the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The exporter's operations.
    Imported,
    /// Matrices of tokens x channels.
    Canonical,
    /// Integers.
    Quantised,
    /// Masked attention divided between the engines.
    Split,
}

impl Stage {
    /// Every stage, in the order of compilation.
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

    /// Whether its tensors are float, so that the float interpreter evaluates them.
    pub const fn is_float(self) -> bool {
        matches!(self, Stage::Imported | Stage::Canonical)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The row of an operation in the operation table.
#[derive(Clone, Copy, Debug)]
pub struct OpSpec {
    /// Name in the text form.
    pub mnemonic: &'static str,
    /// Description in Markdown, for the reference.
    pub doc: &'static str,
    /// The stages in which it is legal.
    pub stages: &'static [Stage],
    /// The possible numbers of operands, as a pattern.
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
    /// Description in Markdown, for the reference.
    pub doc: &'static str,
    /// The expected syntax of its value.
    pub expected: fn() -> String,
    /// The value if the text omits it.
    pub default: Option<fn() -> Attr>,
    /// The allowed names, if the type is a set of names.
    pub names: &'static [&'static str],
}

impl OpSpec {
    /// The operation with these attributes, one for each of [`OpSpec::attrs`].
    ///
    /// # Errors
    /// The name of the first attribute whose value has the wrong type.
    ///
    /// # Panics
    /// The number of attributes is wrong.
    pub fn build(&self, attrs: &[Attr]) -> Result<OpKind, &'static str> {
        (self.build)(attrs)
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

            /// The stages in which it is legal.
            pub const fn stages(&self) -> &'static [Stage] {
                match self { $( OpKind::$name { .. } => &[$(Stage::$stage),+] ),* }
            }

            /// Whether it takes this many operands.
            pub const fn takes(&self, operands: usize) -> bool {
                match self { $( OpKind::$name { .. } => matches!(operands, $operands) ),* }
            }

            /// Number of results.
            pub const fn results(&self) -> usize {
                match self { $( OpKind::$name { .. } => $results ),* }
            }

            /// Its attributes that differ from their defaults, in the order of the text form.
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
    /// Applies a function to every element.
    "unary" Unary (Imported|Canonical) [1] -> 1 {
        /// The function.
        f: UnaryFn,
    }

    /// Applies a function to every pair of elements; shapes broadcast as in NumPy. In the canonical
    /// stage the operands have equal shapes.
    "binary" Binary (Imported|Canonical) [2] -> 1 {
        /// The function.
        f: BinaryFn,
    }

    /// Quantises and dequantises: `(clamp(round(x / scale) + zero_point, min, max) - zero_point) *
    /// scale` in float32, halves rounded to even. Represents a QuantizeLinear of ONNX followed by
    /// its DequantizeLinear.
    "fake_quantise" FakeQuantise (Imported) [1] -> 1 {
        /// Value of one step.
        scale: f64,
        /// The integer that represents 0.
        zero_point: i32,
        /// The smallest integer.
        min: i32,
        /// The largest integer.
        max: i32,
    }

    /// Converts every element to another kind of number. Integers and booleans are `i64`; true is
    /// 1.
    "convert" Convert (Imported) [1] -> 1 {
        /// The kind of the result.
        to: Conversion,
    }

    /// Selects elementwise: the second operand where the first, `i64`, is not 0, else the third;
    /// shapes broadcast as in NumPy.
    "select" Select (Imported) [3] -> 1 {}

    /// Matrix product over the last two dimensions; leading dimensions broadcast.
    "matmul" MatMul (Imported) [2] -> 1 {}

    /// 2-D convolution of `x[n,c,h,w]` with `w[o,c/group,kh,kw]` and an optional bias `b[o]`.
    "conv" Conv (Imported) [2 | 3] -> 1 {
        /// Vertical and horizontal step.
        stride: [usize; 2],
        /// Zeros added at top, left, bottom and right.
        pad: [usize; 4],
        /// Vertical and horizontal distance of kernel elements.
        dilation: [usize; 2],
        /// Number of groups.
        group: usize,
    }

    /// Changes the shape; the elements keep their order.
    "reshape" Reshape (Imported) [1] -> 1 {
        /// The new extents.
        shape: Vec<usize>,
    }

    /// Permutes dimensions: dimension `i` of the result is dimension `perm[i]` of the operand.
    "transpose" Transpose (Imported) [1] -> 1 {
        /// The permutation.
        perm: Vec<usize>,
    }

    /// Concatenates tensors along an axis.
    "concat" Concat (Imported|Canonical|Quantised|Split) [1..] -> 1 {
        /// The axis; 0 after import.
        axis: usize,
    }

    /// Selects `len` elements along an axis, beginning at `start`, `stride` apart.
    "slice" Slice (Imported|Canonical|Quantised|Split) [1] -> 1 {
        /// The axis; 0 after import.
        axis: usize,
        /// Index of the first element.
        start: usize,
        /// Number of elements.
        len: usize,
        /// Distance of elements; 1 after import.
        stride: usize,
    }

    /// Selects slices along an axis by indices `i64[...]`, whose shape replaces the axis.
    "gather" Gather (Imported) [2] -> 1 {
        /// The axis.
        axis: usize,
    }

    /// Selects elements along an axis by indices `i64[...]` of the same rank: element `i` of the
    /// result is that at index `indices[i]` of the axis, and at the places of `i` elsewhere.
    "gather_elements" GatherElements (Imported) [2] -> 1 {
        /// The axis.
        axis: usize,
    }

    /// Indices of the largest elements along an axis, or of the smallest, in their order; of equal
    /// ones the first comes first. To `i64`.
    "top_indices" TopIndices (Imported) [1] -> 1 {
        /// The axis.
        axis: usize,
        /// How many along the axis.
        count: usize,
        /// Whether they are the largest.
        largest: bool,
    }

    /// Broadcasts to a shape.
    "expand" Expand (Imported) [1] -> 1 {
        /// The new extents.
        shape: Vec<usize>,
    }

    /// Mean over axes. In the canonical stage, the mean of the rows of a matrix.
    "reduce_mean" ReduceMean (Imported|Canonical) [1] -> 1 {
        /// The axes, ascending; 0 after import.
        axes: Vec<usize>,
        /// Whether they are kept with extent 1; true after import.
        keep: bool,
    }

    /// Maximum over axes.
    "reduce_max" ReduceMax (Imported) [1] -> 1 {
        /// The axes, ascending.
        axes: Vec<usize>,
        /// Whether they are kept with extent 1.
        keep: bool,
    }

    /// Adds zeros along an axis.
    "pad" Pad (Imported) [1] -> 1 {
        /// The axis.
        axis: usize,
        /// Number of zeros before the elements.
        before: usize,
        /// Number of zeros after them.
        after: usize,
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

    /// The pixels of an image as rows: `x[1,c,h,w]`, or `x[1,h,w,c]`, to `[h * w, c]`. The runtime
    /// converts an input of the program to this layout. With constant factors `f32[c]` and offsets
    /// `f32[c]`, the channels are normalised, `(x - offset) / factor`: by the runtime before it
    /// quantises the input, so that the integers of a quantised input, whose step is that of the
    /// result, are normalised already.
    "pixels" Pixels (Canonical|Quantised|Split) [1..=3] -> 1 {
        /// Whether the channels are the last dimension of the image.
        last: bool = false,
    }

    /// The rows of `x[h * w, c]` as an image: the inverse of `pixels`, to `[1,c,h,w]`, or to
    /// `[1,c,n]`. Only for outputs: the runtime converts them.
    "planes" Planes (Canonical|Quantised|Split) [1] -> 1 {
        /// Height and width, or the length.
        map: Vec<usize>,
    }

    /// Windows of a map as rows: `x[h*w, c]`, whose rows are the map's pixels, to `[positions, kh *
    /// kw * c]`, both row-major. A convolution is `patches` and a linear layer; with a kernel of 1
    /// x 1 it selects pixels.
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

    /// Selects rows of `x[m,c]` by constant row numbers `i64[n,k]` and concatenates `k` of them to
    /// each row of the result `[n, k*c]`: tokens in another order, or merged neighbours.
    "pick_rows" PickRows (Canonical|Quantised|Split) [2] -> 1 {}

    /// Applies a function to every element of `x[m,n]`, between factors and offsets: `(f(x a + b) -
    /// d) / c`. The constant `f32[groups,4]` has a row `a, b, c, d` for each group of channels. The
    /// pass `fit-tables` makes it of `unary`: a lookup table contains them.
    "table" Table (Canonical) [2] -> 1 {
        /// The function.
        f: UnaryFn,
        /// Channels of each group in turn.
        channels: Vec<usize>,
        /// Magnitude of `x` that integers should cover; 0 for the calibrated one.
        input_limit: f64,
        /// Magnitude of the result that integers should cover; 0 for the calibrated one.
        result_limit: f64,
        /// Whether the integers of `x` have 16 bits.
        wide: bool = false,
    }

    /// `x w^T + b` for `x[m,k]`, constant `w[n,k]`, constant `b[n]`.
    "linear" Linear (Canonical) [3] -> 1 {}

    /// Selects rows of a constant table `f32[v,c]` by row numbers `i64[n]`, an input; to `[n,c]`.
    "embed" Embed (Canonical) [2] -> 1 {}

    /// Multi-head attention `softmax(scale q k^T) v`; heads are side by side in the columns of
    /// `q[m,c]`, `k[n,c]`, `v[n,cv]`. With several attention windows, `q`, `k` and `v` hold the
    /// rows of one window after the other, and each window attends only to itself. An optional
    /// constant is added to the scaled scores: `[heads,m,n]` for `m` queries and `n` keys of a
    /// window, or `[windows*heads,m,n]`, all heads of one window after the other. An optional input
    /// `i64[n]`, the last operand, prunes the keys at which it is 0; it requires a single window.
    "attention" Attention (Canonical) [3..=5] -> 1 {
        /// Number of heads.
        heads: usize,
        /// Factor of the products of queries and keys.
        scale: f64,
        /// Number of attention windows.
        windows: usize = 1,
    }

    /// Mixes heads: `y[i, o*d+f] = b[o] + sum over h of w[o,h] x[i, h*d+f]` for `x[m, heads_in*d]`,
    /// constant `w[heads_out, heads_in]`, constant `b[heads_out]`; to `[m, heads_out*d]`. The
    /// encoder or decoder of an auto-encoder.
    "mix_heads" MixHeads (Canonical) [3] -> 1 {
        /// Heads of `x`.
        heads_in: usize,
        /// Heads of the result.
        heads_out: usize,
    }

    /// `requantise(x w^T + bias)` per output channel: `x` `i8[m,k]`, constant `w` `i8[n,k]`,
    /// constant `channel[n]`; to i8 or i16.
    "qlinear" QLinear (Quantised|Split) [3] -> 1 {}

    /// Selects rows of a constant table `i16[v,c]` by row numbers `u16[1,n]`, an input; to
    /// `i16[n,c]` with the table's step.
    "qembed" QEmbed (Quantised|Split) [2] -> 1 {}

    /// `layer_norm_row` of every row: `x` `i16[m,n]`, constant parameters `byte[..]`; to i8 or i16.
    "qlayer_norm" QLayerNorm (Quantised|Split) [2] -> 1 {}

    /// Looks up every element: `x` `i8[m,n]`, constant tables `byte[256*groups]`; to i8. For `x`
    /// `i16[m,n]`, tables `byte[514*groups]` that are interpolated.
    "lut" Lut (Quantised|Split) [2] -> 1 {
        /// Channels of each table in turn; without any there is one table.
        channels: Vec<usize> = Vec::new(),
    }

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
    /// result head, for `x` `i8[m, heads_in*d]` and constant `params`
    /// `byte[autoencoder_bytes(heads_in, heads_out)]` in the layout of `isa::operands`; to `i8[m,
    /// heads_out*d]`.
    "encode" Encode (Quantised|Split) [2] -> 1 {
        /// Heads of `x`.
        heads_in: usize,
        /// Heads of the result.
        heads_out: usize,
    }

    /// The function of `encode`, to at least as many heads.
    "decode" Decode (Quantised|Split) [2] -> 1 {
        /// Heads of `x`.
        heads_in: usize,
        /// Heads of the result.
        heads_out: usize,
    }

    /// Scores of every head: `q` `i8[m,c]`, `k` `i8[n,c]`; to `i16[heads,m,n]` in the units of the
    /// softmax that reads them. With several attention windows the operands hold the rows of one
    /// window after the other, and the result is `i16[windows*heads,m,n]`. An optional mask sets
    /// the scores of pruned entries to `PRUNED`: a constant `byte[windows*heads,m,ceil(n/8)]`, each
    /// head as a [`Mask`](super::layout::Mask), or, with a single window, an input
    /// `byte[m,ceil(n/8)]` for all heads. An optional constant bias `i16[windows*heads,m,n]`, or
    /// `i16[heads,m,n]` for all windows, the last operand, is added to the other scores by
    /// `biased_score`.
    "sddmm" Sddmm (Quantised|Split) [2..=4] -> 1 {
        /// Number of heads.
        heads: usize,
        /// Scale from the accumulator to the unit of scores.
        scale: Scale,
        /// Number of attention windows.
        windows: usize = 1,
    }

    /// Unnormalised probabilities `i8[heads,m,n]`, or minifloats `e3m5[heads,m,n]`, and their row
    /// sums `u32[heads,m]`, from scores `i16[heads,m,n]`.
    "qsoftmax" QSoftmax (Quantised|Split) [1] -> 2 {
        /// The unit of the scores is log2 / 256 times this power of two, 0 to 8.
        shift: u8 = 0,
    }

    /// Probabilities `i8[heads,m,n]` or `e3m5[heads,m,n]` with row sums `u32[heads,m]`, times
    /// values `i8[n,c]`; to `i8[m,c]`. With several attention windows, the operands hold one window
    /// after the other as in `sddmm`.
    "spmm" Spmm (Quantised|Split) [3] -> 1 {
        /// Scale of the product before the division by the row sum.
        scale: Scale,
        /// Number of attention windows.
        windows: usize = 1,
    }

    /// Scores of the dense blocks of all heads, and their row maxima `i16[heads,m]`: `q` `i8[m,c]`,
    /// `k` `i8[n,c]`, constant keys of the columns `byte[..]`
    /// ([`BlockKeys`](super::layout::BlockKeys)), constant kept cells `byte[..]`
    /// ([`BlockMask`](super::layout::BlockMask)); to `i16[cells]`: head after head, `m` rows of the
    /// head's columns. Pruned cells are `PRUNED`.
    "block_sddmm" BlockSddmm (Split) [4] -> 2 {
        /// Number of heads.
        heads: usize,
        /// Scale from the accumulator to the unit of scores.
        scale: Scale,
    }

    /// Scores of the entries of a sparse pattern, and their row maxima `i16[heads,m]`: `q`
    /// `i8[m,c]`, `k` `i8[n,c]`, constant pattern `byte[..]`
    /// ([`Csc`](super::layout::Csc)); to `i16[entries]` in the order of the pattern.
    "csc_sddmm" CscSddmm (Split) [3] -> 2 {
        /// Number of heads.
        heads: usize,
        /// Scale from the accumulator to the unit of scores.
        scale: Scale,
    }

    /// Unnormalised probabilities `i8[cells]`, or minifloats `e3m5[cells]`, of dense blocks and
    /// their row sums `u32[heads,m]`, from scores `i16[cells]`, the constant keys of the columns,
    /// and row maxima `i16[heads,m]`. If maxima of the sparse part are given too, each row uses the
    /// larger one.
    "block_softmax" BlockSoftmax (Split) [3 | 4] -> 2 {
        /// The unit of the scores is log2 / 256 times this power of two, 0 to 8.
        shift: u8 = 0,
    }

    /// Unnormalised probabilities `i8[entries]`, or minifloats `e3m5[entries]`, of a sparse pattern
    /// and their row sums `u32[heads,m]`, from scores `i16[entries]`, the constant pattern, and row
    /// maxima `i16[heads,m]`. If maxima of the dense blocks are given too, each row uses the larger
    /// one.
    "csc_softmax" CscSoftmax (Split) [3 | 4] -> 2 {
        /// The unit of the scores is log2 / 256 times this power of two, 0 to 8.
        shift: u8 = 0,
    }

    /// Probabilities times values `v` `i8[n,c]`, divided by the sum of the parts' row sums; to
    /// `i8[m,c]`. The operands after `v` are probabilities, row sums and the constant keys of the
    /// dense blocks, then probabilities, row sums and the constant pattern of the sparse part.
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
