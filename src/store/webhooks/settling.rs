//! Records what came of tries.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Integer, Jsonb, Text};
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
    /// The number that it was taken with.
    pub attempt: i32,
    /// What follows.
    pub verdict: Verdict,
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
const KEPT: usize = 50;

/// Records tries. One that has succeeded counts even if another process has taken the delivery by
/// now: it has happened. One that has not counts only for who holds the lease. Where a delivery
/// keeps an order and is settled, the next one is pending.
///
/// # Errors
/// The database fails.
pub async fn settle(connection: &mut AsyncPgConnection, tried: &[Tried]) -> Result<(), StoreError> {
    let statement = Statement::new(format!(
        "WITH tried AS (
             SELECT * FROM unnest({arrays}) AS t (webhook_id, id, attempt, state, delay_ms, record)),
         settled AS (
             UPDATE webhook_deliveries d
             SET state = t.state,
                 due_at = CASE WHEN t.state = 'pending' THEN now() + t.delay_ms * interval '1 ms' ELSE d.due_at END,
                 settled_at = CASE WHEN t.state = 'pending' THEN NULL ELSE now() END,
                 attempts = CASE WHEN jsonb_array_length(d.attempts) < {KEPT} THEN d.attempts ELSE d.attempts - 0 END
                     || jsonb_build_array(t.record)
             FROM tried t
             WHERE d.webhook_id = t.webhook_id AND d.id = t.id AND d.state = 'pending'
                 AND (t.state = 'done' OR d.attempt = t.attempt)
             RETURNING d.webhook_id, d.id, d.ordered_by, d.state)
         UPDATE webhook_deliveries d SET state = 'pending', due_at = now()
         FROM settled s CROSS JOIN LATERAL (
             SELECT n.id FROM webhook_deliveries n
             WHERE n.webhook_id = s.webhook_id AND n.ordered_by = s.ordered_by AND n.id <> s.id
                 AND n.state IN ('pending', 'waiting')
             ORDER BY n.id LIMIT 1) AS next
         WHERE s.ordered_by IS NOT NULL AND s.state <> 'pending'
             AND d.webhook_id = s.webhook_id AND d.id = next.id AND d.state = 'waiting'",
        arrays = unseen(1..=6)
    ))
    .bind::<Array<BigInt>, _>(tried.iter().map(|t| t.webhook_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(tried.iter().map(|t| t.delivery_id).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(tried.iter().map(|t| t.attempt).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(tried.iter().map(|t| t.verdict.state()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(tried.iter().map(|t| t.verdict.delay_ms()).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(tried.iter().map(|t| t.record.clone()).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}
