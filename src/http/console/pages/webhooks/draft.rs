//! The settings of a webhook as its form has them, and the request that the form makes.

use std::time::Duration;

use maud::{Markup, html};
use serde_json::{Map, Value, json};

use crate::domain::webhook::USUAL_DELAYS;
use crate::http::console::form::Form;
use crate::http::console::pages::tasks::{Names, status_choices};
use crate::http::console::parts::{area, choice, group, hinted_input, input, tick};
use crate::http::console::problem::Problem;
use crate::webhooks::orders::{WebhookView, types};

/// The members of a filter, each with the name of its field.
const FILTER: [(&str, &str); 5] = [
    ("status", "filterStatus"),
    ("userId", "filterUser"),
    ("categoryId", "filterCategory"),
    ("title", "filterTitle"),
    ("id", "filterTask"),
];

/// In a filter: the user or category of a task that has none.
const NONE: &str = "none";

/// No delays: what fails is given up at once.
const NO_RETRIES: &str = "none";

/// What the fields of a form say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Draft {
    url: String,
    description: String,
    types: Vec<String>,
    /// In the order of [`FILTER`].
    filter: [String; 5],
    is_ordered: bool,
    rate: String,
    delays: String,
    is_enabled: bool,
    /// Whether it was enabled when the form was made.
    was_enabled: bool,
}

impl Draft {
    /// Of a webhook that is to be made.
    pub(super) fn new() -> Draft {
        Draft { is_enabled: true, ..Draft::default() }
    }

    pub(super) fn of_webhook(webhook: &WebhookView) -> Draft {
        let member = |(name, _): (&str, &str)| match webhook.filter.get(name) {
            None => String::new(),
            Some(Value::Null) => NONE.to_owned(),
            Some(value) => plain(value),
        };
        let delays = match webhook.retry_delays.as_slice() {
            [] => NO_RETRIES.to_owned(),
            delays => delays.join(", "),
        };
        Draft {
            url: webhook.url.clone(),
            description: webhook.description.clone().unwrap_or_default(),
            types: webhook.event_types.clone().unwrap_or_default(),
            filter: FILTER.map(member),
            is_ordered: webhook.ordered,
            rate: plain(&webhook.rate),
            delays: if delays == usual_delays() { String::new() } else { delays },
            is_enabled: webhook.enabled,
            was_enabled: webhook.enabled,
        }
    }

    pub(super) fn of_form(form: &Form) -> Draft {
        let text = |name: &str| form.text(name).trim().to_owned();
        Draft {
            url: text("url"),
            description: form.text("description").replace("\r\n", "\n"),
            types: form.texts("eventTypes"),
            // A title is compared as it is.
            filter: FILTER.map(|(name, field)| match name {
                "title" => form.text(field).to_owned(),
                _ => text(field),
            }),
            is_ordered: form.has("ordered"),
            rate: text("rate"),
            delays: text("retryDelays"),
            is_enabled: form.has("enabled"),
            was_enabled: form.has("wasEnabled"),
        }
    }

    /// The members of the request that makes a webhook.
    pub(super) fn members(&self) -> Value {
        let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        let types = if self.types.is_empty() { Value::Null } else { json!(self.types) };
        json!({
            "url": self.url, "description": text(&self.description), "eventTypes": types,
            "filter": self.filter(), "ordered": self.is_ordered,
            "rate": number_or_text(&self.rate), "retryDelays": self.retry_delays(),
            "enabled": self.is_enabled,
        })
    }

    /// The members of the request that changes a webhook. Who leaves the box as it was says nothing
    /// of it: a webhook may have been disabled since the form was made.
    pub(super) fn changed_members(&self) -> Value {
        let mut members = self.members();
        if let Some(members) = members.as_object_mut()
            && self.is_enabled == self.was_enabled
        {
            members.remove("enabled");
        }
        members
    }

    fn filter(&self) -> Value {
        let mut filter = Map::new();
        for ((name, _), text) in
            FILTER.iter().zip(&self.filter).filter(|(_, text)| !text.is_empty())
        {
            let value = match *name {
                "status" | "title" => json!(text),
                "userId" | "categoryId" if text == NONE => Value::Null,
                _ => number_or_text(text),
            };
            filter.insert((*name).to_owned(), value);
        }
        Value::Object(filter)
    }

    fn retry_delays(&self) -> Value {
        match self.delays.as_str() {
            "" => Value::Null,
            NO_RETRIES => json!([]),
            delays => delays.split(',').map(str::trim).collect(),
        }
    }

    /// The fields, with what the API said of each.
    pub(super) fn fields(&self, names: &Names, problem: Option<&Problem>) -> Markup {
        let usual = format!(
            "such as 5s, 5m, 1h; empty for {}; {NO_RETRIES} to give up at once",
            usual_delays()
        );
        let events = html! {
            p.faint { "Tick none to be told of all." }
            @for name in types() {
                label.tick {
                    input type="checkbox" name="eventTypes" value=(name) checked[self.types.iter().any(|it| it == name)];
                    (name)
                }
            }
        };
        html! {
            (input(("url", "url", "URL"), &self.url, problem))
            (area(("description", "What it is for"), &self.description, problem))
            (group(("eventTypes", "Events"), &events, problem))
            (group(("filter", "Only of tasks like this"), &self.filter_fields(names), problem))
            (tick("ordered", "In order: the next event of a task waits until the one before has arrived", self.is_ordered))
            (hinted_input(("text", "rate", "At most"),
                "so many a second, or such as 60/1m; empty for no limit", &self.rate, problem))
            (hinted_input(("text", "retryDelays", "Try again after"), &usual, &self.delays, problem))
            (tick("enabled", "Enabled", self.is_enabled))
            @if self.was_enabled { input type="hidden" name="wasEnabled" value="yes"; }
        }
    }

    fn filter_fields(&self, names: &Names) -> Markup {
        let [status, user, category, title, task] = &self.filter;
        let mut statuses = vec![(String::new(), "any".to_owned())];
        statuses.extend(status_choices());
        let none = |mut choices: Vec<_>, name: &str| {
            choices.insert(1, (NONE.to_owned(), name.to_owned()));
            choices
        };
        let users = none(names.user_choices("anybody"), "nobody");
        let categories = none(names.category_choices("any"), "none");
        html! {
            (choice(("filterStatus", "Status"), &statuses, status))
            (choice(("filterUser", "For"), &users, user))
            (choice(("filterCategory", "Category"), &categories, category))
            (input(("text", "filterTitle", "Title"), title, None))
            (input(("text", "filterTask", "Id"), task, None))
        }
    }
}

/// The delays of a webhook that names none.
fn usual_delays() -> String {
    let written = |delay: &Duration| humantime::format_duration(*delay).to_string();
    USUAL_DELAYS.iter().map(written).collect::<Vec<_>>().join(", ")
}

/// A text, number or nothing as a field has it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// What a field has, for the API to refuse if it is wrong.
fn number_or_text(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(more: Value) -> WebhookView {
        let mut all = json!({
            "id": 1, "url": "https://example.com/a", "filter": {}, "ordered": false, "rate": null,
            "retryDelays": ["5s", "5m", "30m", "2h", "5h", "10h", "10h"], "enabled": true,
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn a_form_that_is_sent_as_it_was_made_changes_nothing() {
        let settings = json!({
            "url": "https://example.com/a", "description": "d", "eventTypes": ["TASK_CREATED"],
            "filter": { "status": "pending", "userId": null, "categoryId": 7, "title": " t", "id": 3 },
            "ordered": true, "rate": "60/1m", "retryDelays": ["1s", "1m 30s"], "enabled": false,
        });
        assert_eq!(Draft::of_webhook(&webhook(settings.clone())).members(), settings);
        let usual = Draft::of_webhook(&webhook(json!({})));
        assert_eq!((&*usual.delays, &usual.members()["retryDelays"]), ("", &Value::Null));
        assert_eq!(usual.members()["filter"], json!({}));
        let never = Draft::of_webhook(&webhook(json!({ "retryDelays": [], "rate": 9 })));
        let sent = never.members();
        assert_eq!((&sent["retryDelays"], &sent["rate"]), (&json!([]), &json!(9)));
    }

    #[test]
    fn only_a_box_that_was_touched_enables_or_disables() {
        for (was, is, sent) in
            [(true, true, None), (false, false, None), (true, false, Some(false))]
        {
            let draft = Draft { was_enabled: was, is_enabled: is, ..Draft::new() };
            assert_eq!(draft.changed_members().get("enabled").cloned(), sent.map(Value::from));
            assert_eq!(draft.members()["enabled"], is);
        }
    }

    #[test]
    fn what_is_wrong_is_left_to_the_api_to_refuse() {
        let fields = [("filterUser", "x"), ("rate", "fast"), ("retryDelays", "soon, 5m,")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sent = Draft::of_form(&Form::of(fields.to_vec())).members();
        assert_eq!(sent["filter"], json!({ "userId": "x" }));
        assert_eq!(
            (&sent["rate"], &sent["retryDelays"]),
            (&json!("fast"), &json!(["soon", "5m", ""]))
        );
    }
}
