//! The intermediate representation: a graph of operations on tensors, the same data structure from
//! import to tasks.
//!
//! A [`Graph`] owns its entities: values, operations, constants and the names of ONNX nodes, each
//! behind a typed index (`v3`, `op7`, `c2`, `n12`). A value is an input, a constant or the result
//! of one operation, and never changes. Operations are kept in an explicit order in which every
//! operand precedes its use. Facts that a pass needs about entities live in side maps of the pass.
//!
//! # Stages
//!
//! - **imported**: what the exporter wrote, node by node, shape arithmetic folded; float tensors of
//!   any rank with a leading batch of 1.
//! - **canonical**: what the model means; float. All activations but the image are matrices, tokens
//!   x channels, without the batch. Linear layers, LayerNorm, activations, attention and
//!   combinations of heads are single operations, in whatever form they were exported.
//! - **quantised**: integers; every function is one of `vitcod_isa::numerics`. Attention is SDDMM,
//!   softmax and SpMM.
//! - **split**: as quantised, but masked attention is tasks for the two engines: dense blocks of
//!   global tokens and a sparse rest. Computes the same bits.
//!
//! [`Stage`] says which operations may occur ([`OpKind::stages`]); [`verify`](Graph::verify) checks
//! it.
//!
//! # Invariants (checked by [`Graph::verify`])
//!
//! 1. Operands and graph outputs exist and are defined before their use.
//! 2. Each operation is allowed in the graph's stage and has the operands and results that its kind
//!    takes.
//! 3. Result types are what [`infer`] says, or for quantised operations fit its shape rules.
//! 4. A constant's bytes are as many as its type needs.
//! 5. The patterns of split attention are constants in their layouts ([`layout`]).
//! 6. An input has as many elements as its shape in the model, or is a mask with a bit for each in
//!    every row.
//! 7. A quantised tensor that stands for real numbers has a positive, finite step; a float tensor
//!    may have one, in which the model itself quantises it.

mod attr;
pub(crate) mod distinct;
mod entities;
mod graph;
pub mod infer;
pub mod layout;
mod ops;
mod saved;
pub mod text;
mod types;
mod verify;

pub use attr::Attr;
pub use entities::{Const, Node, Op, Value};
pub(crate) use graph::indices;
pub use graph::{Constant, Graph, GraphInput, GraphOutput, OpData, ValueData, ValueDef};
pub use ops::{AttrSpec, BinaryFn, Conversion, OPERATIONS, OpKind, OpSpec, Stage, UnaryFn};
pub use saved::{
    LoadError, MAX_ACTIVATION_BYTES, SAVED_VERSION, SavedEntry, SavedGraph, SavedInput, SavedOutput,
};
pub use types::{Elem, TensorType};
pub use verify::{Defect, Place, VerifyError};
