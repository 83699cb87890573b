//! A letter whose payload is corrected: its fields are those of the event type's schema.

use actix_web::HttpResponse;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::address;
use crate::dead_letters::{DeadLetter, Edited};
use crate::http::console::ROOT;
use crate::http::console::client::segment;
use crate::http::console::form::{Form, proof};
use crate::http::console::layout::{Page, Place};
use crate::http::console::parts::{badge, json as shown};
use crate::http::console::problem::Problem;
use crate::http::console::viewer::Viewer;

/// Before the name of a field of the payload.
const PREFIX: &str = "payload.";

pub(super) async fn ask(viewer: Viewer) -> Result<HttpResponse, Problem> {
    let letter = letter(&viewer).await?;
    let payload = letter.body.get("payload").cloned().unwrap_or_else(|| json!({}));
    show(&viewer, &letter, &payload, None, None).await
}

async fn letter(viewer: &Viewer) -> Result<DeadLetter, Problem> {
    viewer.client.get(&format!("/dead-letters/{}", viewer.segment("id")), &[]).await
}

/// The members that the schema of the letter's event type has for a payload, each with its schema.
async fn members(viewer: &Viewer, letter: &DeadLetter) -> Map<String, Value> {
    let Some(name) = &letter.event_type else { return Map::new() };
    let schema: Result<Value, Problem> =
        viewer.client.get(&format!("/schemas/{}", segment(name)), &[]).await;
    let payload = schema.ok().and_then(|schema| schema.pointer("/properties/payload").cloned());
    let properties = payload.and_then(|payload| payload.get("properties").cloned());
    match properties {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

async fn show(
    viewer: &Viewer,
    letter: &DeadLetter,
    payload: &Value,
    checked: Option<&Edited>,
    problem: Option<&Problem>,
) -> Result<HttpResponse, Problem> {
    let members = members(viewer, letter).await;
    let content = html! {
        @if let Some(problem) = problem { (problem.show()) }
        @if let Some(edited) = checked {
            p.note role="status" {
                "The payload is valid. "
                @if edited.done_before.is_empty() { "All its effects would run." }
                @else { "These effects are done already and would not run: " (edited.done_before.join(", ")) "." }
            }
        }
        p { "The corrected payload goes out as a new event, for the effects that failed. The letter stays, as replaced." }
        @if let Some(error) = &letter.error { p { "It died of: " strong { (error) } } }
        form.stacked method="post" action={ (address(&letter.id)) "/edit" } {
            (proof(viewer))
            @if members.is_empty() {
                label { "Payload, as JSON"
                    textarea name="payload" spellcheck="false" rows="16" { "\n" (format!("{payload:#}")) } }
            } @else {
                fieldset { legend { "Payload" }
                    @for (name, schema) in &members { (field(name, schema, payload.get(name))) }
                }
            }
            div.actions {
                button type="submit" name="dryRun" value="yes" { "Check" }
                button.main type="submit" { "Send as a new event" }
                a.button href=(address(&letter.id)) { "Back" }
            }
        }
        details { summary { "The letter's body" } (shown(&letter.body)) }
    };
    let status =
        problem.map_or(actix_web::http::StatusCode::OK, actix_web::ResponseError::status_code);
    let page = Page { place: Place::DeadLetters, title: "Edit and replay", live: "" };
    Ok(page.show_as(status, viewer, &content))
}

/// A field of the payload. Texts are written as they are; everything else is JSON.
fn field(name: &str, schema: &Value, value: Option<&Value>) -> Markup {
    let is_text = is_text(schema);
    let text = match value {
        None => String::new(),
        Some(Value::String(text)) if is_text => text.clone(),
        Some(Value::Null) if is_text => String::new(),
        Some(value) => value.to_string(),
    };
    let about = schema.get("description").and_then(Value::as_str);
    let long = text.chars().count() > 60 || text.contains('\n');
    html! {
        label {
            span { (name) " " (badge(&kinds(schema))) }
            @if long { textarea name={ (PREFIX) (name) } { "\n" (text) } }
            @else { input type="text" name={ (PREFIX) (name) } value=(text); }
            @if let Some(about) = about { span.faint { (about) } }
        }
    }
}

/// The types that a schema allows, in words.
fn kinds(schema: &Value) -> String {
    let named = |value: &Value| value.as_str().unwrap_or("any").to_owned();
    match schema.get("type") {
        Some(Value::Array(all)) => all.iter().map(named).collect::<Vec<_>>().join(" or "),
        Some(one) => named(one),
        None => "any".to_owned(),
    }
}

fn is_text(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::Array(all)) => all.iter().all(|kind| kind == "string" || kind == "null"),
        Some(kind) => kind == "string",
        None => schema.get("enum").is_some(),
    }
}

pub(super) async fn send(viewer: Viewer, form: Form) -> Result<HttpResponse, Problem> {
    let letter = letter(&viewer).await?;
    let before = letter.body.get("payload").cloned().unwrap_or_else(|| json!({}));
    let payload = if form.has("payload") {
        serde_json::from_str(form.text("payload")).unwrap_or(Value::Null)
    } else {
        corrected(&members(&viewer, &letter).await, &form, &before)
    };
    let dry_run = form.has("dryRun");
    let path = format!("/dead-letters/{}/edit", segment(&letter.id));
    let sent: Result<Edited, Problem> =
        viewer.client.post(&path, &json!({ "payload": payload, "dryRun": dry_run })).await;
    match sent {
        Ok(Edited { event_id: Some(event), .. }) => {
            let note = "The corrected event is written. This is its story.";
            Ok(viewer.go(&format!("{ROOT}/events/{event}"), note))
        }
        Ok(edited) => show(&viewer, &letter, &payload, Some(&edited), None).await,
        Err(problem) => show(&viewer, &letter, &payload, None, Some(&problem)).await,
    }
}

/// The payload that the form's fields make. A member that had no value and still has none stays
/// away; what is no JSON is sent as a text, for the schema to refuse.
fn corrected(members: &Map<String, Value>, form: &Form, before: &Value) -> Value {
    let mut payload = before.as_object().cloned().unwrap_or_default();
    for (name, schema) in members {
        let field = format!("{PREFIX}{name}");
        let text = form.text(&field).replace("\r\n", "\n");
        let value = match (text.is_empty(), is_text(schema)) {
            (true, _) if !form.has(&field) || !payload.contains_key(name) => continue,
            (true, true) if payload[name] == "" => json!(""),
            (true, _) => Value::Null,
            (false, true) => json!(text),
            (false, false) => serde_json::from_str(&text).unwrap_or_else(|_| json!(text)),
        };
        payload.insert(name.clone(), value);
    }
    Value::Object(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_the_payload_they_came_from() {
        let members = json!({
            "id": { "type": "integer" }, "title": { "type": "string" },
            "description": { "type": ["string", "null"] }, "dueAt": { "type": ["string", "null"] },
        });
        let Value::Object(members) = members else { panic!() };
        let before = json!({ "id": "x", "title": "", "description": null, "more": [1] });
        let fields = [("id", "7"), ("title", "Écrire"), ("description", ""), ("dueAt", "")];
        let fields = fields.map(|(name, value)| (format!("{PREFIX}{name}"), value.to_owned()));
        let payload = corrected(&members, &Form::of(fields.to_vec()), &before);
        let expected = json!({ "id": 7, "title": "Écrire", "description": null, "more": [1] });
        assert_eq!(payload, expected);
    }
}
