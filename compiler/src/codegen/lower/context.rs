//! The context of choices: the graph, the machine, the residence, and the bytes left for tiles.

use vitcod_isa::machine::Machine;

use crate::codegen::error::CodegenError;
use crate::codegen::residence::storage::{MemorySpace, Residence};
use crate::codegen::strategy::{TileGrain, drain_cycles};
use crate::ir::{Graph, Op, Value};

/// The context of choices. Choosing is pure: it emits nothing and logs nothing.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) machine: &'a Machine,
    pub(crate) residence: &'a Residence,
    grain: TileGrain,
    /// Groups of lines that lists leave to other units, see
    /// [`Strategy`](crate::codegen::strategy::Strategy).
    pub(crate) spare_groups: u16,
    group: usize,
}

/// Where a row of a resident tensor lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResidentRow {
    /// Bytes from the start of the buffer.
    pub(crate) offset: u64,
    /// Bytes between rows.
    pub(crate) stride: u64,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(
        graph: &'a Graph,
        machine: &'a Machine,
        residence: &'a Residence,
        grain: TileGrain,
        spare_groups: u16,
    ) -> Planner<'a> {
        Planner { graph, machine, residence, grain, spare_groups, group: 0 }
    }

    /// Proceeds to a group.
    pub(crate) fn enter(&mut self, group: usize) {
        self.group = group;
    }

    /// Bytes of the scratchpad that the group's buffers may take.
    pub(crate) fn available_bytes(&self) -> u64 {
        u64::from(self.machine.sram.bytes).saturating_sub(self.residence.resident_bytes[self.group])
    }

    /// The error of a group whose smallest tiles take `needed` bytes of `available` ones.
    pub(crate) fn too_small(&self, layer: Op, needed: u64, available: u64) -> CodegenError {
        let capacity = u64::from(self.machine.sram.bytes);
        CodegenError::TooSmall {
            machine: self.machine.name.clone(),
            layer: self.graph.describe(layer),
            needed: (needed + capacity).saturating_sub(available),
            capacity,
        }
    }

    /// Bytes of a value's storage, if it is resident and this group is the last one to access it.
    pub(crate) fn last_accessed_bytes(&self, value: Value) -> u64 {
        let data = self.residence.data(self.residence.location(value));
        if data.space == MemorySpace::Sram && data.live_range.1 == self.group {
            data.bytes()
        } else {
            0
        }
    }

    /// Whether a value is resident and no later group accesses its bytes; no other value is
    /// `beside` it in the same storage.
    pub(crate) fn dies_here(&self, value: Value, beside: Value) -> bool {
        let storage = |value| self.residence.location(value).storage;
        self.last_accessed_bytes(value) > 0 && storage(value) != storage(beside)
    }

    /// Whether a value is resident.
    pub(crate) fn on_chip(&self, value: Value) -> bool {
        self.residence.on_chip(value)
    }

    /// The first row of a value in its buffer, if it is resident.
    pub(crate) fn resident_row(&self, value: Value) -> Option<ResidentRow> {
        let location = self.residence.location(value);
        let data = self.residence.data(location);
        (data.space == MemorySpace::Sram)
            .then(|| ResidentRow { offset: data.offset(location.row), stride: data.row_bytes })
    }

    /// The drain that estimates count: cycles from the end of an instruction on the MAC lines to
    /// the start of one that waits for it.
    pub(crate) fn drain_cycles(&self) -> u64 {
        match self.grain {
            TileGrain::Coarse => drain_cycles(self.machine),
            // Not 0, because then the smallest tiles would cost no more than others.
            TileGrain::Fine => 1,
        }
    }
}
