//! The simulated machine of list scheduling.
//!
//! Times are in parts of a cycle. A cycle has as many parts as the channel moves thousandths of a
//! byte in it, so that transfers take whole parts.

use std::collections::BTreeSet;

use cranelift_entity::SecondaryMap;
use vitcod_isa::instr::{Accumulation, LineSet, Unit};
use vitcod_isa::machine::{MILLIBYTES_PER_BYTE, Machine};

use crate::codegen::schedule::list::graph::{Node, Order, TaskGraph};
use crate::codegen::schedule::list::memory::{Memory, Wanted};
use crate::codegen::schedule::list::ordered::Schedule;
use crate::tiled::{Buffer, Lifetimes};

/// Ready tasks of a unit that are considered for the next start.
const CONSIDERED: usize = 24;

/// Independent parts of the program that run ahead of the oldest one which has not ended, if not
/// all buffers fit at once. More of them take bytes early that tasks before them need.
const PARTS_AHEAD: usize = 1;

/// The state of the machine.
pub(super) struct Simulation<'a> {
    graph: &'a TaskGraph,
    /// Parts per cycle.
    parts: u64,
    /// The look-ahead budget.
    ahead: u64,
    /// Independent parts that run ahead.
    parts_ahead: usize,
    memory: Memory,
    /// Bytes that live while each rank executes, if tasks execute one by one by rank from now on.
    profile: Vec<u64>,
    lanes: [Lane; Unit::COUNT],
    channel: u64,
    /// Lines that have been taken, how they accumulate, and until when.
    lines_held: Vec<(LineSet, Option<Accumulation>, u64)>,
    /// Parts in which lines change between ways of accumulation.
    switch: u64,
    /// Parts from a completion to the arrival of its tokens.
    token: u64,
    /// Per task, how many predecessors have not started.
    missing: Vec<usize>,
    /// Per task, when the predecessors are done.
    ready_at: Vec<u64>,
    buffers: SecondaryMap<Buffer, Use>,
    /// Ranks of the tasks that have not started.
    waiting: BTreeSet<(usize, usize)>,
    /// Start times and tasks.
    started: Vec<(u64, usize)>,
    /// Whether a task was put off because its buffers found no bytes or its part runs ahead.
    put_off: bool,
    /// Whether the DRAM has the constant bandwidth that is assumed here.
    dram_is_simple: bool,
}

/// A task that could start.
struct Next {
    /// When it starts, when it requests its resource, and the number of its unit. The channel
    /// serves requests by time; elsewhere units have priority by number.
    key: (u64, u64, usize),
    rank: usize,
    task: usize,
    /// The buffers that it accesses first.
    wanted: Vec<Wanted>,
}

/// The state of a unit.
#[derive(Default)]
struct Lane {
    /// Tasks whose predecessors have all started, by rank.
    ready: BTreeSet<(usize, usize)>,
    free: u64,
    completed: u64,
}

/// The state of a buffer.
#[derive(Clone, Copy, Default)]
struct Use {
    /// Tasks that access it and have not started.
    left: usize,
    /// When the first one starts, if it has started.
    start: Option<u64>,
    /// When the last one is done.
    end: u64,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        graph: &'a TaskGraph,
        machine: &Machine,
        ahead: u64,
        capacity: u64,
    ) -> Simulation<'a> {
        let count = graph.nodes.len();
        let datapath = machine.datapath.as_ref();
        let [switch, token] = [
            datapath.map_or(0, |data| data.mode_switch_cycles),
            datapath.map_or(0, |data| data.token_cycles),
        ]
        .map(|cycles| u64::from(cycles) * machine.dram_millibytes_per_cycle());
        let mut simulation = Simulation {
            graph,
            parts: machine.dram_millibytes_per_cycle(),
            ahead,
            parts_ahead: if graph.bytes() > capacity { PARTS_AHEAD } else { count },
            memory: Memory::new(capacity),
            profile: graph.profile(),
            lanes: Default::default(),
            channel: 0,
            lines_held: Vec::new(),
            switch,
            token,
            missing: (0..count).map(|task| graph.before(task).count()).collect(),
            ready_at: vec![0; count],
            buffers: SecondaryMap::new(),
            waiting: graph.nodes.iter().enumerate().map(|(task, node)| (node.rank, task)).collect(),
            started: Vec::with_capacity(count),
            put_off: false,
            dram_is_simple: machine.dram.ddr4.is_none(),
        };
        for (task, node) in graph.nodes.iter().enumerate() {
            node.buffers.iter().for_each(|buffer| simulation.buffers[*buffer].left += 1);
            if simulation.missing[task] == 0 {
                simulation.lanes[node.unit.index()].ready.insert((node.rank, task));
            }
        }
        simulation
    }

    /// The schedule; `None` if the tasks do not fit even one by one.
    pub(super) fn run(mut self) -> Option<Schedule> {
        while let Some((_, oldest)) = self.waiting.first().copied() {
            let Node { rank: due, part, .. } = self.graph.nodes[oldest];
            let next = Unit::ALL
                .into_iter()
                .filter_map(|unit| self.next_of(unit, due, part + self.parts_ahead))
                .min_by_key(|next| next.key)?;
            self.start(next, due);
        }
        Some(self.schedule())
    }

    /// The tasks in the order in which they start, and the live ranges of their buffers, which
    /// count all tasks that start while a buffer is in use.
    fn schedule(self) -> Schedule {
        // A task that was put off for bytes was scheduled after tasks that start later.
        let mut order = self.started.clone();
        order.sort_by_key(|(start, _)| *start);
        let mut lives = Lifetimes::new();
        for (buffer, used) in self.buffers.iter() {
            let before = |time: u64| order.partition_point(|(start, _)| *start < time);
            lives[buffer] = used.start.map(|start| (before(start), before(used.end) - 1));
        }
        let starts = (!self.put_off && self.dram_is_simple)
            .then(|| order.iter().map(|(start, _)| start.div_ceil(self.parts)).collect());
        Schedule { order: order.into_iter().map(|(_, task)| task).collect(), lives, starts }
    }

    /// The task that a unit would start next.
    fn next_of(&mut self, unit: Unit, due: usize, last_part: usize) -> Option<Next> {
        let ready = self.lanes[unit.index()].ready.iter().take(CONSIDERED);
        let is_near = |task: usize| self.graph.nodes[task].part <= last_part;
        let (near, far): (Vec<_>, Vec<_>) = ready.copied().partition(|(_, task)| is_near(*task));
        self.put_off |= !far.is_empty();
        let mut candidates: Vec<_> =
            near.into_iter().map(|(rank, task)| (self.start_of(task), rank, task)).collect();
        candidates.sort_unstable_by_key(|((start, _), rank, _)| (*start, *rank));
        let mut best: Option<Next> = None;
        for ((start, request), rank, task) in candidates {
            if best.as_ref().is_some_and(|best| (best.key.0, best.rank) < (start, rank)) {
                break;
            }
            let node = &self.graph.nodes[task];
            let wanted: Vec<Wanted> = self.wanted(node).collect();
            let fits_at = match wanted[..] {
                [] => Some(start),
                _ if !self.leaves_bytes(&wanted, due) => None,
                _ => self.memory.first_fit(&wanted, start),
            };
            self.put_off |= fits_at != Some(start);
            let Some(fits_at) = fits_at else { continue };
            let request = if fits_at > start { fits_at } else { request };
            let key = (start.max(fits_at), request, unit.index());
            if best.as_ref().is_none_or(|best| (key.0, rank) < (best.key.0, best.rank)) {
                best = Some(Next { key, rank, task, wanted });
            }
        }
        best
    }

    /// Whether allocating these buffers early leaves enough bytes for every task between rank `due`
    /// and their first use.
    fn leaves_bytes(&self, wanted: &[Wanted], due: usize) -> bool {
        let early =
            wanted.iter().map(|wanted| (self.graph.first_rank(wanted.buffer), wanted.bytes));
        let (last, bytes) = early
            .filter(|(first, _)| *first > due)
            .fold((due, 0), |(last, sum), (first, bytes)| (last.max(first), sum + bytes));
        self.profile[due..last].iter().all(|live| live + bytes <= self.ahead)
    }

    /// The buffers that a task accesses first.
    fn wanted<'n>(&'n self, node: &'n Node) -> impl Iterator<Item = Wanted> + 'n {
        let new = node.buffers.iter().filter(|buffer| self.buffers[**buffer].start.is_none());
        new.map(|buffer| self.graph.wanted(*buffer))
    }

    /// When a task could start if its buffers fitted, and when it requests its resource.
    fn start_of(&self, task: usize) -> (u64, u64) {
        let node = &self.graph.nodes[task];
        // A buffer has its bytes from the start of the task that allocated it. No other task may
        // access it earlier, although a task that waited for bytes is scheduled after tasks that
        // start later.
        let taken = node.buffers.iter().filter_map(|buffer| self.buffers[*buffer].start);
        let free = self.lanes[node.unit.index()].free;
        let at = taken.fold(free.max(self.ready_at[task]), u64::max);
        match (node.cost.lines, node.unit) {
            (None, Unit::Load | Unit::Store) => (at.max(self.channel), at),
            (lines, _) => {
                let start =
                    lines.map_or(at, |lines| at.max(self.lines_free(lines, node.accumulation)));
                (start, start)
            }
        }
    }

    /// When no unit holds any of the lines, and all are ready to accumulate in a way.
    fn lines_free(&self, lines: LineSet, way: Option<Accumulation>) -> u64 {
        let overlapping = self.lines_held.iter().filter(|(held, ..)| {
            u32::from(held.first) < lines.end() && u32::from(lines.first) < held.end()
        });
        let free = |(_, last, until): &(LineSet, Option<Accumulation>, u64)| {
            until + if *last == way { 0 } else { self.switch }
        };
        overlapping.map(free).max().unwrap_or(0)
    }

    fn start(&mut self, Next { key: (start, ..), task, wanted, .. }: Next, due: usize) {
        let graph = self.graph;
        let node = &graph.nodes[task];
        self.memory.take(&wanted, start);
        for Wanted { buffer, bytes } in wanted {
            self.buffers[buffer].start = Some(start);
            let first = graph.first_rank(buffer).max(due);
            self.profile[due..first].iter_mut().for_each(|live| *live += bytes);
        }

        let lane = &mut self.lanes[node.unit.index()];
        let busy = match node.unit {
            Unit::Load | Unit::Store => {
                let moved = node.cost.burst_bytes * MILLIBYTES_PER_BYTE;
                let held = moved.max(node.cost.cycles.saturating_mul(self.parts));
                self.channel = start.saturating_add(held);
                held.max(self.parts)
            }
            _ => node.cost.cycles.max(1).saturating_mul(self.parts),
        };
        let free = start.saturating_add(busy);
        // Tokens are sent at whole cycles.
        let end =
            free.div_ceil(self.parts).saturating_add(node.cost.latency).saturating_mul(self.parts);
        let completion = end.max(lane.completed);
        (lane.free, lane.completed) = (free, completion);
        lane.ready.remove(&(node.rank, task));
        self.waiting.remove(&(node.rank, task));

        if let Some(lines) = node.cost.lines {
            self.lines_held.retain(|(held, ..)| *held != lines);
            self.lines_held.push((lines, node.accumulation, free));
        }

        self.started.push((start, task));
        for buffer in &node.buffers {
            let used = &mut self.buffers[*buffer];
            used.left -= 1;
            used.end = used.end.max(completion);
            if used.left == 0 {
                self.memory.free(graph.wanted(*buffer).bytes, used.end);
            }
        }
        for (next, order) in graph.after(task) {
            let at = match order {
                Order::Completion => completion.saturating_add(self.token),
                Order::Start => start,
            };
            self.ready_at[next] = self.ready_at[next].max(at);
            self.missing[next] -= 1;
            if self.missing[next] == 0 {
                let next_node = &graph.nodes[next];
                self.lanes[next_node.unit.index()].ready.insert((next_node.rank, next));
            }
        }
    }
}
