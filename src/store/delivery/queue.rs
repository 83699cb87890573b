//! Messages in a table: the storage of `broker::tables`.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, unseen};

/// A message to be added.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named like the columns, which are named like the properties")]
pub struct NewRow {
    pub queue: String,
    pub delay: Duration,
    pub message_id: Option<String>,
    pub message_type: Option<String>,
    pub content_type: Option<String>,
    pub sent_at: Option<i64>,
    pub headers: String,
    pub body: Vec<u8>,
}

/// A message that was taken.
#[derive(Debug, QueryableByName)]
#[expect(missing_docs, reason = "named like the columns, which are named like the properties")]
pub struct LeasedMessage {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// How often it has been taken, including this time.
    #[diesel(sql_type = Integer)]
    pub deliveries: i32,
    #[diesel(sql_type = Nullable<Text>)]
    pub message_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub message_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub content_type: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub sent_at: Option<i64>,
    #[diesel(sql_type = Text)]
    pub headers: String,
    #[diesel(sql_type = Binary)]
    pub body: Vec<u8>,
}

/// Adds messages, all or none.
///
/// # Errors
/// The database fails.
pub async fn add(connection: &mut AsyncPgConnection, rows: &[NewRow]) -> Result<(), StoreError> {
    let statement = Statement::new(format!(
        "INSERT INTO queued_messages (queue, due_at, message_id, message_type, content_type, sent_at,
                                      headers, body)
         SELECT queue, clock_timestamp() + delay * interval '1 ms', message_id, message_type,
                content_type, sent_at, headers, body
         FROM unnest({arrays})
             WITH ORDINALITY AS t (queue, delay, message_id, message_type, content_type, sent_at,
                                   headers, body, place)
         ORDER BY place",
        arrays = unseen(1..=8)
    ))
    .bind::<Array<Text>, _>(rows.iter().map(|r| r.queue.clone()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(rows.iter().map(|r| r.delay.as_millis() as i64).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|r| r.message_id.clone()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|r| r.message_type.clone()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|r| r.content_type.clone()).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(rows.iter().map(|r| r.sent_at).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rows.iter().map(|r| r.headers.clone()).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(rows.iter().map(|r| r.body.clone()).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}

/// The order in which messages are taken.
#[derive(Debug, Clone, Copy)]
pub enum First {
    /// The longest due first: no message waits forever.
    Due,
    /// The oldest first, however often they were taken before.
    Added,
}

/// Takes messages of a queue that are due. Each is due again after `lease`, unless it is deleted or
/// its lease is renewed.
///
/// # Errors
/// The database fails.
pub async fn take(
    connection: &mut AsyncPgConnection,
    queue: &str,
    first: First,
    lease: Duration,
    limit: i64,
) -> Result<Vec<LeasedMessage>, StoreError> {
    let order = match first {
        First::Due => "due_at, id",
        First::Added => "id",
    };
    let statement = Statement::new(format!(
        "WITH due AS MATERIALIZED (
             SELECT id FROM queued_messages WHERE queue = $1 AND due_at <= clock_timestamp()
             ORDER BY {order} LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE queued_messages m
         SET due_at = clock_timestamp() + $3 * interval '1 ms', deliveries = deliveries + 1
         FROM due WHERE m.id = due.id
         RETURNING m.id, m.deliveries, m.message_id, m.message_type, m.content_type, m.sent_at,
                   m.headers, m.body"
    ))
    .bind::<Text, _>(queue.to_owned())
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(lease.as_millis() as i64);
    let mut rows: Vec<LeasedMessage> = statement.load(connection).await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// Renews the lease of taken messages, from now on. Messages that were deleted stay deleted.
///
/// # Errors
/// The database fails.
pub async fn renew(
    connection: &mut AsyncPgConnection,
    ids: Vec<i64>,
    lease: Duration,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE queued_messages SET due_at = clock_timestamp() + $2 * interval '1 ms' WHERE id = ANY($1)",
    )
    .bind::<Array<BigInt>, _>(ids)
    .bind::<BigInt, _>(lease.as_millis() as i64);
    statement.execute(connection).await?;
    Ok(())
}

/// Deletes messages for good.
///
/// # Errors
/// The database fails.
pub async fn delete(connection: &mut AsyncPgConnection, ids: Vec<i64>) -> Result<(), StoreError> {
    let statement = Statement::new("DELETE FROM queued_messages WHERE id = ANY($1)")
        .bind::<Array<BigInt>, _>(ids);
    statement.execute(connection).await?;
    Ok(())
}

/// Moves messages to another queue, where they are due at once and have no deliveries yet.
///
/// # Errors
/// The database fails.
pub async fn move_to(
    connection: &mut AsyncPgConnection,
    ids: Vec<i64>,
    queue: &str,
    headers: Vec<String>,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE queued_messages m
         SET queue = $3, headers = t.headers, due_at = clock_timestamp(), deliveries = 0
         FROM unnest($1, $2) AS t (id, headers) WHERE m.id = t.id",
    )
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Array<Text>, _>(headers)
    .bind::<Text, _>(queue.to_owned());
    statement.execute(connection).await?;
    Ok(())
}

/// How many messages of a queue are due.
///
/// # Errors
/// The database fails.
pub async fn due(connection: &mut AsyncPgConnection, queue: &str) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Due {
        #[diesel(sql_type = BigInt)]
        due: i64,
    }
    let statement = Statement::new(
        "SELECT count(*) AS due FROM queued_messages WHERE queue = $1 AND due_at <= clock_timestamp()",
    )
    .bind::<Text, _>(queue.to_owned());
    let due: Due = statement.get_result(connection).await?;
    Ok(due.due)
}

/// How many messages of a queue wait.
#[derive(Debug, QueryableByName)]
pub struct Depth {
    /// The queue's name.
    #[diesel(sql_type = Text)]
    pub queue: String,
    /// Those that are due and nobody has taken.
    #[diesel(sql_type = BigInt)]
    pub due: i64,
    /// Those that are due later and have never been taken: they wait for their delay.
    #[diesel(sql_type = BigInt)]
    pub delayed: i64,
}

/// How many messages of these queues wait; a queue without any is left out.
///
/// # Errors
/// The database fails.
pub async fn depths(
    connection: &mut AsyncPgConnection,
    queues: [&str; 2],
) -> Result<Vec<Depth>, StoreError> {
    let statement = Statement::new(
        "SELECT queue, count(*) FILTER (WHERE due_at <= clock_timestamp()) AS due,
                count(*) FILTER (WHERE due_at > clock_timestamp() AND deliveries = 0) AS delayed
         FROM queued_messages WHERE queue = ANY($1) GROUP BY queue",
    )
    .bind::<Array<Text>, _>(queues.map(str::to_owned).to_vec());
    Ok(statement.load(connection).await?)
}

/// Makes every taken message of a queue due again, for a process that knows that no other is at
/// work. Messages that wait for a delay have never been taken, and go on waiting.
///
/// # Errors
/// The database fails.
pub async fn release_taken(
    connection: &mut AsyncPgConnection,
    queue: &str,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE queued_messages SET due_at = clock_timestamp()
         WHERE queue = $1 AND deliveries > 0 AND due_at > clock_timestamp()",
    )
    .bind::<Text, _>(queue.to_owned());
    statement.execute(connection).await?;
    Ok(())
}

/// Reclaims the space of deleted rows where nobody else does: an embedded database has no
/// autovacuum.
///
/// # Errors
/// The database fails.
pub async fn vacuum(connection: &mut AsyncPgConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute("VACUUM queued_messages").await?)
}
