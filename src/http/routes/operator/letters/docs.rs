//! What the OpenAPI document says of `/dead-letters`.

use serde_json::{Value, json};

use crate::http::describe::{answer, for_admins, for_viewers, problem, schema};

fn document(description: &str, name: &str) -> Value {
    answer(description, "application/json", schema(name))
}

fn parameter(name: &str, description: &str, example: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" }, "example": example })
}

fn path(name: &str, example: Value) -> Value {
    json!({ "parameters": [{ "name": name, "in": "path", "required": true, "schema": { "type": "string" }, "example": example }] })
}

/// The body of an order about a selection of letters.
fn order(more: Value, example: Value) -> Value {
    let mut properties = json!({
        "ids": { "type": "array", "items": { "type": "string" }, "description": "Ids of letters, or of their events." },
        "group": { "type": "string", "description": "A fingerprint of `GET /dead-letters/groups`." },
        "type": { "type": "string", "description": "An event type." },
        "effect": { "type": "string", "description": "The effect that failed last." },
        "taskId": { "type": "integer", "description": "The task that they are about." },
        "since": { "type": "string", "format": "date-time", "description": "Those that have died since." },
        "before": { "type": "string", "format": "date-time", "description": "Those that had died before." },
        "all": { "type": "boolean", "description": "All that are open." },
        "dryRun": { "type": "boolean", "description": "Whether to say only what would happen." },
    });
    if let (Some(properties), Value::Object(more)) = (properties.as_object_mut(), more) {
        properties.extend(more);
    }
    json!({ "requestBody": { "required": true, "content": { "application/json": { "schema": {
        "type": "object", "additionalProperties": false, "properties": properties, "example": example,
    } } } } })
}

pub(super) fn list() -> Option<Value> {
    let parameters = json!({ "parameters": [
        parameter("state", "`open` if nothing is said; or `replaying`, `replayed`, `failed again`, `replaced`, `discarded`.", json!("open")),
        parameter("group", "Only those of this cause.", json!("0123456789abcdef")),
        parameter("type", "Only those of this event type.", json!("TASK_CREATED")),
        parameter("effect", "Only those whose effect failed last.", json!("email")),
        parameter("taskId", "Only those that are about this task.", json!("1")),
        parameter("since", "Only those that have died since.", json!("2026-01-01T00:00:00Z")),
        parameter("before", "Only those that had died before.", json!("2100-01-01T00:00:00Z")),
        { "name": "cursor", "in": "query", "description": "`nextCursor` of the page before.", "schema": { "type": "string" } },
        parameter("limit", "How many at most.", json!("20")),
    ] });
    for_viewers(
        "listDeadLetters",
        "List dead letters, oldest first",
        parameters,
        document("A page", "DeadLetterPage"),
    )
}

pub(super) fn groups() -> Option<Value> {
    let parameters = json!({ "parameters": [
        parameter("group", "Only this cause.", json!("0123456789abcdef")),
        parameter("limit", "How many causes at most; all of them, if nothing is said.", json!("20")),
    ] });
    let summary = "Dead letters by cause, the most frequent first";
    for_viewers(
        "listDeadLetterGroups",
        summary,
        parameters,
        document("The causes", "DeadLetterGroups"),
    )
}

pub(super) fn show() -> Option<Value> {
    for_viewers(
        "getDeadLetter",
        "Get a dead letter whole",
        path("letterId", json!("01a20c26")),
        document("The letter", "DeadLetter"),
    )
    .map(|operation| with(operation, "404", problem("There is no such letter")))
}

pub(super) fn replays() -> Option<Value> {
    for_viewers("listReplays", "The newest replays", json!({}), document("The replays", "Replays"))
}

pub(super) fn replay() -> Option<Value> {
    let more = json!({
        "canary": { "type": "integer", "minimum": 0, "description": "How many go first, and have to be done before the others go." },
        "rate": { "type": "integer", "minimum": 1, "description": "How many go a second after that." },
        "maxFailures": { "type": "integer", "minimum": 0, "description": "Stop when more than this many have failed again." },
    });
    let body = order(more, json!({ "all": true, "dryRun": true }));
    for_admins(
        "replayDeadLetters",
        "Replay dead letters by a plan, which a worker carries out",
        body,
        document("What would happen", "ReplayAnswer"),
    )
    .map(|operation| with(operation, "201", document("The plan", "ReplayAnswer")))
}

pub(super) fn progress() -> Option<Value> {
    for_viewers(
        "getReplay",
        "How far a replay has come",
        path("replayId", json!("1")),
        document("The replay", "Replay"),
    )
    .map(|operation| with(operation, "404", problem("There is no such replay")))
}

pub(super) fn stop() -> Option<Value> {
    for_admins(
        "stopReplay",
        "Stop a replay",
        path("replayId", json!("1")),
        document("The replay", "Replay"),
    )
    .map(|operation| with(operation, "404", problem("There is no such replay")))
}

pub(super) fn resume() -> Option<Value> {
    for_admins(
        "resumeReplay",
        "Let a stopped replay go on",
        path("replayId", json!("1")),
        document("The replay", "Replay"),
    )
    .map(|operation| with(operation, "404", problem("There is no such replay")))
}

pub(super) fn discard() -> Option<Value> {
    let more = json!({ "reason": { "type": "string", "description": "Why, for the record." } });
    let body = order(more, json!({ "all": true, "dryRun": true }));
    for_admins(
        "discardDeadLetters",
        "Discard dead letters for good",
        body,
        document("How many", "Discarded"),
    )
}

pub(super) fn edit() -> Option<Value> {
    let mut more = path("letterId", json!("01a20c26"));
    more["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": {
        "type": "object", "required": ["payload"], "additionalProperties": false,
        "properties": {
            "payload": { "type": "object", "description": "The whole payload as it should have been." },
            "dryRun": { "type": "boolean", "description": "Whether to check it only." },
        },
        "example": { "payload": {}, "dryRun": true },
    } } } });
    for_admins(
        "editDeadLetter",
        "Send a corrected payload in place of a dead letter",
        more,
        document("The new event", "Edited"),
    )
    .map(|operation| with(operation, "404", problem("There is no such open letter")))
}

fn with(mut operation: Value, status: &str, response: Value) -> Value {
    operation["responses"][status] = response;
    operation
}
