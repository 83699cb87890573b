//! What a deliberate mistake does to the outbox; see `defects`.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// Deletes the event of a new task in the transaction that wrote it, and returns it as JSON.
///
/// # Errors
/// The database fails.
pub async fn withhold(
    connection: &mut AsyncPgConnection,
    task_id: i64,
) -> Result<Option<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Withheld {
        #[diesel(sql_type = Text)]
        event: String,
    }
    let statement = Statement::new(
        "DELETE FROM events WHERE task_id = $1 RETURNING to_jsonb(events)::text AS event",
    )
    .bind::<BigInt, _>(task_id);
    let withheld: Option<Withheld> = statement.get_result(connection).await.optional()?;
    Ok(withheld.map(|row| row.event))
}

/// Writes an event that was withheld.
///
/// # Errors
/// The database fails.
pub async fn add_late(connection: &mut AsyncPgConnection, event: String) -> Result<(), StoreError> {
    let statement = Statement::new(
        "INSERT INTO events OVERRIDING SYSTEM VALUE
         SELECT * FROM jsonb_populate_record(NULL::events, $1::jsonb)",
    )
    .bind::<Text, _>(event);
    statement.execute(connection).await?;
    Ok(())
}
