//! A program as text.

use std::fmt;

use super::directives::sha256;
use super::machine;
use crate::check::{self, CheckError};
use crate::cost::cost;
use crate::effects::{Space, accesses};
use crate::instr::{Instr, Op};
use crate::program::{Binding, Decision, Layer, Program};

/// Constants up to this size are always in the text.
const SMALL: usize = 4096;

/// Bytes of a line of data.
const LINE: usize = 32;

/// The text of a program, by its `Display`: all of it, so that it can be [read](super::Assembly::parse) again.
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    program: &'a Program,
    file: Option<String>,
    is_annotated: bool,
}

impl Program {
    /// The program as text.
    pub fn listing(&self) -> Listing<'_> {
        Listing { program: self, file: None, is_annotated: false }
    }
}

impl Listing<'_> {
    /// Large constants and the IR by reference to the program's own file, of that name without folder.
    pub fn with_constants_in(self, file: &str) -> Self {
        Listing { file: Some(file.to_owned()), ..self }
    }

    /// Comments state for each instruction its index, node, bytes of operands and cycles. A transfer's cycles are those for which it
    /// takes the DRAM channel.
    ///
    /// # Errors
    /// The program does not pass its checks: only one that does has costs.
    pub fn annotated(self) -> Result<Self, CheckError> {
        check::check(self.program)?;
        Ok(Listing { is_annotated: true, ..self })
    }

    fn section(&self, f: &mut fmt::Formatter<'_>, directive: &str, bytes: &[u8]) -> fmt::Result {
        if let Some(file) = self.file.as_ref().filter(|_| bytes.len() > SMALL) {
            return writeln!(f, "{directive} {file:?} sha256={}", sha256(bytes));
        }
        writeln!(f, "{directive}")?;
        for line in bytes.chunks(LINE) {
            f.write_str("    .hex ")?;
            line.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str("\n")?;
        }
        Ok(())
    }

    fn annotate(&self, f: &mut fmt::Formatter<'_>, index: usize, instr: &Instr) -> fmt::Result {
        let Program { header, machine, layer_of, .. } = self.program;
        let cost = cost(&instr.op, machine);
        let cycles = match instr.op {
            Op::Load(_) | Op::Store(_) | Op::Gather(_) => {
                cost.burst_bytes.saturating_mul(1000).div_ceil(machine.dram_millibytes_per_cycle().max(1))
            }
            _ => cost.cycles,
        };
        write!(f, "  ; {index}")?;
        if let Some(layer) = layer_of.get(index).and_then(|layer| header.layers.get(*layer as usize)) {
            write!(f, " {:?}", layer.nodes.first().unwrap_or(&layer.name))?;
        }
        let bytes = |space| {
            let touched = accesses(&instr.op).into_iter().filter(move |access| access.space == space);
            touched.fold(0u64, |sum, access| sum.saturating_add(access.region.total()))
        };
        for (space, name) in [(Space::Dram, "DRAM"), (Space::Sram, "scratchpad")] {
            let bytes = bytes(space);
            if bytes > 0 {
                write!(f, ", {bytes} B of {name}")?;
            }
        }
        write!(f, ", {cycles} cycle{}", if cycles == 1 { "" } else { "s" })
    }
}

// Names come from the model's file: quoted, so that none breaks its line.
impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { header, machine, code, layer_of, image, ir } = self.program;
        writeln!(f, ".program {:?} dram={}", header.name, header.dram_bytes)?;
        writeln!(f, ".machine {}  ; {}", machine::print(machine), Comment(machine))?;
        for (kind, bindings) in [("input", &header.inputs), ("output", &header.outputs)] {
            for Binding { name, shape, element, step, address } in bindings {
                writeln!(f, ".{kind} {name:?} {element} {shape:?} step={step:?} at=dram:{address:#x}")?;
            }
        }
        for Decision { layer, subject, chosen, reason } in &header.decisions {
            writeln!(f, ".decision layer={layer:?} subject={subject:?} chosen={chosen:?} reason={reason:?}")?;
        }
        if !image.is_empty() {
            self.section(f, ".image", image)?;
        }
        if let Some(ir) = ir {
            self.section(f, ".ir", ir)?;
        }
        writeln!(
            f,
            "; {} bytes of constants, {} instructions, {} layers",
            image.len(),
            code.len(),
            header.layers.len()
        )?;

        let mut layers = header.layers.iter();
        let mut defined = 0;
        let mut current = None;
        for (index, instr) in code.iter().enumerate() {
            let layer = layer_of.get(index).copied().unwrap_or_default();
            if current != Some(layer) {
                f.write_str("\n")?;
                // Layers are numbered in the order of their definitions.
                while defined <= u64::from(layer)
                    && let Some(next) = layers.next()
                {
                    define(f, next)?;
                    current = u32::try_from(defined).ok();
                    defined += 1;
                }
                if current != Some(layer) {
                    write!(f, ".in {layer}")?;
                    match header.layers.get(layer as usize) {
                        Some(layer) => writeln!(f, "  ; {:?}", layer.name)?,
                        None => f.write_str("\n")?,
                    }
                }
                current = Some(layer);
            }
            write!(f, "    {instr}")?;
            if self.is_annotated {
                self.annotate(f, index, instr)?;
            }
            f.write_str("\n")?;
        }
        if layers.len() > 0 {
            f.write_str("\n")?;
        }
        layers.try_for_each(|layer| define(f, layer))
    }
}

fn define(f: &mut fmt::Formatter<'_>, layer: &Layer) -> fmt::Result {
    let Layer { name, operation, nodes, needed_macs, compulsory_bytes } = layer;
    write!(f, ".layer {name:?} operation={operation:?} macs={needed_macs} bytes={compulsory_bytes}")?;
    writeln!(f, " nodes={nodes:?}")
}

/// A text of one line.
struct Comment<T>(T);

impl<T: fmt::Display> fmt::Display for Comment<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_string().replace(char::is_control, " "))
    }
}
