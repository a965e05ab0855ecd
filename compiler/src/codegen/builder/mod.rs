//! The builder of tasks. It only emits: choices, budgets and reports are elsewhere.

mod audit;
pub(crate) mod buffer_ring;
pub(crate) mod buffers;
pub(crate) mod tile;
mod transfers;
mod vector;

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use vitcod_isa::instr::table::SoftmaxList;
use vitcod_isa::instr::{Cycles, Dram, Op as Instruction};
use vitcod_isa::lists::{List, ListRow, softmax_cycles, state_cycles};
use vitcod_isa::machine::Machine;

use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::buffers::Declared;
use crate::codegen::builder::tile::{SramOperand, Tile};
use crate::codegen::limits::{bytes32, row_stride};
use crate::codegen::residence::constant_pool::ConstantPool;
use crate::codegen::residence::storage::{Residence, Storage};
use crate::ir::{Graph, Op};
use crate::tiled::{Buffer, Buffers, Task, Tasks};

/// The result of lowering.
pub(crate) struct Lowered {
    pub(crate) tasks: Tasks,
    /// Constants that lowering makes and tasks load.
    pub(crate) pool: ConstantPool,
    /// The operations of the layers, in the order of the graph.
    pub(crate) layers: Vec<Op>,
}

/// Collects tasks.
///
/// Instructions carry [handles](SramOperand) in place of scratchpad addresses; [`Builder::push`]
/// resolves them.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) machine: &'a Machine,
    pub(crate) residence: &'a Residence,
    tasks: Tasks,
    /// Per handle, a buffer and an offset in it. Handle 0 is an operand that is not used.
    operands: Vec<Option<(Buffer, u32)>>,
    /// Per task, its operation.
    layers: Vec<Op>,
    resident_buffers: SecondaryMap<Storage, Option<Buffer>>,
    pool: ConstantPool,
    /// A run of zeros in DRAM, once one is needed.
    zeros: Option<Dram>,
    group: usize,
    /// In debug builds, compares allocations with the declaration of the plan.
    audit: audit::Audit,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        graph: &'a Graph,
        machine: &'a Machine,
        residence: &'a Residence,
    ) -> Builder<'a> {
        Builder {
            graph,
            machine,
            residence,
            tasks: Tasks::default(),
            operands: vec![None],
            layers: Vec::new(),
            resident_buffers: SecondaryMap::new(),
            pool: ConstantPool::default(),
            zeros: None,
            group: 0,
            audit: audit::Audit::default(),
        }
    }

    /// Starts a group.
    pub(crate) fn enter(&mut self, group: usize) {
        self.group = group;
    }

    /// Declares the buffers of a plan before it emits. In debug builds, asserts that the buffers
    /// allocated so far fit the previous declaration.
    pub(crate) fn declare(&mut self, declared: &Declared) {
        if cfg!(debug_assertions) {
            let problems = self.audit.problems(&self.tasks);
            debug_assert!(problems.is_empty(), "group {}: {}", self.group, problems.join("; "));
            self.audit = audit::Audit::new(declared, self.tasks.tasks.len());
        }
    }

    /// The collected tasks.
    pub(crate) fn finish(mut self) -> Lowered {
        self.declare(&Declared::default());
        let used: BTreeSet<Op> = self.layers.iter().copied().collect();
        let order: Vec<Op> =
            self.graph.order.iter().copied().filter(|op| used.contains(op)).collect();
        let number: BTreeMap<Op, u32> =
            order.iter().zip(0..).map(|(op, number)| (*op, number)).collect();
        for (task, layer) in self.tasks.tasks.iter_mut().zip(&self.layers) {
            task.layer = number[layer];
        }
        Lowered { tasks: self.tasks, pool: self.pool, layers: order }
    }

    /// Appends an instruction.
    pub(crate) fn push(&mut self, layer: Op, op: impl Into<Instruction>) {
        let mut op = op.into();
        let mut buffers = Buffers::default();
        for (at, buffer) in op.sram_operands().into_iter().zip(&mut buffers) {
            if let Some((buffer_of_operand, offset)) = self.operands[at.0 as usize] {
                (*buffer, at.0) = (PackedOption::from(buffer_of_operand), offset);
            }
        }
        // Layers are numbered when all are known.
        let task = Task { op, buffers, layer: 0, group: self.group as u32 };
        self.tasks.tasks.push(task.without_unused());
        self.layers.push(layer);
    }

    /// An instruction with offsets in buffers in place of handles.
    fn at_offsets(&self, mut op: Instruction) -> Instruction {
        for at in op.sram_operands() {
            at.0 = self.operands[at.0 as usize].map_or(0, |(_, offset)| offset);
        }
        op
    }

    /// Appends `sddmm_list` or `spmm_list`, which states the cycles of its list. In debug builds,
    /// asserts them. They follow from offsets alone: see [`Tasks::alignments`].
    pub(crate) fn push_list(&mut self, layer: Op, op: impl Into<Instruction>, list: &List) {
        let op = op.into();
        if cfg!(debug_assertions) {
            let (mut stated, planned) = (list.clone(), self.at_offsets(op));
            let mut timed = planned;
            state_cycles(&mut timed, &mut stated, self.machine).expect("lists hold together");
            debug_assert!(stated == *list, "the segments of a list state other cycles");
            debug_assert_eq!(timed, planned, "a list states other cycles");
        }
        self.push(layer, op);
    }

    /// Appends `softmax_list` of these rows, with its cycles.
    pub(crate) fn push_softmax(&mut self, layer: Op, mut op: SoftmaxList, rows: &[ListRow]) {
        if let Instruction::SoftmaxList(at_offsets) = self.at_offsets(op.into()) {
            op.cycles = Cycles(softmax_cycles(&at_offsets, rows, self.machine));
        }
        self.push(layer, op);
    }

    /// A new buffer under a name that the plan declares.
    fn buffer(&mut self, name: &'static str, bytes: u64) -> Buffer {
        let buffer = self.tasks.buffers.push(bytes);
        if cfg!(debug_assertions) {
            self.audit.allocate(name, buffer);
        }
        buffer
    }

    /// An operand `offset` bytes into a buffer.
    fn at(&mut self, buffer: Buffer, offset: u64) -> SramOperand {
        self.operands.push(Some((buffer, bytes32(offset as usize))));
        SramOperand(self.operands.len() as u32 - 1)
    }

    /// An operand `offset` bytes after another in the same buffer.
    pub(crate) fn offset_bytes(&mut self, at: SramOperand, offset: u64) -> SramOperand {
        let Some((buffer, start)) = self.operands[at.0 as usize] else { return at };
        self.at(buffer, u64::from(start) + offset)
    }

    /// The part of a tile that starts at one of its rows.
    pub(crate) fn offset_rows(&mut self, Tile { at, stride }: Tile, row: usize) -> Tile {
        Tile { at: self.offset_bytes(at, row as u64 * u64::from(stride)), stride }
    }

    /// A new buffer as a tile of contiguous rows.
    pub(crate) fn tile(&mut self, name: &'static str, rows: usize, row_bytes: usize) -> Tile {
        let buffer = self.buffer(name, rows as u64 * row_bytes as u64);
        Tile { at: self.at(buffer, 0), stride: row_stride(row_bytes as u64) }
    }

    /// The next buffer of a ring, as a tile of rows of `row_bytes` bytes.
    pub(crate) fn ring_tile(
        &mut self,
        ring: &mut BufferRing,
        rows: usize,
        row_bytes: usize,
    ) -> Tile {
        debug_assert!(
            rows * row_bytes <= ring.bytes,
            "{rows} rows of {row_bytes} bytes in a buffer of {}",
            ring.bytes
        );
        let index = ring.advance();
        if index == ring.allocated.len() {
            ring.allocated.push(self.tile(ring.name, 1, ring.bytes).at);
        }
        Tile { at: ring.allocated[index], stride: row_stride(row_bytes as u64) }
    }
}
