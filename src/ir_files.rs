//! IR in files: text of any stage with its side file, programs, and models as exported.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use vitcod_compiler::ir::text::{self, Constants};
use vitcod_compiler::ir::{Graph, MAX_ACTIVATION_BYTES};
use vitcod_compiler::passes::Module;
use vitcod_compiler::tiled::{Scheduled, Tiled};
use vitcod_isa::asm::{Assembly, Files, Kind, Sections};
use vitcod_isa::check::check;
use vitcod_isa::program::{Program, SavedIr};
use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::Problems;

use crate::files::{self, Outputs};
use crate::import::{self, ImportArgs};

/// Extension of IR text.
const EXTENSION: &str = "vir";

/// Extension of assembly.
const ASSEMBLY: &str = "s";

/// Extension of program files.
const PROGRAM: &str = "vitcod";

/// Reads a file: IR text if its name ends in .vir, assembly if it ends in .s, a program, or else an
/// ONNX model, which is imported. Programs are verified.
pub(crate) fn read(path: &Path, import: &ImportArgs) -> anyhow::Result<Module> {
    let extension = path.extension().unwrap_or_default();
    if extension == EXTENSION {
        return read_text(path);
    }
    if extension == ASSEMBLY {
        return read_assembly(path).map(Module::Program);
    }
    if files::starts_with(path, b"\x7fELF")? {
        let program = files::read_program(path)?;
        check(&program).with_context(|| path.display().to_string())?;
        return Ok(Module::Program(program));
    }
    Ok(Module::Graph(import::import_as_exported(path, import)?))
}

/// Reads and verifies assembly.
pub(crate) fn read_assembly(path: &Path) -> anyhow::Result<Program> {
    let source = source(path)?;
    assemble(&source, &|name| beside(path, name))
        .map_err(|problems| refused(path, "program", &source, &problems))
}

fn read_text(path: &Path) -> anyhow::Result<Module> {
    let source = source(path)?;
    let beside = |name: &str| beside(path, name);
    let (module, expected) = match Kind::of(&source) {
        None => (read_graph(&source, &beside).map(Module::Graph), "graph"),
        Some(Kind::Tiled) => (Tiled::parse(&source, &beside).map(Module::Tiled), "tiled program"),
        Some(Kind::Scheduled) => {
            (Scheduled::parse(&source, &beside).map(Module::Scheduled), "scheduled program")
        }
        Some(Kind::Program) => (assemble(&source, &beside).map(Module::Program), "program"),
    };
    module.map_err(|problems| refused(path, expected, &source, &problems))
}

fn source(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(files::read(path)?)
        .with_context(|| format!("{} is not UTF-8 text", path.display()))
}

/// Reads a file that a text refers to.
fn beside(path: &Path, name: &str) -> Result<Bytes, String> {
    files::read_beside(path, name).map(Bytes::from).map_err(|error| format!("{error:#}"))
}

/// The error for the problems of a text.
fn refused(
    path: &Path,
    expected: &str,
    source: &str,
    problems: &Problems<Diagnostic>,
) -> anyhow::Error {
    let name = path.display().to_string();
    anyhow!("{name} is not a valid {expected}\n\n{}", problems.render(&name, source))
}

fn assemble(source: &str, beside: &Files<'_>) -> Result<Program, Problems<Diagnostic>> {
    let assembly = Assembly::parse(source, beside)?;
    assembly.check().map(|()| assembly.program)
}

/// Parses a graph; each side file is read once.
fn read_graph(source: &str, beside: &Files<'_>) -> Result<Graph, Problems<Diagnostic>> {
    let mut read: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut side_file = |name: &str| {
        if let Some(bytes) = read.get(name) {
            return Ok(bytes.clone());
        }
        Ok(read.entry(name.to_owned()).or_insert(beside(name)?).clone())
    };
    text::parse(source, &mut side_file)
}

/// Stages a module as text. Long constants are in a side file with the suffix `.bin`, or with
/// `inline` in the text. A program whose name ends in .vitcod is written in binary form.
pub(crate) fn stage(
    module: &Module,
    path: &Path,
    inline: bool,
    files: &mut Outputs,
) -> anyhow::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.with_context(|| format!("{}: expected a file name in UTF-8", path.display()))?;
    let side_name = format!("{name}.bin");
    let sections = if inline { Sections::Inline } else { Sections::Side(side_name.clone()) };
    let side_of = |image, saved: &[&Option<SavedIr>]| {
        let saved = saved.iter().copied().flatten();
        if inline { Vec::new() } else { Sections::side(image, saved) }
    };
    let (text, side) = match module {
        Module::Graph(graph) if inline => (text::print(graph, Constants::Inline), Vec::new()),
        Module::Graph(graph) => {
            let mut side = Vec::new();
            (text::print(graph, Constants::File { name: &side_name, bytes: &mut side }), side)
        }
        Module::Tiled(tiled) => (tiled.text(sections), side_of(&tiled.image, &[&tiled.ir])),
        Module::Scheduled(scheduled) => {
            (scheduled.text(sections), side_of(&scheduled.tiled.image, &[&scheduled.tiled.ir]))
        }
        Module::Program(program)
            if path.extension().is_some_and(|extension| extension == PROGRAM) =>
        {
            let bytes = program.to_bytes()?;
            return files.stage(path, |file| Ok(file.write_all(&bytes)?));
        }
        Module::Program(program) => (
            program.listing().with_sections(sections).to_string(),
            side_of(&program.image, &[&program.ir, &program.host]),
        ),
    };
    files.stage(path, |file| Ok(file.write_all(text.as_bytes())?))?;
    if !side.is_empty() {
        files.stage(&path.with_file_name(&side_name), |file| Ok(file.write_all(&side)?))?;
    }
    Ok(())
}

/// The complete text of a module.
pub(crate) fn inline(module: &Module) -> String {
    match module {
        Module::Graph(graph) => text::print(graph, Constants::Inline),
        Module::Tiled(tiled) => tiled.text(Sections::Inline),
        Module::Scheduled(scheduled) => scheduled.text(Sections::Inline),
        Module::Program(program) => program.listing().to_string(),
    }
}

/// Describes how a module differs after printing and parsing, if it does.
pub(crate) fn round_trip(module: &Module) -> Option<String> {
    const SIDE: &str = "side";
    let mut side = Vec::new();
    let constants = Constants::File { name: SIDE, bytes: &mut side };
    let sections = Sections::Side(SIDE.to_owned());
    let side_of = |image, saved: &[&Option<SavedIr>]| {
        Bytes::from(Sections::side(image, saved.iter().copied().flatten()))
    };
    let (written, again) = match module {
        Module::Graph(graph) => {
            let written = text::print(&graph.compacted(), constants);
            let side = Bytes::from(side);
            let again = text::parse(&written, &mut |_| Ok(side.clone())).map(|again| {
                let mut copy = Vec::new();
                let text = text::print(&again, Constants::File { name: SIDE, bytes: &mut copy });
                text == written && side == copy
            });
            (written, again)
        }
        Module::Tiled(tiled) => {
            let (written, side) = (tiled.text(sections), side_of(&tiled.image, &[&tiled.ir]));
            let again = Tiled::parse(&written, &|_| Ok(side.clone())).map(|again| again == *tiled);
            (written, again)
        }
        Module::Scheduled(scheduled) => {
            let (written, side) =
                (scheduled.text(sections), side_of(&scheduled.tiled.image, &[&scheduled.tiled.ir]));
            let again =
                Scheduled::parse(&written, &|_| Ok(side.clone())).map(|again| again == *scheduled);
            (written, again)
        }
        Module::Program(program) => {
            let written = program.listing().with_sections(sections).to_string();
            let side = side_of(&program.image, &[&program.ir, &program.host]);
            let again = Assembly::parse(&written, &|_| Ok(side.clone()))
                .map(|again| again.program == *program);
            (written, again)
        }
    };
    match again {
        Ok(true) => None,
        Ok(false) => Some("the text parses to something else".to_owned()),
        Err(problems) => {
            Some(format!("the text does not parse\n\n{}", problems.render("text", &written)))
        }
    }
}

/// Rejects a graph that needs too much memory: a text of a few lines can request any amount.
pub(crate) fn check_size(graph: &Graph) -> anyhow::Result<()> {
    // Float tensors are four times as large as those of programs.
    const LIMIT: usize = 4 * MAX_ACTIVATION_BYTES;
    let tensors = graph.values().filter(|(value, _)| graph.constant(*value).is_none());
    let bytes = tensors.fold(0usize, |sum, (_, data)| sum.saturating_add(data.ty.bytes()));
    ensure!(bytes <= LIMIT, "inputs and results take {bytes} bytes, expected at most {LIMIT}");
    Ok(())
}
