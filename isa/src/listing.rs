//! A program as text: what it is, then its instructions with their indices, in program order.
//!
//! Lines that start with `;` are comments. A comment names the layer wherever it changes.

use std::fmt;

use crate::program::{Binding, Program};

/// The text of a program, by its `Display`.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a>(&'a Program);

impl Program {
    /// The program as text.
    pub fn listing(&self) -> Listing<'_> {
        Listing(self)
    }
}

// Names come from the model's file: quoted, so that none breaks its line.
impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { header, machine, code, layer_of, image, .. } = self.0;
        writeln!(f, "; model {:?}", header.name)?;
        writeln!(f, "; machine {machine}")?;
        writeln!(f, "; machine digest {}", machine.digest())?;
        writeln!(f, "; {} bytes of DRAM, {} of them constants", header.dram_bytes, image.len())?;
        for (kind, bindings) in [("input", &header.inputs), ("output", &header.outputs)] {
            for Binding { name, shape, element, step, address } in bindings {
                writeln!(f, "; {kind} {name:?} {element} {shape:?}, step {step}, at dram:{address:#x}")?;
            }
        }
        writeln!(f, "; {} instructions, {} layers", code.len(), header.layers.len())?;

        let width = code.len().saturating_sub(1).to_string().len();
        let mut current = None;
        for (index, instr) in code.iter().enumerate() {
            let layer = layer_of.get(index).copied();
            if layer != current {
                current = layer;
                match layer.and_then(|layer| header.layers.get(layer as usize)) {
                    Some(layer) => writeln!(f, "\n; layer {:?} ({})", layer.name, layer.operation.escape_debug())?,
                    None => writeln!(f, "\n; no layer")?,
                }
            }
            writeln!(f, "{index:width$}  {instr}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::instr::table::{Barrier, Halt, Sync};
    use crate::instr::{Instr, Unit, UnitSet};
    use crate::machine::Machine;
    use crate::program::{Binding, Element, Header, Layer, Program};

    #[test]
    fn a_listing() {
        let layer = |name: &str, operation: &str| Layer {
            name: name.to_owned(),
            operation: operation.to_owned(),
            nodes: vec![],
            needed_macs: 0,
            compulsory_bytes: 0,
        };
        let sync = Instr { wait: UnitSet::from_iter([Unit::Load]), ..Instr::new(Sync { unit: Unit::Vector }) };
        let mut code = vec![Instr::new(Barrier {}); 9];
        code.extend([sync, Instr::new(Halt {})]);
        let program = Program {
            header: Header {
                name: "tiny".to_owned(),
                dram_bytes: 4096,
                inputs: vec![Binding {
                    name: "x\n".to_owned(),
                    shape: vec![1, 3],
                    element: Element::I8,
                    step: 0.125,
                    address: 256,
                }],
                outputs: vec![],
                layers: vec![layer("/a", "matmul"), layer("/b", "add")],
                decisions: vec![],
            },
            machine: Machine::preset("vitcod").unwrap(),
            layer_of: vec![0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 7],
            code,
            image: Bytes::from_static(&[0; 100]),
            ir: None,
        };
        let digest = program.machine.digest();
        let expected = format!(
            r#"; model "tiny"
; machine vitcod: 64 lines x 8 MACs, 320 KB, 153.6 B/cycle, 500 MHz
; machine digest {digest}
; 4096 bytes of DRAM, 100 of them constants
; input "x\n" i8 [1, 3], step 0.125, at dram:0x100
; 11 instructions, 2 layers

; layer "/a" (matmul)
 0  barrier
 1  barrier

; layer "/b" (add)
 2  barrier
 3  barrier
 4  barrier
 5  barrier
 6  barrier
 7  barrier
 8  barrier

; layer "/a" (matmul)
 9  sync unit=vector wait=load

; no layer
10  halt
"#
        );
        assert_eq!(program.listing().to_string(), expected);
    }
}
