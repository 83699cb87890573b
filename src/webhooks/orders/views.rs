//! Webhooks and deliveries as they are shown.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::rate::Rate;
use crate::domain::webhook::USUAL_DELAYS;
use crate::store::webhooks::WebhookRow;
use crate::store::webhooks::deliveries::DeliveryRow;
use crate::store::webhooks::settling::KEPT;
use crate::webhooks::client::{Attempt, Outcome};

/// A webhook. Its secret is shown where it is made, and nowhere else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookView {
    /// Its id.
    pub id: i64,
    /// Whose it is; null for nobody's, which is told of every task.
    pub user_id: Option<i64>,
    /// Where deliveries are sent.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// The types of events it is told; null for all.
    pub event_types: Option<Vec<String>>,
    /// Members that a payload must have.
    pub filter: Value,
    /// Whether the versions of a task come one by one.
    pub ordered: bool,
    /// How many deliveries it gets at most: a second, or in another time such as `60/1m`.
    pub rate: Value,
    /// The delays before retries.
    pub retry_delays: Vec<String>,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why not: `by-request`, `gone` or `failing`.
    pub disabled_reason: Option<String>,
    /// Since when no delivery has succeeded.
    pub failing_since: Option<DateTime<Utc>>,
    /// Until when deliveries are signed with the secret before, too.
    pub old_secret_until: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When somebody last changed it.
    pub updated_at: DateTime<Utc>,
    /// Its secret, where it was made just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl From<WebhookRow> for WebhookView {
    fn from(row: WebhookRow) -> WebhookView {
        let delays = row.retry_delays().unwrap_or(USUAL_DELAYS.to_vec());
        WebhookView {
            rate: rate(row.rate()),
            retry_delays: delays.into_iter().map(written).collect(),
            id: row.id,
            user_id: row.user_id,
            url: row.url,
            description: row.description,
            event_types: row.event_types,
            filter: row.filter,
            ordered: row.ordered,
            enabled: row.enabled,
            disabled_reason: row.disabled_reason,
            failing_since: row.failing_since,
            old_secret_until: row.old_secret_until,
            created_at: row.created_at,
            updated_at: row.updated_at,
            secret: None,
        }
    }
}

fn written(delay: Duration) -> String {
    humantime::format_duration(delay).to_string()
}

fn rate(rate: Option<Rate>) -> Value {
    match rate {
        None => Value::Null,
        Some(rate) if rate.period() == Duration::from_secs(1) => json!(rate.count()),
        Some(rate) => json!(rate.to_string()),
    }
}

/// A delivery: an event on its way to a webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// Ascends.
    pub id: i64,
    /// The event, and the `webhook-id` of every try.
    pub event_id: Uuid,
    /// The event's type; null if the event was purged.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The task it is about.
    pub task_id: Option<i64>,
    /// The task's version after the change.
    pub version: Option<i64>,
    /// `pending`, `waiting`, `done` or `failed`.
    pub state: String,
    /// How many tries it has had, with one that is under way where there were fifty and more.
    pub attempts: usize,
    /// When the next try is due; null if there is none.
    pub next_try_at: Option<DateTime<Utc>>,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// What was wrong with the last try.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was done or given up.
    pub settled_at: Option<DateTime<Utc>>,
    /// Each try, where one delivery is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<AttemptView>>,
}

/// A try.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// When it began.
    pub at: DateTime<Utc>,
    /// The worker that made it.
    pub worker: Option<String>,
    /// The status of the answer; null if there was none.
    pub status: Option<u16>,
    /// How many milliseconds it took.
    pub ms: Option<u64>,
    /// What was wrong; null if nothing was.
    pub error: Option<String>,
    /// The beginning of the answer's body: for admins and the owner.
    pub answer: Option<String>,
}

impl DeliveryView {
    /// A delivery, without its tries.
    pub(super) fn of(row: &DeliveryRow) -> DeliveryView {
        let tries = row.attempts.as_array().map(Vec::as_slice).unwrap_or_default();
        let last: Option<AttemptView> =
            tries.last().and_then(|last| AttemptView::deserialize(last).ok());
        let is_open = row.state == "pending";
        let is_task = row.subject_kind.as_deref() == Some("task");
        DeliveryView {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type.clone(),
            task_id: row.subject_id.filter(|_| is_task),
            version: row.version,
            state: row.state.clone(),
            attempts: match tries.len() {
                KEPT => usize::try_from(row.lease).unwrap_or(KEPT),
                fewer => fewer,
            },
            next_try_at: is_open.then_some(row.due_at),
            last_status: last.as_ref().and_then(|last| last.status),
            last_error: last.and_then(|last| last.error),
            created_at: row.created_at,
            settled_at: row.settled_at,
            history: None,
        }
    }

    /// A delivery with each of its tries; with what was answered, if that may be seen.
    pub(super) fn whole(row: &DeliveryRow, with_answers: bool) -> DeliveryView {
        let tries = row.attempts.as_array().into_iter().flatten();
        let tries = tries.filter_map(|one| AttemptView::deserialize(one).ok()).map(|mut one| {
            one.answer = one.answer.filter(|_| with_answers);
            one
        });
        DeliveryView { history: Some(tries.collect()), ..DeliveryView::of(row) }
    }
}

/// What came of a ping.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingView {
    /// Whether the answer was 2xx.
    pub succeeded: bool,
    /// The `webhook-id` that was sent.
    pub event_id: Uuid,
    /// The status of the answer; null if there was none.
    pub status: Option<u16>,
    /// How many milliseconds it took.
    pub ms: u64,
    /// What was wrong; null if nothing was.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub answer: String,
}

impl PingView {
    pub(super) fn of(event_id: Uuid, attempt: Attempt) -> PingView {
        let error = match &attempt.outcome {
            Outcome::Done => None,
            Outcome::Gone => Some("answered 410: it wants no more".to_owned()),
            Outcome::Failed { why, .. } => Some(why.clone()),
        };
        PingView {
            succeeded: error.is_none(),
            event_id,
            status: attempt.status,
            ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            error,
            answer: attempt.answer,
        }
    }
}
