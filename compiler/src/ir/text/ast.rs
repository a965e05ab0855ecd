//! The syntax tree of a text: its lines, with words as slices of the source.

/// The syntax tree of a text.
pub(super) struct File<'s> {
    pub(super) name: &'s str,
    pub(super) stage: &'s str,
    pub(super) lines: Vec<Line<'s>>,
}

/// A line of the text.
pub(super) enum Line<'s> {
    /// The shape in the model is that of the type unless stated.
    Input {
        results: Vec<&'s str>,
        name: &'s str,
        shape: Option<Vec<&'s str>>,
        inverted: bool,
        ty: Type<'s>,
    },
    Const {
        results: Vec<&'s str>,
        name: &'s str,
        ty: Type<'s>,
        data: Data<'s>,
    },
    Op(Op<'s>),
    Output {
        name: &'s str,
        shape: Vec<&'s str>,
        value: &'s str,
    },
    Node {
        node: &'s str,
        name: &'s str,
    },
    Decision {
        layer: &'s str,
        subject: &'s str,
        chosen: &'s str,
        reason: &'s str,
    },
}

/// An operation with its operands and attributes.
pub(super) struct Op<'s> {
    pub(super) results: Vec<&'s str>,
    pub(super) mnemonic: &'s str,
    pub(super) operands: Vec<&'s str>,
    pub(super) attrs: Vec<(&'s str, Literal<'s>)>,
    /// Types of the results; empty if they are inferred.
    pub(super) types: Vec<Type<'s>>,
    pub(super) nodes: Vec<&'s str>,
}

/// A tensor type.
pub(super) struct Type<'s> {
    /// The source text.
    pub(super) text: &'s str,
    pub(super) elem: &'s str,
    pub(super) shape: Vec<&'s str>,
    pub(super) step: Option<&'s str>,
}

/// The value of an attribute.
pub(super) struct Literal<'s> {
    /// The source text.
    pub(super) text: &'s str,
    pub(super) kind: LiteralKind<'s>,
}

pub(super) enum LiteralKind<'s> {
    Integer,
    Real,
    Word,
    Integers(Vec<&'s str>),
}

/// The elements of a constant.
pub(super) struct Data<'s> {
    /// The source text.
    pub(super) text: &'s str,
    pub(super) kind: DataKind<'s>,
    pub(super) digest: Option<&'s str>,
}

pub(super) enum DataKind<'s> {
    Elements(Vec<&'s str>),
    Hex(&'s str),
    Seed(&'s str),
    File {
        name: &'s str,
        offset: &'s str,
    },
    /// Only the digest is given.
    Elided,
}
