//! Typed indices of entities, with their text form.

use cranelift_entity::entity_impl;
use serde::{Deserialize, Serialize};

/// A tensor: an input, a constant or a result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// An operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Op(u32);
entity_impl!(Op, "op");

/// The data of a constant tensor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Const(u32);
entity_impl!(Const, "c");

/// A node of the ONNX graph that operations came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node(u32);
entity_impl!(Node, "n");
