//! The intermediate representation: a graph of operations on tensors, the same data structure from
//! import to code generation.
//!
//! A [`Graph`] owns its entities: values, operations, constants and the names of ONNX nodes, each
//! behind a typed index (`v3`, `op7`, `c2`, `n12`). A value is an input, a constant or the result
//! of one operation, and never changes. Operations are kept in an explicit order in which every
//! operand precedes its use. Facts that a pass needs about entities live in side maps of the pass.
//!
//! # Stages
//!
//! - **imported**: the exporter's operations, node by node, with shape arithmetic folded; float
//!   tensors of any rank with a leading batch of 1.
//! - **canonical**: float matrices of tokens x channels, without the batch; only an image is not a
//!   matrix. Linear layers, LayerNorm, activations, attention and mixtures of heads are single
//!   operations, however they were exported.
//! - **quantised**: integers; every function is one of `vitcod_isa::numerics`. Attention is SDDMM,
//!   softmax and SpMM.
//! - **split**: as quantised, but masked attention is divided into operations for the two engines:
//!   on dense blocks of global tokens and on the other kept entries. The results are the same, bit
//!   for bit.
//!
//! The stage determines which operations are legal ([`OpKind::stages`]).
//!
//! # Invariants (checked by [`Graph::verify`])
//!
//! 1. Operands and graph outputs exist and are defined before their use.
//! 2. Each operation is allowed in the graph's stage and has the operands and results that its kind
//!    takes.
//! 3. Result types are those of [`infer`] or, for quantised operations, satisfy its shape rules.
//! 4. The length of a constant's bytes matches its type.
//! 5. The patterns of split attention are constants in their layouts ([`layout`]).
//! 6. An input has as many elements as its shape in the model, or is a mask whose rows have a bit
//!    for each of them. Only masks are inverted.
//! 7. The channels of an image are normalised in one way, for all that read it; the factors are
//!    above 0. `planes` are outputs: nothing reads them.
//! 8. A quantised tensor that represents real numbers has a positive, finite step. A float tensor
//!    may have one: the step at which the model itself quantises it.

mod attr;
mod entities;
mod functions;
mod graph;
pub mod infer;
pub mod layout;
mod ops;
mod saved;
pub(crate) mod shared_bytes;
pub mod text;
mod types;
mod verify;

pub use attr::Attr;
pub use entities::{Const, Node, Op, Value};
pub use functions::{BinaryFn, Conversion, UnaryFn};
pub(crate) use graph::indices;
pub use graph::{Constant, Graph, GraphInput, GraphOutput, Image, OpData, ValueData, ValueDef};
pub use ops::{AttrSpec, OPERATIONS, OpKind, OpSpec, Stage};
pub use saved::{
    LoadError, MAX_ACTIVATION_BYTES, SAVED_VERSION, SavedEntry, SavedGraph, SavedInput, SavedOutput,
};
pub use types::{Elem, TensorType, table_bytes};
pub use verify::{Defect, Place, VerifyError};
