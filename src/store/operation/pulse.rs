//! What live pages watch: a few numbers that differ when something has changed.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// A number for each topic. Equal numbers mean that nothing has changed, as far as is looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, QueryableByName)]
pub struct Fingerprint {
    /// Of the events, of which each change of a task has one.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// Of what workers did: marks, records, failures, and what is not done.
    #[diesel(sql_type = BigInt)]
    pub work: i64,
    /// Of dead letters by cause, and replays.
    #[diesel(sql_type = BigInt)]
    pub letters: i64,
    /// Of pauses and breakers, and of what waits for them.
    #[diesel(sql_type = BigInt)]
    pub gates: i64,
    /// Of the processes, but not of when each was last seen.
    #[diesel(sql_type = BigInt)]
    pub processes: i64,
    /// Of webhooks and their deliveries.
    #[diesel(sql_type = BigInt)]
    pub webhooks: i64,
}

/// Takes the fingerprints. However large the tables are, it reads the ends of indexes: what comes
/// last also in the order of commits is among the last hundred. No index has the deliveries in the
/// order of their tries, so of these PostgreSQL's own counters are read, which lag by a second or
/// two, and by ten at most. A replay that is under way changes
/// all the time.
///
/// # Errors
/// The database fails.
pub async fn fingerprint(connection: &mut AsyncPgConnection) -> Result<Fingerprint, StoreError> {
    // Planned anew each time: a plan that was made for empty tables would read them whole later.
    let statement = Statement::new(
        "WITH newest AS MATERIALIZED (
             SELECT seq, published_at FROM events ORDER BY seq DESC LIMIT 100),
         recorded AS MATERIALIZED (
             SELECT touched_at FROM processed_messages ORDER BY touched_at DESC LIMIT 100),
         unfinished AS MATERIALIZED (
             SELECT event_id, state, since FROM unfinished_events ORDER BY event_id DESC LIMIT 100),
         steps AS MATERIALIZED (SELECT id FROM event_steps ORDER BY id DESC LIMIT 100),
         plans AS MATERIALIZED (SELECT id, state FROM replays ORDER BY id DESC LIMIT 100),
         parked AS MATERIALIZED (
             (SELECT id FROM parked_messages ORDER BY id LIMIT 100)
             UNION ALL (SELECT id FROM parked_messages ORDER BY id DESC LIMIT 100))
         SELECT (SELECT coalesce(sum(seq), 0)::bigint FROM newest) AS events,
             hashtextextended(concat_ws(' ',
                 (SELECT concat_ws(' ', count(published_at), max(published_at)) FROM newest),
                 (SELECT sum(extract(epoch FROM touched_at)) FROM recorded),
                 (SELECT string_agg(concat_ws(' ', event_id, state, since), ',' ORDER BY event_id) FROM unfinished),
                 (SELECT sum(id) FROM steps)), 0) AS work,
             hashtextextended(concat_ws(' ',
                 (SELECT concat_ws(' ', count(*), sum(open), max(last_at)) FROM dead_letter_groups WHERE open > 0),
                 (SELECT string_agg(concat_ws(' ', id, state), ',' ORDER BY id) FROM plans),
                 (SELECT clock_timestamp() FROM replays WHERE state IN ('canary', 'running', 'stopping') LIMIT 1)),
                 0) AS letters,
             hashtextextended(concat_ws(' ',
                 (SELECT string_agg(g::text, ',' ORDER BY effect) FROM effect_gates g),
                 (SELECT concat_ws(' ', count(*), sum(id)) FROM parked)), 0) AS gates,
             hashtextextended(concat_ws(' ',
                 (SELECT string_agg(concat_ws(' ', id, in_hand, last_progress_at, seen_at > now() - interval '15 s'),
                                    ',' ORDER BY id) FROM processes)), 0) AS processes,
             (SELECT sum(pg_stat_get_tuples_inserted(id) + pg_stat_get_tuples_updated(id)
                         + pg_stat_get_tuples_deleted(id))::bigint
              FROM unnest(ARRAY['webhooks', 'webhook_deliveries']::regclass[]) AS id) AS webhooks",
    )
    .planned_for_its_values();
    let found: Fingerprint = statement.get_result(connection).await?;
    Ok(found)
}
