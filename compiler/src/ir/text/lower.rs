//! From a syntax tree to a graph: resolves names, looks up operations in the table, and checks
//! types and elements.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use vitcod_isa::asm::MAX_SEEDED_BYTES;
use vitcod_isa::program::Decision;
use vitcod_support::diagnostics::{Diagnostic, closest, did_you_mean};
use vitcod_support::problems::{Collector, Problems};

use super::ast::{Data, DataKind, File, Line, Literal, LiteralKind, Op, Type};
use super::data::{digest, push_number, seeded, unhex};
use super::names::unquoted;
use crate::ir::infer::operand_count;
use crate::ir::{
    Attr, AttrSpec, Elem, Graph, Node, OPERATIONS, OpKind, OpSpec, Place, Stage, TensorType, Value,
};

/// The most dimensions of a tensor.
const MAX_RANK: usize = 32;

/// The most bytes of a tensor, where extents of 0 count as 1.
const MAX_BYTES: usize = 1 << 40;

/// The error of a line; the diagnostic has been recorded.
struct GivenUp;

type Lowered<T> = Result<T, GivenUp>;

pub(super) struct Lowering<'s, 'f> {
    source: &'s str,
    files: &'f mut dyn FnMut(&str) -> Result<Bytes, String>,
    diagnostics: Collector<Diagnostic>,
    graph: Graph,
    /// Values by name; `None` if the line that defines it has an error.
    values: BTreeMap<&'s str, Option<Value>>,
    nodes: BTreeMap<&'s str, Node>,
    /// The source text of each value, operation and output of the graph, for diagnostics.
    value_texts: Vec<&'s str>,
    op_texts: Vec<&'s str>,
    output_texts: Vec<&'s str>,
    seeded: usize,
}

impl<'s, 'f> Lowering<'s, 'f> {
    /// `broken` are positions in lines with syntax errors.
    pub(super) fn new(
        source: &'s str,
        files: &'f mut dyn FnMut(&str) -> Result<Bytes, String>,
        broken: &[usize],
    ) -> Lowering<'s, 'f> {
        let values = broken
            .iter()
            .flat_map(|place| defined_in_line(source, *place))
            .map(|name| (name, None));
        Lowering {
            source,
            files,
            diagnostics: Collector::new(),
            graph: Graph::new("", Stage::Imported),
            values: values.collect(),
            nodes: BTreeMap::new(),
            value_texts: Vec::new(),
            op_texts: Vec::new(),
            output_texts: Vec::new(),
            seeded: 0,
        }
    }

    /// Lowers the syntax tree.
    pub(super) fn graph(mut self, file: &File<'s>) -> Result<Graph, Problems<Diagnostic>> {
        self.read(file);
        self.diagnostics.finish()?;
        Ok(self.graph)
    }

    fn read(&mut self, file: &File<'s>) {
        if let Ok(name) = self.string(file.name) {
            self.graph.name = name;
        }
        match Stage::ALL.into_iter().find(|stage| stage.name() == file.stage) {
            Some(stage) => self.graph.stage = stage,
            None => {
                let names = Stage::ALL.map(Stage::name);
                let message =
                    format!("unknown stage `{}`, expected one of {}", file.stage, names.join(", "));
                self.report_unknown(file.stage, message, names);
                // If the stage is misspelt, the lines are read as those of the closest stage.
                let meant = closest(file.stage, names);
                match Stage::ALL.into_iter().find(|stage| Some(stage.name()) == meant) {
                    Some(stage) => self.graph.stage = stage,
                    None => return,
                }
            }
        }
        self.node_names(&file.lines);
        for line in &file.lines {
            // A line with an error has recorded a diagnostic, and the values it defines are marked.
            let _ = self.line(line);
        }
        if !self.diagnostics.is_empty() {
            return;
        }
        if let Err(error) = self.graph.verify() {
            for defect in error.defects.kept() {
                let text = match defect.place {
                    Place::Value(value) => self.value_texts.get(value.as_u32() as usize),
                    Place::Op(op) => self.op_texts.get(op.as_u32() as usize),
                    Place::Output(i) => self.output_texts.get(i),
                };
                self.report(text.copied().unwrap_or(file.stage), &defect.message);
            }
            self.diagnostics.add_omitted(error.defects.omitted());
        }
    }

    fn span(&self, text: &str) -> Range<usize> {
        let start = text.as_ptr().addr() - self.source.as_ptr().addr();
        start..start + text.len()
    }

    /// Adds a diagnostic for a part of the source.
    fn report(&mut self, text: &str, message: impl Into<String>) {
        let span = self.span(text);
        self.diagnostics.push(|| Diagnostic::at(span, message));
    }

    /// Adds a diagnostic for a word that is not among the known ones.
    fn report_unknown<'a>(
        &mut self,
        word: &str,
        message: String,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let span = self.span(word);
        self.diagnostics
            .push(|| Diagnostic::at(span, message).with_help(did_you_mean(word, known)));
    }

    fn give_up<T>(&mut self, text: &str, message: impl Into<String>) -> Lowered<T> {
        self.report(text, message);
        Err(GivenUp)
    }

    fn string(&mut self, text: &'s str) -> Lowered<String> {
        match unquoted(text) {
            Ok(string) => Ok(string),
            Err(escape) => self.give_up(escape, format!("`{escape}` is not an escape of a string")),
        }
    }

    fn integer<T: std::str::FromStr>(&mut self, text: &'s str, expected: &str) -> Lowered<T> {
        match text.parse() {
            Ok(integer) => Ok(integer),
            Err(_) => self.give_up(text, format!("`{text}` is not {expected}")),
        }
    }

    /// Adds the ONNX nodes of all lines in the order of their numbers in the text.
    fn node_names(&mut self, lines: &[Line<'s>]) {
        let mut named: BTreeMap<u32, (&'s str, String)> = BTreeMap::new();
        for line in lines {
            let Line::Node { node, name } = line else { continue };
            let Ok(number) = self.integer(&node[1..], "a number of 32 bits") else { continue };
            let name = self.string(name).unwrap_or_default();
            if named.insert(number, (node, name)).is_some() {
                self.report(node, format!("{node} is defined before"));
            }
        }
        for (node, name) in named.into_values() {
            let number = self.graph.add_node(name);
            self.nodes.insert(node, number);
        }
    }

    fn line(&mut self, line: &Line<'s>) -> Lowered<()> {
        match line {
            Line::Node { .. } => Ok(()),
            Line::Decision { layer, subject, chosen, reason } => {
                let [layer, subject] = [self.string(layer)?, self.string(subject)?];
                let [chosen, reason] = [self.string(chosen)?, self.string(reason)?];
                let decision = Decision::new(layer, subject, chosen, reason);
                self.graph.decisions.push(decision);
                Ok(())
            }
            Line::Input { results, name, shape, inverted, ty } => {
                let made = self.input(name, shape.as_deref(), ty);
                if let Ok(value) = made {
                    self.graph.set_inverted(value, *inverted);
                }
                self.define_one(results, made)
            }
            Line::Const { results, name, ty, data } => {
                let made = self.constant(name, ty, data);
                self.define_one(results, made)
            }
            Line::Op(op) => {
                let made = self.operation(op);
                self.define(&op.results, made)
            }
            Line::Output { name, shape, value } => {
                let text = *name;
                let name = self.string(name)?;
                let shape = self.shape(shape)?;
                let value = self.value(value)?;
                self.graph.add_output(name, value, shape);
                self.output_texts.push(text);
                Ok(())
            }
        }
    }

    fn define_one(&mut self, names: &[&'s str], made: Lowered<Value>) -> Lowered<()> {
        if let [_, second, ..] = names {
            self.report(second, "one value is defined here");
            return self.define(names, Err(GivenUp));
        }
        self.define(names, made.map(|value| vec![value]))
    }

    /// Binds names to the values that a line defines, if it has no error.
    fn define(&mut self, names: &[&'s str], made: Lowered<Vec<Value>>) -> Lowered<()> {
        let made = made.unwrap_or_else(|GivenUp| Vec::new());
        for (i, name) in names.iter().enumerate() {
            if made.get(i).is_some() {
                self.value_texts.push(name);
            }
            if self.values.insert(name, made.get(i).copied()).is_some() {
                self.report(name, format!("{name} is defined before"));
            }
        }
        Ok(())
    }

    /// Looks up a value that is already defined.
    fn value(&mut self, name: &'s str) -> Lowered<Value> {
        match self.values.get(name) {
            Some(value) => value.ok_or(GivenUp),
            None => self.give_up(name, format!("{name} is not defined before this line")),
        }
    }

    fn input(&mut self, name: &'s str, shape: Option<&[&'s str]>, ty: &Type<'s>) -> Lowered<Value> {
        let name = self.string(name)?;
        let shape = shape.map(|shape| self.shape(shape)).transpose()?;
        let ty = self.ty(ty)?;
        let shape = shape.unwrap_or_else(|| ty.shape.clone());
        Ok(self.graph.add_input_of(name, ty, shape))
    }

    fn shape(&mut self, shape: &[&'s str]) -> Lowered<Vec<usize>> {
        shape.iter().map(|extent| self.integer(extent, "an extent")).collect()
    }

    fn ty(&mut self, ty: &Type<'s>) -> Lowered<TensorType> {
        let names = Elem::ALL.map(Elem::name);
        let Some(elem) = Elem::ALL.into_iter().find(|elem| elem.name() == ty.elem) else {
            let message =
                format!("unknown element type `{}`, expected one of {}", ty.elem, names.join(", "));
            self.report_unknown(ty.elem, message, names);
            return Err(GivenUp);
        };
        let shape = self.shape(&ty.shape)?;
        let step = ty.step.map(|step| self.integer(step, "a number")).transpose()?;
        let made = TensorType { elem, shape, step };
        self.check_size(ty.text, &made)?;
        Ok(made)
    }

    /// Checks that the size of a tensor does not overflow.
    fn check_size(&mut self, text: &'s str, ty: &TensorType) -> Lowered<()> {
        let bytes = ty
            .shape
            .iter()
            .try_fold(ty.elem.bytes(), |product, extent| product.checked_mul((*extent).max(1)));
        if ty.rank() > MAX_RANK || bytes.is_none_or(|bytes| bytes > MAX_BYTES) {
            return self.give_up(
                text,
                format!("a tensor has at most {MAX_RANK} dimensions and {MAX_BYTES} bytes"),
            );
        }
        Ok(())
    }

    fn constant(&mut self, name: &'s str, ty: &Type<'s>, data: &Data<'s>) -> Lowered<Value> {
        let name = self.string(name)?;
        let ty = self.ty(ty)?;
        let bytes = self.bytes(&ty, data)?;
        if let Some(expected) = data.digest {
            let found = digest(&bytes);
            if expected[2..expected.len() - 1] != found {
                return self
                    .give_up(expected, format!("the elements have the digest x\"{found}\""));
            }
        }
        Ok(self.graph.add_const(name, ty, bytes))
    }

    fn bytes(&mut self, ty: &TensorType, data: &Data<'s>) -> Lowered<Bytes> {
        let expected = ty.bytes();
        let bytes = match &data.kind {
            DataKind::Elided => {
                return self.give_up(
                    data.text,
                    "the elements are left out: this text is for reading only",
                );
            }
            DataKind::Elements(numbers) => {
                if numbers.len() != ty.elements() {
                    let message =
                        format!("{} elements for {ty}, which has {}", numbers.len(), ty.elements());
                    return self.give_up(data.text, message);
                }
                let mut bytes = Vec::with_capacity(expected);
                for number in numbers {
                    if push_number(ty.elem, number, &mut bytes).is_none() {
                        return self
                            .give_up(number, format!("`{number}` is not a valid {}", ty.elem));
                    }
                }
                Bytes::from(bytes)
            }
            DataKind::Hex(text) => match unhex(&text[2..text.len() - 1]) {
                Some(bytes) if bytes.len() == expected => Bytes::from(bytes),
                _ => {
                    let message = format!(
                        "{} hexadecimal digits for {ty}, which takes {}",
                        text.len() - 3,
                        2 * expected
                    );
                    return self.give_up(text, message);
                }
            },
            DataKind::Seed(text) => {
                let seed = self.integer(text, "a seed of 64 bits")?;
                self.seeded = self.seeded.saturating_add(expected);
                if self.seeded > MAX_SEEDED_BYTES {
                    return self.give_up(
                        data.text,
                        format!("constants from seeds take more than {MAX_SEEDED_BYTES} bytes"),
                    );
                }
                Bytes::from(seeded(ty, seed))
            }
            DataKind::File { name, offset } => {
                let file = self.string(name)?;
                let start: usize = self.integer(offset, "an offset")?;
                let file = match (self.files)(&file) {
                    Ok(file) => file,
                    Err(message) => return self.give_up(name, message),
                };
                match start.checked_add(expected) {
                    Some(end) if end <= file.len() => file.slice(start..end),
                    _ => {
                        let message = format!(
                            "{expected} bytes at {start} exceed the file of {} bytes",
                            file.len()
                        );
                        return self.give_up(data.text, message);
                    }
                }
            }
        };
        Ok(bytes)
    }

    fn operation(&mut self, op: &Op<'s>) -> Lowered<Vec<Value>> {
        let kind = self.kind(op);
        let operands: Vec<Lowered<Value>> =
            op.operands.iter().map(|name| self.value(name)).collect();
        let types: Vec<Lowered<TensorType>> = op.types.iter().map(|ty| self.ty(ty)).collect();
        let nodes: Vec<Lowered<Node>> = op.nodes.iter().map(|name| self.node(name)).collect();
        let kind = kind?;
        if !kind.takes(op.operands.len()) {
            return self.give_up(
                op.mnemonic,
                format!("{}: {}", op.mnemonic, operand_count(&kind, op.operands.len())),
            );
        }
        if op.results.len() != kind.results() {
            let message =
                format!("{} has {} results, not {}", op.mnemonic, kind.results(), op.results.len());
            return self.give_up(op.mnemonic, message);
        }
        if !op.types.is_empty() && op.types.len() != op.results.len() {
            return self.give_up(
                op.types[0].text,
                format!("{} types for {} results", op.types.len(), op.results.len()),
            );
        }
        let operands = operands.into_iter().collect::<Lowered<Vec<_>>>()?;
        let types = types.into_iter().collect::<Lowered<Vec<_>>>()?;
        let nodes = nodes.into_iter().collect::<Lowered<Vec<_>>>()?;
        let results = if types.is_empty() {
            vec![self.inferred(op, kind, &operands, &nodes)?]
        } else {
            self.graph.push_typed(kind, &operands, types, &nodes)
        };
        self.op_texts.push(op.mnemonic);
        Ok(results)
    }

    /// The result of an operation whose type the text omits.
    fn inferred(
        &mut self,
        op: &Op<'s>,
        kind: OpKind,
        operands: &[Value],
        nodes: &[Node],
    ) -> Lowered<Value> {
        if !kind.stages().iter().any(|stage| stage.is_float()) || !self.graph.stage.is_float() {
            return self.give_up(
                op.mnemonic,
                "the step of an integer type cannot be inferred: write the type after `:`",
            );
        }
        let inferred = {
            let types: Vec<&TensorType> =
                operands.iter().map(|operand| self.graph.ty(*operand)).collect();
            crate::ir::infer::infer(&kind, &types)
        };
        match inferred {
            Ok(ty) => {
                self.check_size(op.mnemonic, &ty)?;
                Ok(self.graph.push_typed(kind, operands, vec![ty], nodes)[0])
            }
            Err(error) => self.give_up(op.mnemonic, error.message),
        }
    }

    fn node(&mut self, name: &'s str) -> Lowered<Node> {
        match self.nodes.get(name) {
            Some(node) => Ok(*node),
            None => self.give_up(name, format!("{name} has no line `{name} = node \"...\"`")),
        }
    }

    /// The operation with this mnemonic and these attributes.
    fn kind(&mut self, op: &Op<'s>) -> Lowered<OpKind> {
        let Some(spec) = OPERATIONS.iter().find(|spec| spec.mnemonic == op.mnemonic) else {
            let stage = self.graph.stage;
            let known = OPERATIONS
                .iter()
                .filter(|spec| spec.stages.contains(&stage))
                .map(|spec| spec.mnemonic);
            self.report_unknown(op.mnemonic, format!("unknown operation `{}`", op.mnemonic), known);
            return Err(GivenUp);
        };
        let mut found: BTreeMap<&str, &Literal<'s>> = BTreeMap::new();
        let mut wrong = false;
        for (name, literal) in &op.attrs {
            let names = spec.attrs.iter().map(|attr| attr.name);
            if !names.clone().any(|known| known == *name) {
                self.report_unknown(name, no_attribute(spec, name), names);
                wrong = true;
            } else if found.insert(name, literal).is_some() {
                self.report(name, format!("`{name}` is given more than once"));
                wrong = true;
            }
        }
        let missing: Vec<String> = spec
            .attrs
            .iter()
            .filter(|attr| attr.default.is_none() && !found.contains_key(attr.name))
            .map(missing)
            .collect();
        if !missing.is_empty() {
            // A misspelt name has already been reported.
            if !wrong {
                self.report(
                    op.mnemonic,
                    format!("`{}` needs {}", op.mnemonic, missing.join(" and ")),
                );
            }
            return Err(GivenUp);
        }
        if wrong {
            return Err(GivenUp);
        }
        let told = |attr: &AttrSpec| match (found.get(attr.name), attr.default) {
            (None, Some(default)) => Ok(default()),
            _ => self.attr(found[attr.name]),
        };
        let attrs = spec.attrs.iter().map(told).collect::<Lowered<Vec<_>>>()?;
        match spec.build(&attrs) {
            Ok(kind) => Ok(kind),
            Err(name) => {
                let text = found[name].text;
                for attr in spec.attrs.iter().filter(|attr| attr.name == name) {
                    let message = format!("`{name}` is {}, not `{text}`", (attr.expected)());
                    self.report_unknown(text, message, attr.names.iter().copied());
                }
                Err(GivenUp)
            }
        }
    }

    fn attr(&mut self, literal: &Literal<'s>) -> Lowered<Attr> {
        const INTEGER: &str = "an integer of 64 bits";
        Ok(match &literal.kind {
            LiteralKind::Integer => Attr::Int(self.integer(literal.text, INTEGER)?),
            LiteralKind::Real => Attr::Float(self.integer(literal.text, "a number")?),
            LiteralKind::Word => Attr::Name(literal.text.to_owned().into()),
            LiteralKind::Integers(list) => Attr::Ints(
                list.iter().map(|text| self.integer(text, INTEGER)).collect::<Lowered<_>>()?,
            ),
        })
    }
}

fn no_attribute(spec: &OpSpec, name: &str) -> String {
    let names: Vec<&str> = spec.attrs.iter().map(|attr| attr.name).collect();
    match names.is_empty() {
        true => format!("`{}` has no attributes", spec.mnemonic),
        false => {
            format!("`{}` has no attribute `{name}`; it has {}", spec.mnemonic, names.join(", "))
        }
    }
}

fn missing(attr: &AttrSpec) -> String {
    format!("`{}`, {}", attr.name, (attr.expected)())
}

/// The values that the line at a position defines, judged by its words.
fn defined_in_line(source: &str, place: usize) -> Vec<&str> {
    let start = source[..place].rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[start..].split('\n').next().unwrap_or_default();
    let Some((before, _)) = line.split_once('=') else { return Vec::new() };
    let is_value = |word: &str| {
        word.strip_prefix('v').is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    };
    let words: Vec<&str> = before.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
    if words.iter().all(|word| is_value(word)) { words } else { Vec::new() }
}
