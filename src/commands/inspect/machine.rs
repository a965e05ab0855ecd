//! A machine: its configuration and its area.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use vitcod_isa::area::Area;
use vitcod_isa::machine;
use vitcod_report::table;

use crate::files::Outputs;
use crate::machines;
use crate::paper_results::AREA_MM2;

/// Prints a machine's configuration and its area by component beside that of the paper.
pub(super) fn print(name: &str, json: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = machines::load(name)?;
    let area = Area::of(&machine);
    let mut files = Outputs::default();
    files.keep(Path::new(name));
    if let Some(path) = json {
        let value = json!({ "machine": machine, "area": area, "paper_mm2": AREA_MM2 });
        files.stage(path, |file| Ok(writeln!(file, "{value:#}")?))?;
    }
    files.commit()?;

    writeln!(out, "{machine}\n\n{}", machine.to_toml())?;
    let mut rows = table::plain(&["component", "mm2", "share", "parts"]);
    for component in &area.components {
        rows.add_row([
            component.name.to_owned(),
            format!("{:.3}", component.mm2),
            table::percent(component.mm2 / area.total_mm2),
            component.formula.clone(),
        ]);
    }
    let density = machine.area.unwrap_or_else(machine::Area::of_28_nm).density;
    rows.add_row([
        "all".to_owned(),
        format!("{:.3}", area.total_mm2),
        table::percent(1.0),
        format!("{:.2} x the paper's {AREA_MM2} mm2", area.total_mm2 / AREA_MM2),
    ]);
    table::left(&mut rows, 3);
    writeln!(out, "{rows}")?;
    writeln!(out, "\nParts of logic are cells, which cover {density} of its area.")?;
    if area.is_lower_bound {
        writeln!(
            out,
            "A memory that serves every port in every cycle cannot be built: at least this area."
        )?;
    }
    Ok(())
}
