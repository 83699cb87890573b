//! Writes that are carried out once for each key, with the answer each was given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Jsonb, SmallInt, Text};
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// A request that is to be carried out once.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose key it is.
    pub caller: String,
    /// What it was used for: a key is another on another route.
    pub route: String,
    /// The key.
    pub key: String,
    /// Tells a repeat from another request under the same key.
    pub fingerprint: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The status.
    pub status: u16,
    /// Those headers that belong to the answer.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was carried out.
    Done(T),
    /// It had been, and this was answered.
    Kept(Kept),
    /// It is being carried out just now.
    InUse,
    /// The key was used for another request.
    Reused,
}

/// Carries a write out in a transaction with the record of it, unless there is one. An error leaves
/// neither. Must be awaited to its end.
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
    W: AsyncFnOnce(&mut AsyncPgConnection) -> Result<(T, Kept), StoreError>,
{
    let outcome = transaction(connection, async |connection| {
        within(connection, request, keep_for, write).await
    });
    match outcome.await {
        Err(StoreError::Taken(constraint)) if constraint == RECORD => Ok(Outcome::InUse),
        outcome => outcome,
    }
}

/// Names the record, where it turns out to be there after all: nothing is kept of the write then.
const RECORD: &str = "idempotency_keys";

/// How long a request waits for another that is being carried out under its key. The other may be its own
/// first try, at an instance that was just killed: a proxy sends it again sooner than the database has
/// noticed and let go of the lock.
const IN_USE_FOR: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

async fn within<T, W>(
    connection: &mut AsyncPgConnection,
    request: &Request,
    keep_for: Duration,
    write: W,
) -> Result<Outcome<T>, StoreError>
where
    W: AsyncFnOnce(&mut AsyncPgConnection) -> Result<(T, Kept), StoreError>,
{
    // The lock ends with the transaction, after its commit can be seen. The record is looked up by a
    // statement of its own: one that began before it had the lock could miss what came meanwhile.
    let waiting_since = Instant::now();
    while !try_lock(connection, request).await? {
        if waiting_since.elapsed() > IN_USE_FOR {
            return Ok(Outcome::InUse);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    if let Some((fingerprint, kept)) = find(connection, request).await? {
        let same = fingerprint == request.fingerprint;
        return Ok(if same { Outcome::Kept(kept) } else { Outcome::Reused });
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

/// The number of a key's lock. Two keys with one number would only wait for each other.
fn lock(request: &Request) -> i64 {
    let mut key = PartsHash::default();
    for part in [&request.caller, &request.route, &request.key] {
        key.add(part.as_bytes());
    }
    key.finish().iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// A hash of parts in their order, in which each keeps its bounds: its length goes before it.
#[derive(Default)]
pub struct PartsHash(Sha256);

impl PartsHash {
    /// The next part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// The hash of all.
    pub fn finish(self) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

/// The record of a key, unless it has expired.
async fn find(
    connection: &mut AsyncPgConnection,
    request: &Request,
) -> Result<Option<(Vec<u8>, Kept)>, StoreError> {
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
        let kept = Kept { status: row.status.unsigned_abs(), headers, body: row.body };
        Ok((row.fingerprint, kept))
    })
    .transpose()
}

/// Writes the record of a key over one that has expired. Whether it did: it doesn't where somebody
/// has written one since `find` looked, which the lock rules out under READ COMMITTED alone.
async fn insert(
    connection: &mut AsyncPgConnection,
    request: &Request,
    kept: Kept,
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
