//! The verifier of tiled and scheduled programs. The [module's documentation](super) states the
//! invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use cranelift_entity::{EntityRef as _, SecondaryMap};
use vitcod_isa::asm::Short;
use vitcod_isa::check::{self, check_sequence};
use vitcod_isa::effects::Space;
use vitcod_isa::instr::Instr;
use vitcod_isa::instr::table::Halt;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Program;
use vitcod_support::problems::{Collector, Problems};

use super::{Addresses, BUFFER_ALIGN, Buffer, Scheduled, Task, Tiled};

/// The violated invariants of a tiled or scheduled program.
pub type VerifyError = Problems<Defect>;

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The task, buffer or binding that violates it, or the whole program.
    pub place: Place,
    /// What was found and what was expected.
    pub message: String,
}

/// The subject of a defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The program as a whole.
    Program,
    /// A task.
    Task {
        /// Index of the task in program order.
        index: usize,
        /// The task in assembly.
        text: String,
    },
    /// A buffer.
    Buffer(Buffer),
    /// An input or output.
    Binding {
        /// Index among the inputs followed by the outputs.
        index: usize,
        /// Name of the input or output.
        name: String,
    },
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Program => f.write_str(&self.message),
            Place::Task { index, text } => write!(f, "task {index}: {}: `{text}`", self.message),
            Place::Buffer(buffer) => write!(f, "{buffer}: {}", self.message),
            Place::Binding { name, .. } => write!(f, "binding {name:?}: {}", self.message),
        }
    }
}

impl Tiled {
    /// Checks the invariants of a tiled program.
    ///
    /// # Errors
    /// All violated invariants.
    pub fn verify(&self) -> Result<(), VerifyError> {
        self.verify_named(&|buffer| buffer.to_string())
    }

    /// [`Self::verify`] with given names of buffers in messages.
    pub(super) fn verify_named(&self, name: Name<'_>) -> Result<(), VerifyError> {
        let mut verifier = Verifier { tiled: self, name, defects: Collector::new() };
        verifier.run();
        let mut reached = 0;
        for (index, task) in self.tasks.tasks.iter().enumerate() {
            if task.group < reached {
                verifier.task(index, || {
                    format!("it is in group {}, but follows group {reached}", task.group)
                });
            }
            reached = reached.max(task.group);
        }
        verifier.defects.finish()
    }
}

impl Scheduled {
    /// Checks the invariants of a scheduled program.
    ///
    /// # Errors
    /// All violated invariants.
    pub fn verify(&self) -> Result<(), VerifyError> {
        self.verify_named(&|buffer| buffer.to_string())
    }

    /// Checks that buffers lie in the scratchpad and that buffers with overlapping live ranges do
    /// not share bytes (invariant 6), in time linear in the tasks. The program verifier tracks
    /// bytes, not buffers, so it cannot check this.
    ///
    /// # Errors
    /// All misplaced buffers.
    pub fn verify_placement(&self) -> Result<(), VerifyError> {
        let name: Name<'_> = &|buffer| buffer.to_string();
        let mut verifier = Verifier { tiled: &self.tiled, name, defects: Collector::new() };
        verifier.addresses(&self.addresses);
        verifier.defects.finish()
    }

    /// [`Self::verify`] with given names of buffers in messages.
    pub(super) fn verify_named(&self, name: Name<'_>) -> Result<(), VerifyError> {
        let mut verifier = Verifier { tiled: &self.tiled, name, defects: Collector::new() };
        verifier.run();
        verifier.addresses(&self.addresses);
        verifier.defects.finish()
    }
}

/// The name of a buffer in messages.
type Name<'a> = &'a dyn Fn(Buffer) -> String;

struct Verifier<'a> {
    tiled: &'a Tiled,
    name: Name<'a>,
    defects: Collector<Defect>,
}

impl Verifier<'_> {
    fn task(&mut self, index: usize, message: impl FnOnce() -> String) {
        let task = &self.tiled.tasks.tasks[index];
        self.defects.push(|| {
            let text = Short { op: &task.op, operands: &task.operands() }.to_string();
            Defect { place: Place::Task { index, text }, message: message() }
        });
    }

    fn buffer(&mut self, buffer: Buffer, message: impl FnOnce() -> String) {
        self.defects.push(|| Defect { place: Place::Buffer(buffer), message: message() });
    }

    /// Checks the invariants that both levels share.
    fn run(&mut self) {
        let Tiled { machine, tasks, image, .. } = self.tiled;
        if tasks.image_bytes != image.len() as u64 {
            let message = format!(
                "the image has {} bytes; tasks keep off the first {} of the DRAM",
                image.len(),
                tasks.image_bytes
            );
            self.defects.push(|| Defect { place: Place::Program, message });
        }
        let capacity = u64::from(machine.sram.bytes);
        let mut touched: SecondaryMap<Buffer, bool> = SecondaryMap::new();
        for (index, task) in tasks.tasks.iter().enumerate() {
            task.buffers().for_each(|buffer| touched[buffer] = true);
            if self.operands(index, task) {
                let all: BTreeSet<Buffer> = task.buffers().collect();
                let bytes: u64 = all
                    .iter()
                    .map(|buffer| tasks.buffers[*buffer].next_multiple_of(BUFFER_ALIGN))
                    .sum();
                if bytes > capacity {
                    self.task(index, || {
                        format!("its buffers take {bytes} bytes; the scratchpad has {capacity}")
                    });
                }
            }
        }
        for (buffer, bytes) in tasks.buffers.iter() {
            if *bytes == 0 {
                self.buffer(buffer, || "has no bytes".to_owned());
            }
            if !touched[buffer] {
                self.buffer(buffer, || "no task accesses it".to_owned());
            }
        }
        if self.defects.is_empty() {
            self.flow();
        }
    }

    /// Checks the buffers of a task's operands; returns whether all are valid.
    fn operands(&mut self, index: usize, task: &Task) -> bool {
        let buffers = &self.tiled.tasks.buffers;
        if let Some(buffer) = task.buffers().find(|buffer| !buffers.is_valid(*buffer)) {
            self.task(index, || format!("buffer {buffer} does not exist"));
            return false;
        }
        let accesses: Vec<_> = task.accesses().collect();
        let in_scratchpad = accesses.iter().filter(|(access, _)| access.space == Space::Sram);
        let used: BTreeSet<&str> =
            in_scratchpad.clone().map(|(access, _)| access.operand).collect();
        let fields = task.op.spec().fields.iter().filter(|field| field.is_sram);
        let mut is_sound = true;
        let mut op = task.op;
        for ((field, buffer), at) in fields.zip(task.buffers).zip(op.sram_operands()) {
            let message = match (used.contains(field.name), buffer.expand()) {
                (true, None) => "is not in a buffer",
                (false, Some(_)) => "is not accessed, but has a buffer",
                (false, None) if at.0 != 0 => "is not accessed, but has an offset",
                _ => continue,
            };
            is_sound = false;
            self.task(index, || format!("{} {message}", field.name));
        }
        if accesses.is_empty() {
            self.task(index, || "it accesses no memory: tasks need no synchronisation".to_owned());
            is_sound = false;
        }
        for (access, buffer) in in_scratchpad {
            let Some(buffer) = buffer else { continue };
            let (start, end, bytes) = (access.region.base, access.region.end(), buffers[*buffer]);
            let buffer = (self.name)(*buffer);
            if end > bytes {
                self.task(index, || {
                    format!("{} ends at {end:#x}; {buffer} has {bytes:#x} bytes", access.operand)
                });
                is_sound = false;
            } else if !start.is_multiple_of(access.align) {
                let align = access.align;
                self.task(index, || {
                    format!(
                        "{} starts at {start:#x} of {buffer}, expected a multiple of {align}",
                        access.operand
                    )
                });
                is_sound = false;
            }
        }
        is_sound
    }

    /// Runs the program verifier on the tasks, one after the other, with separate addresses for all
    /// buffers.
    fn flow(&mut self) {
        let Tiled { header, machine, image, tasks, .. } = self.tiled;
        let mut bases: Vec<u64> = Vec::with_capacity(tasks.buffers.len());
        let mut end = 0;
        for bytes in tasks.buffers.values() {
            bases.push(end);
            end += bytes.next_multiple_of(BUFFER_ALIGN);
        }
        let Ok(bytes) = u32::try_from(end) else {
            let message =
                format!("its buffers take {end} bytes side by side, expected at most {}", u32::MAX);
            self.defects.push(|| Defect { place: Place::Program, message });
            return;
        };
        let mut wide: Machine = machine.clone();
        wide.sram.bytes = bytes;
        let base = |buffer: Buffer| bases[buffer.index()];
        // All bases are below `bytes`.
        let ops = tasks.tasks.iter().map(|task| Instr::new(task.at(|buffer| base(buffer) as u32)));
        let last = header.layers.len().saturating_sub(1) as u32;
        let program = Program {
            header: header.clone(),
            machine: wide,
            code: ops.chain([Instr::new(Halt {})]).collect(),
            layer_of: tasks.tasks.iter().map(|task| task.layer).chain([last]).collect(),
            buffers: Vec::new(),
            image: image.clone(),
            ir: None,
            host: None,
        };
        let place = |bytes: Range<u64>| {
            let index = bases.partition_point(|base| *base <= bytes.start).saturating_sub(1);
            let buffer = Buffer::new(index);
            format!(
                "{:#x}..{:#x} of {}",
                bytes.start - base(buffer),
                bytes.end - base(buffer),
                (self.name)(buffer)
            )
        };
        let Err(found) = check_sequence(&program, &place) else { return };
        for problem in found.kept() {
            let message = problem.message.clone();
            match &problem.place {
                check::Place::Instruction { index, .. } if *index < tasks.tasks.len() => {
                    self.task(*index, || message)
                }
                check::Place::Binding { index, name } => {
                    let place = Place::Binding { index: *index, name: name.clone() };
                    self.defects.push(|| Defect { place, message });
                }
                _ => self.defects.push(|| Defect { place: Place::Program, message }),
            }
        }
        self.defects.add_omitted(found.omitted());
    }

    /// Checks that buffers lie in the scratchpad and that buffers with overlapping live ranges do
    /// not share bytes.
    fn addresses(&mut self, addresses: &Addresses) {
        let tiled = self.tiled;
        let (buffers, capacity) = (&tiled.tasks.buffers, u64::from(tiled.machine.sram.bytes));
        let place = |buffer: Buffer| {
            let start = u64::from(addresses[buffer]);
            start..start + buffers[buffer]
        };
        for buffer in buffers.keys() {
            let Range { start, end } = place(buffer);
            if !start.is_multiple_of(BUFFER_ALIGN) {
                self.buffer(buffer, || {
                    format!("starts at {start:#x}, expected a multiple of {BUFFER_ALIGN}")
                });
            }
            if end > capacity {
                self.buffer(buffer, || {
                    format!("ends at {end:#x}; the scratchpad has {capacity:#x} bytes")
                });
            }
        }
        let lives = tiled.tasks.lives();
        let mut ends: Vec<Vec<Buffer>> = vec![Vec::new(); tiled.tasks.tasks.len()];
        let mut live: BTreeMap<(u64, Buffer), u64> = BTreeMap::new();
        for (index, task) in tiled.tasks.tasks.iter().enumerate() {
            for buffer in task.buffers().filter(|buffer| buffers.is_valid(*buffer)) {
                let Range { start, end } = place(buffer);
                let Some((first, last)) = lives[buffer] else { continue };
                if first != index || live.contains_key(&(start, buffer)) {
                    continue;
                }
                // Live buffers do not overlap, or their overlap was reported: comparing with the
                // nearest neighbour on both sides suffices.
                let before = live
                    .range(..(start, buffer))
                    .next_back()
                    .filter(|(_, other_end)| **other_end > start);
                let after =
                    live.range((start, buffer)..).next().filter(|((other, _), _)| *other < end);
                if let Some(((_, other), _)) = before.or(after) {
                    let other = (self.name)(*other);
                    self.buffer(buffer, || {
                        format!("overlaps {other}, which is live at the same time (task {index})")
                    });
                }
                live.insert((start, buffer), end);
                ends[last].push(buffer);
            }
            for buffer in &ends[index] {
                live.remove(&(place(*buffer).start, *buffer));
            }
        }
    }
}
