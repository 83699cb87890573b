//! The medians as a picture: how far each figure is from its target.

use std::fmt::Write;

use crate::report::Row;

/// Of the picture, in pixels.
const LINE: usize = 24;
const NAMES: usize = 400;
/// How long the bar of a figure is that just meets its target, and how many times as long one may be.
const TARGET: f64 = 180.0;
const LONGEST: f64 = 2.5;
const FIGURES: usize = 240;

/// An SVG with a bar for each row that has a target.
pub fn svg(title: &str, rows: &[Row]) -> String {
    let rows: Vec<(&Row, f64)> =
        rows.iter().filter_map(|row| Some((row, row.reached()?))).collect();
    let bars = TARGET * LONGEST;
    let (width, height) = (NAMES + bars as usize + FIGURES, (rows.len() + 2) * LINE + LINE / 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    for (index, (row, reached)) in rows.iter().enumerate() {
        let y = (index + 1) * LINE + LINE / 2;
        let length = TARGET * reached.min(LONGEST);
        let color = if *reached >= 1.0 { "#3a7d44" } else { "#b5541c" };
        let (text, bar) = (y + 15, y + 4);
        // A String takes whatever is written to it.
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{text}\">{}: {}</text>\n\
             <rect x=\"{NAMES}\" y=\"{bar}\" width=\"{length:.0}\" height=\"14\" fill=\"{color}\"/>\n\
             <text x=\"{:.0}\" y=\"{text}\">{} (target {})</text>",
            escape(&row.name),
            escape(&row.what),
            NAMES as f64 + length + 6.0,
            escape(&row.told()),
            escape(&row.target.text()),
        );
    }
    let x = NAMES as f64 + TARGET;
    let (top, bottom) = (LINE + LINE / 2, (rows.len() + 1) * LINE + LINE / 2);
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" x2=\"{x}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#222222\" stroke-dasharray=\"3 3\"/>\n\
         <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">target</text>\n</svg>",
        bottom + 14
    );
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
