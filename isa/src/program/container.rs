//! The file format of programs: ELF64, little-endian, with a private machine number.
//!
//! | section | holds |
//! |---|---|
//! | `.vitcod.header` | JSON: format version, digest of the machine, the program's [`Header`] |
//! | `.vitcod.machine` | the machine, canonical TOML |
//! | `.vitcod.text` | instruction words, one after the other |
//! | `.vitcod.layer` | per instruction its layer, u32 |
//! | `.vitcod.buffers` | per [`Buffer`] its address, bytes, first and last instruction, u32 each; absent where there are none |
//! | `.vitcod.image` | DRAM constants, aligned to 64 bytes in the file |
//! | `.vitcod.ir` | the graph of the [`SavedIr`]; absent in a stripped program |
//! | `.vitcod.ir.constants` | its own constants; absent where there are none |
//! | `.vitcod.host` | the graphs of the host; absent where it computes nothing |
//! | `.vitcod.host.constants` | their constants; absent where there are none |
//!
//! There are no segments, since only this project loads the file; `readelf -S` lists the sections.
//! Sections whose names do not start with `.vitcod.` are ignored. Equal programs have equal bytes.

use std::ops::Range;

use bytes::Bytes;
use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::write::elf::{FileHeader, SectionHeader, Writer};
use object::{Endianness, LittleEndian};
use serde::{Deserialize, Serialize};

use super::error::{Problem, ProgramError, WriteError};
use super::{Buffer, Header, Program, SavedIr};
use crate::instr::{Instr, WORD_ALIGN, word_bytes};
use crate::machine::Machine;
use vitcod_support::problems::Collector;

/// The `e_machine` of program files: "tV" in the order of the file, a number that is not
/// registered.
pub const ELF_MACHINE: u16 = 0x5674;

/// The version of the container and of the encoding of instructions. A reader accepts no other
/// version. The saved IR has a version of its own. The test `what_is_saved_belongs_to_a_format` of
/// `vitcod-compiler` detects changes of operations and instructions.
pub const FORMAT: u32 = 8;

const HEADER: &str = ".vitcod.header";
const MACHINE: &str = ".vitcod.machine";
const TEXT: &str = ".vitcod.text";
const LAYER: &str = ".vitcod.layer";
const BUFFERS: &str = ".vitcod.buffers";
const IMAGE: &str = ".vitcod.image";
const IR: &str = ".vitcod.ir";
const IR_CONSTANTS: &str = ".vitcod.ir.constants";
const HOST: &str = ".vitcod.host";
const HOST_CONSTANTS: &str = ".vitcod.host.constants";

/// The sections in the order of the file.
const SECTIONS: [&str; 10] =
    [HEADER, MACHINE, TEXT, LAYER, BUFFERS, IMAGE, IR, IR_CONSTANTS, HOST, HOST_CONSTANTS];

/// Optional sections.
const OPTIONAL: [&str; 5] = [BUFFERS, IR, IR_CONSTANTS, HOST, HOST_CONSTANTS];

/// Bytes of an entry of `.vitcod.buffers`.
const BUFFER_BYTES: usize = 16;

/// Prefix of the names of the project's sections.
const PREFIX: &str = ".vitcod.";

/// The contents of `.vitcod.header`, borrowed for writing and owned for reading.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preamble<H> {
    format: u32,
    machine_digest: String,
    program: H,
}

/// The field of `.vitcod.header` that every version has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Program {
    /// Encodes the program as a file.
    ///
    /// ```
    /// use vitcod_isa::asm::Assembly;
    /// use vitcod_isa::program::Program;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let text = ".program \"nop\"\n.machine vitcod\n.layer \"nop\"\nhalt";
    /// let program = Assembly::parse(text, &|name| Err(format!("there is no {name}")))
    ///     .map_err(|error| error.render("nop.s", text))?
    ///     .program;
    /// let bytes = program.to_bytes()?;
    /// assert_eq!(Program::from_bytes(bytes.into())?, program);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The program cannot be represented such that [`Program::from_bytes`] restores it: an
    /// instruction has no encoding, the machine is invalid, the number of layers differs from that
    /// of instructions, or a step or factor is not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WriteError> {
        self.machine.validate()?;
        if self.layer_of.len() != self.code.len() {
            return Err(WriteError::Layers {
                instructions: self.code.len(),
                layers: self.layer_of.len(),
            });
        }
        // JSON supports only finite numbers.
        for binding in self.header.inputs.iter().chain(&self.header.outputs) {
            let mut numbers = binding.factors.iter().chain(&binding.offsets);
            if let Some(factor) = numbers.find(|number| !number.is_finite()) {
                return Err(WriteError::Factor { binding: binding.name.clone(), factor: *factor });
            }
        }
        if let Some(binding) =
            self.header.inputs.iter().chain(&self.header.outputs).find(|b| !b.step.is_finite())
        {
            return Err(WriteError::Step { binding: binding.name.clone(), step: binding.step });
        }
        let preamble = Preamble {
            format: FORMAT,
            machine_digest: self.machine.digest(),
            program: &self.header,
        };
        let header =
            serde_json::to_vec(&preamble).map_err(|e| WriteError::Format(e.to_string()))?;
        let machine = self.machine.to_toml();
        let mut text = Vec::new();
        for (index, instr) in self.code.iter().enumerate() {
            let word = instr.encode().map_err(|error| WriteError::Instruction { index, error })?;
            text.extend_from_slice(&word);
        }
        let layer: Vec<u8> = self.layer_of.iter().flat_map(|layer| layer.to_le_bytes()).collect();
        let mut sections = vec![
            Content { name: HEADER, data: &header, align: 1, entry: 0 },
            Content { name: MACHINE, data: machine.as_bytes(), align: 1, entry: 0 },
            Content { name: TEXT, data: &text, align: WORD_ALIGN as u64, entry: 0 },
            Content { name: LAYER, data: &layer, align: 4, entry: 4 },
        ];
        let buffers: Vec<u8> = self.buffers.iter().flat_map(buffer_to_bytes).collect();
        if !buffers.is_empty() {
            let entry = BUFFER_BYTES as u64;
            sections.push(Content { name: BUFFERS, data: &buffers, align: 4, entry });
        }
        sections.push(Content { name: IMAGE, data: &self.image, align: 64, entry: 0 });
        let graphs = [(&self.ir, IR, IR_CONSTANTS), (&self.host, HOST, HOST_CONSTANTS)];
        for (saved, name, name_of_constants) in graphs {
            let Some(SavedIr { graph, constants }) = saved else { continue };
            sections.push(Content { name, data: graph, align: 1, entry: 0 });
            if !constants.is_empty() {
                let name = name_of_constants;
                sections.push(Content { name, data: constants, align: 64, entry: 0 });
            }
        }
        write_elf(&sections).map_err(|e| WriteError::Format(e.to_string()))
    }

    /// Decodes a program file; image and IR share the memory of `bytes`.
    ///
    /// The bytes are untrusted. Memory is bounded by a small multiple of their length. Only the
    /// form is checked; [`check`](crate::check::check) verifies the program.
    ///
    /// # Errors
    /// All problems, with section, offset and instruction.
    pub fn from_bytes(bytes: Bytes) -> Result<Program, ProgramError> {
        let mut problems = Problems::new();
        let program = read(&bytes, &mut problems);
        problems.finish()?;
        Ok(program.expect("a program that cannot be read has a problem"))
    }
}

type Problems = Collector<Problem>;

/// A section to write.
struct Content<'a> {
    name: &'static str,
    data: &'a [u8],
    align: u64,
    entry: u64,
}

fn write_elf(sections: &[Content<'_>]) -> object::write::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut buffer);
    writer.reserve_file_header();
    let names: Vec<_> = sections
        .iter()
        .map(|section| {
            writer.reserve_section_index();
            writer.add_section_name(section.name.as_bytes())
        })
        .collect();
    writer.reserve_shstrtab_section_index();
    let offsets: Vec<u64> = sections
        .iter()
        .map(|section| writer.reserve(section.data.len() as u64, section.align))
        .collect();
    writer.reserve_shstrtab()?;
    // The table of sections comes last, so that truncation is always detected.
    writer.reserve_section_headers();

    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::Machine(ELF_MACHINE),
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    })?;
    for (section, offset) in sections.iter().zip(&offsets) {
        writer.pad_until(*offset);
        writer.write(section.data);
    }
    writer.write_shstrtab();
    writer.write_null_section_header();
    for ((section, offset), name) in sections.iter().zip(offsets).zip(names) {
        writer.write_section_header(&SectionHeader {
            sh_name: writer.section_name_offset(Some(name)),
            sh_type: elf::SHT_PROGBITS,
            sh_flags: elf::SectionFlags(0),
            sh_addr: 0,
            sh_offset: offset,
            sh_size: section.data.len() as u64,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: section.align,
            sh_entsize: section.entry,
        });
    }
    writer.write_shstrtab_section_header();
    Ok(buffer)
}

/// Decodes the program; `None` if there is a problem, which is reported.
fn read(bytes: &Bytes, problems: &mut Problems) -> Option<Program> {
    let sections = match locate(bytes, problems) {
        Ok(sections) => sections,
        Err(message) => {
            problems.push(|| Problem::of_file(message));
            return None;
        }
    };
    for (section, name) in sections.iter().zip(SECTIONS) {
        if section.is_none() && !OPTIONAL.contains(&name) {
            problems.push(|| Problem::of_file(format!("section {name} is missing")));
        }
    }
    let [header, machine, text, layer, buffers, image, ir, ir_constants, host, host_constants] =
        sections.map(|range| range.map(|range| bytes.slice(range)));
    let preamble = header.and_then(|data| read_preamble(&data, problems));
    let machine = machine.and_then(|data| read_machine(&data, problems));
    let code = text.and_then(|data| read_text(&data, problems));
    let layer_of = layer.and_then(|data| read_layers(&data, problems));
    let buffers = buffers.map_or(Some(Vec::new()), |data| read_buffers(&data, problems));
    let mut saved = |graph: Option<Bytes>, constants: Option<Bytes>, names: [&str; 2]| {
        if graph.is_none() && constants.is_some() {
            let message = format!("section {} is there without {}", names[1], names[0]);
            problems.push(|| Problem::of_file(message));
        }
        Some(SavedIr { graph: graph?, constants: constants.unwrap_or_default() })
    };
    let ir = saved(ir, ir_constants, [IR, IR_CONSTANTS]);
    let host = saved(host, host_constants, [HOST, HOST_CONSTANTS]);

    let (preamble, machine, code, layer_of, buffers, image) =
        (preamble?, machine?, code?, layer_of?, buffers?, image?);
    if preamble.machine_digest != machine.digest() {
        let message = format!("the digest is not that of the machine, {}", machine.digest());
        problems.push(|| Problem::new(HEADER, 0, message));
    }
    if layer_of.len() != code.len() {
        let message = format!("{} entries for {} instructions", layer_of.len(), code.len());
        problems.push(|| Problem::new(LAYER, 0, message));
    }
    Some(Program { header: preamble.program, machine, code, layer_of, buffers, image, ir, host })
}

/// The ranges of [`SECTIONS`] in the file.
fn locate(
    bytes: &[u8],
    problems: &mut Problems,
) -> Result<[Option<Range<usize>>; SECTIONS.len()], String> {
    type File = elf::FileHeader64<LittleEndian>;
    let header = File::parse(bytes).map_err(|e| format!("not an ELF64 file: {e}"))?;
    if !header.is_little_endian() {
        return Err("not a little-endian ELF file".to_owned());
    }
    let machine = header.e_machine(LittleEndian).0;
    if machine != ELF_MACHINE {
        return Err(format!(
            "an ELF file for machine {machine:#06x}; a program has {ELF_MACHINE:#06x}"
        ));
    }
    let table = header.sections(LittleEndian, bytes).map_err(|e| e.to_string())?;
    let mut found = [const { None }; SECTIONS.len()];
    for (index, section) in table.enumerate() {
        let name = match table.section_name(LittleEndian, section) {
            Ok(name) => String::from_utf8_lossy(name),
            Err(e) => {
                problems.push(|| Problem::of_file(format!("section {}: {e}", index.0)));
                continue;
            }
        };
        if !name.starts_with(PREFIX) {
            continue;
        }
        let Some(slot) = SECTIONS.iter().position(|known| *known == name) else {
            problems.push(|| Problem::of_file(format!("section {name:?} is unknown")));
            continue;
        };
        let range = section.file_range(LittleEndian).and_then(|(offset, size)| {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(size).ok()?)?;
            (end <= bytes.len()).then_some(start..end)
        });
        match range {
            None => {
                problems.push(|| Problem::of_file(format!("section {name} is not inside the file")))
            }
            Some(range) => {
                if found[slot].replace(range).is_some() {
                    problems.push(|| Problem::of_file(format!("section {name} is there twice")));
                }
            }
        }
    }
    Ok(found)
}

fn read_preamble(data: &[u8], problems: &mut Problems) -> Option<Preamble<Header>> {
    let (offset, message) = match serde_json::from_slice::<Version>(data) {
        Ok(Version { format }) if format != FORMAT => {
            let message =
                "this program was made by another version of vitcod: compile the model again";
            (0, format!("{message} (its format is {format}, this version reads {FORMAT})"))
        }
        Ok(_) => match serde_json::from_slice(data) {
            Ok(preamble) => return Some(preamble),
            Err(e) => (offset_in(data, &e), e.to_string()),
        },
        Err(e) => (offset_in(data, &e), e.to_string()),
    };
    problems.push(|| Problem::new(HEADER, offset, message));
    None
}

/// The byte offset of a JSON error, which states a line and a column, both from 1.
fn offset_in(data: &[u8], error: &serde_json::Error) -> u64 {
    let lines = data.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1)) as u64
}

fn read_machine(data: &[u8], problems: &mut Problems) -> Option<Machine> {
    let mut push = |offset, message| problems.push(|| Problem::new(MACHINE, offset, message));
    match std::str::from_utf8(data) {
        Err(e) => push(e.valid_up_to() as u64, e.to_string()),
        Ok(text) => match Machine::from_toml(text) {
            Ok(machine) if machine.to_toml() == text => return Some(machine),
            Ok(_) => push(0, "the text is not in canonical form".to_owned()),
            Err(found) => found.kept().iter().for_each(|problem| {
                push(
                    problem.span.as_ref().map_or(0, |span| span.start as u64),
                    problem.message.clone(),
                );
            }),
        },
    }
    None
}

/// Reads on behind a word that is no instruction, if its length is known.
fn read_text(data: &[u8], problems: &mut Problems) -> Option<Vec<Instr>> {
    let (mut code, mut rest, mut index, mut sound) = (Vec::new(), data, 0, true);
    while !rest.is_empty() {
        match Instr::decode(rest) {
            Ok((instr, behind)) => {
                code.push(instr);
                rest = behind;
            }
            Err(error) => {
                sound = false;
                problems.push(|| Problem {
                    section: TEXT,
                    offset: (data.len() - rest.len()) as u64,
                    instruction: Some(index),
                    message: error.to_string(),
                });
                rest = word_bytes(rest).map_or(&[], |bytes| &rest[bytes..]);
            }
        }
        index += 1;
    }
    sound.then_some(code)
}

fn read_layers(data: &[u8], problems: &mut Problems) -> Option<Vec<u32>> {
    let entries = whole::<4>(LAYER, data, problems)?;
    Some(entries.iter().map(|entry| u32::from_le_bytes(*entry)).collect())
}

fn buffer_to_bytes(&Buffer { address, bytes, first, last }: &Buffer) -> Vec<u8> {
    [address, bytes, first, last].map(u32::to_le_bytes).concat()
}

fn read_buffers(data: &[u8], problems: &mut Problems) -> Option<Vec<Buffer>> {
    let entries = whole::<BUFFER_BYTES>(BUFFERS, data, problems)?;
    let buffer = |entry: &[u8; BUFFER_BYTES]| {
        let (fields, _) = entry.as_chunks::<4>();
        let [address, bytes, first, last] =
            std::array::from_fn(|field| u32::from_le_bytes(fields[field]));
        Buffer { address, bytes, first, last }
    };
    Some(entries.iter().map(buffer).collect())
}

/// The entries of a section of fixed-size entries.
fn whole<'a, const N: usize>(
    section: &'static str,
    data: &'a [u8],
    problems: &mut Problems,
) -> Option<&'a [[u8; N]]> {
    let (entries, rest) = data.as_chunks::<N>();
    if rest.is_empty() {
        return Some(entries);
    }
    let offset = (data.len() - rest.len()) as u64;
    problems.push(|| {
        Problem::new(section, offset, format!("{} bytes after the last entry of {N}", rest.len()))
    });
    None
}
