//! Instructions on a machine with banks. The largest of several limits is the cost. Each limit is a
//! closed form of the instruction and the machine; none depends on data or on other instructions.
//! All are ours, except where the paper is named.
//!
//! - *MACs*: as on an ideal machine, except for `matmul` and `sddmm`. There, a line holds a part of
//!   a row of the right operand while rows of the left one stream past (paper: K-stationary). The
//!   `n` rows of the right operand are taken in *passes* of as many rows as there are lines `L`. In
//!   the last pass, `r = n mod L` rows are left, and `floor(L / r)` groups of lines divide the `m`
//!   rows of the left operand: `m floor(n / L) + ceil(m / floor(L / r))` sums for the busiest line.
//!   In `spmm`, lines that `m` rows leave idle divide the keys.
//! - *Words*: every operand is a stream of words through the slots of its unit, see below. A unit
//!   with `s` slots takes a layer of a stream per slot and revolution, so `ceil(layers / s)`
//!   revolutions for what it reads, and likewise for what it writes; twice the larger number where
//!   a unit reads and writes in turn. The right operand of a product is read once for each block of
//!   rows of the left one: as many rows as half of a line's accumulators, while the other half is
//!   emptied; or once per pass if lines hold whole rows. What a line holds, half of its registers
//!   for operands, is rounded up to whole words. The left operand is read once per pass; a single
//!   row that a line can hold stays there, and all rows of the right operand stream past it. In
//!   `spmm`, a value serves as many rows of probabilities as a line has contexts, half of its
//!   accumulators divided by its MACs. Every other operand is read or written once. Keys that an
//!   index names may all be in one bank, so each is a window by itself, of as many words as a key
//!   of these bytes can take part of.
//! - *Requantisers*: int8 and int16 results, divided by the requantisers of the lines.
//! - *Dividers*: a reciprocal for each row of `spmm` and each query of `spmm_list`.
//! - *LayerNorm*: reads each row twice, for its statistics and to normalise it; the first row's
//!   statistics and root are exposed. Parameters are read once for 8 rows. Roots of other rows are
//!   hidden unless `rows / roots` of them take longer.
//! - *Tables*: the vector unit holds two. The table of a lookup or interpolation is read while the
//!   one before is in use.
//! - *Transfers*: the words of each run in the scratchpad; the channel waits for them.
//! - *Lists*: state their cycles, see above. Softmax takes them row by row.
//!
//! The latency includes two revolutions: the first words arrive within one, the last results leave
//! within another. That of transfers includes one: what they read from the scratchpad, or write.

use super::streams::{Geometry, Rows, Stream};
use super::{Coder, Cost, Model, SramTraffic, burst_traffic};
use crate::effects::{Data, Mode, Region, Space, accesses};
use crate::instr::LineSet;
use crate::instr::table::*;
use crate::instr::{Engine, Unit};
use crate::machine::{Machine, Organisation};
use crate::periodic::Summand as _;

/// Rows of LayerNorm that are normalised together, channel by channel, so that its parameters are
/// read once for all of them (ours).
const NORMALISED_ROWS: u64 = 8;

/// Counts what an instruction takes on a machine with banks.
pub(super) struct Banked<'a> {
    op: &'a Op,
    machine: &'a Machine,
    organisation: Organisation<'a>,
    geometry: Geometry,
    read: Stream,
    written: Stream,
    sram: SramTraffic,
}

/// How lines that accumulate along sums divide `m x n` results.
struct Passes {
    /// Columns, the rows of the right operand, of a whole pass.
    columns: u64,
    /// Passes in which every line has a column.
    whole: u64,
    /// Columns of the last pass, which has fewer columns than lines.
    rest: u64,
    /// Rows of the left operand that each group of lines takes in the last pass.
    rows_each: u64,
}

impl Passes {
    fn new(m: u64, n: u64, lines: u64) -> Passes {
        let rest = n % lines;
        let rows_each = lines.checked_div(rest).map_or(0, |groups| m.div_ceil(groups));
        Passes { columns: lines, whole: n / lines, rest, rows_each }
    }

    /// Results of the busiest line.
    fn rounds(&self, m: u64) -> u64 {
        self.whole * m + self.rows_each
    }

    fn count(&self) -> u64 {
        self.whole + u64::from(self.rest > 0)
    }
}

/// The operands of sums.
struct Sums {
    left: Rows,
    right: Rows,
    /// Rows of the results; their bytes follow from the columns.
    results: Rows,
    /// Bytes of a result.
    width: u64,
}

impl Model for Banked<'_> {
    /// A transfer: the banks limit it beside the channel.
    fn transfer(&mut self) -> Cost {
        self.others(&[]);
        let slots = self.organisation.slots;
        let read = if matches!(self.op, Op::Store(_)) { slots.store } else { slots.load_read };
        let mut cost = burst_traffic(self.op, self.machine);
        cost.cycles = self
            .organisation
            .revolutions(self.read, read)
            .max(self.organisation.revolutions(self.written, slots.load_write));
        cost.latency += self.organisation.revolution_cycles();
        cost.sram = self.sram;
        cost
    }

    fn matmul(&mut self, op: &Matmul) -> Cost {
        let (m, n) = (u64::from(op.m), u64::from(op.n));
        let sums = Sums {
            left: Rows {
                runs: op.runs().into(),
                run_stride: op.run_stride.into(),
                ..Rows::new(op.a.0.into(), m, op.k.into(), op.a_stride.into())
            },
            right: Rows::new(op.b.0.into(), n, op.depth(), op.b_stride.into()),
            results: Rows::new(op.dst.0.into(), m, 0, op.dst_stride.into()),
            width: op.out.bytes().into(),
        };
        let cycles = self.sums(&sums, op.lines, ["a", "b"], false);
        self.others(&["a", "b", "dst"]);
        let cycles = cycles.max(self.organisation.results(self.op, op.lines.count));
        self.on_engine(op.engine, op.lines, cycles, m * n * op.depth())
    }

    fn sddmm(&mut self, op: &Sddmm) -> Cost {
        let (m, n, d) = (u64::from(op.m), u64::from(op.n), u64::from(op.d));
        let sums = Sums {
            left: Rows::new(op.q.0.into(), m, d, op.q_stride.into()),
            right: Rows::new(op.k.0.into(), n, d, op.k_stride.into()),
            results: Rows::new(op.dst.0.into(), m, 0, op.dst_stride.into()),
            width: 2,
        };
        let cycles = self.sums(&sums, op.lines, ["q", "k"], op.indexed);
        self.others(&["q", "k", "dst"]);
        let cycles = cycles.max(self.organisation.results(self.op, op.lines.count));
        self.on_engine(op.engine, op.lines, cycles, m * n * d)
    }

    fn spmm(&mut self, op: &Spmm) -> Cost {
        let (m, n, d) = (u64::from(op.m), u64::from(op.n), u64::from(op.d));
        let rounds = self.output_rounds(m, op.d, op.lines);
        // A value serves all rows that have an accumulator.
        let half = u64::from(self.organisation.datapath.accumulators / 2);
        let contexts = half / u64::from(self.machine.lines.macs);
        let values = self.operand("v").times(rounds.div_ceil(contexts.max(1)));
        self.reads("v", values);
        self.others(&["v"]);
        // Where lines are left, they divide the keys; an adder tree adds their sums up.
        let parts = d.div_ceil(self.machine.lines.macs.into());
        let shares = (u64::from(op.lines.count) / (m * parts)).max(1);
        let cycles = rounds * n.div_ceil(shares) * self.step_cycles(op.d);
        let cycles = cycles.max(self.organisation.results(self.op, op.lines.count));
        self.on_engine(op.engine, op.lines, cycles, m * n * d).shifted(op.minifloat)
    }

    fn autoencoder(&mut self, unit: Unit, lines: LineSet, shape: Coder) -> Cost {
        self.others(&[]);
        let Coder { m, d, heads_in, heads_out } = shape;
        let slots = match unit {
            Unit::Encoder => self.organisation.slots.encoder,
            _ => self.organisation.slots.decoder,
        };
        let rows = u64::from(m) * u64::from(heads_out);
        let rounds = self.output_rounds(rows, d, lines);
        let cycles = rounds * u64::from(heads_in) * self.step_cycles(d);
        let words = self.organisation.in_turn(slots, [self.read, self.written]);
        let results = rows * u64::from(d);
        let cycles = cycles.max(words).max(self.organisation.results(self.op, lines.count));
        self.on_lines(lines, cycles, results * u64::from(heads_in))
    }

    fn softmax(&mut self, m: u16, n: u16) -> Cost {
        self.others(&[]);
        let softmax = &self.machine.softmax;
        let cycles = u64::from(m) * u64::from(n).div_ceil(softmax.scores_per_cycle.into());
        let elements = u64::from(m) * u64::from(n);
        let words =
            self.organisation.in_turn(self.organisation.slots.softmax, [self.read, self.written]);
        self.elements(cycles.max(words), elements, softmax.fill_cycles)
    }

    fn layer_norm(&mut self, op: &LayerNorm) -> Cost {
        // Statistics and normalisation read a row each; statistics and root of the first row are
        // exposed.
        let source = self.operand("src");
        self.reads("src", source.times(2));
        let params = self.operand("params");
        self.reads("params", params.times(u64::from(op.m).div_ceil(NORMALISED_ROWS)));
        self.others(&["src", "params"]);
        let vector = &self.machine.vector;
        let row = u64::from(op.n).div_ceil(vector.elements_per_cycle.into());
        let roots = self.organisation.roots(op.m.into());
        let cycles = (u64::from(op.m) * row).max(roots);
        let elements = u64::from(op.m) * u64::from(op.n);
        let mut cost = self.on_vector_unit(cycles, elements);
        cost.cycles += row + u64::from(self.organisation.datapath.root_cycles);
        cost
    }

    /// Elements of the vector unit. It holds two tables: one is loaded while the other is in use.
    fn elementwise(&mut self, m: u16, n: u16) -> Cost {
        self.others(&[]);
        let vector = &self.machine.vector;
        let cycles = u64::from(m) * u64::from(n).div_ceil(vector.elements_per_cycle.into());
        self.on_vector_unit(cycles, u64::from(m) * u64::from(n))
    }
}

impl<'a> Banked<'a> {
    pub(super) fn new(
        op: &'a Op,
        machine: &'a Machine,
        organisation: Organisation<'a>,
    ) -> Banked<'a> {
        Banked {
            op,
            machine,
            organisation,
            geometry: Geometry::new(organisation),
            read: Stream::default(),
            written: Stream::default(),
            sram: SramTraffic::default(),
        }
    }

    // ---- streams ----

    /// Counts words that are read.
    fn reads(&mut self, operand: &str, stream: Stream) {
        let data = Data::of_operand(self.op, operand) as usize;
        self.sram.read[data] += stream.words.saturating_mul(self.geometry.word);
        self.read = self.read.and(stream);
    }

    /// Counts words that are written.
    fn writes(&mut self, operand: &str, stream: Stream) {
        let data = Data::of_operand(self.op, operand) as usize;
        self.sram.written[data] += stream.words.saturating_mul(self.geometry.word);
        self.written = self.written.and(stream);
    }

    /// Counts all operands in the scratchpad but these, each once and row by row.
    fn others(&mut self, counted: &[&str]) {
        for access in accesses(self.op).iter().filter(|access| access.space == Space::Sram) {
            if counted.contains(&access.operand) {
                continue;
            }
            let stream = self.region(access.region);
            match access.mode {
                Mode::Read => self.reads(access.operand, stream),
                Mode::Write => self.writes(access.operand, stream),
                Mode::Update => {
                    self.reads(access.operand, stream);
                    self.writes(access.operand, stream);
                }
            }
        }
    }

    /// The stream of an operand that is visited row by row.
    fn operand(&self, name: &str) -> Stream {
        let accesses = accesses(self.op);
        let access = accesses.iter().find(|access| access.operand == name);
        access.map_or(Stream::default(), |access| self.region(access.region))
    }

    fn region(&self, region: Region) -> Stream {
        let rows = Rows::new(region.base, region.inner, region.bytes, region.inner_stride);
        self.geometry
            .sum(region.outer, region.outer_stride, |offset| self.geometry.stream(rows.at(offset)))
    }

    // ---- limits ----

    /// The cost of an instruction on the lines of an engine.
    fn on_engine(&self, engine: Engine, lines: LineSet, cycles: u64, macs: u64) -> Cost {
        let words = self.organisation.of_engine(engine, [self.read, self.written]);
        self.on_lines(lines, cycles.max(words), macs)
    }

    fn on_lines(&self, lines: LineSet, cycles: u64, macs: u64) -> Cost {
        Cost {
            cycles: cycles.max(1),
            latency: self.organisation.latency(self.machine.lines.fill_cycles),
            lines: Some(lines),
            macs,
            sram: self.sram,
            ..Cost::default()
        }
    }

    // ---- MAC lines ----

    /// Bytes of a row that a line holds: whole words, so that all parts of a row begin alike within
    /// their words and are one term of a sum.
    fn held(&self) -> u64 {
        let held = u64::from(self.organisation.datapath.operand_bytes / 2);
        held.max(1).next_multiple_of(self.geometry.word)
    }

    /// The stream of rows of which lines take a part after the other: as many bytes of all rows as
    /// lines can hold, or more where rows are so few that a window has room.
    fn parts(&self, rows: Rows) -> Stream {
        self.parts_as(rows, |part| self.geometry.stream(part))
    }

    /// The same of rows that are visited in this way.
    fn parts_as(&self, rows: Rows, stream: impl Fn(Rows) -> Stream) -> Stream {
        let part = self.held() * (self.geometry.banks / rows.count.max(1)).max(1);
        if rows.depth() <= part {
            return stream(rows);
        }
        let of = |offset: u64, bytes: u64| stream(Rows { runs: 1, bytes, ..rows.at(offset) });
        self.geometry.sum(rows.runs, rows.run_stride, |run| {
            let whole = self.geometry.sum(rows.bytes / part, part, |at| of(run + at, part));
            let rest = rows.bytes % part;
            whole.and(of(run + rows.bytes - rest, rest))
        })
    }

    /// Counts the words of the operands and results of sums; returns the cycles of the lines.
    fn sums(&mut self, sums: &Sums, lines: LineSet, names: [&str; 2], scattered: bool) -> u64 {
        let Sums { left, right, results, width } = *sums;
        let (m, n) = (left.count, right.count);
        let datapath = self.organisation.datapath;
        let passes = Passes::new(m, n, lines.count.into());
        let block = u64::from(datapath.accumulators / 2).max(1);
        let held_once = right.bytes <= self.held();
        let blocks = |rows: u64| if held_once { 1 } else { rows.div_ceil(block) };

        // The right operand: the columns of each pass, for each block of rows.
        let columns = |count: u64, offset: u64| {
            let rows = Rows { count, ..right.at(offset) };
            if scattered {
                self.parts_as(rows, |part| self.geometry.anywhere(part))
            } else {
                self.parts(rows)
            }
        };
        let pass_bytes = passes.columns.saturating_mul(right.stride);
        let stays = m == 1 && held_once && left.depth() <= self.held();
        let held = if stays {
            columns(n, 0)
        } else {
            self.geometry
                .sum(passes.whole, pass_bytes, |offset| columns(passes.columns, offset))
                .times(blocks(m))
                .and(
                    columns(passes.rest, passes.whole.saturating_mul(pass_bytes))
                        .times(blocks(passes.rows_each)),
                )
        };

        // The left operand: all rows in each pass, block by block.
        let rows = |count: u64, offset: u64| self.parts(Rows { count, ..left.at(offset) });
        let block_bytes = block.saturating_mul(left.stride);
        let full = m / block;
        let streamed = self
            .geometry
            .sum(full, block_bytes, |offset| rows(block, offset))
            .and(rows(m % block, full.saturating_mul(block_bytes)));
        let streamed = if held_once { self.geometry.stream(left) } else { streamed };

        // The results: those of a pass row by row.
        let pass_width = passes.columns * width;
        let of = |count: u64, offset: u64| {
            self.geometry.stream(Rows { bytes: count * width, ..results.at(offset) })
        };
        let results = if stays {
            of(n, 0)
        } else {
            self.geometry
                .sum(passes.whole, pass_width, |offset| of(passes.columns, offset))
                .and(of(passes.rest, passes.whole * pass_width))
        };

        self.reads(names[0], streamed.times(if stays { 1 } else { passes.count() }));
        self.reads(names[1], held);
        self.writes("dst", results);
        let sum = left.runs * super::sum_cycles(self.machine, left.bytes);
        passes.rounds(m) * sum
    }

    /// Rounds in which lines that accumulate along outputs compute `rows` rows of `d` features.
    fn output_rounds(&self, rows: u64, d: u16, lines: LineSet) -> u64 {
        let parts = u64::from(d).div_ceil(self.machine.lines.macs.into());
        (rows * parts).div_ceil(lines.count.into())
    }

    /// Cycles in which the features of a step pass the ports of a line.
    fn step_cycles(&self, d: u16) -> u64 {
        let lines = &self.machine.lines;
        lines.macs.min(d.into()).div_ceil(lines.port_bytes).into()
    }

    // ---- other units ----

    fn on_vector_unit(&self, cycles: u64, elements: u64) -> Cost {
        let slots = self.organisation.slots;
        let words = self
            .organisation
            .revolutions(self.read, slots.vector_read)
            .max(self.organisation.revolutions(self.written, slots.vector_write));
        self.elements(cycles.max(words), elements, self.machine.vector.fill_cycles)
    }

    fn elements(&self, cycles: u64, elements: u64, fill: u32) -> Cost {
        Cost {
            cycles: cycles.max(1),
            latency: self.organisation.latency(fill),
            elements,
            sram: self.sram,
            ..Cost::default()
        }
    }
}
