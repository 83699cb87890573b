//! Deliveries: looked at, and ordered once more.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::endpoints::{audit, find, outcome, within};
use super::{DeliveryView, PingView, WebhookError, Webhooks, Whose};
use crate::domain::event::{Actor, Metadata, Origin, encode};
use crate::domain::webhook::DeliveryState;
use crate::operate::Operator;
use crate::store::webhooks::history::{self, Past};
use crate::store::webhooks::{WebhookRow, deliveries, fan_out, secrets};
use crate::store::{Connection, transaction};
use crate::webhooks::client::Delivery;

/// The type of what a ping sends.
pub const PING: &str = "WEBHOOK_PING";
/// How long an endpoint may take for a ping: less than a request may (`REQUEST_TIMEOUT`).
const PING_LIMIT: Duration = Duration::from_secs(8);
/// How many deliveries or events one transaction takes.
const BATCH: i64 = 1_000;

/// How many deliveries were ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many.
    pub count: usize,
}

impl Webhooks {
    /// Sends something to a webhook at once, enabled or not, and waits for what comes of it. It is
    /// no delivery, and counts for nothing.
    ///
    /// # Errors
    /// There is none, its secret can't be opened, or the database fails.
    pub async fn ping(
        &self,
        connection: &mut Connection,
        whose: Whose,
        id: i64,
    ) -> Result<Ping, WebhookError> {
        let row = find(connection, whose, id, false).await?;
        let sealed = secrets::find(connection, id).await?;
        let secrets = self.opened(&sealed.ok_or(WebhookError::Missing("webhook"))?)?;
        let event_id = Uuid::now_v7();
        let origin = Origin::of(Actor::SYSTEM);
        let metadata = Metadata::new(event_id, Utc::now().trunc_subsecs(6), Some(origin));
        let body = encode(PING, &json!({ "webhookId": id }), &metadata);
        let delivery =
            Delivery { url: row.url, id: event_id.to_string(), body: body.into(), secrets };
        Ok(Ping { event_id, delivery, webhooks: self.clone() })
    }

    /// The deliveries to a webhook, newest first: those in a state, or all; those before one of
    /// them, at most `limit`.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub async fn deliveries(
        &self,
        connection: &mut Connection,
        (whose, id): (Whose, i64),
        state: Option<DeliveryState>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<DeliveryView>, WebhookError> {
        find(connection, whose, id, false).await?;
        let rows = deliveries::list(connection, id, state, before, limit).await?;
        Ok(rows.iter().map(DeliveryView::of).collect())
    }

    /// One delivery with each of its tries; with what was answered, if that may be seen.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub async fn delivery(
        &self,
        connection: &mut Connection,
        (whose, id): (Whose, i64),
        delivery_id: i64,
        with_answers: bool,
    ) -> Result<DeliveryView, WebhookError> {
        find(connection, whose, id, false).await?;
        let row = deliveries::find(connection, id, delivery_id).await?;
        let row = row.ok_or(WebhookError::Missing("delivery"))?;
        Ok(DeliveryView::whole(&row, with_answers))
    }

    /// Sends a delivery again, whatever became of it: its schedule begins anew.
    ///
    /// # Errors
    /// There is none, its event was purged, the webhook is disabled, or the database fails.
    pub async fn resend(
        &self,
        connection: &mut Connection,
        (whose, id): (Whose, i64),
        delivery_id: i64,
        by: &Operator,
    ) -> Result<DeliveryView, WebhookError> {
        let mut refused = None;
        let resent = transaction(connection, async |connection| {
            let resent = async {
                let row = enabled(connection, whose, id).await?;
                if !history::resend(connection, id, delivery_id).await? {
                    return Err(WebhookError::Missing("delivery, or its event was purged"));
                }
                let details = json!({ "delivery": delivery_id });
                audit(connection, by, "resend webhook delivery", &row, details).await?;
                let row = deliveries::find(connection, id, delivery_id).await?;
                Ok(DeliveryView::of(&row.ok_or(WebhookError::Missing("delivery"))?))
            };
            within(resent.await, &mut refused)
        })
        .await;
        outcome(resent, refused)
    }

    /// Sends again what was given up of events since a time.
    ///
    /// # Errors
    /// There is no such webhook, it is disabled, or the database fails; then some may be ordered.
    pub async fn recover(
        &self,
        connection: &mut Connection,
        (whose, id): (Whose, i64),
        since: DateTime<Utc>,
        by: &Operator,
    ) -> Result<Replayed, WebhookError> {
        let row = enabled(connection, whose, id).await?;
        let details = json!({ "since": since });
        audit(connection, by, "recover webhook deliveries", &row, details).await?;
        let (mut count, mut after) = (0, 0);
        loop {
            let some = history::recover(connection, id, since, after, BATCH).await?;
            let (some, Some(last)) = some else { return Ok(Replayed { count }) };
            (count, after) = (count + some, last);
        }
    }

    /// Delivers past events to a webhook that it was not told: those since a time that are still in
    /// the outbox, of its types or some of them.
    ///
    /// # Errors
    /// There is no such webhook, it is disabled, or the database fails; then some may be ordered.
    pub async fn replay_history(
        &self,
        connection: &mut Connection,
        (whose, id): (Whose, i64),
        (since, types): (DateTime<Utc>, Option<Vec<String>>),
        by: &Operator,
    ) -> Result<Replayed, WebhookError> {
        let row = enabled(connection, whose, id).await?;
        let details: Value = json!({ "since": since, "types": types });
        audit(connection, by, "replay history to webhook", &row, details).await?;
        let up_to = history::newest(connection).await?;
        let past = Past { since, types, up_to, limit: BATCH };
        let (mut count, mut after) = (0, None);
        loop {
            let events = history::past(connection, &past, after).await?;
            let Some(last) = events.last() else { return Ok(Replayed { count }) };
            after = Some(*last);
            count += transaction(connection, async |connection| {
                // One at a time, so that those of a task keep their order.
                fan_out::lock(connection).await?;
                history::replay(connection, id, events).await
            })
            .await?;
        }
    }
}

/// A ping that is ready to be sent, without a connection to the database.
pub struct Ping {
    event_id: Uuid,
    delivery: Delivery,
    webhooks: Webhooks,
}

impl Ping {
    /// Sends it.
    pub async fn send(self) -> PingView {
        let client = self.webhooks.client.within(PING_LIMIT);
        PingView::of(self.event_id, client.send(&self.delivery).await)
    }
}

async fn enabled(
    connection: &mut Connection,
    whose: Whose,
    id: i64,
) -> Result<WebhookRow, WebhookError> {
    let row = find(connection, whose, id, false).await?;
    if row.enabled { Ok(row) } else { Err(WebhookError::Disabled) }
}
