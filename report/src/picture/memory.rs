//! The scratchpad over time: the kind of data at each address.

use std::io::{self, Write};
use std::ops::Range;

use vitcod_isa::effects::Data;

use super::canvas::{Anchor, Canvas, Colour, GRID, Ink, LINE, TEXT, shade, tint};
use super::plot::{GAP, LEFT, PLOT, Scale, WIDTH, axis_of_cycles, label, legend, legend_height};
use crate::table::{grouped, percent};
use vitcod_emulator::scratchpad::{Buffer, MemoryPlan};

fn colour(data: Data) -> Colour {
    match data {
        Data::Weights => [0x44, 0x77, 0xaa],
        Data::Params => [0x66, 0xcc, 0xee],
        Data::Indices => [0xaa, 0x33, 0x77],
        Data::Activations => [0x22, 0x88, 0x33],
        Data::Scores => [0xee, 0x66, 0x77],
        Data::Probabilities => [0xcc, 0xbb, 0x44],
        Data::Statistics => [0x77, 0x77, 0x80],
    }
}

/// The colours of a kind of data: by how much of a pixel it covers, and for the edges of its
/// buffers.
struct Inks {
    full: Ink,
    half: Ink,
    little: Ink,
    edge: Ink,
}

/// Height of the map in pixels.
const MAP: u32 = 640;
/// Height of the occupancy curve in pixels.
const CURVE: u32 = 80;
const TOP: u32 = 34;

/// Writes the memory plan of a run, within `cycles`, as PNG: a map of address over time, coloured
/// by kind of data, and below it the number of live bytes.
///
/// A pixel has the colour of the kind that covers most of it, paler if it is covered partly.
/// Buffers whose bytes are all live at the same time have edges, and the names of their layers if
/// they fit.
///
/// # Errors
/// Those of the writer.
pub fn memory(plan: &MemoryPlan, cycles: Range<u64>, out: &mut dyn Write) -> io::Result<()> {
    let across = Scale { range: cycles, pixels: PLOT };
    let down = Scale { range: 0..plan.capacity_bytes, pixels: MAP };
    let kinds: Vec<Data> =
        Data::ALL.into_iter().filter(|data| plan.by_kind.contains_key(data.name())).collect();
    let names: Vec<&str> = kinds.iter().map(|data| data.name()).collect();
    let curve_top = TOP + MAP + 2 * GAP;
    let bottom = curve_top + CURVE;
    let mut canvas = Canvas::new(WIDTH, bottom + 5 + LINE + GAP + legend_height(&names) + GAP);
    let inks = Data::ALL.map(|data| {
        let colour = colour(data);
        let [full, half, little] = [8, 4, 2].map(|parts| canvas.ink(tint(colour, parts)));
        Inks { full, half, little, edge: canvas.ink(shade(colour, 5)) }
    });

    canvas.title((LEFT, 10), &title(plan, &across.range));
    map(&mut canvas, plan, &across, &down, &inks);
    for buffer in &plan.buffers {
        edges(&mut canvas, buffer, &across, &down, &inks);
    }
    axis_of_bytes(&mut canvas, &down);
    curve(&mut canvas, plan, &across, curve_top, &inks);
    let end = axis_of_cycles(&mut canvas, &across, TOP, bottom);
    let entries: Vec<(Ink, &str)> =
        kinds.iter().map(|data| inks[*data as usize].full).zip(names).collect();
    legend(&mut canvas, end + GAP, &entries);
    canvas.write_png(out)
}

fn title(plan: &MemoryPlan, cycles: &Range<u64>) -> String {
    let of_capacity = |bytes: f64| percent(bytes / plan.capacity_bytes.max(1) as f64);
    let part = if cycles.end - cycles.start < plan.cycles {
        format!(
            ", cycles {} to {} of {}",
            grouped(cycles.start),
            grouped(cycles.end),
            grouped(plan.cycles)
        )
    } else {
        String::new()
    };
    format!(
        "{}: {} B of scratchpad on {}{part}; run: at most {} in use, {} on average",
        plan.model,
        grouped(plan.capacity_bytes),
        plan.machine,
        of_capacity(plan.occupancy.peak_bytes as f64),
        of_capacity(plan.occupancy.mean_bytes)
    )
}

/// The row of pixels of an address; address 0 is at the bottom.
fn row(pixel: usize) -> u32 {
    TOP + MAP - 1 - pixel as u32
}

fn map(canvas: &mut Canvas, plan: &MemoryPlan, across: &Scale, down: &Scale, inks: &[Inks]) {
    // Per pixel, the area that all kinds cover and the kind that covers most, in fractions of the
    // width times fractions of the height.
    let size = (PLOT * MAP) as usize;
    let (mut sums, mut most) = (vec![0u128; size], vec![(0u128, Data::ALL[0]); size]);
    for data in Data::ALL {
        let mut covered = vec![0u128; size];
        for part in plan.parts.iter().filter(|part| part.data == data) {
            for (y, bytes) in down.cover(&part.bytes) {
                for (x, cycles) in across.cover(&part.cycles) {
                    covered[y * PLOT as usize + x] += bytes * cycles;
                }
            }
        }
        for ((sum, most), covered) in sums.iter_mut().zip(&mut most).zip(covered) {
            *sum += covered;
            if covered > most.0 {
                *most = (covered, data);
            }
        }
    }
    let whole = across.fractions() * down.fractions();
    for (index, (sum, (_, data))) in
        sums.into_iter().zip(most).enumerate().filter(|(_, (sum, _))| *sum > 0)
    {
        let (x, y) = (LEFT + (index % PLOT as usize) as u32, row(index / PLOT as usize));
        let inks = &inks[data as usize];
        let ink = match sum * 8 / whole {
            5.. => inks.full,
            2..5 => inks.half,
            _ => inks.little,
        };
        canvas.dot(x, y, ink);
    }
}

fn edges(canvas: &mut Canvas, buffer: &Buffer, across: &Scale, down: &Scale, inks: &[Inks]) {
    let Buffer { address, end_address, start_cycle, end_cycle, data, layer, operation, .. } =
        buffer;
    let visible = *end_cycle > across.range.start && *start_cycle < across.range.end;
    let Some(kind) = Data::ALL.into_iter().find(|kind| kind.name() == *data).filter(|_| visible)
    else {
        return;
    };
    let (left, right) = (LEFT + across.pixel(*start_cycle), LEFT + across.pixel(*end_cycle));
    let (top, bottom) = (TOP + MAP - down.pixel(*end_address), TOP + MAP - down.pixel(*address));
    let (width, height) = (right - left, bottom - top);
    if !buffer.is_solid() || width < 4 || height < 4 {
        return;
    }
    let ink = inks[kind as usize].edge;
    canvas.fill((left, top), (width, 1), ink);
    if *start_cycle >= across.range.start {
        canvas.fill((left, top), (1, height), ink);
    }
    if height >= LINE {
        let tail = layer.rsplit(['/', '.']).next().unwrap_or("");
        let with_tail = format!("{tail} ({operation})");
        label(
            canvas,
            inks[kind as usize].full,
            (left, right),
            (top + bottom) / 2 - 5,
            &[layer, &with_tail, operation],
        );
    }
}

fn axis_of_bytes(canvas: &mut Canvas, down: &Scale) {
    canvas.fill((LEFT - 1, TOP), (1, MAP), TEXT);
    canvas.fill((LEFT, TOP + MAP), (PLOT, 1), TEXT);
    canvas.fill((LEFT, TOP), (PLOT, 1), GRID);
    canvas.text((LEFT - 8, TOP - 14), Anchor::Right, "byte");
    for tick in down.ticks(10) {
        let y = TOP + MAP - down.pixel(tick);
        canvas.fill((LEFT - 5, y), (4, 1), TEXT);
        canvas.text((LEFT - 8, y.saturating_sub(5)), Anchor::Right, &grouped(tick));
    }
}

/// Draws the live bytes by kind, stacked.
fn curve(canvas: &mut Canvas, plan: &MemoryPlan, across: &Scale, top: u32, inks: &[Inks]) {
    let mut living = vec![[0u128; Data::COUNT]; PLOT as usize];
    for part in &plan.parts {
        for (x, cycles) in across.cover(&part.cycles) {
            living[x][part.data as usize] += cycles * u128::from(part.bytes.end - part.bytes.start);
        }
    }
    let whole = across.fractions() * u128::from(plan.capacity_bytes.max(1));
    for (x, kinds) in living.iter().enumerate() {
        let mut sum = 0;
        let height = |sum: u128| (sum * u128::from(CURVE) / whole).min(CURVE.into()) as u32;
        for (kind, bytes) in kinds.iter().enumerate() {
            let from = height(sum);
            sum += bytes;
            canvas.fill(
                (LEFT + x as u32, top + CURVE - height(sum)),
                (1, height(sum) - from),
                inks[kind].full,
            );
        }
    }
    canvas.fill((LEFT, top), (PLOT, 1), GRID);
    canvas.text((LEFT - 8, top - 5), Anchor::Right, &grouped(plan.capacity_bytes));
    canvas.text((LEFT - 8, top + CURVE / 2 - 5), Anchor::Right, "bytes in use");
}
