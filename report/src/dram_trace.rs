//! The bursts of a run on the DRAM as a trace for simulators of DRAM, one burst a line, in the
//! order in which the DRAM accepts them.
//!
//! Times are clocks of the memory; those of DDR4-2400 if the machine does not have its DRAM in
//! detail. [`trace_bursts`] says what takes the place of the rows of a gather.

use std::io::{self, Write};

use vitcod_isa::dram::{Ddr4, Place};
use vitcod_isa::program::Program;
use vitcod_isa::timing::{BurstIssue, trace_bursts};

/// The form of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `LD` or `ST` and an address, which [Ramulator 2](https://github.com/CMU-SAFARI/ramulator2)
    /// reads as `LoadStoreTrace`. It has no times: the simulator asks as fast as it can.
    Ramulator2,
    /// `R` or `W` and channel, rank, bank group, bank, row and burst of the row, which Ramulator 2
    /// reads as `ReadWriteTrace`: the machine's mapping instead of the simulator's. It has no
    /// times.
    Ramulator2Places,
    /// Address, `READ` or `WRITE` and clock, which
    /// [DRAMsim3](https://github.com/umd-memsys/DRAMsim3) reads with `-t`.
    Dramsim3,
    /// Clock, `read` or `write` and address, the `.stl` file of
    /// [DRAMSys](https://github.com/tukl-msd/DRAMSys). Its player's `clkMhz` is that of the memory.
    Dramsys,
}

/// Writes the trace of a run.
///
/// # Errors
/// The program does not run, or writing fails.
pub fn write(program: &Program, format: Format, out: impl Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let ddr4 = program.machine.dram.ddr4.clone().unwrap_or_else(Ddr4::ddr4_2400);
    let mut written = Ok(());
    trace_bursts(&program.code, &program.machine, &mut |burst| {
        if written.is_ok() {
            written = line(&burst, format, &ddr4, &mut out);
        }
    })
    .map_err(io::Error::other)?;
    written?;
    out.flush()
}

fn line(burst: &BurstIssue, format: Format, ddr4: &Ddr4, out: &mut dyn Write) -> io::Result<()> {
    let BurstIssue { clock, address, write, .. } = *burst;
    let choose = |read, written| if write { written } else { read };
    match format {
        Format::Ramulator2 => writeln!(out, "{} {address:#x}", choose("LD", "ST")),
        Format::Ramulator2Places => {
            let Place { channel, group, bank, row, column } = ddr4.mapping.place(ddr4, address);
            writeln!(out, "{} {channel},0,{group},{bank},{row},{column}", choose("R", "W"))
        }
        Format::Dramsim3 => writeln!(out, "{address:#x} {} {clock}", choose("READ", "WRITE")),
        Format::Dramsys => writeln!(out, "{clock}: {} {address:#x}", choose("read", "write")),
    }
}
