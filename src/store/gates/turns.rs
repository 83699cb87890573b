//! Turns under a rate: in no period are there more than the rate allows, whichever worker has them.
//!
//! Turn number *n* comes a period after turn number *n* minus the count, or at once. So it is
//! enough to keep the last turns, as many as the count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::AsyncPgConnection;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// When a turn is.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Turn {
    /// Its time.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// The time of the database when it was given.
    #[diesel(sql_type = Timestamptz)]
    pub now: DateTime<Utc>,
}

/// The last turns of an effect.
#[derive(Debug, Clone, Copy)]
pub struct Ring<'a> {
    /// The effect's name.
    pub effect: &'a str,
    /// The ring's name: an effect can have several.
    pub name: &'a str,
    /// How many turns it has.
    pub count: u32,
    /// How far apart a turn is from the one so many before it.
    pub apart: Duration,
}

/// Takes the next turns of a ring, in order: as many as asked for, but no more than it has.
///
/// # Errors
/// The database fails; then none is taken.
pub async fn take(
    connection: &mut AsyncPgConnection,
    ring: &Ring<'_>,
    wanted: u32,
) -> Result<Vec<Turn>, StoreError> {
    // The row of the count is locked until the end of the statement, so the turn a period before
    // has been written; and a conflict is decided by the row as it is then.
    let statement = Statement::new(
        "WITH counted AS (
             INSERT INTO effect_rates AS r (effect, rate, taken) VALUES ($1, $2, $3)
             ON CONFLICT (effect, rate) DO UPDATE SET taken = r.taken + excluded.taken
             RETURNING taken)
         INSERT INTO effect_turns AS t (effect, rate, place, at)
         SELECT $1, $2, n % $4, clock_timestamp()
         FROM counted, generate_series(taken - $3, taken - 1) AS n
         ON CONFLICT (effect, rate, place) DO UPDATE
             SET at = greatest(clock_timestamp(), t.at + $5 * interval '1 us')
         RETURNING at, clock_timestamp() AS now",
    )
    .bind::<Text, _>(ring.effect.to_owned())
    .bind::<Text, _>(ring.name.to_owned())
    .bind::<BigInt, _>(i64::from(wanted.min(ring.count)))
    .bind::<BigInt, _>(i64::from(ring.count))
    .bind::<BigInt, _>(i64::try_from(ring.apart.as_micros()).unwrap_or(i64::MAX));
    let mut turns: Vec<Turn> = statement.load(connection).await?;
    turns.sort_unstable_by_key(|turn| turn.at);
    Ok(turns)
}
