//! Orders about dead letters: replaying them, first as a dry run, and discarding them.

use actix_web::HttpResponse;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::{address, group_address};
use crate::dead_letters::{Discarded, Forecast, Replay, ReplayAnswer};
use crate::http::console::ROOT;
use crate::http::console::client::target;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{Row, input, number, table};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// Which open letters an order is about: the fields that a form brings along.
pub(super) struct Selection(Vec<(&'static str, String)>);

/// The fields by which letters are chosen; the first says that all are meant, the second names one.
const FIELDS: [&str; 6] = ["all", "id", "group", "effect", "type", "taskId"];

impl Selection {
    /// All of them.
    pub(super) fn all() -> Selection {
        Selection(vec![("all", "yes".to_owned())])
    }

    /// Those of this cause.
    pub(super) fn group(group: &str) -> Selection {
        Selection(vec![("group", group.to_owned())])
    }

    /// This one.
    pub(super) fn one(id: &str) -> Selection {
        Selection(vec![("id", id.to_owned())])
    }

    /// Those that have what these fields say; `None` if they say nothing.
    pub(super) fn matching(fields: &[(&'static str, &str)]) -> Option<Selection> {
        let given =
            fields.iter().filter(|(name, value)| FIELDS.contains(name) && !value.is_empty());
        let given: Vec<_> = given.map(|(name, value)| (*name, (*value).to_owned())).collect();
        (!given.is_empty()).then_some(Selection(given))
    }

    fn of_form(form: &Form) -> Selection {
        let given = FIELDS.map(|name| (name, form.text(name)));
        Selection::matching(&given).unwrap_or_else(Selection::all)
    }

    fn is_one(&self) -> bool {
        self.0.iter().any(|(name, _)| *name == "id")
    }

    fn fields(&self) -> Markup {
        html! { @for (name, value) in &self.0 { input type="hidden" name=(name) value=(value); } }
    }

    /// The members of an order that select these letters.
    fn members(&self) -> Map<String, Value> {
        let member = |(name, value): &(&str, String)| match *name {
            "all" => ("all".to_owned(), json!(true)),
            "id" => ("ids".to_owned(), json!([value])),
            "taskId" => {
                let number = value.trim().parse::<i64>();
                ("taskId".to_owned(), number.map_or_else(|_| json!(value), |number| json!(number)))
            }
            name => (name.to_owned(), json!(value)),
        };
        self.0.iter().map(member).collect()
    }

    /// The page that it was chosen on.
    fn page(&self) -> String {
        match self.0.as_slice() {
            [("all", _)] => format!("{ROOT}/dead-letters"),
            [("group", group)] => group_address(group),
            [("id", id)] => address(id),
            fields => {
                let query: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
                target(&format!("{ROOT}/dead-letters/letters"), &query)
            }
        }
    }
}

/// How a replay is to go, as its form says.
struct Pace {
    canary: String,
    rate: String,
    max_failures: String,
}

impl Pace {
    /// What the form says at first: a few letters ahead, and a stop if many fail again.
    fn usual(selection: &Selection) -> Pace {
        let canary = if selection.is_one() { "0" } else { "5" };
        Pace { canary: canary.to_owned(), rate: "50".to_owned(), max_failures: "10".to_owned() }
    }

    fn of_form(form: &Form) -> Pace {
        let text = |name| form.text(name).to_owned();
        Pace { canary: text("canary"), rate: text("rate"), max_failures: text("maxFailures") }
    }
}

/// The form for a replay.
pub(super) fn replay_form(viewer: &Viewer, selection: &Selection) -> Markup {
    form_with(viewer, selection, &Pace::usual(selection), None)
}

fn form_with(
    viewer: &Viewer,
    selection: &Selection,
    pace: &Pace,
    problem: Option<&Problem>,
) -> Markup {
    html! {
        form.filter method="post" action={ (ROOT) "/dead-letters/replays" } hx-morph-skip {
            (proof(viewer))
            (selection.fields())
            @if !selection.is_one() {
                (input(("number", "canary", "Canary: try so many first"), &pace.canary, problem))
                (input(("number", "rate", "Then at most, a second"), &pace.rate, problem))
                (input(("number", "maxFailures", "Stop after so many failures"), &pace.max_failures, problem))
            }
            button type="submit" name="dryRun" value="yes" { "Dry run" }
            button.main type="submit" { "Replay" }
        }
    }
}

pub(super) async fn replay(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let selection = Selection::of_form(&form);
    let dry_run = form.has("dryRun");
    let mut order = selection.members();
    order.insert("dryRun".into(), json!(dry_run));
    for name in ["canary", "rate", "maxFailures"] {
        let number = form.number(name);
        if !number.is_null() {
            order.insert(name.into(), number);
        }
    }
    let answer: Result<ReplayAnswer, Problem> =
        viewer.client.post("/dead-letters/replays", &Value::Object(order)).await;
    let page = Page { place: Place::DeadLetters, title: "Replay", live: "" };
    match answer {
        Ok(ReplayAnswer { replay: Some(replay), .. }) => {
            let page = format!("{ROOT}/dead-letters/replays/{}", replay.id);
            Ok(viewer.go(&page, "The replay is ordered. A worker carries it out."))
        }
        Ok(answer) if !dry_run || answer.forecast.is_empty() => {
            Ok(viewer.go(&selection.page(), "No open letter is left to replay."))
        }
        Ok(answer) => {
            let content = html! {
                p { "Nothing has happened yet. This is what a replay would do:" }
                (forecast(&answer.forecast))
                @if answer.forecast.iter().all(|cause| cause.letters == cause.hopeless) {
                    p.problem { "All of them are certain to fail again, so there is nothing to replay. \
                        Look where they come from, and discard them." }
                } @else {
                    (form_with(&viewer, &selection, &Pace::of_form(&form), None))
                }
                p { a href=(selection.page()) { "Back" } }
            };
            Ok(page.show(&viewer, &content))
        }
        Err(problem) => {
            let content = html! {
                (problem.show())
                (form_with(&viewer, &selection, &Pace::of_form(&form), Some(&problem)))
                p { a href=(selection.page()) { "Back" } }
            };
            Ok(page.show_as(actix_web::ResponseError::status_code(&problem), &viewer, &content))
        }
    }
}

fn forecast(causes: &[Forecast]) -> Markup {
    let row = |cause: &Forecast| {
        let sent = cause.letters - cause.already_done - cause.hopeless;
        Row::new([
            html! { a href=(group_address(&cause.fingerprint)) { span.clip { (cause.error) } } },
            html! { (number(cause.letters)) },
            html! { (number(sent)) },
            html! { (number(cause.already_done)) },
            html! { (number(cause.hopeless)) },
        ])
    };
    let rows: Vec<Row> = causes.iter().map(row).collect();
    table(
        &["~Cause", "#Letters", "#Would be sent", "#Done already", "#Certain to fail again"],
        &rows,
        "No open letter is left.",
    )
}

/// Stops a replay, or lets it go on.
pub(super) async fn steer(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let id = viewer.id("id")?;
    let order = match form.text("order") {
        "stop" => "stop",
        "resume" => "resume",
        _ => return Err(Problem::missing()),
    };
    let path = format!("/dead-letters/replays/{id}/{order}");
    let _: Replay = viewer.client.post(&path, &json!({})).await?;
    Ok(viewer.go(&format!("{ROOT}/dead-letters/replays/{id}"), ""))
}

/// The form for discarding letters.
pub(super) fn discard_form(viewer: &Viewer, selection: &Selection) -> Markup {
    html! {
        form.filter method="post" action={ (ROOT) "/dead-letters/discard" } hx-morph-skip
            data-ask="Discard for good? The letters stay in the list of the settled, and are never replayed." {
            (proof(viewer))
            (selection.fields())
            label { "Why" input type="text" name="reason" required size="40"; }
            button.danger type="submit" { "Discard" }
        }
    }
}

pub(super) async fn discard(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let selection = Selection::of_form(&form);
    let mut order = selection.members();
    order.insert("reason".into(), form.optional("reason"));
    let done: Discarded =
        viewer.client.post("/dead-letters/discard", &Value::Object(order)).await?;
    let note = match done.count {
        1 => "One letter is discarded.".to_owned(),
        count => format!("{} letters are discarded.", number(count)),
    };
    let page = match selection.is_one() {
        true => selection.page(),
        false => format!("{ROOT}/dead-letters"),
    };
    Ok(viewer.go(&page, &note))
}
