//! Tables for people, as reports show them.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use vitcod_isa::program::Decision;

/// A table whose columns but the first are numbers, where it has a header.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-')));
    if !header.is_empty() {
        table.set_header(header.iter().copied());
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
    table
}

/// Makes a column one of text.
pub fn left(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Left);
    }
}

/// What a compiler chose; equal decisions of several layers are one line.
pub fn decisions(decisions: &[Decision]) -> Table {
    let mut lines: Vec<([&str; 3], Vec<&str>)> = Vec::new();
    let mut line_of = BTreeMap::new();
    for decision in decisions {
        let content = [decision.subject.as_str(), &decision.chosen, &decision.reason];
        let line = *line_of.entry(content).or_insert_with(|| {
            lines.push((content, Vec::new()));
            lines.len() - 1
        });
        lines[line].1.push(&decision.layer);
    }
    let mut table = plain(&["decision", "chosen", "because", "layer"]);
    for ([subject, chosen, reason], layers) in lines {
        let layers = match layers.as_slice() {
            [layer] => (*layer).to_owned(),
            layers => format!("{} layers", layers.len()),
        };
        table.add_row([subject, chosen, reason, &layers]);
    }
    (1..4).for_each(|column| left(&mut table, column));
    table
}

/// A number with its thousands apart.
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

/// A share of 1 in per cent, with one decimal.
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
