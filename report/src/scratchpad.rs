//! A memory plan as text.

use std::fmt;

use vitcod_emulator::scratchpad::{Buffer, KindOccupancy, MemoryPlan, Occupancy};

use crate::table::{grouped, left, percent, plain};

/// The most buffers that are listed.
const LISTED: usize = 60;

/// A memory plan as text.
pub struct ScratchpadText<'p>(pub &'p MemoryPlan);

impl fmt::Display for ScratchpadText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScratchpadText(plan) = self;
        let of_capacity = |bytes: f64| percent(bytes / plan.capacity_bytes.max(1) as f64);
        let Occupancy {
            peak_bytes,
            peak_cycle,
            mean_bytes,
            largest_free_at_peak_bytes,
            mean_fragmentation,
        } = plan.occupancy;
        let mut table = plain(&[]);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("model", plan.model.clone());
        row("machine", plan.machine.clone());
        row("cycles", grouped(plan.cycles));
        row("scratchpad", format!("{} B", grouped(plan.capacity_bytes)));
        let peak = of_capacity(peak_bytes as f64);
        row(
            "most in use",
            format!("{} B ({peak}) in cycle {}", grouped(peak_bytes), grouped(peak_cycle)),
        );
        row(
            "in use on average",
            format!("{} B ({})", grouped(mean_bytes.round() as u64), of_capacity(mean_bytes)),
        );
        row(
            "fragmentation",
            format!(
                "on average {} of the free bytes are outside the largest free run; at the peak that run has {} of {} B",
                percent(mean_fragmentation),
                grouped(largest_free_at_peak_bytes),
                grouped(plan.capacity_bytes - peak_bytes)
            ),
        );
        writeln!(f, "{}\n", table.trim_fmt())?;

        let mut table = plain(&["kind", "buffers", "most B at once", "", "B on average", ""]);
        for (kind, KindOccupancy { buffers, peak_bytes, mean_bytes }) in &plan.by_kind {
            table.add_row([
                (*kind).to_owned(),
                grouped(*buffers as u64),
                grouped(*peak_bytes),
                of_capacity(*peak_bytes as f64),
                grouped(mean_bytes.round() as u64),
                of_capacity(*mean_bytes),
            ]);
        }
        writeln!(f, "{}\n", table.trim_fmt())?;

        let mut listed: Vec<usize> = (0..plan.buffers.len()).collect();
        if listed.len() > LISTED {
            writeln!(
                f,
                " The {LISTED} of {} buffers that take the most bytes times cycles, by address:\n",
                grouped(plan.buffers.len() as u64)
            )?;
            listed.sort_by_key(|index| {
                (std::cmp::Reverse(plan.buffers[*index].byte_cycles()), *index)
            });
            listed.truncate(LISTED);
            listed.sort_unstable();
        }
        let mut table = plain(&[
            "address",
            "to",
            "bytes",
            "from cycle",
            "to cycle",
            "cycles",
            "holds",
            "written by",
            "for layer",
        ]);
        for Buffer {
            address,
            end_address,
            bytes,
            start_cycle,
            end_cycle,
            data,
            layer,
            operation,
            written_by,
            ..
        } in listed.into_iter().map(|index| &plan.buffers[index])
        {
            table.add_row([
                format!("{address:#x}"),
                format!("{end_address:#x}"),
                grouped(*bytes),
                grouped(*start_cycle),
                grouped(*end_cycle),
                grouped(end_cycle - start_cycle),
                (*data).to_owned(),
                (*written_by).to_owned(),
                format!("{} ({operation})", layer.escape_debug()),
            ]);
        }
        (6..9).for_each(|column| left(&mut table, column));
        writeln!(f, "{}\n", table.trim_fmt())
    }
}
