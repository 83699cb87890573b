//! Prints webhooks and deliveries on a terminal.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::ground::output::{self, OutputError};
use crate::webhooks::orders::{AttemptView, DeliveryView, PingView, WebhookView};

pub(super) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    Ok(output::print(serde_json::to_string_pretty(document)?)?)
}

pub(super) fn webhooks(webhooks: &[WebhookView]) -> Result<(), OutputError> {
    output::print(format_args!("{:>8}  {:>8}  {:36}  {:30}  URL", "ID", "USER", "STATE", "TYPES"))?;
    for webhook in webhooks {
        output::print(format_args!(
            "{:>8}  {:>8}  {:36}  {:30}  {}",
            webhook.id,
            webhook.user_id.map_or("-".to_owned(), |id| id.to_string()),
            state(webhook),
            types(webhook),
            webhook.url,
        ))?;
    }
    Ok(())
}

pub(super) fn webhook(webhook: &WebhookView) -> Result<(), OutputError> {
    output::print(described(webhook))
}

/// Prints a webhook with the secret that is shown this once, in one piece.
pub(super) fn with_secret(webhook: &WebhookView, as_json: bool) -> anyhow::Result<()> {
    let secret = webhook.secret.as_deref().unwrap_or_default();
    match as_json {
        true => output::print_once(serde_json::to_string_pretty(webhook)?)?,
        false => {
            output::print_once(format_args!("{}\nsecret       {secret}", described(webhook)))?;
            output::complain("the secret is not shown again: give it to the receiver now");
        }
    }
    Ok(())
}

fn described(webhook: &WebhookView) -> String {
    let user = webhook.user_id.map_or("nobody".to_owned(), |id| id.to_string());
    let mut lines = vec![
        format!("webhook      {}", webhook.id),
        format!("url          {}", webhook.url),
        format!("user         {user}"),
        format!("state        {}", state(webhook)),
        format!("types        {}", types(webhook)),
        format!("filter       {}", webhook.filter),
        format!("ordered      {}", if webhook.ordered { "yes" } else { "no" }),
        format!("rate         {}", rate(&webhook.rate)),
        format!("retry delays {}", retries(webhook)),
        format!("made         {}", time(webhook.created_at)),
        format!("changed      {}", time(webhook.updated_at)),
    ];
    if let Some(text) = &webhook.description {
        lines.insert(1, format!("description  {text}"));
    }
    if let Some(at) = webhook.old_secret_until {
        lines.push(format!("old secret   signs too until {}", time(at)));
    }
    lines.join("\n")
}

fn state(webhook: &WebhookView) -> String {
    match (&webhook.disabled_reason, webhook.failing_since) {
        (Some(reason), _) => format!("disabled ({reason})"),
        (None, Some(at)) => format!("failing since {}", time(at)),
        (None, None) => "enabled".to_owned(),
    }
}

fn types(webhook: &WebhookView) -> String {
    webhook.event_types.as_ref().map_or("all".to_owned(), |types| types.join(","))
}

fn rate(rate: &Value) -> String {
    match rate {
        Value::Null => "no limit".to_owned(),
        Value::String(rate) => rate.clone(),
        number => format!("{number}/1s"),
    }
}

fn retries(webhook: &WebhookView) -> String {
    match webhook.retry_delays.is_empty() {
        true => "none".to_owned(),
        false => webhook.retry_delays.join(", "),
    }
}

pub(super) fn ping(ping: &PingView) -> Result<(), OutputError> {
    let what = ping.error.clone().or(ping.status.map(|status| format!("answered {status}")));
    output::print(format_args!("{} after {} ms", what.unwrap_or_default(), ping.ms))?;
    match ping.answer.trim() {
        "" => Ok(()),
        answer => output::print(answer),
    }
}

pub(super) fn deliveries(deliveries: &[DeliveryView]) -> Result<(), OutputError> {
    output::print(format_args!(
        "{:>8}  {:36}  {:14}  {:>8}  {:7}  {:>5}  {:20}  LAST TRY",
        "ID", "EVENT", "TYPE", "TASK", "STATE", "TRIES", "NEXT TRY"
    ))?;
    for delivery in deliveries {
        let status = delivery.last_status.map(|status| status.to_string());
        output::print(format_args!(
            "{:>8}  {:36}  {:14}  {:>8}  {:7}  {:>5}  {:20}  {}",
            delivery.id,
            delivery.event_id,
            delivery.event_type.as_deref().unwrap_or("?"),
            delivery.task_id.map_or("?".to_owned(), |id| id.to_string()),
            delivery.state,
            delivery.attempts,
            delivery.next_try_at.map_or("-".to_owned(), time),
            delivery.last_error.clone().or(status).unwrap_or_default().replace('\n', " "),
        ))?;
    }
    Ok(())
}

/// A delivery, and a line for each try if they are known.
pub(super) fn delivery(delivery: &DeliveryView) -> Result<(), OutputError> {
    let unknown = || "unknown: the event was purged".to_owned();
    output::print(format_args!("delivery  {}", delivery.id))?;
    output::print(format_args!("event     {}", delivery.event_id))?;
    let event_type = delivery.event_type.clone().unwrap_or_else(unknown);
    output::print(format_args!("type      {event_type}"))?;
    if let (Some(task), Some(version)) = (delivery.task_id, delivery.version) {
        output::print(format_args!("task      {task} v{version}"))?;
    }
    let next = delivery.next_try_at.map(|at| format!(", next try at {}", time(at)));
    output::print(format_args!("state     {}{}", delivery.state, next.unwrap_or_default()))?;
    output::print(format_args!("made      {}", time(delivery.created_at)))?;
    if let Some(at) = delivery.settled_at {
        output::print(format_args!("settled   {}", time(at)))?;
    }
    output::print(format_args!("tries     {}", delivery.attempts))?;
    delivery.history.iter().flatten().try_for_each(attempt)
}

fn attempt(attempt: &AttemptView) -> Result<(), OutputError> {
    let status = attempt.status.map(|status| status.to_string());
    let took = attempt.ms.map(|ms| format!("{ms} ms"));
    output::print(format_args!(
        "  {}  {}  {:3}  {:>8}  {}",
        attempt.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        attempt.worker.as_deref().unwrap_or("-"),
        status.as_deref().unwrap_or("-"),
        took.as_deref().unwrap_or("-"),
        attempt.error.as_deref().unwrap_or("done"),
    ))?;
    match attempt.answer.as_deref().map(str::trim) {
        None | Some("") => Ok(()),
        Some(answer) => output::print(format_args!("    {}", answer.replace('\n', "\n    "))),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
