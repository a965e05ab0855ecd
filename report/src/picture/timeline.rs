//! The timeline of the units: activity and waits.

use std::io::{self, Write};
use std::ops::Range;

use vitcod_isa::instr::{Op, Unit};
use vitcod_isa::program::Program;

use super::canvas::{Anchor, Canvas, Colour, FAINT, GRID, Ink, LINE, shade, tint};
use super::plot::{GAP, LEFT, PLOT, Scale, WIDTH, axis_of_cycles, label, legend, legend_height};
use crate::table::grouped;
use vitcod_emulator::report::shares;
use vitcod_isa::timing::{Reason, Timing};

/// The activity of a unit in a cycle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Load,
    Store,
    Product,
    Scores,
    Softmax,
    Values,
    Coder,
    Norm,
    Add,
    Lut,
    Order,
    WaitToken,
    WaitFetch,
    WaitLines,
    WaitChannel,
    WaitBarrier,
}

use Activity::*;

/// Every activity with its name and colour, in stacking order.
const ACTIVITIES: [(Activity, &str, Colour); 16] = [
    (Load, "load, gather", [0x44, 0x77, 0xaa]),
    (Store, "store", [0x66, 0xcc, 0xee]),
    (Product, "matmul", [0x22, 0x88, 0x33]),
    (Scores, "sddmm", [0xee, 0x66, 0x77]),
    (Softmax, "softmax", [0xcc, 0xbb, 0x44]),
    (Values, "spmm", [0xaa, 0x33, 0x77]),
    (Coder, "encode, decode", [0xee, 0x88, 0x66]),
    (Norm, "layernorm", [0x77, 0xaa, 0xdd]),
    (Add, "add", [0x88, 0xaa, 0x22]),
    (Lut, "lut", [0x55, 0xaa, 0x99]),
    (Order, "sync", [0x55, 0x55, 0x55]),
    (WaitToken, "waits for a token", [0xe4, 0xe4, 0xe8]),
    (WaitFetch, "waits for an instruction", [0xe8, 0xe0, 0xc8]),
    (WaitLines, "waits for MAC lines", [0xf8, 0xd0, 0xd4]),
    (WaitChannel, "waits for the channel", [0xcc, 0xdc, 0xf4]),
    (WaitBarrier, "waits at a barrier", [0xd0, 0xd0, 0xd6]),
];

fn activity(op: &Op) -> Activity {
    match op {
        Op::Load(_) | Op::Gather(_) => Load,
        Op::Store(_) => Store,
        Op::Matmul(_) => Product,
        Op::Sddmm(_) | Op::SddmmList(_) => Scores,
        Op::Softmax(_) | Op::SoftmaxList(_) => Softmax,
        Op::Spmm(_) | Op::SpmmList(_) => Values,
        Op::Encode(_) | Op::Decode(_) => Coder,
        Op::LayerNorm(_) => Norm,
        Op::Add(_) => Add,
        Op::Lut(_) | Op::Interpolate(_) => Lut,
        Op::Sync(_) | Op::Barrier(_) | Op::Halt(_) => Order,
    }
}

/// Height of a lane in pixels.
const LANE: u32 = 28;
/// Height of the lane of MAC lines in pixels.
const LINES: u32 = 44;
/// Height of the strip of layers in pixels.
const STRIP: u32 = 14;
const TOP: u32 = 34;

/// Writes the timeline of a run of `program` with `timing`, within `cycles`, as PNG.
///
/// Every unit that the program uses has a lane, with its activity in full colours and its waits in
/// pale ones. The lane of the MAC lines shows how many are occupied, dark where they multiply.
///
/// # Errors
/// Those of the writer.
pub fn timeline(
    program: &Program,
    timing: &Timing,
    cycles: Range<u64>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let scale = Scale { range: cycles, pixels: PLOT };
    let units: Vec<Unit> =
        Unit::ALL.into_iter().filter(|unit| timing.unit(*unit).busy > 0).collect();
    let spent: Vec<Spent> =
        units.iter().map(|unit| Spent::of(*unit, program, timing, &scale)).collect();
    let occurring: Vec<usize> =
        (0..ACTIVITIES.len()).filter(|a| spent.iter().any(|lane| lane.total(*a) > 0)).collect();

    let lanes_top = TOP + STRIP + GAP;
    let lines_top = lanes_top + units.len() as u32 * (LANE + GAP);
    let bottom = lines_top + LINES;
    let names: Vec<&str> = occurring.iter().map(|a| ACTIVITIES[*a].1).collect();
    let mut canvas = Canvas::new(WIDTH, bottom + 5 + LINE + GAP + legend_height(&names) + GAP);
    let inks = ACTIVITIES.map(|(_, _, colour)| (canvas.ink(colour), canvas.ink(shade(colour, 5))));

    canvas.title((LEFT, 10), &title(program, timing, &scale));
    strip_of_layers(&mut canvas, program, timing, &scale);
    for (lane, (unit, spent)) in units.iter().zip(&spent).enumerate() {
        let top = lanes_top + lane as u32 * (LANE + GAP);
        canvas.text((LEFT - 8, top + LANE / 2 - 5), Anchor::Right, unit.name());
        spent.draw(&mut canvas, top, &scale, &inks);
        edges(&mut canvas, *unit, program, timing, top, &scale, &inks);
        canvas.fill((LEFT, top + LANE), (PLOT, 1), GRID);
    }
    mac_lines(&mut canvas, program, timing, lines_top, &scale);
    let end = axis_of_cycles(&mut canvas, &scale, TOP, bottom);
    let entries: Vec<(Ink, &str)> = occurring.iter().map(|a| inks[*a].0).zip(names).collect();
    legend(&mut canvas, end + GAP, &entries);
    canvas.write_png(out)
}

fn title(program: &Program, timing: &Timing, scale: &Scale) -> String {
    let Range { start, end } = scale.range;
    let total = grouped(timing.total());
    let part = if end - start < timing.total() {
        format!("cycles {} to {} of {total}", grouped(start), grouped(end))
    } else {
        format!("{total} cycles")
    };
    format!("{} on {}: {part}", program.header.name, program.machine.name)
}

/// Activity of a lane per pixel, in fractions of the pixel.
struct Spent(Vec<[u128; ACTIVITIES.len()]>);

impl Spent {
    fn of(unit: Unit, program: &Program, timing: &Timing, scale: &Scale) -> Spent {
        let mut spent = Spent(vec![[0; ACTIVITIES.len()]; PLOT as usize]);
        for (instr, span) in program.code.iter().zip(timing.spans()) {
            if instr.op.units().contains(unit) && !matches!(instr.op, Op::Barrier(_) | Op::Halt(_))
            {
                spent.add(activity(&instr.op), &(span.start..span.end), scale);
            }
        }
        // If an instruction has two waits, the one for its resource is the later.
        let mut until = std::collections::BTreeMap::new();
        for wait in timing.waits().iter().rev().filter(|wait| wait.unit == unit) {
            let activity = match wait.reason {
                Reason::Token(_) => WaitToken,
                Reason::Fetch => WaitFetch,
                Reason::Lines => WaitLines,
                Reason::Channel => WaitChannel,
                Reason::Barrier => WaitBarrier,
            };
            let end = until.entry(wait.index).or_insert(match wait.reason {
                Reason::Barrier => timing.spans()[wait.index].end,
                _ => timing.spans()[wait.index].start,
            });
            let start = end.saturating_sub(wait.cycles);
            spent.add(activity, &(start..*end), scale);
            *end = start;
        }
        spent
    }

    fn add(&mut self, activity: Activity, cycles: &Range<u64>, scale: &Scale) {
        let Some(a) = ACTIVITIES.iter().position(|(other, _, _)| *other == activity) else {
            return;
        };
        for (pixel, fractions) in scale.cover(cycles) {
            self.0[pixel][a] += fractions;
        }
    }

    fn total(&self, activity: usize) -> u128 {
        self.0.iter().map(|pixel| pixel[activity]).sum()
    }

    /// Draws every pixel as a column of stacked activities.
    fn draw(&self, canvas: &mut Canvas, top: u32, scale: &Scale, inks: &[(Ink, Ink)]) {
        for (x, pixel) in self.0.iter().enumerate() {
            let mut sum = 0;
            for (spent, (ink, _)) in pixel.iter().zip(inks) {
                let from = part(LANE, sum, scale.fractions());
                sum += spent;
                let to = part(LANE, sum, scale.fractions());
                canvas.fill((LEFT + x as u32, top + LANE - to), (1, to - from), *ink);
            }
        }
    }
}

/// The share `parts / whole` of some pixels, rounded.
fn part(pixels: u32, parts: u128, whole: u128) -> u32 {
    ((2 * parts * u128::from(pixels) + whole) / (2 * whole)).min(pixels.into()) as u32
}

/// Marks the starts of instructions and names them, if they fit.
fn edges(
    canvas: &mut Canvas,
    unit: Unit,
    program: &Program,
    timing: &Timing,
    top: u32,
    scale: &Scale,
    inks: &[(Ink, Ink)],
) {
    for (instr, span) in program.code.iter().zip(timing.spans()) {
        let visible = span.end > scale.range.start && span.start < scale.range.end;
        if !visible
            || !instr.op.units().contains(unit)
            || matches!(instr.op, Op::Barrier(_) | Op::Halt(_))
        {
            continue;
        }
        let (left, right) = (scale.pixel(span.start), scale.pixel(span.end));
        if right - left >= 4
            && let Some(a) =
                ACTIVITIES.iter().position(|(other, _, _)| *other == activity(&instr.op))
        {
            if span.start >= scale.range.start {
                canvas.fill((LEFT + left, top), (1, LANE), inks[a].1);
            }
            label(
                canvas,
                inks[a].0,
                (LEFT + left, LEFT + right),
                top + LANE / 2 - 5,
                &[instr.op.spec().mnemonic],
            );
        }
    }
}

/// Draws the layer of each cycle.
fn strip_of_layers(canvas: &mut Canvas, program: &Program, timing: &Timing, scale: &Scale) {
    canvas.text((LEFT - 8, TOP + 2), Anchor::Right, "layer");
    for (layer, cycles) in shares(program, timing) {
        if cycles.end <= scale.range.start || cycles.start >= scale.range.end {
            continue;
        }
        let (left, right) = (LEFT + scale.pixel(cycles.start), LEFT + scale.pixel(cycles.end));
        let ground = if layer % 2 == 0 { FAINT } else { GRID };
        canvas.fill((left, TOP), (right - left, STRIP), ground);
        if right > left {
            let layer = &program.header.layers[layer];
            let tail = layer.name.rsplit(['/', '.']).next().unwrap_or("");
            let with_tail = format!("{tail} ({})", layer.operation);
            label(
                canvas,
                ground,
                (left, right),
                TOP + 2,
                &[&layer.name, &with_tail, &layer.operation],
            );
        }
    }
}

/// Draws how many lines are occupied, and how many of their MACs multiply.
fn mac_lines(canvas: &mut Canvas, program: &Program, timing: &Timing, top: u32, scale: &Scale) {
    const COLOUR: Colour = [0x22, 0x88, 0x33];
    let (used_ink, taken_ink) = (canvas.ink(COLOUR), canvas.ink(tint(COLOUR, 3)));
    let lines = &program.machine.lines;
    let (count, macs) = (u128::from(lines.count), u128::from(lines.macs));
    let mut pixels = vec![(0u128, 0u128); PLOT as usize];
    for (cost, span) in timing.costs().iter().zip(timing.spans()) {
        let Some(taken) = cost.lines else { continue };
        let slots = u128::from(cost.cycles) * u128::from(taken.count) * macs;
        for (pixel, fractions) in scale.cover(&(span.start..span.end)) {
            let slots_here = fractions * u128::from(taken.count) * macs;
            pixels[pixel].0 += slots_here;
            pixels[pixel].1 += slots_here * u128::from(cost.macs) / slots.max(1);
        }
    }
    let whole = scale.fractions() * count * macs;
    for (x, (taken, used)) in pixels.into_iter().enumerate() {
        let x = LEFT + x as u32;
        let (taken, used) = (part(LINES, taken, whole), part(LINES, used, whole));
        canvas.fill((x, top + LINES - taken), (1, taken), taken_ink);
        canvas.fill((x, top + LINES - used), (1, used), used_ink);
    }
    canvas.text((LEFT - 8, top + LINES / 2 - 10), Anchor::Right, "MAC lines");
    canvas.text((LEFT - 8, top + LINES / 2 + 2), Anchor::Right, "dark: used");
    canvas.fill((LEFT, top), (PLOT, 1), GRID);
}
