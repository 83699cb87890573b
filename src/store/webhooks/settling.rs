//! Records what came of tries.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Text};
use diesel_async::AsyncPgConnection;
use serde_json::Value;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, unseen};

/// A try, and what follows from it.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The endpoint.
    pub webhook_id: i64,
    /// The delivery.
    pub delivery_id: i64,
    /// The lease that it was taken with.
    pub lease: i64,
    /// What follows.
    pub verdict: Verdict,
    /// Whether something was sent: only then it says how the endpoint is.
    pub sent: bool,
    /// What is kept of the try: a JSON object.
    pub record: Value,
}

/// What follows from a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint has it.
    Done,
    /// It is tried again after this time.
    Again(Duration),
    /// It is given up.
    Failed,
}

impl Verdict {
    fn state(self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Again(_) => "pending",
            Verdict::Failed => "failed",
        }
    }

    fn delay_ms(self) -> i64 {
        match self {
            Verdict::Again(delay) => delay.as_millis() as i64,
            Verdict::Done | Verdict::Failed => 0,
        }
    }
}

/// How many tries of a delivery are kept.
pub const KEPT: usize = 50;

/// Records tries, each in the delivery's history. One that has succeeded settles the delivery even
/// if another process has taken it by now, or it was given up: it has happened. One that has not
/// counts only for who holds the lease. Where a delivery keeps an order and is settled, the next
/// one is pending.
///
/// # Errors
/// The database fails.
pub async fn settle(connection: &mut AsyncPgConnection, tried: &[Tried]) -> Result<(), StoreError> {
    let statement = Statement::new(format!(
        "WITH tried AS (
             SELECT * FROM unnest({arrays}) AS t (webhook_id, id, lease, state, delay_ms, record, sent)),
         counted AS (
             SELECT t.*, t.state = 'done' AND d.state <> 'done' OR d.state = 'pending' AND d.lease = t.lease AS counts
             FROM tried t JOIN webhook_deliveries d ON d.webhook_id = t.webhook_id AND d.id = t.id
             ORDER BY t.webhook_id, t.id FOR UPDATE OF d),
         settled AS (
             UPDATE webhook_deliveries d
             SET state = CASE WHEN t.counts THEN t.state ELSE d.state END,
                 due_at = CASE WHEN t.counts AND t.state = 'pending' THEN now() + t.delay_ms * interval '1 ms'
                               ELSE d.due_at END,
                 settled_at = CASE WHEN NOT t.counts THEN d.settled_at WHEN t.state <> 'pending' THEN now() END,
                 attempts = CASE WHEN jsonb_array_length(d.attempts) < {KEPT} THEN d.attempts ELSE d.attempts - 0 END
                     || jsonb_build_array(t.record)
             FROM counted t WHERE d.webhook_id = t.webhook_id AND d.id = t.id
             RETURNING d.webhook_id, d.id, d.ordered_by, d.state, t.counts),
         noted AS (
             UPDATE webhooks w SET failing_since = CASE WHEN NOT b.done THEN now() END,
                 warned_at = CASE WHEN NOT b.done THEN w.warned_at END
             FROM (SELECT webhook_id, bool_or(state = 'done') AS done FROM tried WHERE sent GROUP BY webhook_id) AS b
             WHERE w.id = b.webhook_id AND b.done = (w.failing_since IS NOT NULL))
         UPDATE webhook_deliveries d SET state = 'pending', due_at = now()
         FROM settled s CROSS JOIN LATERAL (
             SELECT n.id FROM webhook_deliveries n
             WHERE n.webhook_id = s.webhook_id AND n.ordered_by = s.ordered_by AND n.id <> s.id
                 AND n.state IN ('pending', 'waiting')
             ORDER BY n.state, n.id LIMIT 1) AS next
         WHERE s.counts AND s.ordered_by IS NOT NULL AND s.state <> 'pending'
             AND d.webhook_id = s.webhook_id AND d.id = next.id AND d.state = 'waiting'",
        arrays = unseen(1..=7)
    ))
    .planned_for_its_values()
    .bind::<Array<BigInt>, _>(tried.iter().map(|t| t.webhook_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(tried.iter().map(|t| t.delivery_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(tried.iter().map(|t| t.lease).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(tried.iter().map(|t| t.verdict.state()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(tried.iter().map(|t| t.verdict.delay_ms()).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(tried.iter().map(|t| t.record.clone()).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(tried.iter().map(|t| t.sent).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}
