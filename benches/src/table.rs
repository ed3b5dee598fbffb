//! Figures as text, and the table on the terminal.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};

use crate::Row;

/// What stands above the columns.
pub(crate) const COLUMNS: [&str; 8] =
    ["measured", "unit", "annals", "against", "baseline", "ratio", "goal", "change"];

/// A row's columns as text.
pub(crate) fn columns(row: &Row) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        row.measurement.clone(),
        row.unit.clone(),
        figure(row.value),
        or_dash(row.against.clone()),
        or_dash(row.baseline.map(figure)),
        or_dash(row.ratio.map(|ratio| format!("{ratio:.3}"))),
        or_dash(
            row.goal.map(|goal| format!("{goal} {}", if row.is_good_enough() { "met" } else { "MISSED" })),
        ),
        or_dash(row.change.map(|change| format!("{:+.0} %", (change - 1.0) * 100.0))),
    ]
}

/// The table of a run.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(COLUMNS).add_rows(rows.iter().map(columns));
    for right in [2, 4, 5, 7] {
        if let Some(column) = table.column_mut(right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// A rate with as many digits as mean something, in groups of three.
pub(crate) fn figure(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests;
