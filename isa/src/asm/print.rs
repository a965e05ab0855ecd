//! Prints programs as text.

use std::fmt;

use bytes::Bytes;

use super::attempt::Attempt;
use super::kind::Kind;
use super::machine;
use super::section::sha256;
use super::task_listing::{Short, TaskListing};
use crate::check::{self, CheckError};
use crate::cost::cost;
use crate::effects::{Space, accesses};
use crate::instr::{Instr, Sram};
use crate::program::{Alternative, Binding, Buffer, Decision, Element, Layer, Program, SavedIr};

/// The largest constant, in bytes, that is always inline in text that can be parsed.
const SMALL: usize = 4096;

/// The largest constant, in bytes, that is inline in text for reading.
const GLANCE: usize = 64;

/// Bytes of data per line.
const LINE: usize = 32;

/// Where a printed text has its constants and its IR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sections {
    /// In the text.
    #[default]
    Inline,
    /// Large ones are references to the program's file of this name.
    Program(String),
    /// Large ones are references to a file of this name beside the text, with the contents
    /// [`Sections::side`].
    Side(String),
    /// Large ones are digests; such text is for reading only.
    Digest,
}

impl Sections {
    /// The contents of the side file: the large ones among image, saved graphs and their constants,
    /// one after the other.
    pub fn side<'a>(image: &'a Bytes, saved: impl IntoIterator<Item = &'a SavedIr>) -> Vec<u8> {
        let saved = saved.into_iter().flat_map(|saved| [&saved.graph, &saved.constants]);
        let sections = [image].into_iter().chain(saved);
        sections
            .filter(|bytes| bytes.len() > SMALL)
            .flat_map(|bytes| bytes.iter().copied())
            .collect()
    }

    /// Prints a section, which starts at `at` in the side file if it is there.
    fn print(
        &self,
        f: &mut fmt::Formatter<'_>,
        directive: &str,
        bytes: &[u8],
        at: usize,
    ) -> fmt::Result {
        let digest = || sha256(bytes);
        let count = bytes.len();
        match self {
            Sections::Program(file) if count > SMALL => {
                writeln!(f, "{directive} {file:?} sha256={}", digest())
            }
            Sections::Side(file) if count > SMALL => {
                writeln!(f, "{directive} {file:?} at={at} bytes={count} sha256={}", digest())
            }
            Sections::Digest if count > GLANCE => {
                writeln!(f, "{directive} bytes={count} sha256={}", digest())
            }
            _ => {
                writeln!(f, "{directive}")?;
                for line in bytes.chunks(LINE) {
                    f.write_str("    .hex ")?;
                    line.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                    f.write_str("\n")?;
                }
                Ok(())
            }
        }
    }

    /// Prints all of a text except layers and instructions.
    fn print_head(&self, f: &mut fmt::Formatter<'_>, kind: Kind, program: &Program) -> fmt::Result {
        let Program { header, machine, image, ir, host, .. } = program;
        writeln!(f, "{} {:?} dram={}", kind.directive(), header.name, header.dram_bytes)?;
        writeln!(f, ".machine {}  ; {}", machine::print(machine), Comment(machine))?;
        for (kind, bindings) in [("input", &header.inputs), ("output", &header.outputs)] {
            for Binding {
                name,
                shape,
                layout,
                element,
                step,
                factors,
                offsets,
                address,
                expected_sqnr_db,
            } in bindings
            {
                write!(f, ".{kind} {name:?} {element} {shape:?} step={step:?}")?;
                match element {
                    Element::I8 | Element::I16 => {}
                    Element::Row { below } => write!(f, " below={below}")?,
                    Element::Bits { rows, inverted } => {
                        write!(f, " rows={rows}")?;
                        if *inverted {
                            write!(f, " inverted=true")?;
                        }
                    }
                }
                if !factors.is_empty() {
                    write!(f, " factors={factors:?}")?;
                }
                if !offsets.is_empty() {
                    write!(f, " offsets={offsets:?}")?;
                }
                write!(f, " at=dram:{address:#x}")?;
                if !layout.is_row_major() {
                    write!(f, " layout={}", layout.name())?;
                }
                if let Some(expected) = expected_sqnr_db {
                    write!(f, " expected_sqnr_db={expected:?}")?;
                }
                writeln!(f)?;
            }
        }
        for Decision { layer, subject, chosen, reason, alternatives } in &header.decisions {
            writeln!(
                f,
                ".decision layer={layer:?} subject={subject:?} chosen={chosen:?} reason={reason:?}"
            )?;
            for Alternative { name, cycles, dram_bytes } in alternatives {
                writeln!(f, ".alternative {name:?} cycles={cycles} bytes={dram_bytes}")?;
            }
        }
        let mut at = 0;
        let mut section = |directive: &str, bytes: &Bytes| {
            let start = at;
            at += if bytes.len() > SMALL { bytes.len() } else { 0 };
            self.print(f, directive, bytes, start)
        };
        if !image.is_empty() {
            section(".image", image)?;
        }
        let graphs = [(ir, ".ir", ".ir_constants"), (host, ".host", ".host_constants")];
        for (saved, of_graph, of_constants) in graphs {
            let Some(SavedIr { graph, constants }) = saved else { continue };
            section(of_graph, graph)?;
            if !constants.is_empty() {
                section(of_constants, constants)?;
            }
        }
        Ok(())
    }
}

/// The complete text of a program, by `Display`. It can be [parsed](super::Assembly::parse).
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    program: &'a Program,
    sections: Sections,
    is_annotated: bool,
}

impl Program {
    /// The text of the program.
    pub fn listing(&self) -> Listing<'_> {
        Listing { program: self, sections: Sections::Inline, is_annotated: false }
    }
}

impl Listing<'_> {
    /// Prints large constants and the IR as references to the program's own file, named without
    /// folder.
    pub fn with_constants_in(self, file: &str) -> Self {
        self.with_sections(Sections::Program(file.to_owned()))
    }

    /// Chooses where constants and the IR are.
    pub fn with_sections(self, sections: Sections) -> Self {
        Listing { sections, ..self }
    }

    /// Adds comments with the index, node, operand bytes and cycles of each instruction. The cycles
    /// of a transfer are those in which it occupies the DRAM channel.
    ///
    /// # Errors
    /// The verifier rejects the program; costs are defined only for valid programs.
    pub fn annotated(self) -> Result<Self, CheckError> {
        check::check(self.program)?;
        Ok(Listing { is_annotated: true, ..self })
    }

    fn annotate(&self, f: &mut fmt::Formatter<'_>, index: usize, instr: &Instr) -> fmt::Result {
        let Program { header, machine, layer_of, .. } = self.program;
        let cost = cost(&instr.op, machine);
        let cycles = match instr.op.traffic() {
            Some(_) => machine.transfer_cycles(cost.burst_bytes),
            None => cost.cycles,
        };
        write!(f, "  ; {index}")?;
        if let Some(layer) =
            layer_of.get(index).and_then(|layer| header.layers.get(*layer as usize))
        {
            write!(f, " {:?}", layer.nodes.first().unwrap_or(&layer.name))?;
        }
        let bytes = |space| {
            let touched =
                accesses(&instr.op).into_iter().filter(move |access| access.space == space);
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

// Names come from the model's file. They are quoted, so that none can break its line.
impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { header, code, layer_of, buffers, image, .. } = self.program;
        self.sections.print_head(f, Kind::Program, self.program)?;
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
        layers.try_for_each(|layer| define(f, layer))?;
        if !buffers.is_empty() {
            writeln!(
                f,
                "\n; buffers in the scratchpad, from their first to their last instruction"
            )?;
        }
        for Buffer { address, bytes, first, last } in buffers {
            writeln!(f, ".live {} bytes={bytes} first={first} last={last}", Sram(*address))?;
        }
        Ok(())
    }
}

/// The text of a task listing.
#[derive(Clone, Debug)]
pub struct TaskListingText<'a> {
    tasks: &'a TaskListing,
    sections: Sections,
}

impl TaskListing {
    /// The task listing as text. It can be parsed unless `sections` omits constants.
    pub fn listing(&self, sections: Sections) -> TaskListingText<'_> {
        TaskListingText { tasks: self, sections }
    }
}

impl fmt::Display for TaskListingText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TaskListing { kind, program, buffers, operands, groups, attempt } = self.tasks;
        self.sections.print_head(f, *kind, program)?;
        if let Some(Attempt { order, ahead }) = attempt {
            writeln!(f, ".schedule {} ahead={ahead}", order.name())?;
        }
        for (number, (bytes, address)) in buffers.iter().enumerate() {
            write!(f, ".buffer b{number} {bytes}")?;
            match address {
                Some(address) => writeln!(f, " at={}", Sram(*address))?,
                None => f.write_str("\n")?,
            }
        }
        program.header.layers.iter().try_for_each(|layer| define(f, layer))?;
        let mut current = None;
        for (index, instr) in program.code.iter().enumerate() {
            let (layer, group) = (program.layer_of[index], groups[index]);
            if current != Some((layer, group)) {
                current = Some((layer, group));
                write!(f, "\n.in {layer} group={group}")?;
                match program.header.layers.get(layer as usize) {
                    Some(layer) => writeln!(f, "  ; {:?}", layer.name)?,
                    None => f.write_str("\n")?,
                }
            }
            writeln!(f, "    {}", Short { op: &instr.op, operands: &operands[index] })?;
        }
        Ok(())
    }
}

fn define(f: &mut fmt::Formatter<'_>, layer: &Layer) -> fmt::Result {
    let Layer { name, operation, nodes, needed_macs, compulsory_bytes } = layer;
    write!(
        f,
        ".layer {name:?} operation={operation:?} macs={needed_macs} bytes={compulsory_bytes}"
    )?;
    writeln!(f, " nodes={nodes:?}")
}

/// Text reduced to one line.
struct Comment<T>(T);

impl<T: fmt::Display> fmt::Display for Comment<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_string().replace(char::is_control, " "))
    }
}
