//! What was done in each minute. The minutes are those of the server's clock.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Timestamptz};
use diesel_async::AsyncPgConnection;

use crate::ground::telemetry::Activity;
use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// Adds what was done to the minute that it is now.
///
/// # Errors
/// The database fails.
pub async fn add(connection: &mut AsyncPgConnection, done: &Activity) -> Result<(), StoreError> {
    let statement = Statement::new(
        "INSERT INTO activity_minutes AS m (minute, created, published, processed, retried, dead, road)
         VALUES (date_trunc('minute', now()), $1, $2, $3, $4, $5, $6)
         ON CONFLICT (minute) DO UPDATE
             SET created = m.created + excluded.created, published = m.published + excluded.published,
                 processed = m.processed + excluded.processed, retried = m.retried + excluded.retried,
                 dead = m.dead + excluded.dead,
                 road = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
                              FROM unnest(m.road, excluded.road) WITH ORDINALITY AS r (a, b, place)
                              ORDER BY place)",
    )
    .bind::<BigInt, _>(number(done.created))
    .bind::<BigInt, _>(number(done.published))
    .bind::<BigInt, _>(number(done.processed))
    .bind::<BigInt, _>(number(done.retried))
    .bind::<BigInt, _>(number(done.dead))
    .bind::<Array<BigInt>, _>(done.road.iter().copied().map(number).collect::<Vec<_>>());
    statement.execute(connection).await?;
    Ok(())
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What was done in a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minute {
    /// When it began.
    pub minute: DateTime<Utc>,
    /// What was done.
    pub done: Activity,
}

/// The last so many minutes, the present one included, oldest first: also those in which nothing
/// was done.
///
/// # Errors
/// The database fails.
pub async fn list(
    connection: &mut AsyncPgConnection,
    minutes: u16,
) -> Result<Vec<Minute>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        minute: DateTime<Utc>,
        #[diesel(sql_type = BigInt)]
        created: i64,
        #[diesel(sql_type = BigInt)]
        published: i64,
        #[diesel(sql_type = BigInt)]
        processed: i64,
        #[diesel(sql_type = BigInt)]
        retried: i64,
        #[diesel(sql_type = BigInt)]
        dead: i64,
        #[diesel(sql_type = Array<BigInt>)]
        road: Vec<i64>,
    }
    // The second condition says that it is a range of the index.
    let statement = Statement::new(
        "SELECT each.minute, coalesce(created, 0) AS created, coalesce(published, 0) AS published,
                coalesce(processed, 0) AS processed, coalesce(retried, 0) AS retried, coalesce(dead, 0) AS dead,
                coalesce(road, '{}') AS road
         FROM generate_series(date_trunc('minute', now()) - ($1 - 1) * interval '1 min',
                              date_trunc('minute', now()), interval '1 min') AS each (minute)
         LEFT JOIN activity_minutes m
             ON m.minute = each.minute AND m.minute > now() - ($1 + 1) * interval '1 min'
         ORDER BY each.minute",
    )
    .bind::<BigInt, _>(i64::from(minutes));
    let rows: Vec<Row> = statement.load(connection).await?;
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    let minute = |row: Row| Minute {
        minute: row.minute,
        done: Activity {
            created: count(row.created),
            published: count(row.published),
            processed: count(row.processed),
            retried: count(row.retried),
            dead: count(row.dead),
            road: row.road.into_iter().map(count).collect(),
        },
    };
    Ok(rows.into_iter().map(minute).collect())
}

/// Deletes at most `limit` minutes that began before `before`. Returns how many.
///
/// # Errors
/// The database fails.
pub async fn forget(
    connection: &mut AsyncPgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let statement = Statement::new(
        "DELETE FROM activity_minutes WHERE minute IN (
             SELECT minute FROM activity_minutes WHERE minute < $1 ORDER BY minute LIMIT $2)",
    )
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(limit);
    Ok(statement.execute(connection).await?)
}
