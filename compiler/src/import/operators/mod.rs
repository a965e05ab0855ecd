//! The table of supported operators.

mod attention;
mod constants;
mod contributed;
mod einsum;
mod elementwise;
mod largest;
mod layers;
mod movement;
mod normalisations;
mod pooling;
mod quantised;
mod reductions;
mod resize;
mod selection;
mod transposed;

use std::ops::RangeInclusive;

use super::call::{Call, Translated, shown};
use super::error::Fault;
use crate::onnx::{Model, Node};

/// The supported opsets of ONNX. Later opsets did not change how the operators here treat floats.
pub const OPSETS: RangeInclusive<i64> = 7..=25;

/// A supported operator.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// The operator's name.
    pub name: &'static str,
    /// The opset that introduced it, or the first of [`OPSETS`].
    pub since: i64,
    /// Whether it is supported only if all operands, or their shapes, are known at compile time.
    pub constant: bool,
    /// Restrictions; may be empty.
    pub limits: &'static str,
    pub(super) translate: fn(&mut Call<'_>) -> Translated,
}

/// An operator on computed tensors.
const fn computed(
    name: &'static str,
    since: i64,
    translate: fn(&mut Call<'_>) -> Translated,
    limits: &'static str,
) -> Operator {
    Operator { name, since, constant: false, limits, translate }
}

/// An operator of shape arithmetic.
const fn folded(
    name: &'static str,
    since: i64,
    translate: fn(&mut Call<'_>) -> Translated,
    limits: &'static str,
) -> Operator {
    Operator { name, since, constant: true, limits, translate }
}

/// Every supported operator of ONNX, sorted by name.
pub const OPERATORS: &[Operator] = &[
    computed("Abs", 7, elementwise::abs, ""),
    computed("Add", 7, elementwise::add, ""),
    computed("And", 7, constants::and, ""),
    computed("ArgMax", 7, largest::arg_max, "the first of equal elements"),
    computed("ArgMin", 7, largest::arg_min, "the first of equal elements"),
    computed(
        "Attention",
        23,
        attention::attention,
        "no cache of past keys; as many heads of keys as of queries; no softcap",
    ),
    computed("AveragePool", 7, pooling::average_pool, "1-D and 2-D; no auto_pad"),
    computed("BatchNormalization", 7, normalisations::batch_normalization, "inference"),
    computed("Cast", 7, constants::cast, ""),
    computed("CastLike", 15, constants::cast_like, "to float types, or between integer types"),
    computed("Ceil", 7, elementwise::ceil, ""),
    computed("Clip", 7, elementwise::clip, "constant bounds"),
    computed("Concat", 7, selection::concat, ""),
    folded("Constant", 7, constants::constant, "dense numbers"),
    folded("ConstantOfShape", 9, constants::constant_of_shape, ""),
    computed("Conv", 7, layers::conv, "1-D and 2-D; no negative padding"),
    computed(
        "ConvInteger",
        10,
        quantised::conv_integer,
        "of the result of a DynamicQuantizeLinear",
    ),
    computed("ConvTranspose", 7, transposed::conv_transpose, "2-D; no auto_pad, no output_shape"),
    computed("Cos", 7, elementwise::cos, ""),
    folded("CumSum", 11, constants::cum_sum, "inclusive, from the start"),
    computed("DepthToSpace", 7, movement::depth_to_space, ""),
    computed(
        "DequantizeLinear",
        10,
        quantised::dequantize_linear,
        "of constants and results of QuantizeLinear; no blocks",
    ),
    computed("Div", 7, elementwise::div, ""),
    computed("Dropout", 7, movement::dropout, "inference"),
    computed(
        "DynamicQuantizeLinear",
        11,
        quantised::dynamic_quantize_linear,
        "stands for the real numbers, which the compiler quantises",
    ),
    computed("Einsum", 12, einsum::einsum, "each label once per operand"),
    computed("Elu", 7, elementwise::elu, ""),
    folded("Equal", 7, constants::equal, ""),
    computed("Erf", 9, elementwise::erf, ""),
    computed("Exp", 7, elementwise::exp, ""),
    computed("Expand", 8, movement::expand, "constant shape"),
    folded("EyeLike", 9, constants::eye_like, ""),
    computed("Flatten", 7, movement::flatten, ""),
    computed("Floor", 7, elementwise::floor, ""),
    computed("Gather", 7, selection::gather, "computed indices only for tables"),
    computed("GatherElements", 11, selection::gather_elements, ""),
    computed("GatherND", 11, selection::gather_nd, "constant indices; no batch dimensions"),
    computed("Gelu", 20, elementwise::gelu, ""),
    computed("Gemm", 7, layers::gemm, ""),
    computed("GlobalAveragePool", 7, pooling::global_average_pool, ""),
    folded("Greater", 7, constants::greater, ""),
    folded("GreaterOrEqual", 12, constants::greater_or_equal, ""),
    computed("GroupNormalization", 18, normalisations::group_normalization, ""),
    computed("HardSigmoid", 7, elementwise::hard_sigmoid, ""),
    computed("HardSwish", 14, elementwise::hard_swish, ""),
    computed("Identity", 7, movement::identity, ""),
    computed("InstanceNormalization", 7, normalisations::instance_normalization, ""),
    computed("IsNaN", 9, constants::is_nan, ""),
    computed(
        "LayerNormalization",
        7,
        normalisations::layer_normalization,
        "last axis; first result. Before opset 17, as ONNX Runtime writes it",
    ),
    computed("LeakyRelu", 7, elementwise::leaky_relu, ""),
    folded("Less", 7, constants::less, ""),
    folded("LessOrEqual", 12, constants::less_or_equal, ""),
    computed("Log", 7, elementwise::log, ""),
    computed("LogSoftmax", 7, layers::log_softmax, "as Softmax"),
    computed("LpNormalization", 7, normalisations::lp_normalization, ""),
    computed("MatMul", 7, layers::mat_mul, ""),
    computed(
        "MatMulInteger",
        10,
        quantised::mat_mul_integer,
        "of the result of a DynamicQuantizeLinear",
    ),
    computed("Max", 7, elementwise::max, ""),
    computed("MaxPool", 7, pooling::max_pool, "1-D and 2-D; no auto_pad; first result"),
    computed("Mean", 7, elementwise::mean, ""),
    computed("Min", 7, elementwise::min, ""),
    computed("Mish", 18, elementwise::mish, ""),
    folded("Mod", 10, constants::modulo, "integers"),
    computed("Mul", 7, elementwise::mul, ""),
    computed("Neg", 7, elementwise::neg, ""),
    folded("NonZero", 9, constants::non_zero, ""),
    computed("Not", 7, constants::not, ""),
    computed("Or", 7, constants::or, ""),
    computed("PRelu", 7, elementwise::p_relu, ""),
    computed("Pad", 7, movement::pad, "constant widths"),
    computed("Pow", 7, elementwise::pow, ""),
    computed(
        "QLinearConv",
        10,
        quantised::qlinear_conv,
        "one scale of the image and of the result",
    ),
    computed("QLinearMatMul", 10, quantised::qlinear_mat_mul, "one scale of the result"),
    computed(
        "QuantizeLinear",
        10,
        quantised::quantize_linear,
        "to 8 or 16 bits; one scale for a computed tensor",
    ),
    folded("Range", 11, constants::range, ""),
    computed("Reciprocal", 7, elementwise::reciprocal, ""),
    computed("ReduceL1", 7, reductions::reduce_l1, ""),
    computed("ReduceL2", 7, reductions::reduce_l2, ""),
    computed("ReduceMax", 7, reductions::reduce_max, ""),
    computed("ReduceMean", 7, reductions::reduce_mean, ""),
    computed("ReduceMin", 7, reductions::reduce_min, ""),
    folded("ReduceProd", 7, reductions::reduce_prod, ""),
    computed("ReduceSum", 7, reductions::reduce_sum, ""),
    computed("ReduceSumSquare", 7, reductions::reduce_sum_square, ""),
    computed("Relu", 7, elementwise::relu, ""),
    computed("Reshape", 7, movement::reshape, "constant shape"),
    computed("Resize", 10, resize::resize, ""),
    computed("Round", 11, elementwise::round, ""),
    computed("ScatterND", 11, selection::scatter_nd, "constant indices; no reduction"),
    computed("Selu", 7, elementwise::selu, ""),
    folded("Shape", 7, constants::shape, ""),
    computed("Sigmoid", 7, elementwise::sigmoid, ""),
    computed("Sign", 9, elementwise::sign, ""),
    computed("Sin", 7, elementwise::sin, ""),
    folded("Size", 7, constants::size, ""),
    computed("Slice", 7, selection::slice, "constant bounds and steps"),
    computed(
        "Softmax",
        7,
        layers::softmax,
        "below opset 13: last axis, or only extents of 1 after it",
    ),
    computed("Softplus", 7, elementwise::softplus, ""),
    computed("Softsign", 7, elementwise::softsign, ""),
    computed("SpaceToDepth", 7, movement::space_to_depth, ""),
    computed("Split", 7, selection::split, "constant sizes"),
    computed("Sqrt", 7, elementwise::sqrt, ""),
    computed("Squeeze", 7, movement::squeeze, "constant axes"),
    computed("Sub", 7, elementwise::sub, ""),
    computed("Sum", 7, elementwise::sum, ""),
    computed("Swish", 24, elementwise::swish, ""),
    computed("Tanh", 7, elementwise::tanh, ""),
    computed("Tile", 7, movement::tile, "constant repeats"),
    computed("TopK", 7, largest::top_k, ""),
    computed("Transpose", 7, movement::transpose, ""),
    folded("Trilu", 14, constants::trilu, ""),
    computed("Unsqueeze", 7, movement::unsqueeze, "constant axes"),
    computed("Upsample", 7, resize::upsample, ""),
    computed("Where", 9, constants::where_, ""),
    folded("Xor", 7, constants::xor, ""),
];

/// Every supported operator of ONNX Runtime (domain `com.microsoft`), sorted by name. Its optimiser
/// and its quantiser write them.
pub const CONTRIBUTED: &[Operator] = &[
    computed("Attention", 1, contributed::attention, "no past keys, no rotary embedding"),
    computed("BiasGelu", 1, contributed::bias_gelu, ""),
    computed("DequantizeLinear", 1, quantised::dequantize_linear, "as that of ONNX"),
    computed("DynamicQuantizeMatMul", 1, quantised::dynamic_quantize_mat_mul, ""),
    computed(
        "EmbedLayerNormalization",
        1,
        contributed::embed_layer_normalization,
        "without the number of kept tokens",
    ),
    computed("FastGelu", 1, contributed::fast_gelu, ""),
    computed("FusedMatMul", 1, contributed::fused_mat_mul, "no transposed batch dimensions"),
    computed("Gelu", 1, contributed::gelu, ""),
    computed("MatMulIntegerToFloat", 1, quantised::mat_mul_integer_to_float, ""),
    computed(
        "MultiHeadAttention",
        1,
        contributed::multi_head_attention,
        "queries, keys and values apart; no past keys",
    ),
    computed("QGemm", 1, quantised::qgemm, ""),
    computed("QLinearAdd", 1, quantised::qlinear_add, ""),
    computed("QLinearConcat", 1, quantised::qlinear_concat, ""),
    computed("QLinearMul", 1, quantised::qlinear_mul, ""),
    computed("QLinearSigmoid", 1, quantised::qlinear_sigmoid, ""),
    computed("QLinearSoftmax", 1, quantised::qlinear_softmax, ""),
    computed("QuantizeLinear", 1, quantised::quantize_linear, "as that of ONNX"),
    computed("QuickGelu", 1, contributed::quick_gelu, ""),
    computed(
        "SkipLayerNormalization",
        1,
        contributed::skip_layer_normalization,
        "first and fourth result",
    ),
    computed("TransposeMatMul", 1, contributed::fused_mat_mul, "as FusedMatMul"),
];

/// The domain of [`CONTRIBUTED`].
const CONTRIBUTED_DOMAIN: &str = "com.microsoft";

/// What to do about an unsupported operator.
fn advice(node: &Node) -> &'static str {
    match node.op_type.as_str() {
        "If" | "Loop" | "Scan" => {
            "control flow is supported if it is known at compile time; export with fixed shapes"
        }
        _ if !node.domain.is_empty() => {
            "only some of com.microsoft and those of ONNX are supported; use the model before it was \
             optimised for a runtime"
        }
        name if name.starts_with("Q") || name.contains("NBits") => {
            "quantise the model in QDQ form (onnxruntime.quantization.quantize_static with \
             QuantFormat.QDQ), or use the float model, which this compiler quantises"
        }
        _ => "",
    }
}

/// Finds the operator of a node.
///
/// # Errors
/// It is not supported, or not in the model's opset.
pub(super) fn find(model: &Model, node: &Node) -> Result<&'static Operator, Fault> {
    let table = match &node.domain[..] {
        "" => OPERATORS,
        CONTRIBUTED_DOMAIN => CONTRIBUTED,
        _ => &[],
    };
    // A model needs no opset of ONNX Runtime's operators.
    let opset = match model.opset.get(&node.domain).copied() {
        Some(opset) => opset,
        None if node.domain == CONTRIBUTED_DOMAIN => 1,
        None => {
            let (domain, advice) = (node.domain.clone(), advice(node).to_owned());
            return Err(Fault::Domain { domain, advice });
        }
    };
    let unsupported =
        |advice: String| Fault::Operator { domain: node.domain.clone(), opset, advice };
    match table.binary_search_by_key(&node.op_type.as_str(), |operator| operator.name) {
        // An unsupported opset of the model is a problem of its own.
        Ok(found) if opset >= table[found].since || !OPSETS.contains(&opset) => Ok(&table[found]),
        Ok(found) => Err(unsupported(format!("it came with opset {}", table[found].since))),
        Err(_) => Err(unsupported(advice(node).to_owned())),
    }
}
