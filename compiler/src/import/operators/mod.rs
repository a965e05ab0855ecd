//! The table of supported operators.

mod attention;
mod constants;
mod elementwise;
mod layers;
mod movement;
mod quantised;
mod selection;

use std::ops::RangeInclusive;

use super::call::{Call, Translated, shown};
use super::error::Fault;
use crate::onnx::{Model, Node};

/// The supported opsets of ONNX. Later opsets did not change how the operators here treat floats.
pub const OPSETS: RangeInclusive<i64> = 11..=24;

/// A supported operator of ONNX's default domain.
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

/// Every supported operator, sorted by name.
pub const OPERATORS: &[Operator] = &[
    folded("Abs", 11, elementwise::abs, ""),
    computed("Add", 11, elementwise::add, ""),
    computed("And", 11, constants::and, ""),
    computed(
        "Attention",
        23,
        attention::attention,
        "no cache of past keys; as many heads of keys as of queries; no softcap",
    ),
    computed("BatchNormalization", 11, layers::batch_normalization, "inference"),
    computed("Cast", 11, constants::cast, ""),
    computed("CastLike", 15, constants::cast_like, "to float types, or between integer types"),
    folded("Ceil", 11, elementwise::ceil, ""),
    computed("Concat", 11, selection::concat, ""),
    folded("Constant", 11, constants::constant, "dense numbers"),
    folded("ConstantOfShape", 11, constants::constant_of_shape, ""),
    computed("Conv", 11, layers::conv, "1-D and 2-D; explicit padding, not negative"),
    computed(
        "DequantizeLinear",
        11,
        quantised::dequantize_linear,
        "of constants and results of QuantizeLinear; no blocks",
    ),
    computed("Div", 11, elementwise::div, ""),
    computed("Dropout", 11, movement::dropout, "inference"),
    folded("Equal", 11, constants::equal, ""),
    computed("Erf", 11, elementwise::erf, ""),
    computed("Exp", 11, elementwise::exp, ""),
    computed("Expand", 11, movement::expand, "constant shape"),
    computed("Flatten", 11, movement::flatten, ""),
    folded("Floor", 11, elementwise::floor, ""),
    computed("Gather", 11, selection::gather, "computed indices only for tables"),
    computed("GatherND", 11, selection::gather_nd, "constant indices; no batch dimensions"),
    computed("Gelu", 20, elementwise::gelu, ""),
    computed("Gemm", 11, layers::gemm, ""),
    computed("GlobalAveragePool", 11, layers::global_average_pool, ""),
    folded("Greater", 11, constants::greater, ""),
    folded("GreaterOrEqual", 12, constants::greater_or_equal, ""),
    computed("HardSigmoid", 11, elementwise::hard_sigmoid, "alpha 1/6, beta 1/2"),
    computed("HardSwish", 14, elementwise::hard_swish, ""),
    computed("Identity", 11, movement::identity, ""),
    computed("IsNaN", 11, constants::is_nan, ""),
    computed("LayerNormalization", 17, layers::layer_normalization, "last axis; first result"),
    folded("Less", 11, constants::less, ""),
    folded("LessOrEqual", 12, constants::less_or_equal, ""),
    computed("MatMul", 11, layers::mat_mul, ""),
    computed("Max", 11, elementwise::max, ""),
    computed(
        "MaxPool",
        11,
        layers::max_pool,
        "kernel size 1 (a selection); no padding; first result",
    ),
    computed("Min", 11, elementwise::min, ""),
    folded("Mod", 11, constants::modulo, "integers"),
    computed("Mul", 11, elementwise::mul, ""),
    computed("Neg", 11, elementwise::neg, ""),
    computed("Not", 11, constants::not, ""),
    computed("Or", 11, constants::or, ""),
    computed("Pad", 11, movement::pad, "widths of 0"),
    computed("Pow", 11, elementwise::pow, ""),
    computed(
        "QuantizeLinear",
        11,
        quantised::quantize_linear,
        "to 8 or 16 bits; one scale for a computed tensor",
    ),
    folded("Range", 11, constants::range, ""),
    computed("Reciprocal", 11, elementwise::reciprocal, ""),
    folded("ReduceMax", 11, constants::reduce_max, "integers"),
    computed("ReduceMean", 11, layers::reduce_mean, ""),
    folded("ReduceMin", 11, constants::reduce_min, "integers"),
    folded("ReduceProd", 11, constants::reduce_prod, "integers"),
    folded("ReduceSum", 11, constants::reduce_sum, "integers"),
    computed("Relu", 11, elementwise::relu, ""),
    computed("Reshape", 11, movement::reshape, "constant shape"),
    folded("ScatterND", 11, constants::scatter_nd, "no reduction"),
    folded("Shape", 11, constants::shape, ""),
    computed("Sigmoid", 11, elementwise::sigmoid, ""),
    folded("Size", 11, constants::size, ""),
    computed("Slice", 11, selection::slice, "constant bounds and steps"),
    computed(
        "Softmax",
        11,
        layers::softmax,
        "below opset 13: last axis, or only extents of 1 after it",
    ),
    computed("Split", 11, selection::split, "constant sizes"),
    computed("Sqrt", 11, elementwise::sqrt, ""),
    computed("Squeeze", 11, movement::squeeze, "constant axes"),
    computed("Sub", 11, elementwise::sub, ""),
    computed("Sum", 11, elementwise::sum, ""),
    computed("Tanh", 11, elementwise::tanh, ""),
    computed("Tile", 11, movement::tile, "constant repeats"),
    computed("Transpose", 11, movement::transpose, ""),
    computed("Unsqueeze", 11, movement::unsqueeze, "constant axes"),
    computed(
        "Where",
        11,
        constants::where_,
        "between computed tensors, a constant condition is all true or all false",
    ),
];

/// Advice for an unsupported operator.
fn advice(node: &Node) -> &'static str {
    let name = node.op_type.as_str();
    let quantised = name.starts_with('Q')
        || ["Quantize", "quantize", "Integer", "NBits"].iter().any(|x| name.contains(x));
    match name {
        _ if quantised => {
            "of quantised models only the QDQ form is supported \
             (onnxruntime.quantization.quantize_static with QuantFormat.QDQ); use that form, or the \
             float model, which this compiler quantises"
        }
        _ if !node.domain.is_empty() => {
            "only operators of ai.onnx are supported; use the model before it was optimised for a \
             runtime"
        }
        "If" | "Loop" | "Scan" => "control flow is not supported; export with fixed shapes",
        _ => {
            "supported are the operators of vision transformers that PyTorch exports with opset 11 \
             to 24"
        }
    }
}

/// Finds the operator of a node.
///
/// # Errors
/// It is not supported, or not in the model's opset.
pub(super) fn find(model: &Model, node: &Node) -> Result<&'static Operator, Fault> {
    let called = (node.domain.clone(), node.op_type.clone());
    if model.functions.contains(&called) {
        return Err(Fault::Function { domain: called.0, name: called.1 });
    }
    // ONNX Runtime's own QuantizeLinear and DequantizeLinear supported 16 bits before those of
    // ONNX; otherwise they are the same.
    let contributed = node.domain == "com.microsoft"
        && ["DequantizeLinear", "QuantizeLinear"].contains(&&*node.op_type);
    let domain = if contributed { "" } else { &node.domain };
    let Some(opset) = model.opset.get(domain).copied() else {
        return Err(Fault::Domain { domain: node.domain.clone(), advice: advice(node).to_owned() });
    };
    let unsupported =
        |advice: String| Fault::Operator { domain: node.domain.clone(), opset, advice };
    let known = OPERATORS.binary_search_by_key(&node.op_type.as_str(), |operator| operator.name);
    match known {
        Ok(found) if domain.is_empty() && opset >= OPERATORS[found].since => Ok(&OPERATORS[found]),
        Ok(found) if domain.is_empty() => {
            Err(unsupported(format!("it came with opset {}", OPERATORS[found].since)))
        }
        _ => Err(unsupported(advice(node).to_owned())),
    }
}
