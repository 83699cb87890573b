//! Canaries under way. The event of one is in the outbox like any other; all else of it is here.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::event::NewEvent;
use crate::store::StoreError;
use crate::store::delivery::outbox;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// Writes a canary into the outbox.
///
/// # Errors
/// The database fails; then nothing was written.
pub async fn send(connection: &mut AsyncPgConnection, event: &NewEvent) -> Result<(), StoreError> {
    transaction(connection, async |connection| {
        outbox::write(connection, event).await?;
        // It tells of no change, so nobody who follows changes is told of it.
        let statement = Statement::new(
            "WITH quiet AS (UPDATE events SET is_repetition = true WHERE id = $1)
             INSERT INTO canaries (event_id) VALUES ($1)",
        )
        .bind::<SqlUuid, _>(event.id);
        statement.execute(connection).await?;
        Ok(())
    })
    .await
}

/// How far a canary has come. The times are the server's.
#[derive(Debug, Clone, QueryableByName)]
pub struct Underway {
    /// When it was written.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
    /// When it was marked as confirmed by the broker, some time after that.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub published_at: Option<DateTime<Utc>>,
    /// The worker that took it.
    #[diesel(sql_type = Nullable<Text>)]
    pub taken_by: Option<String>,
    /// When that was.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub taken_at: Option<DateTime<Utc>>,
    /// When its effect was done.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub done_at: Option<DateTime<Utc>>,
}

/// How far this canary has come; `None` if it is gone.
///
/// # Errors
/// The database fails.
pub async fn find(
    connection: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Option<Underway>, StoreError> {
    let statement = Statement::new(
        "SELECT c.sent_at, e.published_at, c.taken_by, c.taken_at, c.done_at
         FROM canaries c LEFT JOIN events e ON e.id = c.event_id WHERE c.event_id = $1",
    )
    .bind::<SqlUuid, _>(id);
    Ok(statement.get_result(connection).await.optional()?)
}

/// Notes that a worker has taken these canaries, if they are still of interest.
///
/// # Errors
/// The database fails.
pub async fn take(
    connection: &mut AsyncPgConnection,
    ids: &[Uuid],
    worker: &str,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE canaries SET taken_by = $2, taken_at = clock_timestamp()
         WHERE event_id = ANY($1) AND taken_at IS NULL",
    )
    .bind::<Array<SqlUuid>, _>(ids.to_vec())
    .bind::<Text, _>(worker.to_owned());
    statement.execute(connection).await?;
    Ok(())
}

/// Notes that these canaries are done. Returns those that were not.
///
/// # Errors
/// The database fails.
pub async fn finish(
    connection: &mut AsyncPgConnection,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let statement = Statement::new(
        "UPDATE canaries SET done_at = clock_timestamp()
         WHERE event_id = ANY($1) AND done_at IS NULL RETURNING event_id",
    )
    .bind::<Array<SqlUuid>, _>(ids.to_vec());
    ids_of(statement, connection).await
}

#[derive(QueryableByName)]
struct EventId {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
}

async fn ids_of(
    statement: Statement,
    connection: &mut AsyncPgConnection,
) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<EventId> = statement.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.event_id).collect())
}

/// Canaries whose sender is gone: it waits for none of them for an hour.
///
/// # Errors
/// The database fails.
pub async fn abandoned(connection: &mut AsyncPgConnection) -> Result<Vec<Uuid>, StoreError> {
    let statement =
        Statement::new("SELECT event_id FROM canaries WHERE sent_at < now() - interval '1 h'");
    ids_of(statement, connection).await
}

/// Deletes all there is of these canaries. A worker that doesn't know what a canary is may have
/// made one a dead letter.
///
/// # Errors
/// The database fails; then nothing was deleted.
pub async fn remove(connection: &mut AsyncPgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    let statement = Statement::new(
        "WITH canary AS (DELETE FROM canaries WHERE event_id = ANY($1)),
             event AS (DELETE FROM events WHERE id = ANY($1) AND subject_kind = 'canary'),
             letter AS (DELETE FROM dead_letters WHERE event_id = ANY($1) OR message_id = ANY($2)),
             step AS (DELETE FROM event_steps WHERE event_id = ANY($1)),
             record AS (DELETE FROM processed_messages WHERE event_id = ANY($1))
         DELETE FROM unfinished_events WHERE event_id = ANY($1)",
    )
    .bind::<Array<SqlUuid>, _>(ids.to_vec())
    .bind::<Array<Text>, _>(ids.iter().map(Uuid::to_string).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}
