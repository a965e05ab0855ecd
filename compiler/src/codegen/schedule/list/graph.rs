//! The task graph: the dependences between tasks.
//!
//! Two tasks that access the same bytes, one of them writing, keep their order. Buffers have no
//! addresses yet, so no tasks are ordered because an address is reused:
//! [`placement`](crate::codegen::schedule::placement) must avoid that.

use cranelift_entity::{EntityRef as _, SecondaryMap};
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::unionfind::UnionFind;
use petgraph::visit::EdgeRef as _;
use vitcod_isa::cost::{Cost, cost};
use vitcod_isa::effects::{Access, Limits, Pieces, Space};
use vitcod_isa::instr::{Accumulation, Unit};
use vitcod_isa::machine::Machine;

use crate::codegen::schedule::list::memory::Wanted;
use crate::codegen::schedule::live_bytes::live_bytes;
use crate::tiled::{Buffer, Task, Tasks, word_align};

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The end of another task: it reads what that one writes, or the units differ.
    Completion,
    /// The start of another task of the same unit, which reads its operands before the next one
    /// starts and writes in order.
    Start,
}

/// A task as the scheduler sees it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) unit: Unit,
    pub(super) cost: Cost,
    /// How its lines accumulate.
    pub(super) accumulation: Option<Accumulation>,
    /// The buffers that it accesses, each once.
    pub(super) buffers: Vec<Buffer>,
    /// Its index in the order in which tasks are preferred.
    pub(super) rank: usize,
    /// The number of its part of the program: the parts are independent, and in the order of ranks.
    pub(super) part: usize,
}

impl Node {
    /// Task `index` of a program, in the order of the program.
    fn new(index: usize, task: &Task, machine: &Machine) -> Node {
        let mut buffers: Vec<Buffer> = task.buffers().collect();
        buffers.sort_by_key(|buffer| buffer.index());
        buffers.dedup();
        let unit = task.op.units().iter().next().expect("a task has a unit");
        let accumulation = task.op.accumulation();
        Node { unit, cost: cost(&task.op, machine), accumulation, buffers, rank: index, part: 0 }
    }
}

/// The tasks of a program with their order.
pub(in crate::codegen::schedule) struct TaskGraph {
    pub(super) nodes: Vec<Node>,
    edges: DiGraph<(), Order>,
    buffers: SecondaryMap<Buffer, Life>,
}

/// The size and the live range of a buffer.
#[derive(Clone, Copy, Default)]
struct Life {
    bytes: u64,
    /// The first and the last rank of the tasks that access it.
    ranks: Option<(usize, usize)>,
}

impl TaskGraph {
    /// The graph of tasks in program order.
    pub(in crate::codegen::schedule) fn new(tasks: &Tasks, machine: &Machine) -> TaskGraph {
        let mut lives: SecondaryMap<Buffer, Life> = SecondaryMap::new();
        for (buffer, size) in tasks.buffers.iter() {
            lives[buffer].bytes = size.next_multiple_of(word_align(machine));
        }
        let mut edges = DiGraph::with_capacity(tasks.tasks.len(), 4 * tasks.tasks.len());
        let mut history = History::new(tasks);
        let mut nodes = Vec::with_capacity(tasks.tasks.len());
        for (index, task) in tasks.tasks.iter().enumerate() {
            nodes.push(Node::new(index, task, machine));
            edges.add_node(());
            for (access, buffer) in task.accesses() {
                history.touch(buffer, &access, index, |before| {
                    let order = order(&nodes, &before, index, &access);
                    edges.add_edge(NodeIndex::new(before.task), NodeIndex::new(index), order);
                });
            }
        }
        let mut graph = TaskGraph { nodes, edges, buffers: lives };
        graph.rank(machine);
        graph
    }

    /// A buffer with its bytes.
    pub(super) fn wanted(&self, buffer: Buffer) -> Wanted {
        Wanted { buffer, bytes: self.buffers[buffer].bytes }
    }

    /// Bytes of all buffers.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.values().fold(0, |sum, life| sum.saturating_add(life.bytes))
    }

    /// The rank of the first task that accesses a buffer.
    pub(super) fn first_rank(&self, buffer: Buffer) -> usize {
        self.buffers[buffer].ranks.map_or(0, |(first, _)| first)
    }

    /// Bytes that live while each rank executes, if tasks execute one by one by rank.
    pub(super) fn profile(&self) -> Vec<u64> {
        let lives = self.buffers.values().filter_map(|life| Some((life.bytes, life.ranks?)));
        live_bytes(self.nodes.len(), lives).collect()
    }

    /// The predecessors of a task.
    pub(super) fn before(&self, task: usize) -> impl Iterator<Item = (usize, Order)> {
        let edges = self.edges.edges_directed(NodeIndex::new(task), Direction::Incoming);
        edges.map(|edge| (edge.source().index(), *edge.weight()))
    }

    /// The successors of a task.
    pub(super) fn after(&self, task: usize) -> impl Iterator<Item = (usize, Order)> {
        let edges = self.edges.edges_directed(NodeIndex::new(task), Direction::Outgoing);
        edges.map(|edge| (edge.target().index(), *edge.weight()))
    }

    /// Ranks tasks in program order, and independent parts of the program by their critical path,
    /// the longest first. So a long part does not come last, with nothing left to overlap with.
    fn rank(&mut self, machine: &Machine) {
        let mut parts = UnionFind::new(self.nodes.len());
        self.edges.edge_indices().filter_map(|edge| self.edges.edge_endpoints(edge)).for_each(
            |(a, b)| {
                parts.union(a.index(), b.index());
            },
        );
        let mut path = vec![0; self.nodes.len()];
        let mut longest = vec![0; self.nodes.len()];
        let mut first = vec![usize::MAX; self.nodes.len()];
        for task in (0..self.nodes.len()).rev() {
            let Cost { cycles, latency, burst_bytes, .. } = self.nodes[task].cost;
            let transfer = machine.full_transfer_cycles(burst_bytes);
            let after = self.after(task).map(|(next, _)| path[next]).max().unwrap_or(0);
            path[task] = after + cycles + latency + transfer;
            let part = parts.find(task);
            longest[part] = longest[part].max(path[task]);
            first[part] = task;
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|task| {
            let part = parts.find(*task);
            (std::cmp::Reverse(longest[part]), first[part], *task)
        });
        let mut part = 0;
        for (rank, task) in order.iter().copied().enumerate() {
            part += usize::from(rank > 0 && parts.find(order[rank - 1]) != parts.find(task));
            (self.nodes[task].rank, self.nodes[task].part) = (rank, part);
            for buffer in &self.nodes[task].buffers {
                let ranks = &mut self.buffers[*buffer].ranks;
                *ranks = Some(ranks.map_or((rank, rank), |(first, _)| (first, rank)));
            }
        }
    }
}

/// An earlier task that accesses the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Past {
    task: usize,
    writes: bool,
}

/// How a task waits for an earlier one that it conflicts with.
fn order(nodes: &[Node], before: &Past, task: usize, access: &Access) -> Order {
    let reads_written = before.writes && access.mode.reads();
    if nodes[before.task].unit == nodes[task].unit && !reads_written {
        Order::Start
    } else {
        Order::Completion
    }
}

/// The tasks that later ones may conflict with.
struct History {
    /// Bytes of the constant image, which nothing writes.
    image_bytes: u64,
    /// Buffers, side by side.
    sram: Pieces<Accessors>,
    dram: Pieces<Accessors>,
}

/// The last task that writes bytes, and those that have read them since.
#[derive(Clone, Debug, Default)]
struct Accessors {
    writer: Option<usize>,
    readers: Vec<usize>,
}

impl History {
    fn new(tasks: &Tasks) -> History {
        // The verifier follows the same accesses, and refuses a program that exceeds the limits.
        let limits = Limits::of_program(tasks.tasks.len() + 1);
        let pieces = || Pieces::new(Accessors::default(), limits);
        History { image_bytes: tasks.image_bytes, sram: pieces(), dram: pieces() }
    }

    /// Records an access of a task and reports those that it conflicts with, unless others that it
    /// reports come between.
    fn touch(
        &mut self,
        buffer: Option<Buffer>,
        access: &Access,
        task: usize,
        conflict: impl FnMut(Past),
    ) {
        let mut region = access.region;
        let pieces = match (access.space, buffer) {
            (Space::Sram, Some(buffer)) => {
                // Offsets in a buffer have 32 bits.
                region.base += (buffer.index() as u64) << 32;
                &mut self.sram
            }
            (Space::Dram, _) if region.base >= self.image_bytes => &mut self.dram,
            _ => return,
        };
        let mut met = Vec::new();
        if access.mode.writes() {
            let written = Accessors { writer: Some(task), readers: Vec::new() };
            pieces.replace(&region, &written, |past, _| {
                met.extend(past.writer.map(|task| Past { task, writes: true }));
                met.extend(past.readers.iter().map(|task| Past { task: *task, writes: false }));
            });
        } else {
            pieces.update(&region, |past, _| {
                met.extend(past.writer.map(|task| Past { task, writes: true }));
                if past.readers.last() != Some(&task) {
                    past.readers.push(task);
                }
            });
        }
        met.sort_unstable();
        met.dedup();
        met.into_iter().filter(|before| before.task != task).for_each(conflict);
    }
}
