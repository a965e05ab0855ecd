//! The contents of a program.

use std::collections::BTreeMap;
use std::io::Write;

use vitcod_compiler::host::{Host, Tensor};
use vitcod_isa::program::{Binding, Layer, Program, SavedIr};

/// Prints a program's machine, tensors, sizes and layers.
pub(super) fn print(program: &Program, out: &mut dyn Write) -> anyhow::Result<()> {
    let Program { header, machine, code, layer_of, buffers, image, ir, host } = program;
    writeln!(out, "program       {:?}", header.name)?;
    writeln!(out, "machine       {machine}")?;
    writeln!(out, "digest        {}", machine.digest())?;
    for (kind, bindings) in [("input", &header.inputs), ("output", &header.outputs)] {
        for Binding { name, shape, layout, element, step, expected_sqnr_db, .. } in bindings {
            let layout = if layout.is_row_major() {
                String::new()
            } else {
                format!(", laid out as {}", layout.name())
            };
            let expected = expected_sqnr_db.map_or(String::new(), |expected| {
                format!(", expected signal to noise {expected:.1} dB")
            });
            writeln!(out, "{kind:<13} {name:?} {element}{shape:?}, step {step}{layout}{expected}")?;
        }
    }
    writeln!(out, "DRAM          {} B", header.dram_bytes)?;
    writeln!(out, "constants     {} B", image.len())?;
    match ir {
        Some(SavedIr { graph, constants }) => {
            writeln!(out, "IR            {} B, constants {} B", graph.len(), constants.len())?
        }
        None => writeln!(out, "IR            none (stripped)")?,
    }
    if let Some(saved) = host {
        print_host(saved, out)?;
    }
    writeln!(out, "buffers       {}", buffers.len())?;
    let mut mnemonics: BTreeMap<&str, usize> = BTreeMap::new();
    for instr in code {
        *mnemonics.entry(instr.op.spec().mnemonic).or_default() += 1;
    }
    writeln!(out, "instructions  {}", code.len())?;
    for (mnemonic, count) in mnemonics {
        writeln!(out, "  {count:>8} {mnemonic}")?;
    }

    let mut instructions = vec![0usize; header.layers.len()];
    for layer in layer_of {
        if let Some(count) = instructions.get_mut(*layer as usize) {
            *count += 1;
        }
    }
    writeln!(out, "layers        {}", header.layers.len())?;
    writeln!(
        out,
        "  {:>12} {:>15} {:>15}  layer",
        "instructions", "multiplications", "compulsory B"
    )?;
    for (Layer { name, operation, needed_macs, compulsory_bytes, .. }, count) in
        header.layers.iter().zip(instructions)
    {
        let (name, operation) = (name.escape_debug(), operation.escape_debug());
        writeln!(
            out,
            "  {count:>12} {needed_macs:>15} {compulsory_bytes:>15}  {name} ({operation})"
        )?;
    }
    Ok(())
}

/// Prints what the host computes: the model's inputs and outputs, and operations before and after
/// the machine. Its decisions tell the reasons.
fn print_host(saved: &SavedIr, out: &mut dyn Write) -> anyhow::Result<()> {
    let SavedIr { graph, constants } = saved;
    writeln!(out, "host          {} B, constants {} B", graph.len(), constants.len())?;
    let host = Host::load(saved)?;
    for (kind, tensors) in [("input", &host.inputs), ("output", &host.outputs)] {
        for Tensor { name, ty, expected_sqnr_db } in tensors {
            let expected = expected_sqnr_db.map_or(String::new(), |expected| {
                format!(", expected signal to noise {expected:.1} dB")
            });
            writeln!(out, "  {kind:<12}{name:?} {ty}{expected}")?;
        }
    }
    for (place, part) in [("before", &host.before), ("after", &host.after)] {
        let Some(part) = part else { continue };
        for data in part.order.iter().map(|op| part.op(*op)) {
            let node = data.nodes.first().map_or("", |node| part.node(*node));
            let (mnemonic, ty) = (data.kind.mnemonic(), part.ty(data.results[0]));
            writeln!(out, "  {place:<12}{mnemonic} {ty} {}", node.escape_debug())?;
        }
    }
    Ok(())
}
