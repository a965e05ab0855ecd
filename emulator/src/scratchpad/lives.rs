//! Live ranges of bytes: one pass in program order, which determines what an instruction reads.

use std::collections::BTreeMap;

use vitcod_isa::effects::{Access, Data, Mode, Region, Space, accesses};
use vitcod_isa::program::Program;

use super::Part;
use vitcod_isa::timing::Timing;

/// All parts, and for each value of a part its buffer.
pub(super) fn of(program: &Program, timing: &Timing) -> (Vec<Part>, Vec<usize>) {
    let mut lives =
        Lives { timing, living: BTreeMap::new(), ended: Vec::new(), joined: Vec::new() };
    let capacity = u64::from(program.machine.sram.bytes);
    for (index, instr) in program.code.iter().enumerate() {
        let operands: Vec<Access> = (accesses(&instr.op).into_iter())
            .filter(|access| access.space == Space::Sram && access.region.total() > 0)
            .filter(|access| access.region.end() <= capacity)
            .collect();
        for access in operands.iter().filter(|access| access.mode.reads()) {
            lives.read(index, &access.region);
        }
        for access in operands.iter().filter(|access| access.mode == Mode::Write) {
            lives.write(index, &access.region, Data::of(&instr.op, access));
        }
    }
    let Lives { living, mut ended, mut joined, .. } = lives;
    ended.extend(living.into_values());
    let buffers = (0..joined.len()).map(|value| root(&mut joined, value)).collect();
    (ended, buffers)
}

struct Lives<'t> {
    timing: &'t Timing,
    /// Parts that have not been overwritten, by address; they are disjoint.
    living: BTreeMap<u64, Part>,
    ended: Vec<Part>,
    /// A disjoint-set forest: values that belong to the same buffer are joined.
    joined: Vec<usize>,
}

impl Lives<'_> {
    fn read(&mut self, reader: usize, region: &Region) {
        let end = self.timing.spans()[reader].end;
        let mut first = None;
        for (start, bytes) in region.merged().runs() {
            let from = self.living.range(..=start).next_back().map_or(start, |(at, _)| *at);
            for (_, part) in self
                .living
                .range_mut(from..start + bytes)
                .filter(|(_, part)| part.bytes.end > start)
            {
                part.cycles.end = part.cycles.end.max(end);
                match first {
                    None => first = Some(part.value),
                    Some(first) => join(&mut self.joined, first, part.value),
                }
            }
        }
    }

    fn write(&mut self, writer: usize, region: &Region, data: Data) {
        let span = self.timing.spans()[writer];
        let value = self.joined.len();
        self.joined.push(value);
        for (start, bytes) in region.merged().runs() {
            let end = start + bytes;
            self.overwrite(start, end, span.start);
            let cycles = span.start..span.completion;
            self.living.insert(start, Part { bytes: start..end, cycles, data, writer, value });
        }
    }

    /// Ends the live ranges between two addresses.
    fn overwrite(&mut self, start: u64, end: u64, cycle: u64) {
        let from = self.living.range(..=start).next_back().map_or(start, |(at, _)| *at);
        let over: Vec<u64> = self
            .living
            .range(from..end)
            .filter(|(_, part)| part.bytes.end > start)
            .map(|(at, _)| *at)
            .collect();
        for at in over {
            let Some(mut part) = self.living.remove(&at) else { continue };
            if part.bytes.start < start {
                self.living.insert(at, Part { bytes: at..start, ..part.clone() });
            }
            if part.bytes.end > end {
                self.living.insert(end, Part { bytes: end..part.bytes.end, ..part.clone() });
            }
            part.bytes = part.bytes.start.max(start)..part.bytes.end.min(end);
            part.cycles.end = part.cycles.end.min(cycle).max(part.cycles.start);
            self.ended.push(part);
        }
    }
}

/// The representative of a value's buffer.
fn root(joined: &mut [usize], value: usize) -> usize {
    let mut at = value;
    while joined[at] != at {
        joined[at] = joined[joined[at]];
        at = joined[at];
    }
    at
}

fn join(joined: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(joined, a), root(joined, b));
    joined[a.max(b)] = a.min(b);
}
