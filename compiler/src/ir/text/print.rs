//! From a graph to its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use vitcod_isa::program::Decision;

use super::super::{Graph, GraphInput, Node, OpData, Value};
use super::data::{digest, elements};

/// The largest constant, in bytes, whose elements are always printed.
const SHORT: usize = 64;

/// Alignment of constants in a side file.
const ALIGNMENT: usize = 64;

/// How the elements of constants of more than 64 bytes are printed.
#[derive(Debug)]
pub enum Constants<'a> {
    /// As digests, for reading and comparing. Such text does not parse back.
    Digests,
    /// In full.
    Inline,
    /// As offsets into a side file.
    File {
        /// Name of the file in the text.
        name: &'a str,
        /// Contents of the file; constants are appended.
        bytes: &'a mut Vec<u8>,
    },
}

/// Prints long constants as digests ([`Constants::Digests`]).
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printer { graph: self, constants: Constants::Digests, out: f }.graph()
    }
}

/// Prints a graph.
///
/// Constants are printed before their first use. Unused constants and ONNX nodes are omitted; the
/// other nodes are numbered in the model's order. If values are numbered in order of appearance, as
/// in [`Graph::compacted`], the text parses to the same graph.
pub fn print(graph: &Graph, constants: Constants<'_>) -> String {
    let mut text = String::new();
    Printer { graph, constants, out: &mut text }.graph().expect("strings take any text");
    text
}

struct Printer<'a, W> {
    graph: &'a Graph,
    constants: Constants<'a>,
    out: &'a mut W,
}

impl<W: Write> Printer<'_, W> {
    fn graph(mut self) -> fmt::Result {
        let graph = self.graph;
        writeln!(self.out, "graph {:?} {} {{", graph.name, graph.stage)?;
        for Decision { layer, subject, chosen, reason, .. } in &graph.decisions {
            writeln!(self.out, "    decision {layer:?} {subject:?} {chosen:?} {reason:?}")?;
        }
        for GraphInput { name, value, shape, inverted } in &graph.inputs {
            let ty = graph.ty(*value);
            let shape =
                if *shape == ty.shape { String::new() } else { format!(" [{}]", joined(shape)) };
            let inverted = if *inverted { " inverted" } else { "" };
            writeln!(self.out, "    {value} = input {name:?}{shape}{inverted} : {ty}")?;
        }
        let used: BTreeSet<Node> =
            graph.order.iter().flat_map(|op| &graph.op(*op).nodes).copied().collect();
        let nodes: BTreeMap<Node, Node> = used
            .into_iter()
            .zip(0..)
            .map(|(node, number)| (node, Node::from_u32(number)))
            .collect();
        let mut printed = vec![false; graph.value_count()];
        for op in &graph.order {
            let data = graph.op(*op);
            for operand in &data.operands {
                self.constant(*operand, &mut printed)?;
            }
            self.operation(data, &nodes)?;
        }
        for output in &graph.outputs {
            self.constant(output.value, &mut printed)?;
        }
        for output in &graph.outputs {
            writeln!(
                self.out,
                "    output {:?} [{}] = {}",
                output.name,
                joined(&output.shape),
                output.value
            )?;
        }
        for (node, number) in &nodes {
            writeln!(self.out, "    {number} = node {:?}", graph.node(*node))?;
        }
        writeln!(self.out, "}}")
    }

    /// Prints the line of a constant, unless it has been printed or the value is not a constant.
    fn constant(&mut self, value: Value, printed: &mut [bool]) -> fmt::Result {
        let Some(constant) = self.graph.constant(value) else { return Ok(()) };
        if std::mem::replace(&mut printed[value.as_u32() as usize], true) {
            return Ok(());
        }
        let ty = self.graph.ty(value);
        let data = match &mut self.constants {
            Constants::Digests if constant.bytes.len() > SHORT => {
                format!("digest x\"{}\"", digest(&constant.bytes))
            }
            Constants::File { name, bytes } if constant.bytes.len() > SHORT => {
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
                let offset = bytes.len();
                bytes.extend_from_slice(&constant.bytes);
                format!("file {name:?} @ {offset} digest x\"{}\"", digest(&constant.bytes))
            }
            _ => elements(ty.elem, &constant.bytes),
        };
        writeln!(self.out, "    {value} = const {:?} : {ty} = {data}", constant.name)
    }

    fn operation(&mut self, data: &OpData, nodes: &BTreeMap<Node, Node>) -> fmt::Result {
        let (results, mnemonic) = (commas(&data.results), data.kind.mnemonic());
        write!(self.out, "    {results} = {mnemonic}({})", commas(&data.operands))?;
        let attrs = data.kind.attrs();
        if !attrs.is_empty() {
            let attrs = attrs.iter().map(|(name, attr)| format!("{name}={attr}"));
            write!(self.out, " {{{}}}", commas(attrs))?;
        }
        write!(
            self.out,
            " : {}",
            commas(data.results.iter().map(|result| self.graph.ty(*result)))
        )?;
        if let Some(first) = data.nodes.first() {
            let name: String = self.graph.node(*first).escape_debug().collect();
            write!(
                self.out,
                " @ {}  // {name}",
                commas(data.nodes.iter().map(|node| nodes[node]))
            )?;
        }
        writeln!(self.out)
    }
}

fn joined(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

fn commas(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
