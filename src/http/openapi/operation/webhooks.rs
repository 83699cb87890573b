//! The schemas of webhooks and their deliveries.

use serde_json::{Value, json};

use super::{flag, maybe, number, object, one_of, page, text, time};
use crate::domain::task::Status;
use crate::domain::webhook::{
    DESCRIPTION, DeliveryState, DisabledReason, MOST_A_SECOND, MOST_RETRIES,
};
use crate::http::describe::schema;
use crate::webhooks::address::MOST_CHARACTERS;
use crate::webhooks::orders::types;

/// Every schema, by name.
pub(super) fn schemas() -> Value {
    let with_secret = || {
        let secret = json!({ "type": "string", "description": "The key of the signatures; shown here alone.",
            "example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
        json!({ "allOf": [schema("Webhook"), {
            "type": "object", "required": ["secret"], "properties": { "secret": secret } }] })
    };
    let with_history = json!({ "allOf": [schema("Delivery"), { "type": "object", "required": ["history"],
        "properties": { "history": { "type": "array", "items": schema("DeliveryAttempt"),
            "description": "Each try, the last fifty of many." } } }] });
    json!({
        "NewWebhook": input(&["url"]),
        "ChangedWebhook": input(&[]),
        "Webhook": webhook(),
        "WebhookWithSecret": with_secret(),
        "WebhookPage": totalled(page("A page of webhooks.", "Webhook", Vec::new())),
        "WebhookPing": ping(),
        "OrderedDeliveries": object("How many deliveries were ordered.", vec![("count", number(), "How many.")]),
        "Delivery": delivery(),
        "DeliveryWithHistory": with_history,
        "DeliveryAttempt": attempt(),
        "DeliveryPage": page("A page of deliveries, newest first.", "Delivery", Vec::new()),
    })
}

/// A page that may say how many there are in all.
fn totalled(mut page: Value) -> Value {
    page["properties"]["total"] = json!({ "type": "integer", "format": "int64",
        "description": "How many there are on all pages, if `total` was asked for." });
    page
}

fn url() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS, "example": "https://example.com/hook" })
}

fn filter() -> Value {
    let id = || json!({ "type": "integer", "format": "int64", "minimum": 1 });
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "id": id(), "userId": maybe(id()), "categoryId": maybe(id()),
            "status": one_of(&Status::ALL.map(Status::as_str)),
            "title": { "type": "string", "maxLength": 200 },
        },
        "example": { "status": "completed" },
    })
}

fn event_types() -> Value {
    json!({ "type": "array", "nullable": true, "minItems": 1, "items": one_of(&types()), "example": ["TASK_CREATED"] })
}

/// Null is a number here: in OpenAPI 3.0 it needs a type beside it.
fn rate() -> Value {
    json!({
        "example": "60/1m",
        "oneOf": [
            { "type": "integer", "minimum": 1, "maximum": MOST_A_SECOND, "nullable": true },
            { "type": "string", "minLength": 1 },
        ],
    })
}

fn delays() -> Value {
    json!({ "type": "array", "maxItems": MOST_RETRIES, "items": { "type": "string", "minLength": 1 },
            "example": ["5s", "5m"] })
}

/// What a request says of a webhook.
fn input(required: &[&str]) -> Value {
    let mut description = maybe(json!({ "type": "string" }));
    if let (Some(all), Value::Object(rule)) = (description.as_object_mut(), DESCRIPTION.schema()) {
        all.extend(rule);
    }
    let members = vec![
        ("url", url(), "Where to: https, and by WEBHOOK_ALLOW http."),
        ("description", description, "What it is for."),
        ("eventTypes", event_types(), "The types of events it is told; null for all."),
        ("filter", filter(), "Members that the task must have after the change."),
        (
            "ordered",
            flag(),
            "Whether the versions of a task come one by one, each when the one before is done or given up.",
        ),
        (
            "rate",
            rate(),
            "How many deliveries it gets at most, over all workers: a number a second, or in another time; null for no limit.",
        ),
        (
            "retryDelays",
            maybe(delays()),
            "The delays before retries; null for 5s, 5m, 30m, 2h, 5h, 10h, 10h.",
        ),
        ("enabled", flag(), "Whether it is told anything."),
    ];
    let mut input = object("A webhook, as a request says it.", members);
    input["additionalProperties"] = json!(false);
    match required {
        [] => input.as_object_mut().map(|input| input.remove("required")),
        _ => {
            input.as_object_mut().map(|input| input.insert("required".to_owned(), json!(required)))
        }
    };
    input
}

fn webhook() -> Value {
    let reasons = [DisabledReason::ByRequest, DisabledReason::Gone, DisabledReason::Failing];
    object(
        "An endpoint that is told of events.",
        vec![
            ("id", number(), "Assigned by the database."),
            (
                "userId",
                maybe(number()),
                "Whose it is; null for nobody's, which is told of every task.",
            ),
            ("url", url(), "Where deliveries are sent."),
            ("description", maybe(text()), "What it is for."),
            ("eventTypes", event_types(), "The types of events it is told; null for all."),
            ("filter", filter(), "Members that the task must have after the change."),
            ("ordered", flag(), "Whether the versions of a task come one by one."),
            ("rate", rate(), "How many deliveries it gets at most; null for no limit."),
            ("retryDelays", delays(), "The delays before retries."),
            ("enabled", flag(), "Whether it is told anything."),
            (
                "disabledReason",
                maybe(one_of(&reasons.map(DisabledReason::as_str))),
                "Why not: somebody disabled it, it answered 410, or no delivery succeeded for five days.",
            ),
            ("failingSince", maybe(time()), "Since when no delivery has succeeded."),
            (
                "oldSecretUntil",
                maybe(time()),
                "Until when deliveries are signed with the secret before, too.",
            ),
            ("createdAt", time(), "When it was made."),
            ("updatedAt", time(), "When somebody last changed it."),
        ],
    )
}

fn delivery() -> Value {
    let states = DeliveryState::ALL.map(DeliveryState::as_str);
    object(
        "An event on its way to a webhook.",
        vec![
            ("id", number(), "Ascends."),
            (
                "eventId",
                json!({ "type": "string", "format": "uuid" }),
                "The event, and the `webhook-id` of every try.",
            ),
            ("type", maybe(text()), "The event's type; null if the event was purged."),
            ("taskId", maybe(number()), "The task it is about."),
            ("version", maybe(number()), "The task's version after the change."),
            ("state", one_of(&states), "`waiting` is for an earlier version of the task."),
            ("attempts", number(), "How many tries it has had."),
            (
                "nextTryAt",
                maybe(time()),
                "When the next try is due, or the lease of one under way ends; null if there is none.",
            ),
            ("lastStatus", maybe(number()), "The status of the last answer."),
            ("lastError", maybe(text()), "What was wrong with the last try."),
            ("createdAt", time(), "When it was made."),
            ("settledAt", maybe(time()), "When it was done or given up."),
        ],
    )
}

fn attempt() -> Value {
    object(
        "A try.",
        vec![
            ("at", time(), "When it began."),
            ("worker", maybe(text()), "The worker that made it."),
            ("status", maybe(number()), "The status of the answer; null if there was none."),
            ("ms", maybe(number()), "How many milliseconds it took."),
            ("error", maybe(text()), "What was wrong; null if nothing was."),
            (
                "answer",
                maybe(text()),
                "The first 4,096 bytes of the answer's body; null to viewers.",
            ),
        ],
    )
}

fn ping() -> Value {
    object(
        "What came of a ping.",
        vec![
            ("succeeded", flag(), "Whether the answer was 2xx."),
            (
                "eventId",
                json!({ "type": "string", "format": "uuid" }),
                "The `webhook-id` that was sent.",
            ),
            ("status", maybe(number()), "The status of the answer; null if there was none."),
            ("ms", number(), "How many milliseconds it took."),
            ("error", maybe(text()), "What was wrong; null if nothing was."),
            ("answer", text(), "The beginning of the answer's body."),
        ],
    )
}
