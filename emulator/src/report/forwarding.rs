//! Q forwarding: queries that the sparser engine need not fetch because the denser engine has them.
//! [`Queries`] defines the counts.
//!
//! One pass over the program. Each byte of the scratchpad that may hold a query remembers whether
//! the denser engine has read its present content or, until then, how often the sparser engine did:
//! those reads are forwarded if the denser engine reads the byte before the next write.

use std::ops::Range;

use vitcod_isa::effects::{Access, Region, Space, accesses};
use vitcod_isa::instr::table::{Sddmm, SddmmList};
use vitcod_isa::instr::{Engine, Op};
use vitcod_isa::program::Program;

use super::Queries;
use super::counter::add;

pub(super) struct Forwarding {
    pub(super) total: Queries,
    /// Counts by layer of the program.
    pub(super) layers: Vec<Queries>,
}

/// The engine of an instruction that computes scores from its operand `q`.
fn engine_of_scores(op: &Op) -> Option<Engine> {
    match op {
        Op::Sddmm(Sddmm { engine, .. }) | Op::SddmmList(SddmmList { engine, .. }) => Some(*engine),
        Op::Load(_)
        | Op::Store(_)
        | Op::Gather(_)
        | Op::Matmul(_)
        | Op::Softmax(_)
        | Op::Spmm(_)
        | Op::SoftmaxList(_)
        | Op::SpmmList(_)
        | Op::LayerNorm(_)
        | Op::Add(_)
        | Op::Lut(_)
        | Op::Interpolate(_)
        | Op::Encode(_)
        | Op::Decode(_)
        | Op::Sync(_)
        | Op::Barrier(_)
        | Op::Halt(_) => None,
    }
}

fn is_query(access: &Access) -> bool {
    access.space == Space::Sram && access.operand == "q"
}

/// The readers of the present content of a byte, for scores.
#[derive(Clone, Copy)]
enum Readers {
    /// The denser engine, and perhaps the sparser one.
    Denser,
    /// At most the sparser engine, `reads` times for the last layer that did.
    Sparser { layer: u32, reads: u32 },
}

impl Readers {
    const NONE: Readers = Readers::Sparser { layer: 0, reads: 0 };
}

impl Forwarding {
    pub(super) fn of(program: &Program) -> Forwarding {
        let mut forwarding = Forwarding {
            total: Queries::default(),
            layers: vec![Queries::default(); program.header.layers.len()],
        };
        let window = window(program);
        let mut readers = vec![Readers::NONE; window.len()];
        if readers.is_empty() {
            return forwarding;
        }
        for (index, instr) in program.code.iter().enumerate() {
            let operands = accesses(&instr.op);
            if let Some(engine) = engine_of_scores(&instr.op) {
                // An instruction without a layer counts only in the total.
                let layer = program.layer_of.get(index).copied().unwrap_or(u32::MAX);
                for range in operands
                    .iter()
                    .filter(|access| is_query(access))
                    .flat_map(|query| distinct(query.region))
                {
                    let bytes = &mut readers[within(range, &window)];
                    match engine {
                        Engine::Denser => forwarding.denser_reads(bytes),
                        Engine::Sparser => forwarding.sparser_reads(bytes, layer),
                    }
                }
            }
            let written = operands
                .iter()
                .filter(|access| access.space == Space::Sram && access.mode.writes());
            for region in written.map(|access| access.region) {
                // Fast path: most results lie outside the window.
                if !within(region.base..region.end(), &window).is_empty() {
                    for (at, bytes) in region.runs() {
                        readers[within(at..at.saturating_add(bytes), &window)].fill(Readers::NONE);
                    }
                }
            }
        }
        forwarding
    }

    fn denser_reads(&mut self, bytes: &mut [Readers]) {
        for byte in bytes {
            if let Readers::Sparser { layer, reads: reads @ 1.. } =
                std::mem::replace(byte, Readers::Denser)
            {
                self.count(layer, Queries { sparser_read_bytes: 0, forwarded_bytes: reads.into() });
            }
        }
    }

    fn sparser_reads(&mut self, bytes: &mut [Readers], by: u32) {
        let mut queries = Queries { sparser_read_bytes: bytes.len() as u64, forwarded_bytes: 0 };
        for byte in bytes {
            match byte {
                Readers::Denser => queries.forwarded_bytes += 1,
                Readers::Sparser { layer, reads } if *layer == by => {
                    *reads = reads.saturating_add(1)
                }
                Readers::Sparser { .. } => *byte = Readers::Sparser { layer: by, reads: 1 },
            }
        }
        self.count(by, queries);
    }

    fn count(&mut self, layer: u32, queries: Queries) {
        for sum in std::iter::once(&mut self.total).chain(self.layers.get_mut(layer as usize)) {
            add(&mut sum.sparser_read_bytes, queries.sparser_read_bytes);
            add(&mut sum.forwarded_bytes, queries.forwarded_bytes);
        }
    }
}

/// The range of the scratchpad with the queries of the sparser engine.
fn window(program: &Program) -> Range<usize> {
    let scores =
        program.code.iter().filter(|instr| engine_of_scores(&instr.op) == Some(Engine::Sparser));
    let regions =
        scores.flat_map(|instr| accesses(&instr.op)).filter(is_query).map(|access| access.region);
    let hull = regions.map(|region| region.base..region.end());
    let hull = hull.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or_default();
    // Bytes beyond the scratchpad, which an unchecked program may name, do not count.
    let capacity = u64::from(program.machine.sram.bytes);
    hull.start.min(capacity) as usize..hull.end.min(capacity) as usize
}

/// The part of `range` in `window`, relative to the window's start.
fn within(range: Range<u64>, window: &Range<usize>) -> Range<usize> {
    let inside =
        |at: u64| (at.clamp(window.start as u64, window.end as u64) as usize) - window.start;
    inside(range.start)..inside(range.end)
}

/// The bytes of rows in ascending order; overlapping rows count once.
fn distinct(rows: Region) -> impl Iterator<Item = Range<u64>> {
    let mut seen = 0;
    rows.runs().map(move |(at, bytes)| {
        let end = at.saturating_add(bytes);
        let start = at.max(seen).min(end);
        seen = seen.max(end);
        start..end
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use vitcod_isa::instr::table::Barrier;
    use vitcod_isa::instr::{Instr, LineSet, Sram};
    use vitcod_isa::numerics::Scale;

    use super::*;
    use vitcod_isa::testing::{load, program};

    /// Scores of 4 queries of 8 bytes, `stride` apart.
    fn scores(engine: Engine, q: u32, stride: u32) -> Instr {
        Instr::new(Sddmm {
            engine,
            fresh: true,
            lines: LineSet { first: 0, count: 1 },
            q: Sram(q),
            k: Sram(4096),
            max: Sram(8192),
            dst: Sram(8448),
            m: 4,
            n: 1,
            d: 8,
            scale: Scale::reciprocal(2),
            q_stride: stride,
            k_stride: 8,
            dst_stride: 2,
            ..Sddmm::ZERO
        })
    }

    fn denser(q: u32) -> Instr {
        scores(Engine::Denser, q, 8)
    }

    fn sparser(q: u32) -> Instr {
        scores(Engine::Sparser, q, 8)
    }

    fn bring(at: u32, bytes: u32) -> Instr {
        Instr::new(load(at, 0, bytes))
    }

    /// Bytes read and forwarded in total.
    fn queries(code: impl IntoIterator<Item = Instr>) -> (u64, u64) {
        let Queries { sparser_read_bytes, forwarded_bytes } =
            Forwarding::of(&program(code, &[])).total;
        (sparser_read_bytes, forwarded_bytes)
    }

    #[test]
    fn a_copy_for_both_engines_is_forwarded_in_either_order() {
        assert_eq!(queries([bring(0, 32), denser(0), sparser(0)]), (32, 32));
        assert_eq!(queries([bring(0, 32), sparser(0), denser(0)]), (32, 32));
        assert_eq!(queries([bring(0, 32), sparser(0), denser(0), sparser(0)]), (64, 64));
        assert_eq!(queries([bring(0, 32), sparser(0), sparser(0), denser(0), denser(0)]), (64, 64));
    }

    #[test]
    fn a_copy_for_one_engine_is_not() {
        assert_eq!(queries([bring(0, 64), denser(0), sparser(32)]), (32, 0));
        assert_eq!(queries([bring(0, 32), sparser(0)]), (32, 0));
        assert_eq!(queries([bring(0, 32), denser(0)]), (0, 0));
        assert_eq!(queries([Instr::new(Barrier {})]), (0, 0));
    }

    #[test]
    fn a_write_makes_a_new_content() {
        assert_eq!(queries([bring(0, 32), denser(0), bring(0, 32), sparser(0)]), (32, 0));
        assert_eq!(queries([bring(0, 32), sparser(0), bring(0, 32), denser(0)]), (32, 0));
        // Ten bytes of it.
        assert_eq!(queries([bring(0, 64), denser(0), bring(22, 100), sparser(0)]), (32, 22));
    }

    #[test]
    fn bytes_count_once_per_instruction() {
        assert_eq!(queries([scores(Engine::Sparser, 0, 4), denser(0)]), (4 * 3 + 8, 4 * 3 + 8));
        assert_eq!(queries([scores(Engine::Sparser, 0, 0), denser(0)]), (8, 8));
        // Rows 100 apart, of which the denser engine reads the first one and not the gap.
        assert_eq!(queries([scores(Engine::Sparser, 0, 100), denser(0)]), (32, 8));
    }

    #[test]
    fn layers_add_up_and_the_last_reader_is_forwarded_to() {
        let mut program = program([sparser(0), sparser(16), denser(0), sparser(0)], &[]);
        program.header.layers = vec![program.header.layers[0].clone(); 2];
        program.layer_of = vec![0, 1, 0, 0, 0];
        let Forwarding { total, layers } = Forwarding::of(&program);
        let queries =
            |sparser_read_bytes, forwarded_bytes| Queries { sparser_read_bytes, forwarded_bytes };
        assert_eq!(total, queries(96, 16 + 16 + 32));
        assert_eq!(layers, [queries(64, 16 + 32), queries(32, 16)]);
    }

    #[test]
    fn operands_beyond_the_machine_and_missing_layers_are_survived() {
        let mut program =
            program([denser(0xff_fff0), sparser(0xff_fff0), bring(0xff_fff0, 100)], &[]);
        program.layer_of = vec![7];
        assert_eq!(Forwarding::of(&program).total, Queries::default());
        let end = program.machine.sram.bytes;
        assert_eq!(queries([denser(end - 8), sparser(end - 16), bring(end - 16, 100)]), (16, 8));
    }

    /// The definition: a read is forwarded if the denser engine reads a byte with the same number
    /// of writes before it.
    fn defined(code: &[Instr]) -> (u64, u64) {
        let bytes = |access: &Access| -> BTreeSet<u64> {
            access.region.runs().flat_map(|(at, bytes)| at..at + bytes).collect()
        };
        let mut writes = vec![0; 1 << 16];
        let (mut denser, mut sparser) = (BTreeSet::new(), Vec::new());
        for Instr { op, .. } in code {
            let operands = accesses(op);
            if let Some(engine) = engine_of_scores(op) {
                for byte in operands.iter().filter(|access| is_query(access)).flat_map(bytes) {
                    let content = (byte, writes[byte as usize]);
                    match engine {
                        Engine::Denser => denser.extend([content]),
                        Engine::Sparser => sparser.push(content),
                    }
                }
            }
            for access in
                operands.iter().filter(|access| access.space == Space::Sram && access.mode.writes())
            {
                bytes(access).into_iter().for_each(|byte| writes[byte as usize] += 1);
            }
        }
        (
            sparser.len() as u64,
            sparser.iter().filter(|content| denser.contains(content)).count() as u64,
        )
    }

    proptest! {
        #[test]
        fn follows_the_definition(
            code in prop::collection::vec(
                prop_oneof![
                    (0u32..100, 0u32..40).prop_map(|(q, stride)| scores(Engine::Denser, q, stride)),
                    (0u32..100, 0u32..40).prop_map(|(q, stride)| scores(Engine::Sparser, q, stride)),
                    (0u32..200, 1u32..60).prop_map(|(at, bytes)| bring(at, bytes)),
                ],
                0..20,
            ),
        ) {
            prop_assert_eq!(queries(code.clone()), defined(&code));
        }
    }
}
