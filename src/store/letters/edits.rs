//! Events that take the place of letters.

use diesel::prelude::*;
use diesel::sql_types::{Array, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::event::NewEvent;
use crate::store::StoreError;
use crate::store::delivery::outbox;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// The effects of an event that are done, as `NAME` or `NAME/TARGET`.
///
/// # Errors
/// The database fails.
pub async fn done(
    connection: &mut AsyncPgConnection,
    event_id: Uuid,
) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        effect: String,
    }
    let statement = Statement::new(
        "SELECT effect FROM processed_messages
         WHERE event_id = $1 AND state IN ('done', 'skipped') ORDER BY effect",
    )
    .bind::<SqlUuid, _>(event_id);
    let rows: Vec<Row> = statement.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.effect).collect())
}

/// Settles an open letter by an event that takes its place, and which has these effects behind it
/// already. Returns whether the letter was open.
///
/// # Errors
/// The database fails; then nothing has changed.
pub async fn replace(
    connection: &mut AsyncPgConnection,
    letter: &str,
    event: &NewEvent,
    done_before: &[String],
    by: &str,
) -> Result<bool, StoreError> {
    transaction(connection, async |connection| {
        let statement = Statement::new(
            "WITH replaced AS (
                 UPDATE dead_letters SET state = 'replaced', settled_at = now(), settled_by = $2
                 WHERE id = $1 AND state = 'open' RETURNING id, event_id, is_ours, attempts),
             told AS (
                 INSERT INTO event_steps (event_id, kind, attempt, retries, actor, message, letter_id)
                 SELECT event_id, 'replayed', attempts, 0, $2, 'edited, as event ' || $3, id FROM replaced
                 WHERE is_ours AND event_id IS NOT NULL)
             SELECT id FROM replaced",
        )
        .bind::<Text, _>(letter.to_owned())
        .bind::<Text, _>(by.to_owned())
        .bind::<Text, _>(event.id.to_string());
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            #[expect(dead_code, reason = "that there is one is enough")]
            id: String,
        }
        let replaced: Vec<Row> = statement.load(connection).await?;
        if replaced.is_empty() {
            return Ok(false);
        }
        outbox::write(connection, event).await?;
        let statement = Statement::new("UPDATE events SET is_repetition = true WHERE id = $1")
            .bind::<SqlUuid, _>(event.id);
        statement.execute(connection).await?;
        // The records say how many effects the event has in all, as those of the first event do.
        let effects: i16 = i16::try_from(done_before.len() + 1).unwrap_or(i16::MAX);
        let statement = Statement::new(
            "INSERT INTO processed_messages (event_id, effect, state, note, effects)
             SELECT $1, effect, 'skipped', 'done for the event that this one follows from',
                    greatest($3, coalesce((SELECT max(p.effects) FROM processed_messages p WHERE p.event_id = $4), 1))
             FROM unnest($2) AS t (effect)",
        )
        .bind::<SqlUuid, _>(event.id)
        .bind::<Array<Text>, _>(done_before.to_vec())
        .bind::<SmallInt, _>(effects)
        .bind::<SqlUuid, _>(event.origin.causation_id.unwrap_or_default());
        statement.execute(connection).await?;
        Ok(true)
    })
    .await
}
