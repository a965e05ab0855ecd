//! The schedule of a run as Chrome trace events, which Perfetto displays: a track per unit, a slice
//! per instruction.
//!
//! One microsecond of the trace stands for one cycle.

use std::io::{self, Write};

use serde::Serialize;
use vitcod_isa::instr::Unit;
use vitcod_isa::program::Program;

use vitcod_isa::timing::Timing;

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    ph: &'static str,
    pid: u32,
    tid: usize,
    #[serde(flatten)]
    slice: Option<Slice>,
    args: Args<'a>,
}

#[derive(Serialize)]
struct Slice {
    ts: u64,
    dur: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Args<'a> {
    Thread { name: &'a str },
    Instruction { index: usize, instruction: String, layer: &'a str, completion: u64 },
}

/// Writes the trace of a run of `program` with `timing`.
///
/// # Errors
/// Those of the writer.
pub fn write(program: &Program, timing: &Timing, out: impl Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let threads = Unit::ALL.map(|unit| Event {
        name: "thread_name",
        ph: "M",
        pid: 0,
        tid: unit.index(),
        slice: None,
        args: Args::Thread { name: unit.name() },
    });
    let slices = timing.order().iter().flat_map(|&index| slices(program, timing, index));
    out.write_all(b"{\"traceEvents\":[")?;
    for (i, event) in threads.into_iter().chain(slices).enumerate() {
        out.write_all(if i == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut out, &event)?;
    }
    out.write_all(b"\n]}\n")?;
    out.flush()
}

fn slices<'a>(
    program: &'a Program,
    timing: &Timing,
    index: usize,
) -> impl Iterator<Item = Event<'a>> {
    let (instr, span) = (&program.code[index], timing.spans()[index]);
    let layer =
        program.layer_of.get(index).and_then(|layer| program.header.layers.get(*layer as usize));
    instr.op.units().iter().map(move |unit| Event {
        name: instr.op.spec().mnemonic,
        ph: "X",
        pid: 0,
        tid: unit.index(),
        slice: Some(Slice { ts: span.start, dur: span.end - span.start }),
        args: Args::Instruction {
            index,
            instruction: instr.to_string(),
            layer: layer.map_or("", |layer| &layer.name),
            completion: span.completion,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use vitcod_emulator::Emulator;
    use vitcod_isa::testing::two_layers;

    #[test]
    fn a_trace_has_a_slice_per_instruction_and_a_name_per_unit() {
        let program = Arc::new(two_layers());
        let emulator = Emulator::new(Arc::clone(&program)).unwrap();
        let mut trace = Vec::new();
        write(&program, emulator.timing(), &mut trace).unwrap();
        let trace: serde_json::Value = serde_json::from_slice(&trace).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), Unit::COUNT + 3 + Unit::COUNT);
        assert_eq!((&events[0]["ph"], &events[0]["args"]["name"]), (&"M".into(), &"load".into()));
        let product = events.iter().find(|event| event["name"] == "matmul").unwrap();
        assert_eq!(
            (&product["ts"], &product["dur"], &product["tid"]),
            (&60.into(), &100.into(), &2.into())
        );
        assert_eq!(product["args"]["layer"], "first");
    }
}
