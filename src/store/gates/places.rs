//! Places of effects of which only so many may run at a time, over all workers.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::{RunQueryDsl, Statement};

/// Leases a place of an effect that has `limit` of them; `None` if all are taken.
///
/// # Errors
/// The database fails.
pub async fn take(
    connection: &mut AsyncPgConnection,
    effect: &str,
    limit: u16,
    (lease, length): (Uuid, Duration),
) -> Result<Option<i32>, StoreError> {
    #[derive(QueryableByName)]
    struct Taken {
        #[diesel(sql_type = Integer)]
        place: i32,
    }
    let statement = Statement::new(
        "UPDATE effect_places SET lease = $3, leased_until = now() + $4 * interval '1 ms'
         WHERE effect = $1 AND place = (
             SELECT place FROM effect_places
             WHERE effect = $1 AND place <= $2 AND leased_until <= now()
             ORDER BY place LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING place",
    )
    .bind::<Text, _>(effect.to_owned())
    .bind::<Integer, _>(i32::from(limit))
    .bind::<SqlUuid, _>(lease)
    .bind::<BigInt, _>(length.as_millis() as i64);
    let taken: Vec<Taken> = statement.load(connection).await?;
    Ok(taken.into_iter().next().map(|taken| taken.place))
}

/// Makes the places of an effect, as far as they are missing.
///
/// # Errors
/// The database fails.
pub async fn make(
    connection: &mut AsyncPgConnection,
    effect: &str,
    limit: u16,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "INSERT INTO effect_places (effect, place, leased_until)
         SELECT $1, place, '-infinity' FROM generate_series(1, $2) AS place
         ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(effect.to_owned())
    .bind::<Integer, _>(i32::from(limit));
    statement.execute(connection).await?;
    Ok(())
}

/// Gives a place back.
///
/// # Errors
/// The database fails; then the lease ends by itself.
pub async fn give_back(
    connection: &mut AsyncPgConnection,
    effect: &str,
    place: i32,
    lease: Uuid,
) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE effect_places SET leased_until = '-infinity', lease = NULL
         WHERE effect = $1 AND place = $2 AND lease = $3",
    )
    .bind::<Text, _>(effect.to_owned())
    .bind::<Integer, _>(place)
    .bind::<SqlUuid, _>(lease);
    statement.execute(connection).await?;
    Ok(())
}
