//! The report as one HTML file that needs nothing else.

use std::fmt::Write as _;

use crate::report::CAVEATS;
use crate::table::{COLUMNS, columns};
use crate::{Failure, Machine, Row, plot};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;width:100%;font-size:13px}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd}\
td:nth-child(3),td:nth-child(5),td:nth-child(6),td:nth-child(8){text-align:right;font-variant-numeric:tabular-nums}\
.missed{background:#fdecea}svg{display:block;max-width:100%;height:auto;margin:1rem 0}";

/// The page.
pub(crate) fn page(machine: &Machine, rows: &[Row]) -> Result<String, Failure> {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Annals: measured</title>\
         <style>{STYLE}</style></head><body><h1>Annals: measured</h1><p>{}</p><ul>",
        escape(&machine.to_string())
    );
    CAVEATS.iter().try_for_each(|caveat| write!(page, "<li>{}</li>", escape(caveat)))?;
    page.push_str("</ul>");
    page.push_str(&plot::goals(rows)?);
    write_table(&mut page, rows)?;
    for group in rows.chunk_by(|a, b| a.measurement == b.measurement) {
        page.push_str(&plot::rates(&group.iter().collect::<Vec<_>>())?);
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn write_table(page: &mut String, rows: &[Row]) -> std::fmt::Result {
    page.push_str("<table><thead><tr>");
    COLUMNS.iter().try_for_each(|column| write!(page, "<th>{column}</th>"))?;
    page.push_str("</tr></thead><tbody>");
    for row in rows {
        page.push_str(if row.is_good_enough() { "<tr>" } else { "<tr class=\"missed\">" });
        columns(row).iter().try_for_each(|cell| write!(page, "<td>{}</td>", escape(cell)))?;
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table>");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
