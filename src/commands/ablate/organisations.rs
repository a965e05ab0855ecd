//! What polarising and packing are worth on machines with other banks and row ports.

use std::io::Write;

use anyhow::anyhow;
use serde::Serialize;
use vitcod_compiler::split::{GlobalTokens, Packing};
use vitcod_isa::machine::{Machine, Organisation};
use vitcod_report::table::{grouped, plain};

use super::measure::ratio;
use super::work::Work;
use super::{Args, Compiled, Configuration, reports};
use crate::progress::Progress;

/// The gains on a machine: cycles of the attention layers, pruned.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OrganisationReport {
    pub(super) row_ports: u32,
    pub(super) banks: u32,
    /// Lists in order, each row for one query.
    pub(super) plain_cycles: u64,
    /// Global tokens on the denser engine, the other entries as in the plain lists.
    pub(super) polarised_cycles: u64,
    /// Packed lists.
    pub(super) packed_cycles: u64,
    /// Packed lists and global tokens.
    pub(super) both_cycles: u64,
}

/// Compiles for every machine.
pub(super) fn measure(
    work: &Work,
    machine: &Machine,
    args: &Args,
    progress: &Progress,
) -> anyhow::Result<Vec<OrganisationReport>> {
    let Organisation { banks: of, .. } = machine.organisation().ok_or_else(|| {
        anyhow!("--row-ports and --banks need a machine with banks; {} has none", machine.name)
    })?;
    let or = |stated: &[u32], own: u32| if stated.is_empty() { vec![own] } else { stated.to_vec() };
    let (ports, banks) = (or(&args.row_ports, of.row_ports), or(&args.banks, of.count));
    let mut machines = Vec::new();
    for banks in banks {
        for row_ports in &ports {
            let mut machine = machine.clone();
            let stated = machine.banks.as_mut().expect("the machine has banks");
            (stated.count, stated.row_ports) = (banks, *row_ports);
            machine.name = format!("{}, {row_ports} row ports, {banks} banks", machine.name);
            let text = machine.to_toml();
            machines.push(Machine::from_toml(&text).map_err(|problems| {
                anyhow!("{}\n\n{}", machine.name, problems.render("the machine", &text))
            })?);
        }
    }
    let plain = Packing { ordered: false, shared: false };
    let configurations = [
        (plain, GlobalTokens::NONE),
        (plain, GlobalTokens::Auto),
        (Packing::default(), GlobalTokens::NONE),
        (Packing::default(), GlobalTokens::Auto),
    ]
    .map(|(packing, globals)| Configuration {
        pruned: true,
        globals,
        packing,
        autoencoder: work.has_autoencoder(),
    });
    let needed: Vec<Compiled<'_>> = machines
        .iter()
        .flat_map(|machine| {
            let name = machine.name.clone();
            configurations.map(|configuration| Compiled {
                name: name.clone(),
                configuration,
                machine,
            })
        })
        .collect();
    let reports = reports(work, &needed, progress)?;
    let report = |(machine, reports): (&Machine, &[vitcod_emulator::Report])| {
        let banks = machine.banks.as_ref().expect("the machine has banks");
        let cycles = |place: usize| reports[place].cycles.attention;
        OrganisationReport {
            row_ports: banks.row_ports,
            banks: banks.count,
            plain_cycles: cycles(0),
            polarised_cycles: cycles(1),
            packed_cycles: cycles(2),
            both_cycles: cycles(3),
        }
    };
    Ok(machines.iter().zip(reports.chunks(configurations.len())).map(report).collect())
}

/// Prints the gains.
pub(super) fn print(rows: &[OrganisationReport], out: &mut dyn Write) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = plain(&[
        "row ports",
        "banks",
        "plain lists",
        "polarised",
        "gain",
        "packed",
        "gain",
        "both",
        "gain",
        "polarised if packed",
    ]);
    for row in rows {
        let gain = |cycles: u64| format!("{:.2}", ratio(row.plain_cycles, cycles));
        table.add_row([
            row.row_ports.to_string(),
            row.banks.to_string(),
            grouped(row.plain_cycles),
            grouped(row.polarised_cycles),
            gain(row.polarised_cycles),
            grouped(row.packed_cycles),
            gain(row.packed_cycles),
            grouped(row.both_cycles),
            gain(row.both_cycles),
            format!("{:.2}", ratio(row.packed_cycles, row.both_cycles)),
        ]);
    }
    writeln!(out, "{}\n", table.trim_fmt())?;
    writeln!(
        out,
        " Cycles of pruned attention. Plain lists have queries and keys in rising order, and a row serves one query each"
    )?;
    writeln!(
        out,
        " time it is read; packed ones are ordered and share rows. Gains are over plain lists. The paper reports 2.03 for"
    )?;
    writeln!(
        out,
        " reordering, which is polarising on its machine, at 90 % sparsity and 2.59 on average.\n"
    )?;
    Ok(())
}
