//! The text form of a graph.

use std::fmt;

use super::{Graph, ValueDef};

/// One line per input, constant, operation and output:
///
/// ```text
/// graph "digits" quantised {
///     v0 = input "x" : i8[1,1,32,32]*0.00787
///     v1 = const "patch_embed.proj.weight" : i8[48,16]
///     v3 = patches v0 {kernel=[4,4], stride=[4,4], pad=[0,0,0,0]} : i8[64,16]*0.00787  // /patch_embed/proj/Conv
///     output "logits" [1,10] = v9
/// }
/// ```
///
/// Constants print where they are first used. Their data is not part of the text.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {:?} {} {{", self.name, self.stage)?;
        for (name, value) in &self.inputs {
            writeln!(f, "    {value} = input {name:?} : {}", self.ty(*value))?;
        }
        let mut printed = vec![false; self.value_count()];
        for op in &self.order {
            let data = self.op(*op);
            for operand in &data.operands {
                let (ValueDef::Const(_), Some(constant)) = (self.def(*operand), self.constant(*operand)) else {
                    continue;
                };
                if !std::mem::replace(&mut printed[operand.as_u32() as usize], true) {
                    writeln!(f, "    {operand} = const {:?} : {}", constant.name, self.ty(*operand))?;
                }
            }
            write!(f, "    {} = {}", commas(&data.results), data.kind.mnemonic())?;
            if !data.operands.is_empty() {
                write!(f, " {}", commas(&data.operands))?;
            }
            let attrs: Vec<String> = data.kind.attrs().iter().map(|(name, attr)| format!("{name}={attr}")).collect();
            if !attrs.is_empty() {
                write!(f, " {{{}}}", attrs.join(", "))?;
            }
            let types: Vec<_> = data.results.iter().map(|result| self.ty(*result)).collect();
            write!(f, " : {}", commas(&types))?;
            if let Some(node) = data.nodes.first() {
                write!(f, "  // {}", self.node(*node))?;
            }
            writeln!(f)?;
        }
        for output in &self.outputs {
            writeln!(f, "    output {:?} {:?} = {}", output.name, output.shape, output.value)?;
        }
        writeln!(f, "}}")
    }
}

fn commas(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
