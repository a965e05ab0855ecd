//! The banks of a machine, access by access: an independent model of what instructions read and
//! write through the slots of their units, for comparison with the cost model.
//!
//! It walks through the operands of each instruction as the documentation of [`vitcod_isa::cost`]
//! describes, gives every word an access of its bank, and fails where two words get the same one,
//! or where the accesses take longer or shorter than the instruction's cost says. Instructions on
//! lists are left out.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use vitcod_isa::effects::{Mode, Region, Space, accesses};
use vitcod_isa::instr::table::*;
use vitcod_isa::instr::{Instr, Unit, Width};
use vitcod_isa::machine::{Machine, Organisation};
use vitcod_isa::timing::{Timing, simulate};

/// A row of an operand: runs of bytes.
type Row = Vec<(u64, u64)>;

/// The row of an operand with a number.
type RowAt<'a> = &'a dyn Fn(u64) -> Row;

/// Words that may arrive in any order.
type Window = BTreeSet<u64>;

/// Runs the accesses of a program on a machine with banks.
///
/// # Panics
/// Two words need the same access of a bank, or an instruction's cycles are others than those of
/// its accesses and of its lines.
pub fn assert_banks_serve(code: &[Instr], machine: &Machine) {
    let timing = simulate(code, machine).expect("the program is verified");
    let mut banks = Banks {
        organisation: machine.organisation().expect("the machine has banks"),
        machine,
        taken: HashSet::new(),
    };
    for index in 0..code.len() {
        banks.serve(code, index, &timing);
    }
}

/// The slots of a unit for one direction.
#[derive(Clone, Copy)]
struct Share {
    first: u64,
    count: u64,
    /// Which revolutions it takes, if the unit reads and writes in turn.
    turn: Option<u64>,
}

struct Banks<'m> {
    organisation: Organisation<'m>,
    machine: &'m Machine,
    /// Accesses that are taken: their number and bank.
    taken: HashSet<(u64, u64)>,
}

impl Banks<'_> {
    fn serve(&mut self, code: &[Instr], index: usize, timing: &Timing) {
        let op = &code[index].op;
        let Some(unit) = op.units().iter().next().filter(|_| op.units().iter().count() == 1) else {
            return;
        };
        if matches!(op, Op::Sync(_) | Op::SddmmList(_) | Op::SpmmList(_) | Op::SoftmaxList(_)) {
            return;
        }
        let (cost, span) = (&timing.costs()[index], timing.spans()[index]);
        let [reads, writes] = self.operands(op);
        let [read, write] = self.shares(unit);
        let (delay, at) = (cost.latency, span.start);
        let mut needed = self.step(&reads, read, at);
        // Transfers read and write at the pace of the channel, which is no faster.
        needed = needed.max(self.step(&writes, write, at + delay));
        needed = needed.max(self.compute(op));
        // Nothing hides the statistics and the root of the first row.
        if let Op::LayerNorm(op) = op {
            needed += u64::from(op.n).div_ceil(self.machine.vector.elements_per_cycle.into());
            needed += u64::from(self.organisation.datapath.root_cycles);
        }
        assert_eq!(cost.cycles, needed, "instruction {index}: {op}\n{:?}", self.machine);
        assert!(
            span.start + cost.cycles <= span.end,
            "instruction {index} holds its unit too short"
        );
    }

    fn shares(&self, unit: Unit) -> [Share; 2] {
        let slots = self.organisation.slots;
        // Numbered in the order of the configuration.
        let counts = [
            slots.denser_read,
            slots.denser_write,
            slots.sparser_read,
            slots.sparser_write,
            slots.encoder,
            slots.decoder,
            slots.softmax,
            slots.softmax,
            slots.vector_read,
            slots.vector_write,
            slots.load_read,
            slots.load_write,
            slots.store,
        ]
        .map(u64::from);
        let share = |slot: usize, turn: Option<u64>| Share {
            first: counts[..slot].iter().sum(),
            count: counts[slot],
            turn,
        };
        let in_turn = |slot: usize| [share(slot, Some(0)), share(slot, Some(1))];
        match unit {
            Unit::Denser => [share(0, None), share(1, None)],
            Unit::Sparser => [share(2, None), share(3, None)],
            Unit::Encoder => in_turn(4),
            Unit::Decoder => in_turn(5),
            Unit::DenserSoftmax => in_turn(6),
            Unit::SparserSoftmax => in_turn(7),
            Unit::Vector => [share(8, None), share(9, None)],
            Unit::Load => [share(10, None), share(11, None)],
            Unit::Store => [share(12, None), share(12, None)],
        }
    }

    /// Gives every word its access, from a cycle on; returns the cycles of the revolutions.
    fn step(&mut self, windows: &[Window], share: Share, from: u64) -> u64 {
        let banks = u64::from(self.organisation.banks.count);
        let period = u64::from(self.organisation.slots.period());
        // With one access per cycle, slots have every other one.
        let pace = if self.organisation.banks.accesses_per_cycle == 2 { 1 } else { 2 };
        let revolution = period * if share.turn.is_some() { 2 } else { 1 };
        let mut layers: Vec<BTreeMap<u64, u64>> = Vec::new();
        for window in windows {
            let start = layers.len();
            for word in window {
                let bank = word % banks;
                match layers[start..].iter_mut().find(|layer| !layer.contains_key(&bank)) {
                    Some(layer) => drop(layer.insert(bank, *word)),
                    None => layers.push(BTreeMap::from([(bank, *word)])),
                }
            }
        }
        let first_access = from.div_ceil(pace);
        let mut revolutions = 0;
        for layers in layers.chunks(share.count as usize) {
            let begin = first_access + revolutions * revolution;
            for (slot, layer) in layers.iter().enumerate() {
                for bank in layer.keys() {
                    let meets = |access: &u64| {
                        let place = access + bank;
                        place % period == share.first + slot as u64
                            && share.turn.is_none_or(|turn| place / period % 2 == turn)
                    };
                    let access = (begin..begin + revolution).find(meets).expect("a revolution");
                    assert!(
                        self.taken.insert((access, *bank)),
                        "two words of bank {bank} in access {access}"
                    );
                }
            }
            revolutions += 1;
        }
        revolutions * revolution * pace
    }

    // ---- what an instruction accesses ----

    fn operands(&self, op: &Op) -> [Vec<Window>; 2] {
        let mut all = [Vec::new(), Vec::new()];
        let times: Box<dyn Fn(&str) -> u64> = match op {
            Op::Matmul(op) => {
                let depth = u64::from(op.runs()) * u64::from(op.k);
                let left = |i: u64| -> Row {
                    let at = u64::from(op.a.0) + i * u64::from(op.a_stride);
                    let run = |r: u32| at + u64::from(r) * u64::from(op.run_stride);
                    (0..op.runs()).map(|r| (run(r), u64::from(op.k))).collect()
                };
                let right = |j: u64| vec![(u64::from(op.b.0) + j * u64::from(op.b_stride), depth)];
                let dst = (u64::from(op.dst.0), u64::from(op.dst_stride));
                self.sums(
                    &mut all,
                    [op.m.into(), op.n.into()],
                    op.lines.count.into(),
                    (&left, &right, false),
                    (dst, op.out.bytes().into()),
                );
                Box::new(|operand| u64::from(!["a", "b", "dst"].contains(&operand)))
            }
            Op::Sddmm(op) => {
                let row = |base: u32, stride: u32| {
                    move |i: u64| vec![(u64::from(base) + i * u64::from(stride), u64::from(op.d))]
                };
                let (left, right) = (row(op.q.0, op.q_stride), row(op.k.0, op.k_stride));
                let dst = (u64::from(op.dst.0), u64::from(op.dst_stride));
                self.sums(
                    &mut all,
                    [op.m.into(), op.n.into()],
                    op.lines.count.into(),
                    (&left, &right, op.indexed),
                    (dst, 2),
                );
                Box::new(|operand| u64::from(!["q", "k", "dst"].contains(&operand)))
            }
            Op::Spmm(op) => {
                let rounds = self.output_rounds(op.m.into(), op.d, op.lines.count);
                let halves = self.organisation.datapath.accumulators / 2;
                let contexts = u64::from((halves / self.machine.lines.macs).max(1));
                Box::new(move |operand| if operand == "v" { rounds.div_ceil(contexts) } else { 1 })
            }
            Op::LayerNorm(op) => {
                let blocks = u64::from(op.m).div_ceil(8);
                Box::new(move |operand| match operand {
                    "src" => 2,
                    "params" => blocks,
                    _ => 1,
                })
            }
            _ => Box::new(|_| 1),
        };
        for access in accesses(op).iter().filter(|access| access.space == Space::Sram) {
            let windows = self.rows(&access.region);
            for _ in 0..times(access.operand) {
                if access.mode != Mode::Write {
                    all[0].extend(windows.iter().cloned());
                }
                if access.mode != Mode::Read {
                    all[1].extend(windows.iter().cloned());
                }
            }
        }
        all
    }

    /// The operands of sums: passes of columns, blocks of rows, parts that lines hold.
    fn sums(
        &self,
        [reads, writes]: &mut [Vec<Window>; 2],
        [m, n]: [u64; 2],
        lines: u64,
        (left, right, scattered): (RowAt<'_>, RowAt<'_>, bool),
        ((dst, dst_stride), width): ((u64, u64), u64),
    ) {
        let datapath = self.organisation.datapath;
        let word = u64::from(self.organisation.banks.word_bytes);
        // A line holds whole words, at least one.
        let held = u64::from(datapath.operand_bytes / 2).div_ceil(word).max(1) * word;
        let block = u64::from(datapath.accumulators / 2).max(1);
        let is_held_once = right(0)[0].1 <= held;
        let held_of = |rows: &[Row]| {
            if scattered {
                self.anywhere(right, rows.len() as u64, held)
            } else {
                self.parts(rows, held)
            }
        };
        // A single row stays while all columns stream past.
        let row: Row = left(0);
        let stays = m == 1 && is_held_once && row.iter().map(|run| run.1).sum::<u64>() <= held;
        if stays {
            reads.extend(held_of(&(0..n).map(right).collect::<Vec<Row>>()));
            reads.extend(self.windows(&[row]));
            writes.extend(self.windows(&[vec![(dst, n * width)]]));
            return;
        }
        for first in (0..n).step_by(lines as usize) {
            let columns: Vec<u64> = (first..n.min(first + lines)).collect();
            // Rows of the busiest group of lines.
            let groups = (lines / columns.len() as u64).max(1);
            let rows_each = m.div_ceil(groups);
            let rows: Vec<Row> = columns.iter().map(|column| right(*column)).collect();
            for _ in 0..if is_held_once { 1 } else { rows_each.div_ceil(block) } {
                reads.extend(held_of(&rows));
            }
            let rows: Vec<Row> = (0..m).map(left).collect();
            if is_held_once {
                reads.extend(self.windows(&rows));
            } else {
                rows.chunks(block as usize).for_each(|rows| reads.extend(self.parts(rows, held)));
            }
            let results: Vec<Row> = (0..m)
                .map(|i| vec![(dst + i * dst_stride + first * width, columns.len() as u64 * width)])
                .collect();
            writes.extend(self.windows(&results));
        }
    }

    /// As many rows as that in the parts that lines hold, each row alone and any of all rows: the
    /// one whose part has the most words.
    fn anywhere(&self, row: RowAt<'_>, count: u64, held: u64) -> Vec<Window> {
        let banks = u64::from(self.organisation.banks.count);
        let part = (held * (banks / count).max(1)) as usize;
        let (_, bytes) = row(0)[0];
        let mut windows = Vec::new();
        for offset in (0..bytes).step_by(part) {
            // Beginnings repeat after as many rows as a word has bytes.
            let part_of = |number: u64| {
                let (at, _) = row(number)[0];
                self.windows(&[vec![(at + offset, (part as u64).min(bytes - offset))]])
            };
            let of_each = (0..u64::from(self.organisation.banks.word_bytes)).map(part_of);
            let words = |part: &Vec<Window>| part.iter().map(BTreeSet::len).sum::<usize>();
            let most = of_each.max_by_key(words).unwrap_or_default();
            (0..count).for_each(|_| windows.extend(most.iter().cloned()));
        }
        windows
    }

    /// Rows in the parts that lines hold.
    fn parts(&self, rows: &[Row], held: u64) -> Vec<Window> {
        let banks = u64::from(self.organisation.banks.count);
        let part = held * (banks / rows.len() as u64).max(1);
        if rows[0].iter().map(|(_, bytes)| bytes).sum::<u64>() <= part {
            return self.windows(rows);
        }
        let mut windows = Vec::new();
        for run in 0..rows[0].len() {
            for offset in (0..rows[0][run].1).step_by(part as usize) {
                let part_of = |row: &Row| {
                    let (at, bytes) = row[run];
                    vec![(at + offset, part.min(bytes - offset))]
                };
                windows.extend(self.windows(&rows.iter().map(part_of).collect::<Vec<Row>>()));
            }
        }
        windows
    }

    fn rows(&self, region: &Region) -> Vec<Window> {
        let mut windows = Vec::new();
        for outer in 0..region.outer {
            let row = |inner: u64| {
                let offset = outer * region.outer_stride + inner * region.inner_stride;
                vec![(region.base + offset, region.bytes)]
            };
            windows.extend(self.windows(&(0..region.inner).map(row).collect::<Vec<Row>>()));
        }
        windows
    }

    /// Rows in windows: as many rows as have no more words than there are banks.
    fn windows(&self, rows: &[Row]) -> Vec<Window> {
        let banks = u64::from(self.organisation.banks.count);
        let word = u64::from(self.organisation.banks.word_bytes);
        let words = |(at, bytes): (u64, u64)| at / word..(at + bytes).div_ceil(word);
        let in_banks = |words: Vec<u64>| -> Vec<Window> {
            words.chunks(banks as usize).map(|words| words.iter().copied().collect()).collect()
        };
        let Some(first) = rows.first() else { return Vec::new() };
        let (at, bytes) = first[0];
        if bytes == 0 {
            return Vec::new();
        }
        let stride = rows.get(1).map_or(0, |row| row[0].0 - at);
        if first.len() == 1 && (rows.len() == 1 || stride == bytes) {
            return in_banks(words((at, bytes * rows.len() as u64)).collect());
        }
        let run_stride = first.get(1).map_or(0, |run| run.0 - at);
        let is_aligned = [at, stride, run_stride].iter().all(|at| at % word == 0);
        let most = if is_aligned { bytes.div_ceil(word) } else { (bytes + 2 * (word - 1)) / word };
        let most = most * first.len() as u64;
        if most > banks {
            return rows.iter().flatten().flat_map(|run| in_banks(words(*run).collect())).collect();
        }
        let window = |rows: &[Row]| rows.iter().flatten().flat_map(|run| words(*run)).collect();
        rows.chunks((banks / most) as usize).map(window).collect()
    }

    // ---- cycles other than those of words ----

    fn output_rounds(&self, rows: u64, d: u16, lines: u16) -> u64 {
        (rows * u64::from(d).div_ceil(self.machine.lines.macs.into())).div_ceil(lines.into())
    }

    fn compute(&self, op: &Op) -> u64 {
        let (datapath, lines) = (self.organisation.datapath, &self.machine.lines);
        let requantise = |results: u64, lines: u16| {
            results.div_ceil(u64::from(datapath.requantisers) * u64::from(lines))
        };
        // The busiest line of a product along sums, line by line.
        let busiest = |m: u64, n: u64, count: u64| {
            let mut rows = vec![0; count as usize];
            for first in (0..n).step_by(count as usize) {
                let columns = count.min(n - first);
                let groups = count / columns;
                for group in 0..groups {
                    let each = m.div_ceil(groups);
                    let of_group = each.min(m.saturating_sub(group * each));
                    (0..columns)
                        .for_each(|column| rows[(group * columns + column) as usize] += of_group);
                }
            }
            rows.into_iter().max().unwrap_or(0)
        };
        let sum = |k: u64| {
            let (macs, port) = (u64::from(lines.macs), u64::from(lines.port_bytes));
            (0..k).step_by(macs as usize).map(|at| macs.min(k - at).div_ceil(port)).sum::<u64>()
        };
        // Features that accumulate along outputs pass a port narrower than they are in several
        // cycles.
        let step = |d: u16| u64::from(lines.macs.min(d.into()).div_ceil(lines.port_bytes));
        let cycles = match op {
            Op::Matmul(op) => {
                let sums = busiest(op.m.into(), op.n.into(), op.lines.count.into())
                    * u64::from(op.runs())
                    * sum(op.k.into());
                let results = u64::from(op.m) * u64::from(op.n);
                let results = if op.out == Width::I32 { 0 } else { results };
                sums.max(requantise(results, op.lines.count))
            }
            Op::Sddmm(op) => {
                let sums =
                    busiest(op.m.into(), op.n.into(), op.lines.count.into()) * sum(op.d.into());
                sums.max(requantise(u64::from(op.m) * u64::from(op.n), op.lines.count))
            }
            Op::Spmm(op) => {
                let rounds = self.output_rounds(op.m.into(), op.d, op.lines.count);
                let parts = u64::from(op.m) * u64::from(op.d).div_ceil(lines.macs.into());
                // As many lines as fit work on the same results, each with a share of the keys.
                let shares = (1..).take_while(|n| n * parts <= op.lines.count.into()).count();
                let mut cycles =
                    rounds * u64::from(op.n).div_ceil(shares.max(1) as u64) * step(op.d);
                if op.out != Width::I32 {
                    let rows = u64::from(op.m);
                    cycles = cycles.max(requantise(rows * u64::from(op.d), op.lines.count)).max(
                        rows.div_ceil(datapath.dividers.into())
                            * u64::from(datapath.divider_cycles),
                    );
                }
                cycles
            }
            Op::Encode(Encode { lines, m, d, heads_in, heads_out, .. })
            | Op::Decode(Decode { lines, m, d, heads_in, heads_out, .. }) => {
                let rows = u64::from(*m) * u64::from(*heads_out);
                let rounds = self.output_rounds(rows, *d, lines.count);
                (rounds * u64::from(*heads_in) * step(*d))
                    .max(requantise(rows * u64::from(*d), lines.count))
            }
            Op::Softmax(op) => {
                u64::from(op.m)
                    * u64::from(op.n).div_ceil(self.machine.softmax.scores_per_cycle.into())
            }
            Op::LayerNorm(op) => {
                let row = u64::from(op.n).div_ceil(self.machine.vector.elements_per_cycle.into());
                let roots = u64::from(op.m).div_ceil(datapath.roots.into());
                (u64::from(op.m) * row).max(roots * u64::from(datapath.root_cycles))
            }
            Op::Add(Add { m, n, .. })
            | Op::Lut(Lut { m, n, .. })
            | Op::Interpolate(Interpolate { m, n, .. }) => {
                u64::from(*m)
                    * u64::from(*n).div_ceil(self.machine.vector.elements_per_cycle.into())
            }
            _ => return 0,
        };
        cycles.max(1)
    }
}
