//! What shows in a demo that nothing was lost and nothing was done twice, and the events whose
//! messages can be sent once more.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::{NoContext, Timestamp, Uuid};

use crate::store::StoreError;
use crate::store::delivery::outbox::OutboxRow;
use crate::store::events::unfinished::finished;
use crate::store::sql::{RunQueryDsl, Statement};

/// What the database says of the changes since some time, in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Counts {
    /// Versions of tasks that were written, by the tasks: also those that have no event.
    #[diesel(sql_type = BigInt)]
    pub written: i64,
    /// Their events.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// Effects that these events have.
    #[diesel(sql_type = BigInt)]
    pub effects_due: i64,
    /// Those that are done, or had nothing to do.
    #[diesel(sql_type = BigInt)]
    pub effects_done: i64,
    /// Those that a dead letter waits with for an operator, or that were discarded with one.
    #[diesel(sql_type = BigInt)]
    pub effects_dead: i64,
    /// Entries of the activity log beyond the first of an event.
    #[diesel(sql_type = BigInt)]
    pub repeated: i64,
    /// Events from before that time that are not done.
    #[diesel(sql_type = BigInt)]
    pub older_waiting: i64,
    /// Open dead letters.
    #[diesel(sql_type = BigInt)]
    pub dead_letters: i64,
}

/// How much earlier than its event's time an event's id may be: the id is made in the same call.
const SLACK: Duration = Duration::from_secs(10);

/// Counts what has become of the changes of tasks since `since`. Nothing that new may have been
/// purged.
///
/// The versions are counted by the tasks and not by the events: a task's last version (that of its
/// row, or of its deletion) less the first since then. So a version without an event is missing on
/// one side alone.
///
/// # Errors
/// The database fails.
pub async fn counts(
    connection: &mut AsyncPgConnection,
    since: DateTime<Utc>,
) -> Result<Counts, StoreError> {
    let earliest = since - SLACK;
    let seconds = u64::try_from(earliest.timestamp()).unwrap_or_default();
    let first_id = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0));
    let statement = Statement::new(
        "WITH kept AS MATERIALIZED (
             SELECT id, task_id, task_version, type = 'TASK_DELETED' AS deletes, is_repetition,
                    (payload ->> 'userId') IS NOT NULL AS has_user
             FROM events WHERE id >= $1 AND occurred_at >= $2 AND subject_kind = 'task'),
         by_task AS (
             SELECT task_id, min(task_version) AS first, max(task_version) AS last, bool_or(deletes) AS deleted
             FROM kept WHERE NOT is_repetition GROUP BY task_id),
         by_event AS (
             SELECT k.id, coalesce(max(p.effects), 1 + k.has_user::int) AS due,
                    count(*) FILTER (WHERE p.state IN ('done', 'skipped')) AS done,
                    EXISTS (SELECT FROM dead_letters d WHERE d.event_id = k.id AND d.is_ours
                                AND d.state IN ('open', 'discarded', 'replaced')) AS dead
             FROM kept k LEFT JOIN processed_messages p ON p.event_id = k.id
             GROUP BY k.id, k.has_user),
         logged AS (
             SELECT count(*) AS entries FROM task_activity
             WHERE recorded_at >= $2 AND event_id IN (SELECT id FROM kept) GROUP BY event_id)
         SELECT (SELECT coalesce(sum(coalesce(t.version, b.last + (NOT b.deleted)::int) - b.first + 1), 0)
                 FROM by_task b LEFT JOIN tasks t ON t.id = b.task_id)::bigint
                + (SELECT count(*) FROM tasks
                   WHERE updated_at >= $2 AND id NOT IN (SELECT task_id FROM by_task)) AS written,
                (SELECT count(*) FROM kept WHERE NOT is_repetition) AS events,
                (SELECT coalesce(sum(due), 0) FROM by_event)::bigint AS effects_due,
                (SELECT coalesce(sum(done), 0) FROM by_event)::bigint AS effects_done,
                (SELECT coalesce(sum(due - done), 0) FROM by_event WHERE dead)::bigint AS effects_dead,
                (SELECT coalesce(sum(entries - 1), 0) FROM logged)::bigint AS repeated,
                (SELECT count(*) FROM unfinished_events WHERE event_id NOT IN (SELECT id FROM kept) AND state <> 'dead') AS older_waiting,
                (SELECT coalesce(sum(open), 0) FROM dead_letter_groups)::bigint AS dead_letters",
    )
    .planned_for_its_values()
    .bind::<SqlUuid, _>(first_id)
    .bind::<Timestamptz, _>(since);
    Ok(statement.get_result(connection).await?)
}

/// The latest events whose effects are all done, newest first.
///
/// # Errors
/// The database fails.
pub async fn processed_events(
    connection: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<OutboxRow>, StoreError> {
    let statement = Statement::new(format!(
        "SELECT id, seq, type, payload::text AS payload, occurred_at, actor_kind, actor_id, causation_id, traceparent
         FROM events WHERE published_at IS NOT NULL AND subject_kind = 'task' AND {}
         ORDER BY id DESC LIMIT $1",
        finished("events.id")
    ))
    .bind::<BigInt, _>(limit);
    Ok(statement.load(connection).await?)
}

/// The ids of events of which a mail may have been sent and is not on record.
///
/// # Errors
/// The database fails.
pub async fn open_effects(
    connection: &mut AsyncPgConnection,
    effect: &str,
) -> Result<Vec<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        event_id: Uuid,
    }
    let statement = Statement::new(
        "SELECT event_id FROM processed_messages WHERE effect = $1 AND state IN ('open', 'claimed')",
    )
    .bind::<diesel::sql_types::Text, _>(effect.to_owned());
    let rows: Vec<Row> = statement.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.event_id).collect())
}
