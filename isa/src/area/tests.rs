use super::*;
use crate::machine::Slots;

/// 32 banks that are accessed twice per cycle, with 32 slots and `row_ports` row ports.
fn banked(row_ports: u32) -> Machine {
    Machine {
        banks: Some(Banks { count: 32, word_bytes: 64, accesses_per_cycle: 2, row_ports }),
        slots: Some(Slots {
            denser_read: 4,
            denser_write: 8,
            sparser_read: 2,
            sparser_write: 8,
            encoder: 1,
            decoder: 1,
            softmax: 1,
            vector: 2,
            load: 3,
            store: 1,
        }),
        datapath: Some(Datapath {
            operand_bytes: 128,
            accumulators: 16,
            requantisers: 4,
            mode_switch_cycles: 12,
            dividers: 24,
            divider_cycles: 32,
            roots: 8,
            root_cycles: 95,
            token_cycles: 4,
        }),
        ..Machine::preset("vitcod-ideal").unwrap()
    }
}

fn mm2(area: &Area, name: &str) -> f64 {
    area.components.iter().find(|component| component.name == name).unwrap().mm2
}

#[test]
fn components_are_what_their_parts_take() {
    let area = Area::of(&banked(2));
    let near = |name: &str, um2: f64| {
        let (found, expected) = (mm2(&area, name), um2 / 1e6);
        assert!((found / expected - 1.0).abs() < 1e-9, "{name}: {found}, not {expected}");
    };
    near("banks", 32.0 * (11_900.0 + 512.0 * 20.5));
    near("stream buffers", 32.0 * 4_100.0);
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
    let area = Area::of(&banked(2));
    let memories = ["banks", "stream buffers", "fetch"].map(|name| mm2(&area, name));
    let control = mm2(&area, "clock, control, test");
    let logic = area.total_mm2 - memories.iter().sum::<f64>() - control;
    assert!((control / logic - 0.1).abs() < 1e-9);
}

/// What docs/area.md says of the machines that the paper's 3 mm2 could hold.
#[test]
fn the_paper_has_room_for_few_row_ports() {
    let total = |row_ports| Area::of(&banked(row_ports)).total_mm2;
    let text = [1, 2, 4, 8, 16].map(|ports| format!("{:.2}", total(ports)));
    assert_eq!(text, ["2.76", "2.84", "2.99", "3.30", "3.91"]);
    let ideal = Area::of(&Machine::preset("vitcod-ideal").unwrap());
    assert!(ideal.is_lower_bound);
    assert_eq!(format!("{:.2}", ideal.total_mm2), "4.84");
}

#[test]
fn areas_that_a_machine_states_take_the_place_of_those_of_28_nm() {
    let each = machine::Area { requantiser_um2: 0.0, ..machine::Area::of_28_nm() };
    let area = Area::of(&Machine { area: Some(each), ..banked(2) });
    assert_eq!(mm2(&area, "requantisers"), 0.0);
    assert_eq!(mm2(&area, "MACs"), mm2(&Area::of(&banked(2)), "MACs"));
}
