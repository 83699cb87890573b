//! A line over the minutes of the last hour, drawn by the server.

use maud::{Markup, html};

use super::number;

/// What is drawn: a name, a value for each minute, and whether any of it is bad news.
pub(in crate::http::console) struct Line<'a> {
    pub(in crate::http::console) name: &'a str,
    pub(in crate::http::console) values: Vec<f64>,
    /// How many of the first values stand for minutes of which nothing is known.
    pub(in crate::http::console) unknown: usize,
    pub(in crate::http::console) unit: &'a str,
    pub(in crate::http::console) is_bad: bool,
}

/// How high the drawing is, in its own units; its width is one for each minute.
const HEIGHT: f64 = 30.0;

/// The line, with what it comes to in words for who can't see it.
pub(in crate::http::console) fn chart(line: &Line<'_>) -> Markup {
    let most = line.values.iter().copied().fold(0.0, f64::max);
    let last = line.values.last().copied().unwrap_or_default();
    let (start, width) = (line.unknown, line.values.len().saturating_sub(1).max(1));
    let points = points(&line.values, start, most);
    let area = format!("{start},{HEIGHT} {points} {width},{HEIGHT}");
    let mut words = format!(
        "{}: {} {} in this minute so far, at most {} in a minute",
        line.name,
        shown(last),
        line.unit,
        shown(most)
    );
    if start > 0 {
        let known = line.values.len().saturating_sub(start);
        words.push_str(&format!("; known of the last {known} minutes alone"));
    }
    let class = if line.is_bad && most > 0.0 { "line bad" } else { "line" };
    html! {
        li.card {
            h3 { (line.name) }
            span.figure { (shown(last)) } " " span.faint { (line.unit) ", peak " (shown(most)) }
            svg class=(class) role="img" aria-label=(words) preserveAspectRatio="none"
                viewBox={ "0 0 " (width) " " (HEIGHT) } {
                title { (words) }
                @if start > 0 { line x1=(start) y1="0" x2=(start) y2=(HEIGHT) {} }
                polygon points=(area) {}
                polyline points=(points) {}
            }
        }
    }
}

fn points(values: &[f64], start: usize, most: f64) -> String {
    let scale = if most > 0.0 { (HEIGHT - 2.0) / most } else { 0.0 };
    let point = |(minute, value): (usize, &f64)| {
        format!("{minute},{:.1}", HEIGHT - 1.0 - value.max(0.0) * scale)
    };
    values.iter().enumerate().skip(start).map(point).collect::<Vec<_>>().join(" ")
}

/// A value without more digits than it needs.
fn shown(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 {
        number(value.round() as i64)
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_stays_in_its_frame() {
        assert_eq!(points(&[0.0, 5.0, 10.0], 0, 10.0), "0,29.0 1,15.0 2,1.0");
        assert_eq!(points(&[0.0, 0.0], 0, 0.0), "0,29.0 1,29.0");
    }

    #[test]
    fn the_line_begins_where_something_is_known() {
        let line = |unknown| {
            let values = vec![0.0, 5.0, 10.0];
            chart(&Line { name: "n", values, unknown, unit: "a minute", is_bad: false })
        };
        let page = line(1).into_string();
        assert!(page.contains(r#"<polyline points="1,15.0 2,1.0">"#), "{page}");
        assert!(page.contains(r#"<line x1="1""#), "{page}");
        assert!(page.contains("known of the last 2 minutes alone"), "{page}");
        assert!(!line(0).into_string().contains("<line"), "nothing is left out");
        assert!(line(3).into_string().contains(r#"<polyline points="">"#), "nothing is known");
    }
}
