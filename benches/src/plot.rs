//! Plots as SVG text.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::table::figure;
use crate::{Failure, Row};

const OURS: RGBColor = RGBColor(196, 78, 36);
const THEIRS: RGBColor = RGBColor(96, 125, 139);
const GOAL: RGBColor = RGBColor(46, 125, 50);
const WIDTH: u32 = 860;
const BAR_HEIGHT: u32 = 30;
const HEAD_HEIGHT: u32 = 36;
/// Where bars begin, and how long the longest is.
const BARS_FROM: i32 = 300;
const BARS_LENGTH: f64 = 460.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

struct Bar {
    label: String,
    value: f64,
    color: RGBColor,
    text: String,
    /// Where on the scale a line marks what is good enough.
    mark: Option<f64>,
}

/// The rates of ours and of the baselines of one measurement; `rows` are its rows.
pub(crate) fn rates(rows: &[&Row]) -> Result<String, Failure> {
    let Some(first) = rows.first() else { return Ok(String::new()) };
    let ours = ("annals", first.value, OURS);
    let theirs = rows.iter().filter_map(|row| Some((row.against.as_deref()?, row.baseline?, THEIRS)));
    let bars: Vec<_> = std::iter::once(ours)
        .chain(theirs)
        .map(|(label, value, color)| Bar {
            label: label.to_owned(),
            value,
            color,
            text: figure(value),
            mark: None,
        })
        .collect();
    draw(&format!("{} ({})", first.measurement, first.unit), &bars)
}

/// The ratios that have a goal, with the goal marked.
pub(crate) fn goals(rows: &[Row]) -> Result<String, Failure> {
    let bars: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let (value, mark) = (row.ratio?, Some(row.goal?.ratio()));
            Some(Bar {
                label: row.measurement.clone(),
                value,
                color: OURS,
                text: format!("{value:.2}"),
                mark,
            })
        })
        .collect();
    draw("Ratios that have a goal", &bars)
}

fn draw(title: &str, bars: &[Bar]) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let height = HEAD_HEIGHT + BAR_HEIGHT * u32::try_from(bars.len())?;
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.draw_text(title, &("sans-serif", 16).into_text_style(&area), (4, 8)).map_err(failed)?;
        let longest = bars.iter().flat_map(|bar| [bar.value, bar.mark.unwrap_or(0.0)]).fold(0.0, f64::max);
        for (bar, top) in bars.iter().zip((HEAD_HEIGHT..).step_by(BAR_HEIGHT as usize)) {
            draw_bar(&area, bar, i32::try_from(top)?, longest)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn draw_bar(area: &Area<'_>, bar: &Bar, top: i32, longest: f64) -> Result<(), Failure> {
    let style = ("sans-serif", 13).into_text_style(area);
    let end = BARS_FROM + pixels(bar.value, longest);
    let bottom = top + BAR_HEIGHT.cast_signed() - 8;
    area.draw_text(&bar.label, &style, (4, top + 5)).map_err(failed)?;
    area.draw(&Rectangle::new([(BARS_FROM, top), (end, bottom)], bar.color.filled())).map_err(failed)?;
    area.draw_text(&bar.text, &style, (end + 6, top + 5)).map_err(failed)?;
    if let Some(mark) = bar.mark {
        let at = BARS_FROM + pixels(mark, longest);
        let line = PathElement::new([(at, top - 3), (at, bottom + 3)], GOAL.stroke_width(3));
        area.draw(&line).map_err(failed)?;
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a length in pixels")]
fn pixels(value: f64, longest: f64) -> i32 {
    (value / longest.max(f64::MIN_POSITIVE) * BARS_LENGTH).round() as i32
}

/// The drawing's errors are tied to its lifetime; their text is not.
fn failed(error: impl std::fmt::Display) -> Failure {
    format!("drawing a plot failed: {error}").into()
}
