//! What the OpenAPI document says of `/webhooks`.

use serde_json::{Value, json};

use crate::domain::webhook::DeliveryState;
use crate::http::describe::{answer, of_webhooks, schema};
use crate::http::extract::idempotency_key;
use crate::webhooks::orders::types;

fn document(description: &str, name: &str) -> Value {
    answer(description, "application/json", schema(name))
}

fn id(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true,
            "schema": { "type": "integer", "format": "int64", "minimum": 1 }, "example": 1 })
}

fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn body(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

/// An operation on one webhook.
fn on_one(id_: &str, summary: &str, more: Value, ok: Value) -> Option<Value> {
    let mut all = json!({ "parameters": [id("id")] });
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    Some(of_webhooks(id_, summary, all, ok))
}

fn limit() -> Value {
    query(
        "limit",
        "How many at most.",
        json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 }),
    )
}

fn cursor() -> Value {
    query("cursor", "`nextCursor` of the page before.", json!({ "type": "string" }))
}

pub(super) fn list() -> Option<Value> {
    let total = query("total", "Whether to count all.", json!({ "type": "boolean" }));
    let parameters = json!({ "parameters": [limit(), cursor(), total] });
    Some(of_webhooks(
        "listWebhooks",
        "List webhooks",
        parameters,
        document("A page", "WebhookPage"),
    ))
}

pub(super) fn create() -> Option<Value> {
    let more = json!({
        "parameters": [{ "name": idempotency_key::HEADER, "in": "header" }],
        "requestBody": body(schema("NewWebhook")),
        "callbacks": { "event": { "{$request.body#/url}": { "post": callback() } } },
    });
    let made = document("The webhook, with its secret", "WebhookWithSecret");
    let mut operation = of_webhooks("createWebhook", "Make a webhook", more, Value::Null);
    let responses = operation["responses"].as_object_mut()?;
    responses.remove("200");
    responses.insert("201".to_owned(), made);
    Some(operation)
}

/// What the endpoint is sent from then on.
fn callback() -> Value {
    let header = |name: &str, says: &str, example: &str| {
        json!({ "name": name, "in": "header", "required": true, "description": says,
                "schema": { "type": "string" }, "example": example })
    };
    let answer = |says: &str| json!({ "description": says });
    json!({
        "operationId": "receiveEvent", "tags": ["webhooks"], "security": [],
        "summary": "What the endpoint is sent",
        "description": "An event as it is in the queue, at least once, until the endpoint answers 2xx or its schedule has \
            ended. `/asyncapi.json` has the schema of each type. Verify the signature, and tell repetitions by \
            `webhook-id`.",
        "parameters": [
            header("webhook-id", "The event's id, the same on every try.", "019b7e0a-ddc0-7000-8000-000000000001"),
            header("webhook-timestamp", "When this try was made, in seconds since 1970.", "1767346200"),
            header("webhook-signature", "By the webhook's secret, as Standard Webhooks has it.",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        "requestBody": body(json!({ "type": "object", "required": ["type", "payload", "metadata"], "properties": {
            "type": { "type": "string", "enum": types() },
            "payload": { "type": "object", "description": "The task as it was committed." },
            "metadata": { "type": "object", "description": "Which event it is, when and by whom." },
        } })),
        "responses": {
            "200": answer("It has it; any other 2xx says the same"),
            "410": answer("It wants no more, and is disabled"),
            "503": answer("It is to be tried again, and no sooner than `Retry-After` says; any other answer is tried again, too"),
        },
    })
}

pub(super) fn show() -> Option<Value> {
    on_one("getWebhook", "One webhook", Value::Null, document("The webhook", "Webhook"))
}

pub(super) fn change() -> Option<Value> {
    let more = json!({ "requestBody": body(schema("ChangedWebhook")) });
    on_one("updateWebhook", "Change a webhook", more, document("The webhook", "Webhook"))
}

pub(super) fn delete() -> Option<Value> {
    let mut operation = on_one("deleteWebhook", "Delete a webhook", Value::Null, Value::Null)?;
    let responses = operation["responses"].as_object_mut()?;
    responses.remove("200");
    responses.insert("204".to_owned(), json!({ "description": "It is deleted" }));
    Some(operation)
}

pub(super) fn rotate_secret() -> Option<Value> {
    let ok = document("The webhook, with its new secret", "WebhookWithSecret");
    on_one("rotateWebhookSecret", "Give a webhook a new secret", Value::Null, ok)
}

pub(super) fn ping() -> Option<Value> {
    let ok = document("What came of it", "WebhookPing");
    on_one("pingWebhook", "Send something to a webhook at once", Value::Null, ok)
}

fn since() -> Value {
    json!({ "type": "string", "format": "date-time", "description": "Events since this time.",
            "example": "2026-01-01T00:00:00Z" })
}

pub(super) fn recover() -> Option<Value> {
    let schema = json!({ "type": "object", "required": ["since"], "additionalProperties": false,
        "properties": { "since": since() } });
    let more = json!({ "requestBody": body(schema) });
    let ok = document("How many deliveries were ordered", "OrderedDeliveries");
    on_one("recoverWebhook", "Send again what was given up", more, ok)
}

pub(super) fn replay_history() -> Option<Value> {
    let types = json!({ "type": "array", "nullable": true, "minItems": 1, "description": "Of these types; null for all.",
        "items": { "type": "string", "enum": types() } });
    let schema = json!({ "type": "object", "required": ["since"], "additionalProperties": false,
        "properties": { "since": since(), "types": types } });
    let more = json!({ "requestBody": body(schema) });
    let ok = document("How many deliveries were ordered", "OrderedDeliveries");
    on_one("replayHistoryToWebhook", "Deliver past events", more, ok)
}

pub(super) fn deliveries() -> Option<Value> {
    let names = DeliveryState::ALL.map(DeliveryState::as_str);
    let state =
        query("state", "Only those in this state.", json!({ "type": "string", "enum": names }));
    let parameters = json!({ "parameters": [id("id"), state, limit(), cursor()] });
    on_one("listDeliveries", "List deliveries", parameters, document("A page", "DeliveryPage"))
}

fn of_delivery() -> Value {
    json!({ "parameters": [id("id"), id("deliveryId")] })
}

pub(super) fn delivery() -> Option<Value> {
    let ok = document("The delivery", "DeliveryWithHistory");
    on_one("getDelivery", "One delivery with each of its tries", of_delivery(), ok)
}

pub(super) fn resend() -> Option<Value> {
    let ok = document("The delivery", "Delivery");
    on_one("resendDelivery", "Send a delivery again", of_delivery(), ok)
}
