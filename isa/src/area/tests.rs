use std::path::Path;
use std::{env, fs};

use super::*;

/// `vitcod` with another number of row ports.
fn with_row_ports(row_ports: u32) -> Machine {
    let mut machine = preset("vitcod");
    machine.banks.as_mut().unwrap().row_ports = row_ports;
    machine
}

fn preset(name: &str) -> Machine {
    Machine::preset(name).unwrap()
}

fn mm2(area: &Area, name: &str) -> f64 {
    area.components.iter().find(|component| component.name == name).unwrap().mm2
}

#[test]
fn components_are_what_their_parts_take() {
    let area = Area::of(&preset("vitcod"));
    let near = |name: &str, um2: f64| {
        let (found, expected) = (mm2(&area, name), um2 / 1e6);
        assert!((found / expected - 1.0).abs() < 1e-9, "{name}: {found}, not {expected}");
    };
    near("banks", 32.0 * (11_900.0 + 512.0 * 20.5));
    let slots = f64::from(preset("vitcod").slots.unwrap().period());
    near("stream buffers", slots * 2.0 * 32.0 / 16.0 * 3_700.0);
    near("slot rotators", 2.0 * 5.0 * 32.0 * 512.0 * 0.72 / 0.75);
    near("row crossbar", 2.0 * 31.0 * 512.0 * 0.72 / 0.75);
    near("row selection", 64.0 * 15.0 * 64.0 * 0.72 / 0.75);
    near("MACs", 512.0 * 190.0 / 0.75);
    near("requantisers", 256.0 * 1_970.0 / 0.75);
    let sum: f64 = area.components.iter().map(|component| component.mm2).sum();
    assert_eq!(area.total_mm2, sum);
    assert!(!area.is_lower_bound);
}

#[test]
fn control_is_a_share_of_the_logic() {
    let area = Area::of(&preset("vitcod"));
    let memories = ["banks", "stream buffers", "fetch"].map(|name| mm2(&area, name));
    let control = mm2(&area, "clock, control, test");
    let logic = area.total_mm2 - memories.iter().sum::<f64>() - control;
    assert!((control / logic - 0.1).abs() < 1e-9);
}

/// The presets of docs/area.md.
const SHOWN: [&str; 3] = ["vitcod", "vitcod-wide", "vitcod-ideal"];

/// Components of the presets, in the order of each.
fn components() -> String {
    let areas = SHOWN.map(|name| Area::of(&preset(name)));
    let mut rows: Vec<&Component> = Vec::new();
    for area in &areas {
        let mut at = rows.len().min(1);
        for component in &area.components {
            let found = rows.iter().position(|row| row.name == component.name);
            at = found.unwrap_or_else(|| {
                rows.insert(at, component);
                at
            }) + 1;
        }
    }
    let mut text = String::from("| component | parts |");
    SHOWN.iter().for_each(|name| text += &format!(" `{name}` |"));
    text += "\n|---|---|---|---|---|\n";
    for row in rows {
        text += &format!("| {} | {} |", row.name, row.formula);
        for area in &areas {
            let found = area.components.iter().find(|component| component.name == row.name);
            text += &found.map_or(" |".to_owned(), |component| format!(" {:.3} |", component.mm2));
        }
        text += "\n";
    }
    text += "| all | |";
    areas.iter().for_each(|area| text += &format!(" **{:.2}** |", area.total_mm2));
    text + "\n"
}

/// The area over numbers of banks and row ports.
fn ports_and_banks() -> String {
    let ports = [1, 2, 4, 8, 16];
    let mut text = String::from("| banks |");
    ports.iter().for_each(|ports| text += &format!(" {ports} |"));
    text += "\n|---|---|---|---|---|---|\n";
    for count in [8, 16, 32, 64] {
        text += &format!("| {count} |");
        for row_ports in ports {
            let mut machine = with_row_ports(row_ports);
            machine.banks.as_mut().unwrap().count = count;
            text += &format!(" {:.2} |", Area::of(&machine).total_mm2);
        }
        text += "\n";
    }
    text
}

#[test]
fn docs_area_md_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/area.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut current = page.clone();
    for (name, table) in [("components", components()), ("ports", ports_and_banks())] {
        let mark = format!("<!-- generated: {name} -->\n");
        let start = current.find(&mark).unwrap() + mark.len();
        let end = start + current[start..].find("<!-- end -->").unwrap();
        current.replace_range(start..end, &table);
    }
    if env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        fs::write(&path, current).unwrap();
    } else {
        assert!(page == current, "docs/area.md is not current: cargo bless");
    }
}

#[test]
fn a_memory_without_banks_is_a_lower_bound() {
    let [vitcod, wide, ideal] = SHOWN.map(|name| Area::of(&preset(name)));
    assert!(ideal.is_lower_bound && !vitcod.is_lower_bound);
    assert!(ideal.total_mm2 > 1.5 * vitcod.total_mm2);
    // More row ports in the same area.
    assert!((wide.total_mm2 / vitcod.total_mm2 - 1.0).abs() < 0.05);
    assert!(Area::of(&with_row_ports(8)).total_mm2 > 1.1 * vitcod.total_mm2);
}

#[test]
fn areas_that_a_machine_states_take_the_place_of_those_of_28_nm() {
    let each = machine::Area { requantiser_um2: 0.0, ..machine::Area::of_28_nm() };
    let area = Area::of(&Machine { area: Some(each), ..preset("vitcod") });
    assert_eq!(mm2(&area, "requantisers"), 0.0);
    assert_eq!(mm2(&area, "MACs"), mm2(&Area::of(&preset("vitcod")), "MACs"));
}
