//! Events in the order of the change feed: what one snapshot shows beyond another. See
//! [`crate::domain::event::snapshot`].

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::event::snapshot::{Cursor, Newest, Snapshot};
use crate::store::StoreError;
use crate::store::installation::IDENTITY;
use crate::store::sql::{RunQueryDsl, Statement};

/// The timeline on which the server writes: the first part of the name of the file it writes to
/// (<https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES>).
const TIMELINE: &str = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer";

/// What the database shows at a moment.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Its identity, which a copy does not share.
    pub history: String,
    /// Its timeline.
    pub timeline: i32,
    /// What was committed.
    pub snapshot: Snapshot,
    /// Purged events were published before this second since 1970.
    pub purged_before: i64,
    /// The highest transaction with an event that was not seen and has no higher sequence number
    /// than one that was; 0 if there is none.
    pub late: i64,
}

impl Moment {
    /// The cursor of whoever has seen all this.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            history: self.history.clone(),
            timeline: self.timeline,
            seen: self.snapshot.clone(),
            within: None,
        }
    }
}

/// An event as the feed tells it.
#[derive(Debug, Clone, QueryableByName)]
pub struct Change {
    /// The event's id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Its place among those of one stretch.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// The transaction that wrote it; 0 if a version of taskd wrote it that did not record it.
    #[diesel(sql_type = BigInt)]
    pub transaction: i64,
    /// The event type's name.
    #[diesel(sql_type = Text, column_name = "type")]
    pub event_type: String,
    /// The kind of its subject.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The subject's id.
    #[diesel(sql_type = BigInt)]
    pub subject_id: i64,
    /// The subject's version after the change.
    #[diesel(sql_type = BigInt)]
    pub version: i64,
    /// When the change was made.
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
    /// Whose the subject was.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub user_before: Option<i64>,
    /// Whose it is.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub user_after: Option<i64>,
    /// The payload as JSON text; `None` if the event does not concern the user who was asked for.
    #[diesel(sql_type = Nullable<Text>)]
    pub payload: Option<String>,
    /// Whether it tells of a change. Canaries don't, and neither does an event that takes the place
    /// of another.
    #[diesel(sql_type = Bool)]
    pub tells: bool,
}

/// The moment, with an event if there is one.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    snapshot: String,
    #[diesel(sql_type = Text)]
    history: String,
    #[diesel(sql_type = Integer)]
    timeline: i32,
    #[diesel(sql_type = BigInt)]
    at: i64,
    #[diesel(sql_type = BigInt)]
    top: i64,
    #[diesel(sql_type = BigInt)]
    last_seq: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    last_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    purged_before: i64,
    #[diesel(sql_type = BigInt)]
    late: i64,
    #[diesel(embed)]
    change: Option<Change>,
}

/// Reads what is committed now, and at most `limit` events beyond what the cursor has seen, in
/// order. Where the cursor is within another snapshot, the events may be newer than that one: the
/// caller leaves those out. Payloads are read only for events that concern `user`, or all.
///
/// # Errors
/// The database fails.
pub async fn read(
    connection: &mut AsyncPgConnection,
    cursor: &Cursor,
    user: Option<i64>,
    limit: i64,
) -> Result<(Moment, Vec<Change>), StoreError> {
    let up_to = cursor.within.as_ref().map_or(i64::MAX, |within| within.to.last_seq());
    let open: Vec<String> = cursor.seen.open().iter().map(i64::to_string).collect();
    // What was not seen has a higher number than all that was, or it is late: its transaction was
    // open, or began later and took the number before one that was seen. The statement's snapshot
    // is the one it returns. The fences keep PostgreSQL from reading all that has a lower number.
    let statement = Statement::new(format!(
        "WITH late AS MATERIALIZED (
             SELECT transaction_id, seq FROM (
                 (SELECT transaction_id, seq FROM events
                  WHERE transaction_id >= $7::xid8 AND transaction_id <= $8::xid8 OFFSET 0)
                 UNION ALL
                 (SELECT transaction_id, seq FROM events
                  WHERE transaction_id = ANY($3::xid8[]) AND transaction_id < $7::xid8 OFFSET 0)) AS unseen
             WHERE seq > $1 AND seq <= $2),
         now AS MATERIALIZED (
             SELECT pg_current_snapshot()::text AS snapshot, {IDENTITY} AS history,
                 {TIMELINE} AS timeline, floor(extract(epoch FROM now()))::bigint AS at,
                 coalesce((SELECT e.transaction_id::text::bigint FROM events e WHERE e.transaction_id IS NOT NULL
                           ORDER BY e.transaction_id DESC LIMIT 1), 0) AS top,
                 coalesce((SELECT max(transaction_id::text::bigint) FROM late
                           WHERE transaction_id >= $7::xid8), 0) AS late,
                 coalesce(newest.seq, 0) AS last_seq, newest.id AS last_id,
                 floor(extract(epoch FROM purged.published_before))::bigint AS purged_before
             FROM purged_events AS purged
             LEFT JOIN (SELECT seq, id FROM events ORDER BY seq DESC LIMIT 1) AS newest ON true)
         SELECT now.*, change.*
         FROM now LEFT JOIN (
             SELECT id, seq, coalesce(transaction_id::text::bigint, 0) AS transaction, type,
                 subject_kind AS kind, task_id AS subject_id, task_version AS version, occurred_at,
                 user_before, user_after, NOT is_repetition AS tells,
                 CASE WHEN $6 IS NULL OR user_before = $6 OR user_after = $6
                      THEN payload::text END AS payload
             FROM (
                 (SELECT * FROM events WHERE seq > greatest($1, $2) AND seq <= $5 ORDER BY seq LIMIT $4)
                 UNION ALL
                 (SELECT e.* FROM (SELECT seq FROM late ORDER BY seq LIMIT $4) AS late
                  CROSS JOIN LATERAL (SELECT * FROM events WHERE seq = late.seq OFFSET 0) AS e)
             ) AS unseen ORDER BY seq LIMIT $4
         ) AS change ON true
         ORDER BY change.seq"
    ))
    .bind::<BigInt, _>(cursor.after())
    .bind::<BigInt, _>(cursor.seen.last_seq())
    .bind::<Array<Text>, _>(open)
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(up_to)
    .bind::<Nullable<BigInt>, _>(user)
    .bind::<Text, _>(cursor.seen.next().to_string())
    .bind::<Text, _>(cursor.late().to_string());
    let rows: Vec<Row> = statement.load(connection).await?;
    let first = rows.as_slice().first().and_then(moment);
    let moment = first.ok_or_else(|| StoreError::Fault("the snapshot can't be read".to_owned()))?;
    Ok((moment, rows.into_iter().filter_map(|row| row.change).collect()))
}

fn moment(row: &Row) -> Option<Moment> {
    let event = row.last_id.map_or(0, part);
    let newest = Newest { transaction: row.top, seq: row.last_seq, event };
    Some(Moment {
        history: row.history.clone(),
        timeline: row.timeline,
        snapshot: Snapshot::new(&row.snapshot, newest, row.at)?,
        purged_before: row.purged_before,
        late: row.late,
    })
}

/// The random part of an event's id.
fn part(id: Uuid) -> u64 {
    id.as_u64_pair().1
}

/// Whether the database has the newest event that a snapshot shows. After a failover it has not, if
/// the server that went down had committed more than the one that came up.
///
/// # Errors
/// The database fails.
pub async fn has_newest(
    connection: &mut AsyncPgConnection,
    snapshot: &Snapshot,
) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let statement = Statement::new("SELECT id FROM events WHERE seq = $1")
        .bind::<BigInt, _>(snapshot.last_seq());
    let found: Option<Found> = statement.get_result(connection).await.optional()?;
    Ok(snapshot.last_seq() == 0
        || found.is_some_and(|found| part(found.id) == snapshot.last_event()))
}
