//! The text form of tiled and scheduled programs: a [`TaskListing`] with numbered buffers.
//!
//! `docs/ir.md` describes it. The numbers of buffers are names: a text may choose any, and printing
//! numbers them in the order of their definitions.

use std::fmt;

use cranelift_entity::EntityRef as _;
use cranelift_entity::packed_option::PackedOption;
use vitcod_isa::asm::{Files, Kind, Operands, Places, Sections, TaskListing};
use vitcod_isa::instr::Instr;
use vitcod_isa::program::Program;
use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::Problems;

use super::verify::{Place, VerifyError};
use super::{Addresses, Buffer, Buffers, Scheduled, Task, Tasks, Tiled};

impl Task {
    /// The numbers of its buffers.
    pub(super) fn operands(&self) -> Operands {
        self.buffers.map(|buffer| buffer.expand().map(|buffer| buffer.index() as u32))
    }
}

impl Tiled {
    /// Parses and verifies a tiled program. `files` reads a file beside the text.
    ///
    /// # Errors
    /// All errors of the text; if there are none, all violated invariants.
    pub fn parse(text: &str, files: &Files<'_>) -> Result<Tiled, Problems<Diagnostic>> {
        let (tasks, places) = TaskListing::parse(text, Kind::Tiled, files)?;
        let (tiled, _) = of_task_listing(tasks);
        tiled.verify_named(&name_in(text, &places)).map_err(|error| located(error, &places))?;
        Ok(tiled)
    }

    /// The listing that its text form prints.
    pub fn task_listing(&self) -> TaskListing {
        task_listing(self, None)
    }

    /// The text.
    pub fn text(&self, sections: Sections) -> String {
        self.task_listing().listing(sections).to_string()
    }
}

impl Scheduled {
    /// Parses and verifies a scheduled program, as [`Tiled::parse`].
    ///
    /// # Errors
    /// As for [`Tiled::parse`].
    pub fn parse(text: &str, files: &Files<'_>) -> Result<Scheduled, Problems<Diagnostic>> {
        let (tasks, places) = TaskListing::parse(text, Kind::Scheduled, files)?;
        let (tiled, addresses) = of_task_listing(tasks);
        let scheduled = Scheduled { tiled, addresses };
        scheduled.verify_named(&name_in(text, &places)).map_err(|error| located(error, &places))?;
        Ok(scheduled)
    }

    /// The listing that its text form prints.
    pub fn task_listing(&self) -> TaskListing {
        task_listing(&self.tiled, Some(&self.addresses))
    }

    /// The text.
    pub fn text(&self, sections: Sections) -> String {
        self.task_listing().listing(sections).to_string()
    }
}

/// A summary for readers: long constants are digests.
impl fmt::Display for Tiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Sections::Digest))
    }
}

/// A summary for readers: long constants are digests.
impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Sections::Digest))
    }
}

fn task_listing(
    Tiled { header, machine, image, ir, tasks, attempt }: &Tiled,
    addresses: Option<&Addresses>,
) -> TaskListing {
    let Tasks { tasks, buffers, .. } = tasks;
    TaskListing {
        kind: if addresses.is_some() { Kind::Scheduled } else { Kind::Tiled },
        program: Program {
            header: header.clone(),
            machine: machine.clone(),
            code: tasks.iter().map(|task| Instr::new(task.op)).collect(),
            layer_of: tasks.iter().map(|task| task.layer).collect(),
            buffers: Vec::new(),
            image: image.clone(),
            ir: ir.clone(),
            host: None,
        },
        // A buffer is smaller than the scratchpad, whose addresses have fewer bits.
        buffers: buffers
            .iter()
            .map(|(buffer, bytes)| (*bytes as u32, addresses.map(|all| all[buffer])))
            .collect(),
        operands: tasks.iter().map(Task::operands).collect(),
        groups: tasks.iter().map(|task| task.group).collect(),
        attempt: *attempt,
    }
}

fn of_task_listing(
    TaskListing { program, buffers, operands, groups, attempt, .. }: TaskListing,
) -> (Tiled, Addresses) {
    let Program { header, machine, code, layer_of, image, ir, .. } = program;
    let mut tasks = Tasks { image_bytes: image.len() as u64, ..Tasks::default() };
    let mut addresses = Addresses::new();
    for (bytes, address) in buffers {
        let buffer = tasks.buffers.push(bytes.into());
        addresses[buffer] = address.unwrap_or_default();
    }
    let parts = code.into_iter().zip(layer_of).zip(groups).zip(operands);
    tasks.tasks = parts
        .map(|(((instr, layer), group), operands)| {
            let lies_in = |number: Option<u32>| number.map(|number| Buffer::new(number as usize));
            let buffers: Buffers = operands.map(|number| PackedOption::from(lies_in(number)));
            Task { op: instr.op, buffers, layer, group }
        })
        .collect();
    (Tiled { header, machine, image, ir, tasks, attempt }, addresses)
}

/// The name of a buffer in a text.
fn name_in<'a>(text: &'a str, places: &'a Places) -> impl Fn(Buffer) -> String + 'a {
    |buffer| {
        places
            .buffers
            .get(buffer.index())
            .map_or_else(|| buffer.to_string(), |span| text[span.clone()].to_owned())
    }
}

/// Defects at their places in the text.
fn located(error: VerifyError, places: &Places) -> Problems<Diagnostic> {
    let mut problems = error.map(|defect| {
        let span = match &defect.place {
            Place::Program => None,
            Place::Task { index, .. } => places.code.get(*index).cloned(),
            Place::Buffer(buffer) => places.buffers.get(buffer.index()).cloned(),
            Place::Binding { index, .. } => places.bindings.get(*index).cloned(),
        };
        Diagnostic { span, message: defect.message, help: None }
    });
    problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
    problems
}
