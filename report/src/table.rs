//! Tables of reports.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use vitcod_isa::program::{Alternative, Decision};

/// A table without borders. All columns but the first are right-aligned; the header may be empty.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-')));
    if !header.is_empty() {
        table.set_header(header.iter().copied());
        table
            .column_iter_mut()
            .skip(1)
            .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
    table
}

/// Aligns a column to the left.
pub fn left(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Left);
    }
}

/// Decisions of the compiler, with reasons if requested; equal lines of several layers are merged.
pub fn decisions(decisions: &[Decision], with_reasons: bool) -> Table {
    let columns = if with_reasons { 3 } else { 2 };
    let mut lines: Vec<(&[&str], Vec<&str>)> = Vec::new();
    let mut line_of = BTreeMap::new();
    let contents: Vec<[&str; 3]> = (decisions.iter())
        .map(|decision| {
            [decision.subject.as_str(), decision.chosen.as_str(), decision.reason.as_str()]
        })
        .collect();
    for (decision, content) in decisions.iter().zip(&contents) {
        let content = &content[..columns];
        let line = *line_of.entry(content).or_insert_with(|| {
            lines.push((content, Vec::new()));
            lines.len() - 1
        });
        lines[line].1.push(&decision.layer);
    }
    let mut table = plain(&[&["decision", "chosen", "because"][..columns], &["layer"]].concat());
    for (content, layers) in lines {
        let layers = match layers.as_slice() {
            [layer] => (*layer).to_owned(),
            layers => format!("{} layers", layers.len()),
        };
        table.add_row(content.iter().copied().chain([layers.as_str()]));
    }
    (1..=columns).for_each(|column| left(&mut table, column));
    table
}

/// Decisions with their alternatives; equal ones of several layers are merged.
pub fn alternatives(decisions: &[Decision]) -> Table {
    let mut places: Vec<(&Decision, usize)> = Vec::new();
    for decision in decisions {
        let same = |other: &Decision| {
            Decision { layer: decision.layer.clone(), ..other.clone() } == *decision
        };
        match places.iter_mut().find(|(other, _)| same(other)) {
            Some((_, layers)) => *layers += 1,
            None => places.push((decision, 1)),
        }
    }
    let mut table = plain(&["decision", "costed", "cycles", "DRAM B", "layer"]);
    for (decision, layers) in places {
        let layer = match layers {
            1 => decision.layer.clone(),
            more => format!("{} and {} more", decision.layer, more - 1),
        };
        let Decision { subject, chosen, reason, alternatives, .. } = decision;
        if alternatives.is_empty() {
            table.add_row([
                subject.clone(),
                format!("> {chosen}"),
                String::new(),
                String::new(),
                layer.clone(),
            ]);
        }
        for (index, Alternative { name, cycles, dram_bytes }) in alternatives.iter().enumerate() {
            let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            let mark = if name == chosen { "> " } else { "  " };
            let (cycles, bytes) = (grouped(*cycles), grouped(*dram_bytes));
            table.add_row([first(subject), format!("{mark}{name}"), cycles, bytes, first(&layer)]);
        }
        table.add_row([
            String::new(),
            format!("  because: {reason}"),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    [1, 4].into_iter().for_each(|column| left(&mut table, column));
    table
}

/// A number with separators between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in per cent, with one decimal place.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
