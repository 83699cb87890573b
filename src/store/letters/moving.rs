//! Moving letters from the queue into the table, each once.
//!
//! A letter that taskd made has an id, and a second row with the same id is not written. A letter
//! that the broker or somebody else made has none, and two of them may be equal in every byte. Such
//! a row has a hash of all the letter has until it is certain that the queue no longer has the
//! letter. A letter that is delivered again takes the row with its hash that was left by its mover,
//! if there is one.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Jsonb, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement, transaction};

/// A letter to be written.
#[derive(Debug, Clone, Serialize)]
pub struct NewLetter {
    /// Its id.
    pub id: String,
    /// Its event's id, if it can be read.
    pub event_id: Option<Uuid>,
    /// Its event's type.
    pub event_type: Option<String>,
    /// The kind of what its event is about.
    pub subject_kind: Option<String>,
    /// The id of that.
    pub subject_id: Option<i64>,
    /// Why it is a dead letter.
    pub reason: String,
    /// The error.
    pub error: Option<String>,
    /// The effect that failed last, as `NAME` or `NAME/TARGET`.
    pub effect: Option<String>,
    /// How many attempts it had.
    pub attempts: u32,
    /// When the first attempt failed.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// When it died, as far as that is known.
    pub died_at: DateTime<Utc>,
    /// What letters of its cause have in common.
    pub fingerprint: String,
    /// The error without what differs between them.
    pub pattern: String,
    /// Its message id.
    pub message_id: Option<String>,
    /// Its properties and headers, as JSON.
    pub message: String,
    /// The letter that it was before a replay.
    pub replay_of: Option<String>,
    /// Whether this installation has signed it.
    pub is_ours: bool,
    /// Whether each effect of its event has had a record.
    pub recorded: bool,
    /// Its body.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// A hash of all of it, if it has no id that can be relied upon.
    #[serde(skip)]
    pub unstamped: Option<Vec<u8>>,
    /// Whether the broker has delivered it before.
    #[serde(skip)]
    pub redelivered: bool,
}

/// What became of letters that were to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// For each letter, whether it is in the table now, so that it may be acked. If not, another
    /// mover may have written it and is about to ack it: it is to be left in the queue for now.
    pub written: Vec<bool>,
    /// How many rows are new.
    pub added: usize,
}

/// How long another mover is given to ack what it has written.
const ALIVE: &str = "interval '1 min'";
/// How long a row waits for the letter that it was made of. After that, a letter with the same hash
/// is another one.
const WAITS: &str = "interval '10 min'";
/// The advisory lock of the mover that has unstamped letters: "taskdltr" in ASCII.
const LOCK: i64 = 0x7461_736b_646c_7472;

/// Writes letters. `mover` is the caller.
///
/// # Errors
/// The database fails; then nothing is written.
pub async fn insert(
    connection: &mut AsyncPgConnection,
    letters: &[NewLetter],
    mover: Uuid,
) -> Result<Moved, StoreError> {
    transaction(connection, async |connection| {
        let mut left: Vec<Left> = left_behind(connection, letters, mover).await?;
        let mut written = Vec::with_capacity(letters.len());
        let mut new: Vec<&NewLetter> = Vec::new();
        for letter in letters {
            let row = letter
                .unstamped
                .as_ref()
                .filter(|_| letter.redelivered)
                .and_then(|hash| left.iter().position(|row| row.unstamped == *hash));
            match row.map(|index| left.swap_remove(index)) {
                Some(row) => written.push(row.is_orphan),
                None => {
                    written.push(true);
                    new.push(letter);
                }
            }
        }
        let added = add(connection, &new, mover).await?;
        Ok(Moved { written, added })
    })
    .await
}

/// A row of an unstamped letter that the queue may still have.
#[derive(QueryableByName)]
struct Left {
    #[diesel(sql_type = Binary)]
    unstamped: Vec<u8>,
    /// Whether its mover no longer is at it.
    #[diesel(sql_type = Bool)]
    is_orphan: bool,
}

async fn left_behind(
    connection: &mut AsyncPgConnection,
    letters: &[NewLetter],
    mover: Uuid,
) -> Result<Vec<Left>, StoreError> {
    let hashes: Vec<Vec<u8>> = letters.iter().filter_map(|l| l.unstamped.clone()).collect();
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let lock = Statement::new("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(LOCK);
    lock.execute(connection).await?;
    let statement = Statement::new(format!(
        "SELECT unstamped, mover = $2 OR moved_at < now() - {ALIVE} AS is_orphan FROM dead_letters
         WHERE unstamped = ANY($1) AND moved_at > now() - {WAITS} ORDER BY is_orphan"
    ))
    .bind::<Array<Binary>, _>(hashes)
    .bind::<SqlUuid, _>(mover);
    Ok(statement.load(connection).await?)
}

async fn add(
    connection: &mut AsyncPgConnection,
    letters: &[&NewLetter],
    mover: Uuid,
) -> Result<usize, StoreError> {
    if letters.is_empty() {
        return Ok(0);
    }
    // A message of our own whose death no worker has told: its event is dead all the same, and its
    // story says so.
    let statement = Statement::new(
        "WITH input AS MATERIALIZED (
             SELECT t.*, ($2)[n] AS body, nullif(($3)[n], '') AS unstamped
             FROM ROWS FROM (jsonb_to_recordset($1) AS (
                 id text, event_id uuid, event_type text, subject_kind text, subject_id bigint,
                 reason text, error text, effect text, attempts integer,
                 first_failed_at timestamptz, died_at timestamptz, fingerprint text, pattern text,
                 message_id text, message text, replay_of text, is_ours boolean,
                 recorded boolean))
                 WITH ORDINALITY AS t (id, event_id, event_type, subject_kind, subject_id, reason,
                     error, effect, attempts, first_failed_at, died_at, fingerprint, pattern,
                     message_id, message, replay_of, is_ours, recorded, n)),
         added AS (
             INSERT INTO dead_letters (
                 id, event_id, event_type, subject_kind, subject_id, reason, error, effect, attempts,
                 first_failed_at, died_at, fingerprint, pattern, message_id, message, body,
                 replay_of, is_ours, recorded, unstamped, mover)
             SELECT CASE WHEN unstamped IS NULL OR NOT EXISTS (SELECT FROM dead_letters d WHERE d.id = input.id)
                         THEN id ELSE gen_random_uuid()::text END,
                    event_id, event_type, subject_kind, subject_id, reason, error, effect, attempts,
                    first_failed_at, died_at, fingerprint, pattern, message_id, message, body,
                    replay_of, is_ours, recorded, unstamped, CASE WHEN unstamped IS NOT NULL THEN $4 END
             FROM input ORDER BY fingerprint, n
             ON CONFLICT (id) DO NOTHING
             RETURNING id, event_id, reason, attempts, effect, error, died_at),
         dead AS MATERIALIZED (
             SELECT a.* FROM added a JOIN input i USING (id) JOIN events e ON e.id = a.event_id
             WHERE i.is_ours),
         noted AS (
             INSERT INTO unfinished_events AS u (event_id, state, since, attempt, effect, reason, letter_id)
             SELECT DISTINCT ON (event_id) event_id, 'dead', died_at, attempts, effect, coalesce(error, reason), id
             FROM dead ORDER BY event_id, died_at DESC
             ON CONFLICT (event_id) DO UPDATE
                 SET state = 'dead', since = excluded.since, attempt = excluded.attempt,
                     effect = excluded.effect, reason = excluded.reason, next_try_at = NULL,
                     letter_id = excluded.letter_id
                 WHERE u.letter_id IS DISTINCT FROM excluded.letter_id),
         told AS (
             INSERT INTO event_steps (event_id, at, kind, attempt, retries, effect, actor, message, letter_id)
             SELECT event_id, died_at, 'dead', attempts, 0, effect, 'the broker', reason, id FROM dead
             WHERE NOT EXISTS (SELECT FROM event_steps s WHERE s.event_id = dead.event_id AND s.letter_id = dead.id))
         SELECT count(*) AS added FROM added",
    )
    .bind::<Jsonb, _>(serde_json::json!(letters))
    .bind::<Array<Binary>, _>(letters.iter().map(|l| l.body.clone()).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(
        letters.iter().map(|l| l.unstamped.clone().unwrap_or_default()).collect::<Vec<_>>(),
    )
    .bind::<SqlUuid, _>(mover);
    #[derive(QueryableByName)]
    struct Added {
        #[diesel(sql_type = BigInt)]
        added: i64,
    }
    let added: Added = statement.get_result(connection).await?;
    Ok(usize::try_from(added.added).unwrap_or_default())
}

/// Says of this mover's unstamped letters that the queue no longer has them: it must have answered
/// something after the acks.
///
/// # Errors
/// The database fails.
pub async fn gone_from_queue(
    connection: &mut AsyncPgConnection,
    mover: Uuid,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE dead_letters SET unstamped = NULL, mover = NULL
         WHERE mover = $1 AND unstamped IS NOT NULL",
    )
    .bind::<SqlUuid, _>(mover);
    statement.execute(connection).await?;
    Ok(())
}
