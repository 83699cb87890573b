//! Writes that are executed once for each key, with the answers they were given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Jsonb, SmallInt, Text};
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// A request that is to be executed once.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose key it is.
    pub caller: String,
    /// The route it was used on: on another route it is another key.
    pub route: String,
    /// The key itself.
    pub key: String,
    /// Tells a repeat from another request under the same key.
    pub fingerprint: Vec<u8>,
}

/// The answer that was given, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to the answer.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was executed now.
    Done(T),
    /// It was executed before, and this was the answer.
    Replayed(StoredResponse),
    /// It is being executed just now.
    InUse,
    /// The key was used for another request.
    Reused,
}

/// Executes a write in one transaction with the record of it, unless there is a record already. An
/// error leaves neither. Must be awaited to its end.
///
/// # Errors
/// Those of `write`, or the database fails.
pub async fn once<T, W>(
    connection: &mut AsyncPgConnection,
    request: &Request,
    keep_for: Duration,
    write: W,
) -> Result<Outcome<T>, StoreError>
where
    W: AsyncFnOnce(&mut AsyncPgConnection) -> Result<(T, StoredResponse), StoreError>,
{
    let outcome = transaction(connection, async |connection| {
        within(connection, request, keep_for, write).await
    });
    match outcome.await {
        Err(StoreError::Taken(constraint)) if constraint == RECORD => Ok(Outcome::InUse),
        outcome => outcome,
    }
}

/// Names the record in the error for one that turns out to exist after all. Nothing of the write is
/// kept then.
const RECORD: &str = "idempotency_keys";

/// How long a request waits for another that is being executed under its key. The other may be its
/// own first try, at an instance that was just killed: a proxy resends it before the database has
/// noticed and released the lock.
const IN_USE_FOR: Duration = Duration::from_secs(1);
/// How often it tries the lock.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

async fn within<T, W>(
    connection: &mut AsyncPgConnection,
    request: &Request,
    keep_for: Duration,
    write: W,
) -> Result<Outcome<T>, StoreError>
where
    W: AsyncFnOnce(&mut AsyncPgConnection) -> Result<(T, StoredResponse), StoreError>,
{
    // The lock ends with the transaction, after its commit is visible. The record is read in a
    // statement of its own: one that began before it had the lock could miss a record written
    // meanwhile.
    let waiting_since = Instant::now();
    while !try_lock(connection, request).await? {
        if waiting_since.elapsed() > IN_USE_FOR {
            return Ok(Outcome::InUse);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    if let Some((fingerprint, kept)) = find(connection, request).await? {
        let same = fingerprint == request.fingerprint;
        return Ok(if same { Outcome::Replayed(kept) } else { Outcome::Reused });
    }
    let (written, kept) = write(&mut *connection).await?;
    let recorded = insert(connection, request, kept, keep_for).await?;
    if recorded { Ok(Outcome::Done(written)) } else { Err(StoreError::Taken(RECORD.to_owned())) }
}

async fn try_lock(
    connection: &mut AsyncPgConnection,
    request: &Request,
) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Locked {
        #[diesel(sql_type = Bool)]
        locked: bool,
    }
    let statement = Statement::new("SELECT pg_try_advisory_xact_lock($1) AS locked")
        .bind::<BigInt, _>(lock(request));
    let locked: Locked = statement.get_result(connection).await?;
    Ok(locked.locked)
}

/// The number of a key's lock. Two keys with the same number would only wait for each other.
fn lock(request: &Request) -> i64 {
    let mut key = PartsHash::default();
    for part in [&request.caller, &request.route, &request.key] {
        key.add(part.as_bytes());
    }
    key.finish().iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// A hash of several parts in order. Each part is preceded by its length, which keeps its bounds.
#[derive(Default)]
pub struct PartsHash(Sha256);

impl PartsHash {
    /// Adds the next part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// The SHA-256 of all parts.
    pub fn finish(self) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

/// The record of a key, unless it has expired.
async fn find(
    connection: &mut AsyncPgConnection,
    request: &Request,
) -> Result<Option<(Vec<u8>, StoredResponse)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Binary)]
        fingerprint: Vec<u8>,
        #[diesel(sql_type = SmallInt)]
        status: i16,
        #[diesel(sql_type = Jsonb)]
        headers: Value,
        #[diesel(sql_type = Binary)]
        body: Vec<u8>,
    }
    let statement = Statement::new(
        "SELECT fingerprint, status, headers, body FROM idempotency_keys
         WHERE caller = $1 AND route = $2 AND key = $3 AND expires_at > now()",
    )
    .bind::<Text, _>(request.caller.clone())
    .bind::<Text, _>(request.route.clone())
    .bind::<Text, _>(request.key.clone());
    let row: Option<Row> = statement.get_result(connection).await.optional()?;
    row.map(|row| {
        let headers = serde_json::from_value(row.headers)
            .map_err(|error| StoreError::Fault(format!("idempotency_keys.headers: {error}")))?;
        let kept = StoredResponse { status: row.status.unsigned_abs(), headers, body: row.body };
        Ok((row.fingerprint, kept))
    })
    .transpose()
}

/// Writes the record of a key, also over one that has expired. Returns whether it did: it doesn't
/// if somebody has written one since `find` looked. The lock rules that out, but only under READ
/// COMMITTED.
async fn insert(
    connection: &mut AsyncPgConnection,
    request: &Request,
    kept: StoredResponse,
    keep_for: Duration,
) -> Result<bool, StoreError> {
    let statement = Statement::new(
        "INSERT INTO idempotency_keys
             (caller, route, key, fingerprint, status, headers, body, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 ms')
         ON CONFLICT (caller, route, key) DO UPDATE SET
             fingerprint = excluded.fingerprint, status = excluded.status,
             headers = excluded.headers, body = excluded.body, expires_at = excluded.expires_at
         WHERE idempotency_keys.expires_at <= now()",
    )
    .bind::<Text, _>(request.caller.clone())
    .bind::<Text, _>(request.route.clone())
    .bind::<Text, _>(request.key.clone())
    .bind::<Binary, _>(request.fingerprint.clone())
    .bind::<SmallInt, _>(kept.status as i16)
    .bind::<Jsonb, _>(json!(kept.headers))
    .bind::<Binary, _>(kept.body)
    .bind::<BigInt, _>(i64::try_from(keep_for.as_millis()).unwrap_or(i64::MAX));
    Ok(statement.execute(connection).await? > 0)
}
