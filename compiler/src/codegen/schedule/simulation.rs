//! The simulated machine of list scheduling.
//!
//! Times are in parts of a cycle, of which one has as many as the channel moves thousandths of a byte: transfers take whole parts.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use cranelift_entity::SecondaryMap;
use vitcod_isa::instr::{LineSet, Unit};
use vitcod_isa::machine::Machine;

use super::super::place::Lifetimes;
use super::super::task::Buffer;
use super::Schedule;
use super::graph::{Node, Order, TaskGraph};

/// Tasks of a unit that are looked at for the next one to start.
const WINDOW: usize = 24;

/// The state of the machine.
pub(super) struct Simulation<'a> {
    graph: &'a TaskGraph,
    /// Parts of a cycle.
    parts: u64,
    ahead: u64,
    capacity: u64,
    lanes: [Lane; Unit::COUNT],
    channel: u64,
    /// Per task, how many that it waits for have not started.
    missing: Vec<usize>,
    /// Per task, when those that it waits for are done.
    ready_at: Vec<u64>,
    /// Bytes of the buffers that live.
    live: u64,
    /// Buffers that are no longer needed: when they are free, and their bytes.
    freed: BinaryHeap<Reverse<(u64, u64)>>,
    buffers: SecondaryMap<Buffer, Use>,
    /// Ranks of the tasks that have not started.
    waiting: BTreeSet<(usize, usize)>,
    order: Vec<usize>,
    starts: Vec<u64>,
    end: u64,
}

/// The state of a unit.
#[derive(Default)]
struct Lane {
    /// Tasks that wait for no start, by rank.
    ready: BTreeSet<(usize, usize)>,
    free: u64,
    completed: u64,
    /// The lines that it holds until it is free.
    lines: Option<LineSet>,
}

/// The state of a buffer.
#[derive(Clone, Copy, Default)]
struct Use {
    /// Tasks that touch it and have not started.
    left: usize,
    /// The place in the order of the first one.
    first: Option<usize>,
    /// When the last one is done.
    end: u64,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(graph: &'a TaskGraph, machine: &Machine, ahead: u64, capacity: u64) -> Simulation<'a> {
        let count = graph.nodes.len();
        let mut simulation = Simulation {
            graph,
            parts: machine.dram_millibytes_per_cycle().max(1),
            ahead,
            capacity,
            lanes: Default::default(),
            channel: 0,
            missing: (0..count).map(|task| graph.before(task).count()).collect(),
            ready_at: vec![0; count],
            live: 0,
            freed: BinaryHeap::new(),
            buffers: SecondaryMap::new(),
            waiting: graph.nodes.iter().enumerate().map(|(task, node)| (node.rank, task)).collect(),
            order: Vec::with_capacity(count),
            starts: Vec::with_capacity(count),
            end: 0,
        };
        for (task, node) in graph.nodes.iter().enumerate() {
            node.buffers.iter().for_each(|buffer| simulation.buffers[*buffer].left += 1);
            if simulation.missing[task] == 0 {
                simulation.lanes[node.unit.index()].ready.insert((node.rank, task));
            }
        }
        simulation
    }

    pub(super) fn run(mut self) -> Schedule {
        while let Some((_, oldest)) = self.waiting.first().copied() {
            let due = self.graph.nodes[oldest].group;
            let next = Unit::ALL.into_iter().filter_map(|unit| self.next_of(unit, oldest, due)).min();
            let (start, task) = next.map_or_else(|| (self.start_of(oldest).0, oldest), |next| (next.0, next.3));
            self.start(task, start);
        }
        let cycles = self.end.div_ceil(self.parts);
        let mut lives = Lifetimes::new();
        for (buffer, used) in self.buffers.iter() {
            // What starts later may have its place.
            let after = self.starts.partition_point(|start| *start < used.end);
            lives[buffer] = used.first.map(|first| (first, after.saturating_sub(1).max(first)));
        }
        let starts = self.starts.iter().map(|s| s.div_ceil(self.parts)).collect();
        Schedule { order: self.order, lives, cycles, starts }
    }

    /// The task that a unit would start next: when, since when it asks for its resource, which unit, and the task. The channel serves
    /// by the time of the request; elsewhere units have priority by number.
    fn next_of(&self, unit: Unit, oldest: usize, due: usize) -> Option<(u64, u64, usize, usize)> {
        let candidates = self.lanes[unit.index()].ready.iter().take(WINDOW);
        let start = |(rank, task): &(usize, usize)| {
            let (start, request) = self.start_of(*task);
            let room = if *task == oldest { Some(0) } else { self.room_at(*task, due) };
            room.map(|room| (start.max(room), *rank, request.max(room), *task))
        };
        let (start, _, request, task) = candidates.filter_map(start).min()?;
        Some((start, request, unit.index(), task))
    }

    /// When a task could start but for the room that its buffers take, and since when it asks for its resource.
    fn start_of(&self, task: usize) -> (u64, u64) {
        let node = &self.graph.nodes[task];
        let at = self.lanes[node.unit.index()].free.max(self.ready_at[task]);
        match (node.cost.lines, node.unit) {
            (None, Unit::Load | Unit::Store) => (at.max(self.channel), at),
            (lines, unit) => {
                let start = lines.map_or(at, |lines| at.max(self.lines_free(unit, lines)));
                (start, start)
            }
        }
    }

    /// When no other unit holds any of the lines.
    fn lines_free(&self, unit: Unit, lines: LineSet) -> u64 {
        let overlap = |held: LineSet| u32::from(held.first) < lines.end() && u32::from(lines.first) < held.end();
        let others = self.lanes.iter().enumerate().filter(|(other, _)| *other != unit.index());
        others.filter(|(_, lane)| lane.lines.is_some_and(overlap)).map(|(_, lane)| lane.free).max().unwrap_or(0)
    }

    /// When there is room for the buffers that a task touches first; `None` as long as tasks that have not started hold it.
    fn room_at(&self, task: usize, due: usize) -> Option<u64> {
        let node = &self.graph.nodes[task];
        let new: u64 = self.new_bytes(node);
        if new == 0 {
            return Some(0);
        }
        let limit = if node.group <= due { self.capacity } else { self.ahead };
        let mut live = self.live + new;
        if live <= limit {
            return Some(0);
        }
        let mut freed: Vec<(u64, u64)> = self.freed.iter().map(|Reverse(freed)| *freed).collect();
        freed.sort_unstable();
        freed.into_iter().find_map(|(at, bytes)| {
            live -= bytes;
            (live <= limit).then_some(at)
        })
    }

    fn new_bytes(&self, node: &Node) -> u64 {
        let new = node.buffers.iter().filter(|buffer| self.buffers[**buffer].first.is_none());
        new.map(|buffer| self.graph.bytes[*buffer]).sum()
    }

    fn start(&mut self, task: usize, start: u64) {
        let graph = self.graph;
        let node = &graph.nodes[task];
        while let Some(Reverse((at, bytes))) = self.freed.peek().copied()
            && at <= start
        {
            self.freed.pop();
            self.live -= bytes;
        }
        self.live += self.new_bytes(node);

        let lane = &mut self.lanes[node.unit.index()];
        let busy = match node.unit {
            Unit::Load | Unit::Store => (node.cost.burst_bytes * 1000).max(self.parts),
            _ => node.cost.cycles.max(1).saturating_mul(self.parts),
        };
        let free = start.saturating_add(busy);
        if matches!(node.unit, Unit::Load | Unit::Store) {
            self.channel = start.saturating_add(node.cost.burst_bytes * 1000);
        }
        // Tokens are sent at whole cycles.
        let end = free.div_ceil(self.parts).saturating_add(node.cost.latency).saturating_mul(self.parts);
        let completion = end.max(lane.completed);
        (lane.free, lane.completed, lane.lines) = (free, completion, node.cost.lines);
        lane.ready.remove(&(node.rank, task));
        self.waiting.remove(&(node.rank, task));
        self.end = self.end.max(completion);

        let place = self.order.len();
        self.order.push(task);
        self.starts.push(start);
        for buffer in &node.buffers {
            let used = &mut self.buffers[*buffer];
            used.first.get_or_insert(place);
            used.left -= 1;
            used.end = used.end.max(completion);
            if used.left == 0 {
                self.freed.push(Reverse((used.end, graph.bytes[*buffer])));
            }
        }
        for (next, order) in graph.after(task) {
            let at = if order == Order::Completion { completion } else { start };
            self.ready_at[next] = self.ready_at[next].max(at);
            self.missing[next] -= 1;
            if self.missing[next] == 0 {
                let next_node = &graph.nodes[next];
                self.lanes[next_node.unit.index()].ready.insert((next_node.rank, next));
            }
        }
    }
}
