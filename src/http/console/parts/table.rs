//! Tables. On a narrow screen each row is a card, and each cell says which column it is of.

use maud::{Markup, html};

/// A row: its id, if a refresh has to find it again, and what its cells say.
pub(in crate::http::console) struct Row {
    id: Option<String>,
    cells: Vec<Markup>,
}

impl Row {
    /// A row of these cells, as many as the table has heads.
    pub(in crate::http::console) fn new(cells: impl Into<Vec<Markup>>) -> Row {
        Row { id: None, cells: cells.into() }
    }

    /// The same with an id.
    pub(in crate::http::console) fn named(id: String, cells: impl Into<Vec<Markup>>) -> Row {
        Row { id: Some(id), ..Row::new(cells) }
    }
}

/// A column: its name, and the class of its cells.
fn column<'a>(head: &'a &str) -> (&'a str, Option<&'static str>) {
    match (head.strip_prefix('#'), head.strip_prefix('~')) {
        (Some(name), _) => (name, Some("number")),
        (_, Some(name)) => (name, Some("long")),
        _ => (head, None),
    }
}

/// A table whose rows can be walked through; what is said if there are none. A head that begins
/// with `#` is that of numbers, one that begins with `~` that of long texts.
pub(in crate::http::console) fn table(heads: &[&str], rows: &[Row], without: &str) -> Markup {
    let columns: Vec<_> = heads.iter().map(column).collect();
    // Browsers take a table that is shown as cards for none, unless roles say that it is one.
    html! {
        @if rows.is_empty() {
            p.empty { (without) }
        } @else {
            div.scroll tabindex="0" {
                table role="table" {
                    thead role="rowgroup" {
                        tr role="row" { @for (name, class) in &columns {
                            th role="columnheader" scope="col" class=[class] { (name) }
                        } }
                    }
                    tbody role="rowgroup" { @for row in rows {
                        tr role="row" id=[&row.id] data-row {
                            @for ((name, class), cell) in columns.iter().zip(&row.cells) {
                                td role="cell" class=[class] data-label=(name) { (cell) }
                            }
                        }
                    } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_says_which_column_it_is_of() {
        let row = Row::named("a-1".to_owned(), [html! { "one" }, html! { "2" }, html! {}]);
        let table = table(&["~What", "#How many", "When"], &[row], "").into_string();
        for part in [
            r#"<th role="columnheader" scope="col" class="number">How many</th>"#,
            r#"<tr role="row" id="a-1" data-row>"#,
            r#"<td role="cell" class="long" data-label="What">one</td>"#,
            r#"<td role="cell" class="number" data-label="How many">2</td>"#,
            r#"<td role="cell" data-label="When"></td>"#,
        ] {
            assert!(table.contains(part), "{part}: {table}");
        }
    }
}
