//! The table, as text and as Markdown.

use std::collections::BTreeMap;
use std::io::Write;

use vitcod_report::table::{grouped, left, plain};

use super::exported::Exported;
use super::measure::{Measured, OutputNoise};
use super::{Inputs, Row, Survey};

/// A column: its title, whether it is text, and its contents for a model.
struct Column {
    name: &'static str,
    text: bool,
    cell: fn(&Row) -> Option<String>,
}

const COLUMNS: [Column; 12] = [
    Column { name: "model", text: true, cell: |row| Some(row.model.clone()) },
    Column { name: "exporter", text: true, cell: |row| row.exported.as_ref().map(exporter) },
    Column {
        name: "opset",
        text: false,
        cell: |row| Some(row.exported.as_ref()?.opset.to_string()),
    },
    Column {
        name: "nodes",
        text: false,
        cell: |row| Some(grouped(row.exported.as_ref()?.nodes as u64)),
    },
    Column {
        name: "operators",
        text: false,
        cell: |row| Some(row.exported.as_ref()?.operators.len().to_string()),
    },
    Column {
        name: "parameters",
        text: false,
        cell: |row| Some(grouped(row.measured.as_ref()?.parameters as u64)),
    },
    Column {
        name: "MACs",
        text: false,
        cell: |row| Some(grouped(row.measured.as_ref()?.macs_needed)),
    },
    Column {
        name: "cycles",
        text: false,
        cell: |row| Some(grouped(row.measured.as_ref()?.cycles)),
    },
    Column {
        name: "cycles / bound",
        text: false,
        cell: |row| row.measured.as_ref()?.bound_ratio.map(|ratio| format!("{ratio:.3}")),
    },
    Column {
        name: "DRAM B",
        text: false,
        cell: |row| Some(grouped(row.measured.as_ref()?.dram_bytes)),
    },
    Column {
        name: "DRAM / compulsory",
        text: false,
        cell: |row| row.measured.as_ref().and_then(traffic),
    },
    Column {
        name: "SQNR dB",
        text: false,
        cell: |row| row.measured.as_ref().and_then(|of| worst(&of.outputs)),
    },
];

/// An empty cell.
const NOTHING: &str = "-";

/// Prints a survey.
pub(super) fn print(survey: &Survey, out: &mut dyn Write) -> anyhow::Result<()> {
    let columns = columns(survey);
    let mut table = plain(&columns.iter().map(|column| column.name).collect::<Vec<_>>());
    columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.text)
        .for_each(|(index, _)| left(&mut table, index));
    for row in &survey.models {
        table.add_row(
            columns.iter().map(|column| escaped(&(column.cell)(row).unwrap_or(NOTHING.to_owned()))),
        );
    }
    writeln!(out, "{}\n", table.trim_fmt())?;
    for (model, error) in errors(survey) {
        writeln!(out, " {}: {}", escaped(model), escaped(&error))?;
    }
    writeln!(out, " {}", about(survey))?;
    Ok(())
}

/// A survey as Markdown.
pub(super) fn markdown(survey: &Survey) -> String {
    let columns = columns(survey);
    let header = columns.iter().map(|column| column.name.to_owned());
    let rule = columns.iter().map(|column| if column.text { "---" } else { "---:" }.to_owned());
    let mut text =
        format!("{}\n\n{}|{}|\n", about(survey), line(header), rule.collect::<Vec<_>>().join("|"));
    for row in &survey.models {
        text += &line(
            columns.iter().map(|column| cell(&(column.cell)(row).unwrap_or(NOTHING.to_owned()))),
        );
    }
    let errors =
        errors(survey).map(|(model, error)| format!("- `{}`: {}\n", cell(model), cell(&error)));
    let errors: String = errors.collect();
    if !errors.is_empty() {
        text += &format!("\nWhat failed:\n\n{errors}");
    }
    text + "\n" + &operators(survey)
}

/// The columns of a survey.
fn columns(survey: &Survey) -> Vec<Column> {
    let mut columns = Vec::from(COLUMNS);
    if survey
        .models
        .iter()
        .any(|row| row.measured.as_ref().is_some_and(|of| of.equal_integers.is_some()))
    {
        let equal = |row: &Row| Some(grouped(row.measured.as_ref()?.equal_integers? as u64));
        columns.push(Column { name: "equal integers", text: false, cell: equal });
    }
    columns
}

/// The caption of the table.
fn about(survey: &Survey) -> String {
    let measured = survey.models.iter().filter(|row| row.measured.is_some()).count();
    let programs = match measured {
        1 => "1 program".to_owned(),
        count => format!("{count} programs"),
    };
    let inputs = match survey.inputs {
        Inputs::Noise => "calibrated on seeded noise, SQNR on other noise",
        Inputs::Samples => "calibrated on samples, SQNR on the same",
    };
    format!("{programs} for {}; {inputs}.", survey.machine.name)
}

/// Models with the first line of their error, and the number of further lines.
fn errors(survey: &Survey) -> impl Iterator<Item = (&str, String)> {
    survey.models.iter().filter_map(|row| {
        let lines: Vec<&str> = row.error.as_ref()?.lines().collect();
        let error = match lines[..] {
            [] => String::new(),
            [line] => line.to_owned(),
            [first, ref more @ ..] => format!("{first} (and {} more lines)", more.len()),
        };
        Some((row.model.as_str(), error))
    })
}

/// Operators of all models that could be read, with the total number of nodes and the models that
/// use them.
fn operators(survey: &Survey) -> String {
    // Further model names are only counted.
    const NAMED: usize = 4;
    let mut counts: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for row in &survey.models {
        for (operator, nodes) in row.exported.iter().flat_map(|exported| &exported.operators) {
            let (sum, models) = counts.entry(operator).or_default();
            *sum += nodes;
            models.push(&row.model);
        }
    }
    let mut text = "| operator | nodes | models | where few |\n|---|---:|---:|---|\n".to_owned();
    for (operator, (nodes, models)) in counts {
        let names = if models.len() <= NAMED { models.join(", ") } else { String::new() };
        let operator = format!("`{}`", cell(operator));
        text += &line(
            [operator, grouped(nodes as u64), models.len().to_string(), cell(&names)].into_iter(),
        );
    }
    text
}

fn exporter(exported: &Exported) -> String {
    let Exported { producer_name, producer_version, exporter, .. } = exported;
    let parts =
        [producer_name.as_str(), producer_version, exporter.map_or("", |exporter| exporter.name())];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// DRAM bytes divided by those that no schedule can avoid.
fn traffic(measured: &Measured) -> Option<String> {
    let Measured { dram_bytes, compulsory_dram_bytes, .. } = *measured;
    (compulsory_dram_bytes > 0)
        .then(|| format!("{:.3}", dram_bytes as f64 / compulsory_dram_bytes as f64))
}

/// The worst SQNR of the outputs.
fn worst(outputs: &[OutputNoise]) -> Option<String> {
    // NaN is the worst ratio, whatever its sign.
    let rank = |ratio: f64| if ratio.is_nan() { f64::NEG_INFINITY } else { ratio };
    let ratio =
        outputs.iter().map(|output| output.sqnr_db).min_by(|a, b| rank(*a).total_cmp(&rank(*b)))?;
    Some(if ratio == f64::INFINITY { "exact".to_owned() } else { format!("{ratio:.1}") })
}

/// A line of a table in Markdown.
fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// Escapes text of a file for a cell of Markdown.
fn cell(text: &str) -> String {
    escaped(text).replace('|', "\\|")
}

/// Removes characters that cannot be printed.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_output_counts() {
        let worst = |ratios: &[f64]| {
            worst(
                &ratios
                    .iter()
                    .map(|ratio| OutputNoise { name: String::new(), sqnr_db: *ratio })
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(worst(&[]), None);
        assert_eq!(worst(&[30.0, 20.06]), Some("20.1".to_owned()));
        assert_eq!(worst(&[f64::INFINITY]), Some("exact".to_owned()));
        assert_eq!(worst(&[-f64::NAN, 3.0]), Some("NaN".to_owned()));
    }

    #[test]
    fn names_stay_in_their_cells() {
        assert_eq!(cell("a|b\n\u{1b}[31m"), "a\\|b\\n\\u{1b}[31m");
    }
}
