//! What `taskd doctor` asks the database.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// The server, and who we are to it.
#[derive(Debug, Clone, QueryableByName)]
pub struct Server {
    /// Its version.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// Whether it takes no writes.
    #[diesel(sql_type = Bool)]
    pub read_only: bool,
    /// The user we are.
    #[diesel(sql_type = Text)]
    pub role_name: String,
    /// The schema of our tables; `None` if there are none.
    #[diesel(sql_type = Nullable<Text>)]
    pub tables_in: Option<String>,
    /// Its time.
    #[diesel(sql_type = Timestamptz)]
    pub time: DateTime<Utc>,
}

/// Asks the server what it is.
///
/// # Errors
/// The database fails.
pub async fn server(connection: &mut AsyncPgConnection) -> Result<Server, StoreError> {
    let statement = Statement::new(
        "SELECT current_setting('server_version') AS version,
                current_setting('transaction_read_only') = 'on' AS read_only, current_user::text AS role_name,
                (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('tasks')) AS tables_in,
                clock_timestamp() AS time",
    );
    Ok(statement.get_result(connection).await?)
}

/// A table and the rights that we don't have on it.
#[derive(Debug, Clone, QueryableByName)]
pub struct LackingRights {
    /// The table.
    #[diesel(sql_type = Text)]
    pub table_name: String,
    /// The rights, with commas between them.
    #[diesel(sql_type = Text)]
    pub rights: String,
}

/// The tables that `serve` and `work` read and write, on which we have not all rights.
///
/// # Errors
/// The database fails.
pub async fn lacking_rights(
    connection: &mut AsyncPgConnection,
) -> Result<Vec<LackingRights>, StoreError> {
    let statement = Statement::new(
        "SELECT name AS table_name, string_agg(privilege, ', ' ORDER BY privilege) AS rights
         FROM unnest(ARRAY['tasks', 'events', 'users', 'categories', 'tokens', 'task_activity',
                           'processed_messages', 'event_steps', 'unfinished_events', 'queued_messages',
                           'dead_letters', 'replays', 'replay_letters', 'idempotency_keys', 'processes',
                           'canaries', 'effect_gates', 'parked_messages', 'effect_rates', 'effect_turns',
                           'effect_places', 'activity_minutes']) AS name,
              unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
         WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name)::oid, privilege)
         GROUP BY name ORDER BY name",
    );
    Ok(statement.load(connection).await?)
}

/// Claims whose lease ended long ago.
#[derive(Debug, Clone, QueryableByName)]
pub struct StuckClaims {
    /// How many there are, among the events that have been unfinished for longest.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// When the lease of the first of them ended.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
    /// The event of that one.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub event_id: Option<Uuid>,
}

/// The claims whose lease ended more than five minutes ago: whoever takes such a message again
/// claims it anew. It looks at the 20,000 events that have been unfinished for longest, since
/// claims have no index.
///
/// # Errors
/// The database fails.
pub async fn stuck_claims(connection: &mut AsyncPgConnection) -> Result<StuckClaims, StoreError> {
    let statement = Statement::new(
        "SELECT count(*) AS count, min(p.claimed_until) AS since,
                (array_agg(p.event_id ORDER BY p.claimed_until))[1] AS event_id
         FROM (SELECT event_id FROM unfinished_events ORDER BY event_id LIMIT 20000) AS u
         JOIN processed_messages p USING (event_id)
         WHERE p.state = 'claimed' AND p.claimed_until < now() - interval '5 min'",
    );
    Ok(statement.get_result(connection).await?)
}

/// The replays that are under way, and that no worker has carried on for a minute.
///
/// # Errors
/// The database fails.
pub async fn forsaken_replays(connection: &mut AsyncPgConnection) -> Result<Vec<i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Replay {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let statement = Statement::new(
        "SELECT id FROM replays
         WHERE state IN ('canary', 'running', 'stopping')
             AND coalesce(leased_until, created_at) < now() - interval '1 min' ORDER BY id",
    );
    let rows: Vec<Replay> = statement.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The open dead letters.
#[derive(Debug, Clone, QueryableByName)]
pub struct OpenLetters {
    /// How many there are.
    #[diesel(sql_type = BigInt)]
    pub letters: i64,
    /// Of how many causes.
    #[diesel(sql_type = BigInt)]
    pub causes: i64,
    /// How many of these causes have had a letter in the last five minutes.
    #[diesel(sql_type = BigInt)]
    pub growing: i64,
}

/// Counts the open dead letters.
///
/// # Errors
/// The database fails.
pub async fn open_letters(connection: &mut AsyncPgConnection) -> Result<OpenLetters, StoreError> {
    let statement = Statement::new(
        "SELECT coalesce(sum(open), 0)::bigint AS letters, count(*) AS causes,
                count(*) FILTER (WHERE last_at > now() - interval '5 min') AS growing
         FROM dead_letter_groups WHERE open > 0",
    );
    Ok(statement.get_result(connection).await?)
}

/// The events that wait to be published.
#[derive(Debug, Clone, QueryableByName)]
pub struct Outbox {
    /// How many there are, as far as they were counted.
    #[diesel(sql_type = BigInt)]
    pub unpublished: i64,
    /// How old the oldest of them is, in seconds; `None` if there is none.
    #[diesel(sql_type = Nullable<Double>)]
    pub oldest_seconds: Option<f64>,
}

/// Looks into the outbox, and counts up to `most`: an outage may have left millions there.
///
/// # Errors
/// The database fails.
pub async fn outbox(connection: &mut AsyncPgConnection, most: i64) -> Result<Outbox, StoreError> {
    let statement = Statement::new(
        "SELECT (SELECT count(*) FROM (SELECT FROM events WHERE published_at IS NULL ORDER BY seq LIMIT $1) AS counted)
                    AS unpublished,
                (SELECT extract(epoch FROM now() - occurred_at)::float8 FROM events WHERE published_at IS NULL
                 ORDER BY seq LIMIT 1) AS oldest_seconds",
    )
    .bind::<BigInt, _>(most);
    Ok(statement.get_result(connection).await?)
}
